use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn key(tgid: u32, start: u64) -> Key {
    Key { tgid, start }
}

fn image(name: &str) -> Image {
    Image {
        executable: Some(format!("/bin/{name}")),
        ..Image::default()
    }
}

fn found(tgid: u32, start: u64, ppid: u32, name: &str) -> Found {
    let (exec_id, credentials, terminal, capabilities) = (None, None, None, None);
    Found {
        key: key(tgid, start),
        ppid,
        exec_id,
        image: image(name),
        credentials,
        terminal,
        capabilities,
    }
}

fn header(tgid: u32, start: u64, exec_id: u32) -> Header {
    Header {
        version: 0,
        kind: 0,
        length: 0,
        sequence: 0,
        boottime: 0,
        start_boottime: start,
        cgroup_id: 0,
        effective_capabilities: 0,
        exec_id,
        tgid,
        tid: tgid,
        ppid: 1,
        uid: 5,
        gid: 6,
        euid: 7,
        loginuid: 8,
        mount_namespace: 0,
        pid_namespace: 0,
        network_namespace: 0,
        flags: 0,
        epoch: 0,
        rule: 0,
        cpu: 0,
        comm: [0; 16],
        tier: 0,
        verdict: 0,
        reserved: 0,
        reserved_word: 0,
    }
}

fn executable(program: &Program) -> &str {
    program.image.executable.as_deref().unwrap()
}

#[test]
fn a_process_from_proc_is_recognised_by_its_start_tick() {
    let mut table = Table::new("boot");
    table.insert(found(10, 50_000_000, 0, "sh"));
    assert!(table.attribute(&header(10, 90_000_000, 4)).is_none());
    let (process, program) = table.attribute(&header(10, 57_654_321, 4)).unwrap();
    assert_eq!(process.key.start, 57_654_321);
    assert_eq!(
        (executable(&program), program.exec_id),
        ("/bin/sh", Some(4))
    );
    assert_eq!(process.credentials.unwrap().euid, 7);
    // Its entity id stays, though more is known now.
    let again = table.attribute(&header(10, 57_654_321, 4)).unwrap().1;
    assert_eq!(again.entity_id, program.entity_id);
}

#[test]
fn fork_copies_and_exec_replaces_and_late_events_find_the_program_before() {
    let mut table = Table::new("boot");
    table.insert(found(10, SECOND, 0, "sh"));
    let parent = table.attribute(&header(10, SECOND, 1)).unwrap().0;
    table.fork(&parent, key(11, 2 * SECOND), 1);
    table.fork(&parent, key(11, 2 * SECOND), 1);
    assert_eq!(table.len(), 2);
    let (child, program) = table.attribute(&header(11, 2 * SECOND, 1)).unwrap();
    assert_eq!(executable(&program), "/bin/sh");
    assert_ne!(program.entity_id, parent.program.entity_id);
    assert_eq!(child.parent, Some(parent.key));
    for _ in 0..2 {
        table.exec(
            key(11, 2 * SECOND),
            2,
            image("cat"),
            Some("pts0".into()),
            Effective::default(),
        );
    }
    let program = |table: &mut Table, exec| table.attribute(&header(11, 2 * SECOND, exec));
    assert_eq!(executable(&program(&mut table, 2).unwrap().1), "/bin/cat");
    assert_eq!(executable(&program(&mut table, 1).unwrap().1), "/bin/sh");
    assert!(
        program(&mut table, 3).is_none(),
        "an exec that was not seen"
    );
}

/// An exec after which these capabilities are effective.
fn exec(table: &mut Table, key: Key, exec_id: u32, name: &str, now: u64) {
    let effective = Effective {
        before: None,
        now: Some(now),
    };
    table.exec(key, exec_id, image(name), None, effective);
}

#[test]
fn an_event_between_an_exec_and_its_record_changes_nothing() {
    let mut table = Table::new("boot");
    table.insert(found(10, SECOND, 0, "before"));
    exec(&mut table, key(10, SECOND), 2, "before", 0b1);
    // The kernel maps the new program for it.
    let mapped = Header {
        effective_capabilities: 0b111,
        ..header(10, SECOND, 3)
    };
    table.insert_lost(
        Found {
            exec_id: Some(3),
            ..found(10, SECOND, 0, "?")
        },
        SECOND,
    );
    assert!(table.attribute(&mapped).is_some());
    let effective = Effective {
        before: Some(0b1),
        now: Some(0b111),
    };
    let terminal = Some("pts0".into());
    table.exec(key(10, SECOND), 3, image("after"), terminal, effective);
    let process = table.get(key(10, SECOND)).unwrap().clone();
    assert_eq!(executable(&process.program), "/bin/after");
    assert_eq!(process.program.gained, 0b110);
    assert_eq!(process.terminal.as_deref(), Some("pts0"));
    assert_eq!(process.lost_since, None);
    let before = table.attribute(&header(10, SECOND, 2)).unwrap().1;
    assert_eq!(executable(&before), "/bin/before");
    let weight = image("before").weight() + image("after").weight();
    assert_eq!(table.weight, weight);
}

#[test]
fn what_an_exec_gains_is_known_where_it_is_known_what_was_before() {
    let mut table = Table::new("boot");
    table.insert(found(10, SECOND, 0, "sh"));
    let gained = |table: &Table| table.get(key(10, SECOND)).unwrap().program.gained;
    exec(&mut table, key(10, SECOND), 2, "a", 0b11);
    assert_eq!(gained(&table), 0, "nothing was known before");
    let parent = table.get(key(10, SECOND)).unwrap().clone();
    table.fork(&parent, key(11, 2 * SECOND), 2);
    for _ in 0..2 {
        exec(&mut table, key(11, 2 * SECOND), 3, "b", 0b110);
        let child = table.get(key(11, 2 * SECOND)).unwrap();
        assert_eq!(child.program.gained, 0b100, "also when it is handled again");
    }
    exec(&mut table, key(10, SECOND), 3, "c", 0b1);
    assert_eq!(gained(&table), 0, "what is lost is not gained");
    // What root had is gone with it.
    let root = Header {
        uid: 0,
        euid: 0,
        effective_capabilities: 0b1,
        ..header(10, SECOND, 3)
    };
    assert!(table.attribute(&root).is_some());
    table.drop_root(&header(10, SECOND, 4));
    exec(&mut table, key(10, SECOND), 4, "d", 0b1);
    assert_eq!(gained(&table), 0b1);
}

#[test]
fn an_exited_process_stays_for_late_events_and_for_its_children() {
    let mut table = Table::new("boot");
    table.insert(found(1, 1, 0, "init"));
    for (parent, child) in [(1, 2), (2, 3)] {
        let parent = table.get(key(parent, 0)).unwrap().clone();
        table.fork(&parent, key(child, u64::from(child) * SECOND), 1);
    }
    table.exit(key(2, 2 * SECOND), 10 * SECOND);
    table.exit(key(2, 2 * SECOND), 10 * SECOND);
    table.expire(11 * SECOND);
    assert!(table.get(key(2, 2 * SECOND)).is_some());
    table.expire(30 * SECOND);
    let child = table.get(key(3, 0)).unwrap().clone();
    assert_eq!(
        table
            .ancestors(&child)
            .map(|it| it.key.tgid)
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(table.descendants(key(1, 1), 9), [key(3, 3 * SECOND)]);
    table.exit(key(3, 3 * SECOND), 30 * SECOND);
    table.expire(50 * SECOND);
    assert_eq!((table.len(), table.weight), (1, image("init").weight()));
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut table = Table::new("boot");
    table.insert(found(9, SECOND, 0, "old"));
    table.exit(key(9, SECOND), 2 * SECOND);
    table.insert(found(9, 3 * SECOND, 0, "new"));
    let image = |start| table.get(key(9, start)).map(|it| executable(&it.program));
    assert_eq!(image(SECOND), Some("/bin/old"));
    assert_eq!(image(3 * SECOND), Some("/bin/new"));
    assert_eq!(image(0), Some("/bin/new"));
}

#[test]
fn number_and_weight_are_bounded() {
    let mut table = Table::new("boot");
    for tgid in 1..=(MAX_PROCESSES as u32 + 100) {
        table.insert(found(tgid, SECOND, 0, "x"));
    }
    assert_eq!(table.len(), MAX_PROCESSES);
    assert!(table.get(key(1, 0)).is_none());
    let heavy = "x".repeat(100_000);
    for tgid in 1..1000 {
        table.insert(found(tgid, 9 * SECOND, 0, &heavy));
        assert!(table.weight <= MAX_WEIGHT + heavy.len());
    }
}

#[test]
fn what_a_process_ran_before_weighs_too() {
    let mut table = Table::new("boot");
    let heavy = "x".repeat(100_000);
    for tgid in 1..1000 {
        table.insert(found(tgid, SECOND, 0, "shell"));
        exec(&mut table, key(tgid, SECOND), 2, &heavy, 2 * SECOND);
        exec(&mut table, key(tgid, SECOND), 3, "light", 3 * SECOND);
        let all = table.by_pid.values().flatten();
        let weight: usize = all.map(Process::weight).sum();
        assert_eq!(table.weight, weight);
        assert!(weight <= MAX_WEIGHT + 2 * heavy.len());
    }
}

proptest! {
    /// Counts stay what they count, whatever happens.
    #[test]
    fn the_books_balance(
        steps in proptest::collection::vec((0u8..5, 1u32..12, 1u32..12), 1..100),
    ) {
        let mut table = Table::new("boot");
        for (now, (what, one, other)) in (1u64..).zip(steps) {
            let now = now * 4 * SECOND;
            match what {
                0 => table.insert(found(one, now, other, "a")),
                1 => if let Some(parent) = table.get(key(one, 0)).cloned() {
                    table.fork(&parent, key(other, now), 1);
                },
                2 => exec(&mut table, key(one, 0), now as u32, "longer", 0),
                // Something is told of the new program before its exec is.
                3 => if let Some(process) = table.get(key(one, 0)).cloned() {
                    let lost = Found { exec_id: Some(other), ..found(one, process.key.start, 0, "?") };
                    table.insert_lost(lost, now);
                    exec(&mut table, process.key, other, "longer", 0);
                },
                _ => table.exit(key(one, 0), now),
            }
            table.expire(now);
        }
        let all: Vec<_> = table.by_pid.values().flatten().collect();
        prop_assert_eq!(table.len(), all.len());
        let weight: usize = all.iter().map(|it| it.weight()).sum();
        prop_assert_eq!(table.weight, weight);
        for process in &all {
            let named = |it: &&&Process| it.parent.is_some_and(|key| {
                table.get(key).is_some_and(|parent| parent.key == process.key)
            });
            prop_assert!(process.children as usize >= all.iter().filter(named).count());
        }
    }
}
