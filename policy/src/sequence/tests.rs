use std::borrow::Cow;
use std::collections::BTreeMap;

use holdfast_wire::Kind;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::compile::{Options, compile};
use crate::document::{Mode, Policy};
use crate::field::Recorded;
use crate::lookup::{Known, Lookup};
use crate::replay::Retelling;

const SECOND: u64 = 1_000_000_000;

fn snapshot(after: &Json) -> Snapshot {
    let policy = json!({
        "apiVersion": "holdfast/v1", "kind": "Policy", "name": "p",
        "rules": [{"id": "r", "on": ["process.exec"], "when": "process.executable == '/b'",
                   "action": "alert", "after": after}]});
    let policy = Policy::parse("p", policy.to_string().as_bytes()).unwrap();
    let options = Options {
        epoch: 1,
        mode: Mode::Observe,
        reported: Kinds::NONE,
    };
    compile(&[policy], &options).unwrap()
}

fn after(by: &str) -> Json {
    json!({"on": ["process.exec"], "when": "process.executable == '/a'", "within": "10s", "by": by})
}

/// An exec at a second, by a process and its forebears.
fn exec(second: u64, path: &str, pids: &[u32]) -> Json {
    let process = |pid: &u32| json!({"pid": pid});
    let mut event = json!({
        "@timestamp": holdfast_wire::event::rfc3339(second * SECOND),
        "event": {"action": "process.exec"},
        "process": {"pid": pids[0], "executable": path, "user": {"id": (pids[0] % 2).to_string()}},
        "container": {"id": if pids[0] < 10 { "" } else { "c" }}});
    if let Some(parent) = pids.get(1) {
        event["process"]["parent"] = process(parent);
        event["process"]["ancestors"] = pids[2..].iter().map(process).collect();
    }
    event
}

/// For each event whether the rule matches.
fn matches(snapshot: &Snapshot, events: &[Json]) -> Vec<bool> {
    let mut retelling = Retelling::default();
    let judge = |event: &Json| {
        let event = Recorded::new(event).unwrap();
        retelling.judge(snapshot, &event).rule.is_some()
    };
    events.iter().map(judge).collect()
}

#[test]
fn a_descendant_follows_and_others_do_not() {
    let events = [
        exec(0, "/b", &[2, 1]),
        exec(1, "/a", &[2, 1]),
        exec(2, "/b", &[2, 1]),
        exec(3, "/b", &[4, 3, 2, 1]),
        exec(3, "/b", &[1]),
        exec(11, "/b", &[4, 2]),
        exec(12, "/b", &[4, 2]),
    ];
    let tree = [false, false, true, true, false, true, false];
    assert_eq!(matches(&snapshot(&after("tree")), &events), tree);
    let process = [false, false, true, false, false, false, false];
    assert_eq!(matches(&snapshot(&after("process")), &events), process);
    let user = [false, false, true, true, false, true, false];
    assert_eq!(matches(&snapshot(&after("user")), &events), user);
    // None of them is in a container.
    assert_eq!(matches(&snapshot(&after("container")), &events), [false; 7]);
    let inside = [
        exec(1, "/a", &[10]),
        exec(2, "/b", &[11]),
        exec(2, "/b", &[1]),
    ];
    let container = [false, true, false];
    assert_eq!(matches(&snapshot(&after("container")), &inside), container);
}

#[test]
fn steps_come_one_after_the_other() {
    let mut last = after("tree");
    last["after"] = json!({"on": ["file.open"], "when": "file.path == '/x'", "within": "1m"});
    let snapshot = snapshot(&last);
    let open =
        json!({"event": {"action": "file.open"}, "file": {"path": "/x"}, "process": {"pid": 2}});
    let (a, b) = (exec(1, "/a", &[2]), exec(2, "/b", &[2]));
    let told = |events: &[&Json]| {
        let events: Vec<Json> = events.iter().map(|event| (*event).clone()).collect();
        matches(&snapshot, &events).pop()
    };
    assert_eq!(told(&[&open, &a, &b]), Some(true));
    assert_eq!(told(&[&a, &open, &b]), Some(false));
    assert_eq!(told(&[&a, &b]), Some(false));
    assert!(snapshot.wants(Kind::FileOpen));
}

#[test]
fn another_process_of_the_same_number_is_another() {
    let snapshot = snapshot(&after("process"));
    let at = |second: u64, path: &str, start: u64| {
        let mut event = exec(second, path, &[2]);
        event["process"]["start"] = holdfast_wire::event::rfc3339(start).as_str().into();
        event
    };
    let events = [
        at(1, "/a", SECOND),
        at(2, "/b", SECOND + TICK),
        at(3, "/b", SECOND + 2 * TICK),
    ];
    assert_eq!(matches(&snapshot, &events), [false, true, false]);
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes() {
    let snapshot = snapshot(&after("process"));
    let mut history = History::default();
    for pid in 0..=MAX_REMEMBERED as u32 {
        let event = exec(1, "/a", &[pid]);
        let event = Recorded::new(&event).unwrap();
        let processes = event.identities();
        let moment = Moment {
            time: SECOND,
            processes: &processes,
        };
        snapshot.remember(Kind::ProcessExec, &event, &moment, &mut history);
    }
    let has = |pid: u32| {
        let event = exec(2, "/b", &[pid]);
        let event = Recorded::new(&event).unwrap();
        let moment = Moment {
            time: 2 * SECOND,
            processes: &event.identities(),
        };
        let judged = snapshot.judge_after(Kind::ProcessExec, &event, &moment, &history);
        judged.rule.is_some()
    };
    assert!(!has(0) && has(1) && has(MAX_REMEMBERED as u32));
    assert_eq!(history.forgotten(), 1);
}

/// What a rule waits for is passed on by the kernel, and nothing else is.
#[test]
fn steps_come_to_user_space() {
    struct Path(&'static str);
    impl Known for Path {
        fn path(&self) -> Option<Cow<'_, [u8]>> {
            Some(Cow::Borrowed(self.0.as_bytes()))
        }
    }
    let lookup = Lookup::new(snapshot(&after("tree")).tables());
    let undecided = |path| lookup.decide(Kind::ProcessExec, &Path(path)).undecided;
    assert!(undecided("/a") && undecided("/b") && !undecided("/c"));
}

#[test]
fn mistakes_are_named() {
    let refused = |after: Json| {
        let policy = json!({
            "apiVersion": "holdfast/v1", "kind": "Policy", "name": "p",
            "rules": [{"id": "r", "on": ["process.exec"], "when": "true", "action": "alert", "after": after}]});
        let problems = Policy::parse("p", policy.to_string().as_bytes()).unwrap_err();
        problems.to_string()
    };
    let mut wrong = after("tree");
    wrong["by"] = "process_tree".into();
    assert!(refused(wrong).contains("tree, process, container, user"));
    let mut wrong = after("tree");
    wrong["within"] = "ever".into();
    assert!(refused(wrong).contains("no duration"));
    let mut wrong = after("tree");
    wrong["when"] = "file.path == '/x'".into();
    assert!(refused(wrong).contains("file.path"));
    let mut deep = after("tree");
    for _ in 0..MAX_STEPS {
        let mut outer = after("tree");
        outer["after"] = deep;
        deep = outer;
    }
    assert!(refused(deep).contains("at most 8"));
}

/// Looks back over all that happened.
fn naive(events: &[(u64, bool, Vec<u32>)], at: usize) -> bool {
    let (time, is_step, pids) = &events[at];
    let before = events[..at].iter();
    !is_step
        && before
            .filter(|(then, step, _)| *step && then <= time && time - then <= 10)
            .any(|(_, _, who)| pids.contains(&who[0]))
}

proptest! {
    #[test]
    fn it_is_as_if_everything_were_remembered(
        told in proptest::collection::vec((0..4u64, any::<bool>(), 0..5usize), 1..40)
    ) {
        // A small tree: each is its own, then its parent and so on.
        let lines: BTreeMap<usize, Vec<u32>> =
            [vec![1], vec![2, 1], vec![3, 2, 1], vec![4, 1], vec![5, 4, 1]].into_iter().enumerate().collect();
        let mut time = 0;
        let events: Vec<_> = told.into_iter().map(|(pause, is_step, who)| {
            time += pause;
            (time, is_step, lines[&who].clone())
        }).collect();
        let printed: Vec<Json> = events.iter().map(|(time, is_step, pids)| {
            exec(*time, if *is_step { "/a" } else { "/b" }, pids)
        }).collect();
        let found = matches(&snapshot(&after("tree")), &printed);
        for (at, found) in found.iter().enumerate() {
            prop_assert_eq!(*found, naive(&events, at), "{}", at);
        }
    }
}
