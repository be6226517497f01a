use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use holdfast_wire::spool;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const LIMITS: Limits = Limits {
    max_bytes: 64 << 20,
    max_age: Duration::from_secs(7 * 24 * 3600),
};

fn open(directory: &Path) -> Spool {
    Spool::open(directory, LIMITS, "boot").unwrap()
}

fn store(spool: &mut Spool, priority: Priority, contents: &[&str]) {
    let lines: Vec<_> = contents
        .iter()
        .map(|content| (priority, content.as_bytes()))
        .collect();
    assert_eq!(spool.store(&lines, NOW).unwrap(), lines.len());
}

fn read(spool: &mut Spool, priority: Priority) -> Vec<(u64, String)> {
    let records = spool.batch(priority, 1000, 1 << 20).unwrap();
    records
        .into_iter()
        .map(|(sequence, content)| (sequence, String::from_utf8(content).unwrap()))
        .collect()
}

fn numbered(first: u64, contents: &[&str]) -> Vec<(u64, String)> {
    (first..)
        .zip(contents)
        .map(|(sequence, content)| (sequence, (*content).to_owned()))
        .collect()
}

/// The file that is written, if there is one.
fn last(directory: &Path, priority: Priority) -> Option<PathBuf> {
    let files = fs::read_dir(directory.join(name(priority))).unwrap();
    files.map(|file| file.unwrap().path()).max()
}

fn active(directory: &Path, priority: Priority) -> PathBuf {
    last(directory, priority).unwrap()
}

#[test]
fn one_sensor_at_a_time_has_it() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("spool");
    let mut first = open(&directory);
    store(&mut first, Priority::Alert, &["!"]);

    let second = Spool::open(&directory, LIMITS, "boot");
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::WouldBlock);

    drop(first);
    let mut second = open(&directory);
    assert_eq!(read(&mut second, Priority::Alert), numbered(1, &["!"]));
}

#[test]
fn what_was_stored_is_read_in_order_until_it_is_acknowledged() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("spool");
    let mut spool = open(&directory);
    store(&mut spool, Priority::Event, &["a", "b", "c"]);
    store(&mut spool, Priority::Alert, &["!"]);
    assert_eq!(read(&mut spool, Priority::Alert), numbered(1, &["!"]));
    assert_eq!(
        read(&mut spool, Priority::Event),
        numbered(1, &["a", "b", "c"])
    );
    spool.acknowledge(Priority::Event, 2).unwrap();
    assert_eq!(read(&mut spool, Priority::Event), numbered(3, &["c"]));
    // What was not in the last batch is not acknowledged, whatever the server says.
    store(&mut spool, Priority::Event, &["d"]);
    spool.acknowledge(Priority::Event, 99).unwrap();
    assert_eq!(read(&mut spool, Priority::Event), numbered(4, &["d"]));
    let totals = spool.totals();
    assert_eq!((totals.waiting, totals.sent), ([1, 1], [0, 3]));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&active(&directory, Priority::Alert)), 0o600);
    assert_eq!(mode(&directory), 0o700);
}

#[test]
fn it_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    let stream = spool.stream();
    store(&mut spool, Priority::Event, &["a", "b"]);
    read(&mut spool, Priority::Event);
    spool.acknowledge(Priority::Event, 1).unwrap();
    drop(spool);
    let mut spool = open(directory.path());
    assert_eq!(spool.stream(), stream);
    store(&mut spool, Priority::Event, &["c"]);
    assert_eq!(read(&mut spool, Priority::Event), numbered(2, &["b", "c"]));
    spool.acknowledge(Priority::Event, 3).unwrap();
    drop(spool);
    // Of an empty spool, too.
    let mut spool = open(directory.path());
    store(&mut spool, Priority::Event, &["d"]);
    assert_eq!(read(&mut spool, Priority::Event), numbered(4, &["d"]));
    assert_eq!(spool.totals().sent, [0, 3]);
}

#[test]
fn after_a_boot_no_sequence_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    store(&mut spool, Priority::Alert, &["a", "b"]);
    drop(spool);
    // The power went before the second came to the disk, though not before it was sent.
    let path = active(directory.path(), Priority::Alert);
    let length = spool::HEAD_BYTES + spool::RECORD_HEAD_BYTES + 1;
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(length as u64)
        .unwrap();
    let mut spool = Spool::open(directory.path(), LIMITS, "another boot").unwrap();
    store(&mut spool, Priority::Alert, &["c"]);
    assert_eq!(read(&mut spool, Priority::Alert), numbered(1, &["a"]));
    spool.acknowledge(Priority::Alert, 1).unwrap();
    assert_eq!(
        read(&mut spool, Priority::Alert),
        numbered(2 + SKIP, &["c"])
    );
    assert_eq!(spool.totals().waiting, [1, 0]);
    drop(spool);
    let mut spool = Spool::open(directory.path(), LIMITS, "another boot").unwrap();
    assert_eq!(
        read(&mut spool, Priority::Alert),
        numbered(2 + SKIP, &["c"])
    );
}

#[test]
fn the_oldest_events_are_shed_before_any_alert_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: 1 << 20,
        ..LIMITS
    };
    let mut spool = Spool::open(directory.path(), limits, "boot").unwrap();
    let content = "x".repeat(16 << 10);
    let store_some = |spool: &mut Spool, priority, count: usize| {
        for _ in 0..count {
            store(spool, priority, &[&content]);
            let totals = spool.totals();
            assert!(totals.bytes <= limits.max_bytes, "{totals:?}");
            let on_disk: u64 = Priority::ALL
                .iter()
                .flat_map(|priority| fs::read_dir(directory.path().join(name(*priority))).unwrap())
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum();
            assert_eq!(totals.bytes, on_disk);
        }
    };
    let lost = |spool: &Spool, priority: Priority| {
        let number = usize::from(priority.number());
        spool.totals().lost[number]
            .get(&Reason::Full)
            .copied()
            .unwrap_or(0)
    };
    store_some(&mut spool, Priority::Event, 100);
    let shed = lost(&spool, Priority::Event);
    assert!(shed >= 37, "{shed}");
    assert_eq!(spool.totals().waiting[1] + shed, 100);
    assert_eq!(read(&mut spool, Priority::Event)[0].0, shed + 1);
    store_some(&mut spool, Priority::Alert, 50);
    assert_eq!(lost(&spool, Priority::Alert), 0);
    assert_eq!(spool.totals().waiting[0], 50);
    assert_eq!(
        spool.totals().waiting[1] + lost(&spool, Priority::Event),
        100
    );
    // Then events are not taken, and the oldest alerts go.
    store_some(&mut spool, Priority::Alert, 50);
    store_some(&mut spool, Priority::Event, 1);
    let shed = lost(&spool, Priority::Alert);
    assert_eq!(spool.totals().waiting[0] + shed, 100);
    assert_eq!(
        spool.totals().waiting[1] + lost(&spool, Priority::Event),
        101
    );
    let told = spool.untold().unwrap();
    assert!(told.contains(&format!("{shed} alert full")), "{told}");
    assert_eq!(spool.untold(), None);
    // Sequences go on.
    spool.save().unwrap();
    drop(spool);
    let mut spool = Spool::open(directory.path(), limits, "boot").unwrap();
    assert_eq!(read(&mut spool, Priority::Alert)[0].0, shed + 1);
    store(&mut spool, Priority::Event, &["e"]);
    assert!(read(&mut spool, Priority::Event).is_empty() || lost(&spool, Priority::Event) <= 102);
}

#[test]
fn what_is_too_old_or_too_large_is_given_up_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    store(&mut spool, Priority::Event, &["old"]);
    let large = "x".repeat(MAX_CONTENT_BYTES + 1);
    store(&mut spool, Priority::Event, &[&large]);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    fs::File::options()
        .write(true)
        .open(active(directory.path(), Priority::Event))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    spool.expire(NOW + LIMITS.max_age.as_secs() - 1);
    assert_eq!(spool.totals().waiting, [0, 1]);
    spool.expire(NOW + LIMITS.max_age.as_secs() + 1);
    assert_eq!(spool.totals().waiting, [0, 0]);
    let lost = &spool.totals().lost[1];
    assert_eq!(lost.get(&Reason::Age), Some(&1));
    assert_eq!(lost.get(&Reason::Oversized), Some(&1));
    store(&mut spool, Priority::Event, &["new"]);
    assert_eq!(read(&mut spool, Priority::Event), numbered(2, &["new"]));
}

#[test]
fn what_is_broken_is_counted_and_the_rest_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: 2 << 20,
        ..LIMITS
    };
    let mut spool = Spool::open(directory.path(), limits, "boot").unwrap();
    let content = "y".repeat(20 << 10);
    for _ in 0..8 {
        store(&mut spool, Priority::Event, &[&content]);
    }
    let mut files: Vec<_> = fs::read_dir(directory.path().join("event"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    let first = fs::read(&files[0]).unwrap();
    let mut broken = first.clone();
    // In the second of its records.
    broken[spool::HEAD_BYTES + (21 << 10)] ^= 1;
    fs::write(&files[0], broken).unwrap();
    drop(spool);
    let mut spool = Spool::open(directory.path(), limits, "boot").unwrap();
    let mut read = Vec::new();
    loop {
        let records = spool.batch(Priority::Event, 1000, 1 << 20).unwrap();
        let Some((last, _)) = records.last() else {
            break;
        };
        let last = *last;
        read.extend(records.into_iter().map(|(sequence, _)| sequence));
        spool.acknowledge(Priority::Event, last).unwrap();
    }
    let lost = spool.totals().lost[1][&Reason::Corrupt];
    assert_eq!(read.len() as u64 + lost, 8, "{read:?}");
    assert_eq!(read[0], 1);
    assert!(!read.contains(&2) && read.contains(&8), "{read:?}");
}

#[test]
fn a_spool_that_was_removed_uses_no_sequence_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    store(&mut spool, Priority::Alert, &["a"]);
    read(&mut spool, Priority::Alert);
    spool.acknowledge(Priority::Alert, 1).unwrap();
    fs::remove_dir_all(directory.path().join("alert")).unwrap();
    // While it is open …
    store(&mut spool, Priority::Alert, &["b"]);
    assert_eq!(read(&mut spool, Priority::Alert), numbered(2, &["b"]));
    drop(spool);
    // … and while it is not.
    fs::remove_dir_all(directory.path().join("alert")).unwrap();
    let mut spool = open(directory.path());
    store(&mut spool, Priority::Alert, &["c"]);
    assert_eq!(
        read(&mut spool, Priority::Alert),
        numbered(2 + SKIP, &["c"])
    );
    let stream = spool.stream();
    drop(spool);
    fs::write(directory.path().join(POSITION), "{").unwrap();
    assert_ne!(open(directory.path()).stream(), stream);
}

/// A small disk, until it is dropped.
struct Disk(tempfile::TempDir);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

/// A disk of this size, which is full when that is used up; `None`: it cannot be made here, which takes root.
fn disk(kibibytes: u32) -> Option<Disk> {
    let directory = tempfile::tempdir().unwrap();
    let mounted = rustix::mount::mount(
        "tmpfs",
        directory.path(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(
            std::ffi::CString::new(format!("size={kibibytes}k"))
                .unwrap()
                .as_c_str(),
        ),
    );
    mounted.is_ok().then_some(Disk(directory))
}

#[test]
fn on_a_full_disk_events_make_room_for_alerts_and_alerts_are_kept_for_later() {
    let Some(disk) = disk(512) else { return };
    let state = disk.0.path().join("spool");
    let mut spool = open(&state);
    let content = "z".repeat(16 << 10);
    for _ in 0..40 {
        store(&mut spool, Priority::Event, &[&content]);
    }
    let lost = spool.totals().lost[1][&Reason::Disk];
    assert_eq!(spool.totals().waiting[1] + lost, 40);
    assert!(spool.trouble().is_some());
    let mut stored = 0;
    let refused = loop {
        match spool.store(&[(Priority::Alert, content.as_bytes())], NOW) {
            Ok(1) => stored += 1,
            Ok(other) => panic!("{other}"),
            Err(error) => break error,
        }
        assert!(stored < 40);
    };
    assert!(is_full(&refused), "{refused}");
    assert!(stored >= 20, "{stored}");
    assert_eq!(spool.totals().waiting, [stored, 0]);
    assert!(spool.totals().lost[0].is_empty());
    // Once the server has some, there is room; and nothing was torn.
    while spool.totals().waiting[0] > 0 {
        let records = spool.batch(Priority::Alert, 100, 1 << 20).unwrap();
        let last = records.last().unwrap().0;
        let _ = spool.acknowledge(Priority::Alert, last);
    }
}

/// What a property test does to a spool.
#[derive(Clone, Debug)]
enum Deed {
    /// Appends so many events of that many bytes.
    Append(usize, usize),
    /// Reads so many, and acknowledges this share of them, in quarters.
    Send(usize, usize),
    /// Ends the process.
    Kill,
    /// Ends it within an append, of which this share, in parts of 1000, is on the disk.
    Tear(usize, usize, usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (1usize..6, 0usize..3000).prop_map(|(count, bytes)| Deed::Append(count, bytes)),
        3 => (1usize..20, 0usize..5).prop_map(|(count, quarters)| Deed::Send(count, quarters)),
        1 => Just(Deed::Kill),
        2 => (1usize..6, 0usize..3000, 0usize..1000)
            .prop_map(|(count, bytes, share)| Deed::Tear(count, bytes, share)),
    ];
    vec(deed, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever was written is sent until it is acknowledged, in its order, once; nothing else is.
    #[test]
    fn no_kill_loses_what_was_written_or_invents_something(deeds in deeds()) {
        let directory = tempfile::tempdir().unwrap();
        // Segments of 64 KiB, and never full.
        let limits = Limits { max_bytes: 2 << 20, ..LIMITS };
        let open = || Spool::open(directory.path(), limits, "boot").unwrap();
        let mut spool = open();
        let mut waiting: std::collections::VecDeque<(u64, Vec<u8>)> = Default::default();
        let (mut next, mut number) = (1u64, 0u64);
        let mut made = |count: usize, bytes: usize| -> Vec<Vec<u8>> {
            let make = |_| {
                number += 1;
                let mut content = format!("{number}:").into_bytes();
                content.resize(content.len() + bytes, b'.');
                content
            };
            (0..count).map(make).collect()
        };
        for deed in deeds {
            match deed {
                Deed::Append(count, bytes) => {
                    let contents = made(count, bytes);
                    let lines: Vec<_> = contents.iter().map(|it| (Priority::Event, &it[..])).collect();
                    prop_assert_eq!(spool.store(&lines, NOW).unwrap(), count);
                    for content in contents {
                        waiting.push_back((next, content));
                        next += 1;
                    }
                }
                Deed::Send(most, quarters) => {
                    let records = spool.batch(Priority::Event, most, 16 << 10).unwrap();
                    prop_assert_eq!(records.is_empty(), waiting.is_empty());
                    prop_assert!(records.iter().zip(&waiting).all(|(read, written)| read == written));
                    let acknowledged = records.len() * quarters / 4;
                    if let Some(last) = acknowledged.checked_sub(1) {
                        spool.acknowledge(Priority::Event, records[last].0).unwrap();
                        waiting.drain(..acknowledged);
                    }
                }
                Deed::Kill => {
                    drop(spool);
                    spool = open();
                }
                Deed::Tear(count, bytes, share) => {
                    let before = last(directory.path(), Priority::Event);
                    let length = before.as_ref().map_or(0, |before| fs::metadata(before).unwrap().len());
                    let contents = made(count, bytes);
                    let lines: Vec<_> = contents.iter().map(|it| (Priority::Event, &it[..])).collect();
                    spool.store(&lines, NOW).unwrap();
                    drop(spool);
                    // Segments that the append began come after the one that was written.
                    let after = active(directory.path(), Priority::Event);
                    let least = if Some(&after) == before.as_ref() { length } else { 0 };
                    let longest = fs::metadata(&after).unwrap().len();
                    let cut = least + (longest - least) * share as u64 / 1000;
                    fs::File::options().write(true).open(&after).unwrap().set_len(cut).unwrap();
                    spool = open();
                    let total = spool.totals().waiting[1] as usize;
                    prop_assert!(total >= waiting.len() && total <= waiting.len() + count);
                    for content in contents.into_iter().take(total - waiting.len()) {
                        waiting.push_back((next, content));
                        next += 1;
                    }
                }
            }
            prop_assert_eq!(spool.totals().waiting[1] as usize, waiting.len());
        }
        // Nothing but what was torn is counted as lost.
        prop_assert!(spool.totals().lost[1].keys().all(|reason| *reason == Reason::Torn));
    }
}
