//! Containers that start and end, and images that come and go, told on as records: they take the way of what the kernel's hooks tell.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_wire::encode::{bytes_of, encode};
use holdfast_wire::event;
use holdfast_wire::record::container::{
    Image, Lifecycle as Fixed, NO_EXIT_CODE, OPERATIONS, RUNTIMES,
};
use holdfast_wire::record::{COMM_BYTES, Header, NO_CPU, NO_RULE, flags};
use holdfast_wire::{ABI_VERSION, Kind};

use crate::kernel::Ring;
use crate::ledger::Ledger;
use crate::ring::{Joined, MemoryRing, Records, Time, Weight};

/// Bytes of the ring: some thousand records.
const RING_BYTES: u32 = 1 << 20;
/// [`Header::tier`]: no program of any tier wrote it.
const NO_TIER: u8 = u8::MAX;

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// It was started.
    Start,
    /// It has ended, with this, where its engine says.
    Exit(Option<i32>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    records: Arc<Records>,
    sequence: AtomicU64,
}

impl Lifecycle {
    /// Its records, and the ring in which they come beside those of `ring`.
    ///
    /// # Errors
    /// When there is no descriptor to be had.
    pub(crate) fn beside(ring: Box<dyn Ring>) -> io::Result<(Self, Box<dyn Ring>)> {
        let records = Arc::new(Records::new(RING_BYTES)?);
        let own = Box::new(MemoryRing {
            records: records.clone(),
            completeness: None,
        });
        let this = Self {
            records,
            sequence: AtomicU64::new(0),
        };
        Ok((this, Box::new(Joined::new([own, ring])?)))
    }

    /// Tells on what happened to the container `id`, whose first process is `pid` where that is known; as of
    /// policies of `epoch`.
    pub(crate) fn tell(
        &self,
        ledger: &Ledger,
        (id, pid): (&str, Option<u32>),
        happened: Happened,
        epoch: u32,
    ) {
        let (kind, exit_code) = match happened {
            Happened::Start => (Kind::ContainerStart, None),
            Happened::Exit(code) => (Kind::ContainerExit, code),
        };
        let (id, id_length) = cut(id);
        let fixed = Fixed {
            exit_code: exit_code.unwrap_or(NO_EXIT_CODE),
            id_length,
            reserved: 0,
        };
        let header = header(kind, pid.unwrap_or(0), self.next(), epoch);
        self.push(ledger, kind, encode(header, bytes_of(&fixed), &[id]));
    }

    /// Tells on what happened to an image of an engine of `runtime`, likewise. Both are of the wire's names.
    pub(crate) fn tell_image(
        &self,
        ledger: &Ledger,
        (runtime, operation): (&str, &str),
        image: &event::Image,
        epoch: u32,
    ) {
        let digests = image.hash.iter().flat_map(|hash| &hash.all);
        let digests = digests.map(String::as_str).collect::<Vec<_>>().join(" ");
        let tags = image.tag.join(" ");
        let (name, name_length) = cut(&image.name);
        let (tags, tags_length) = cut(&tags);
        let (digests, digests_length) = cut(&digests);
        let kind = Kind::ContainerImage;
        let fixed = Image {
            runtime: number(&RUNTIMES, runtime),
            operation: number(&OPERATIONS, operation),
            name_length,
            tags_length,
            digests_length,
            reserved: 0,
        };
        let header = header(kind, 0, self.next(), epoch);
        let record = encode(header, bytes_of(&fixed), &[name, tags, digests]);
        self.push(ledger, kind, record);
    }

    fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    fn push(&self, ledger: &Ledger, kind: Kind, record: Vec<u8>) {
        let weight = Weight {
            matters: true,
            urgent: true,
        };
        ledger.told(kind, self.records.push(record, Time::Now, weight));
    }
}

/// As much of a text as a record holds, and its length.
fn cut(text: &str) -> (&[u8], u16) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    (text.as_bytes(), text.len() as u16)
}

/// The place of a name among others; none of them, where it is not there.
fn number(names: &[&str], name: &str) -> u16 {
    let place = names.iter().position(|it| *it == name);
    place.map_or(u16::MAX, |place| place as u16)
}

fn header(kind: Kind, tgid: u32, sequence: u64, epoch: u32) -> Header {
    Header {
        version: ABI_VERSION,
        kind: kind as u16,
        length: 0,
        sequence,
        boottime: 0,
        start_boottime: 0,
        cgroup_id: 0,
        effective_capabilities: 0,
        exec_id: 0,
        tgid,
        tid: tgid,
        ppid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
        euid: u32::MAX,
        loginuid: u32::MAX,
        mount_namespace: 0,
        pid_namespace: 0,
        network_namespace: 0,
        flags: flags::NO_TASK_FIELDS,
        epoch,
        rule: NO_RULE,
        cpu: NO_CPU,
        comm: [0; COMM_BYTES],
        tier: NO_TIER,
        verdict: 0,
        reserved: 0,
        reserved_word: 0,
    }
}
