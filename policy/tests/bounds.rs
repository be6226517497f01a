//! Policies that are hard on the compiler: it takes room for the policy and for its lists, not for their product.
#![allow(clippy::unwrap_used)] // Also in helpers: a test that cannot go on fails.

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{Mode, Policy};
use holdfast_policy::explain::Decided;
use holdfast_policy::field::Kinds;
use holdfast_policy::snapshot::Snapshot;
use serde_json::json;

/// As many as are said to be fine.
const LISTED: usize = 100_000;
const RULES: usize = 2_000;
/// The most memory of the test, KiB: what lists and rules take once, several times over. Two thousand copies of
/// one of the lists would be thirty times as much.
const MOST_KIB: u64 = 512 * 1024;

/// The kind of a rule with this number, and what it asks for.
type Condition = fn(usize) -> (&'static str, String);

fn rule(number: usize, kind: &str, when: &str) -> serde_json::Value {
    json!({"id": format!("r{number}"), "on": [kind], "action": "deny", "when": when})
}

fn compiled(rules: &[serde_json::Value]) -> Snapshot {
    let policy = json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "hard", "rules": rules, "lists": {
        "paths": {"file": "paths"}, "addresses": {"file": "addresses"}, "some": {"file": "some"}}});
    let lines = |count: usize, line: fn(usize) -> String| -> Vec<u8> {
        let lines: Vec<String> = (0..count).map(line).collect();
        lines.join("\n").into_bytes()
    };
    let mut files = |name: &str| {
        Ok(match name {
            "paths" => lines(LISTED, |it| format!("/usr/share/something/{it}")),
            "addresses" => lines(LISTED, |it| {
                format!("10.{}.{}.{}", it >> 16, it >> 8 & 255, it & 255)
            }),
            _ => lines(3_000, |it| format!("/usr/bin/{it}")),
        })
    };
    let text = policy.to_string();
    let policy = Policy::parse_with("hard.json", text.as_bytes(), &mut files).unwrap();
    let options = Options {
        epoch: 1,
        mode: Mode::Enforce,
        reported: Kinds::NONE,
    };
    compile(&[policy], &options).unwrap()
}

/// The most memory that this process has taken (`VmHWM`, proc_pid_status(5)), KiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn rules_that_ask_for_long_lists_share_them() {
    let conditions: [Condition; 4] = [
        |it| {
            (
                "file.open",
                format!("file.path in lists.paths && process.name == 'x{it}'"),
            )
        },
        |it| {
            (
                "file.open",
                format!("!(file.path in lists.some) || file.path.startsWith('/x{it}')"),
            )
        },
        |it| {
            (
                "network.connect",
                format!("destination.ip in lists.addresses && process.name == 'x{it}'"),
            )
        },
        |it| {
            (
                "process.exec",
                format!("container.id in lists.paths && process.name == 'x{it}'"),
            )
        },
    ];
    let rules = (0..RULES).map(|it| {
        let (kind, when) = conditions[it % conditions.len()](it);
        rule(it, kind, &when)
    });
    let snapshot = compiled(&rules.collect::<Vec<_>>());
    assert_eq!(snapshot.rules().len(), RULES);
    let most = most_memory();
    assert!(most < MOST_KIB, "it took {most} KiB");
}

#[test]
fn a_list_that_has_no_room_in_the_kernel_is_in_nobody_s_way() {
    let rules = [
        rule(0, "file.open", "file.path == '/etc/shadow'"),
        rule(1, "file.open", "file.path in lists.paths"),
    ];
    let snapshot = compiled(&rules);
    let explained = snapshot.explain();
    let decided = explained.rules.iter().map(|rule| rule.hooks[0].decided);
    assert_eq!(
        decided.collect::<Vec<_>>(),
        [Decided::Kernel, Decided::User]
    );
}

#[test]
fn rules_without_room_say_so() {
    let many = (0..300).map(|it| format!("file.path == '/{it}' && process.executable == '/x'"));
    let wide: Vec<String> = (0..40)
        .map(|it| format!("(file.path == '/{it}' || process.executable == '/{it}')"))
        .collect();
    let of_users = "process.name == 'x'".to_owned();
    let whens = many.chain([wide.join(" && "), of_users]);
    let rules = whens
        .enumerate()
        .map(|(it, when)| rule(it, "file.open", &when));
    let snapshot = compiled(&rules.collect::<Vec<_>>());
    let explained = snapshot.explain();
    let lack = explained.rules.iter().map(|rule| rule.hooks[0].lacks_room);
    let lack: Vec<bool> = lack.collect();
    // The last place but one says that user space has to look.
    assert!(lack[..254].iter().all(|lacks| !lacks), "{lack:?}");
    assert!(lack[254..301].iter().all(|lacks| *lacks), "{lack:?}");
    assert!(!lack[301], "it is user space's in any case");
}

#[test]
fn files_of_a_policy_s_lists_are_bounded_together() {
    let lists = (0..5).map(|it| (format!("l{it}"), json!({"file": "long"})));
    let lists: serde_json::Map<_, _> = lists.collect();
    let policy = json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "hard", "lists": lists, "rules": []});
    let mut long = |_: &str| Ok(vec![b'#'; 15 << 20]);
    let refused = Policy::parse_with("hard.json", policy.to_string().as_bytes(), &mut long);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("more than 64 MiB"), "{refused}");
    assert!(!refused.contains("l3"), "four have room: {refused}");
}
