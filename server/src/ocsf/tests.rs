//! Events of each kind, and whatever else may be stored.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::event;
use super::facts::check;
use crate::store::events::Found;

fn told(body: &Value) -> Value {
    event(&Found {
        id: 7,
        time: 1_795_374_000_123_456_789,
        received: 1_795_374_000_200,
        sensor_id: "s".into(),
        host_name: "web".into(),
        body: body.to_string(),
    })
}

/// An event as a sensor writes it, with all that is in every one of them.
fn whole(action: &str, about: &Value) -> Value {
    let process = |pid: u64| {
        json!({"entity_id": format!("h-{pid}"), "pid": pid, "executable": "/usr/bin/curl", "name": "curl", "args": ["curl", "-s"],
               "env_vars": ["LANG=C"], "working_directory": "/srv", "start": "2026-11-22T19:00:00.5Z",
               "user": {"id": "1000", "name": "app", "effective": {"id": "0"}}, "group": {"id": "1000"},
               "thread": {"id": 9, "capabilities": {"effective": ["CAP_CHOWN"]}}, "tty": {"name": "pts0"}})
    };
    let mut own = process(1000);
    own["parent"] = process(900);
    own["ancestors"] = json!([process(800), {"pid": 1}]);
    let mut event = json!({
        "@timestamp": "2026-11-22T19:00:00.123456789Z",
        "event": {"id": "b-0-7", "kind": "event", "action": action, "category": ["process"], "type": ["info"], "outcome": "success", "sequence": 7},
        "host": {"id": "m", "name": "web", "os": {"type": "linux", "name": "Debian GNU/Linux", "version": "12", "family": "debian", "kernel": "6.1.0"}},
        "cloud": {"provider": "aws", "region": "eu-1", "availability_zone": "eu-1a", "instance": {"id": "i-1"}, "machine": {"type": "m5"}, "account": {"id": "42"}},
        "process": own,
        "container": {"id": "c0ffee", "name": "shop", "runtime": "docker", "privileged": false, "labels": {"app": "shop"},
                      "image": {"name": "registry.example.org/shop", "tag": ["1.4"], "hash": {"all": ["sha256:0a"]}}},
        "orchestrator": {"type": "kubernetes", "namespace": "default",
                         "resource": {"type": "pod", "name": "shop-1", "id": "123e4567-e89b-12d3-a456-426614174000"}},
        "message": "a message",
        "holdfast": {"tier": "lsm", "exec_id": 1, "login_uid": 1000, "namespaces": {"mnt": 1, "pid": 2, "net": 3}},
    });
    merge(&mut event, about);
    event
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// One event of each kind, with the class and the activity that it is told as.
fn kinds() -> Vec<(Value, i64, i64)> {
    let target =
        || json!({"holdfast": {"target": {"pid": 5, "entity_id": "h-5", "executable": "/bin/sh"}}});
    let file = || json!({"file": {"path": "/etc/shadow", "inode": "7", "device": "8:1", "mode": "0640", "uid": "0", "gid": "42"}});
    let pair = || json!({"file": {"path": "/a", "target_path": "/b"}});
    let ends = || {
        json!({"source": {"ip": "10.0.0.1", "port": 40_000}, "destination": {"ip": "2001:db8::7", "port": 443},
               "network": {"transport": "tcp", "type": "ipv6", "direction": "egress"}, "holdfast": {"socket": {"family": "AF_INET6"}}})
    };
    let memory = || json!({"holdfast": {"memory": {"address": "0x7f00", "size": 4096, "protection": ["PROT_EXEC"]}}});
    let unix = || json!({"network": {"transport": "unix"}, "holdfast": {"socket": {"family": "AF_UNIX", "path": "/run/x.sock"}}});
    let query = || json!({"dns": {"type": "query", "id": "4711", "op_code": "QUERY", "question": {"name": "example.org", "type": "A", "class": "IN"}}});
    let mut answer = query();
    let answers = json!([{"name": "example.org", "type": "A", "data": "192.0.2.1", "ttl": 60}, {"name": "example.org", "type": "OPT", "ttl": 0}]);
    merge(
        &mut answer,
        &json!({"dns": {"response_code": "NOERROR", "answers": answers, "resolved_ip": ["192.0.2.1"]}}),
    );
    merge(&mut answer, &ends());
    let alert = json!({"event": {"kind": "alert", "severity": 3}, "rule": {"id": "shadow-read", "name": "Shadow is read", "ruleset": "credentials",
                       "reference": ["https://attack.mitre.org/techniques/T1003/008/"]},
                       "threat": {"technique": {"id": ["T1003.008", "T1059"]}}, "holdfast": {"action": "deny", "outcome": "blocked", "mode": "enforce"}});
    let mut of_file = file();
    merge(&mut of_file, &alert);
    let mut of_rename = pair();
    merge(&mut of_rename, &alert);
    let mut of_name = answer.clone();
    merge(&mut of_name, &alert);
    let nothing = || json!({});
    let list = [
        ("process.exec", nothing(), 1007, 1),
        ("process.fork", target(), 1007, 1),
        (
            "process.exit",
            json!({"process": {"exit_code": 1}}),
            1007,
            2,
        ),
        ("process.signal", target(), 1007, 99),
        ("process.ptrace", target(), 1007, 3),
        (
            "process.setuid",
            json!({"user": {"changes": {"id": "0"}}}),
            1007,
            5,
        ),
        ("process.setgid", nothing(), 1007, 99),
        ("process.setns", nothing(), 1007, 99),
        ("process.unshare", nothing(), 1007, 99),
        ("process.rlimit", target(), 1007, 99),
        ("process.setscheduler", target(), 1007, 99),
        (
            "capability.use",
            json!({"holdfast": {"capability": "CAP_SYS_ADMIN"}}),
            1007,
            99,
        ),
        ("capability.set", nothing(), 1007, 99),
        ("file.open", file(), 1001, 14),
        ("file.create", file(), 1001, 1),
        ("file.delete", file(), 1001, 4),
        ("file.rename", pair(), 1001, 5),
        ("file.link", pair(), 1001, 1),
        ("file.symlink", pair(), 1001, 1),
        ("file.mkdir", json!({"file": {"path": "/"}}), 1001, 1),
        ("file.rmdir", file(), 1001, 4),
        ("file.chmod", file(), 1001, 7),
        ("file.chown", file(), 1001, 7),
        ("file.truncate", file(), 1001, 3),
        ("file.setxattr", file(), 1001, 6),
        ("file.mount", file(), 1001, 12),
        ("file.umount", file(), 1001, 13),
        ("file.pivot_root", pair(), 1001, 99),
        ("network.socket", nothing(), 4001, 99),
        ("network.connect", ends(), 4001, 1),
        ("network.connect", unix(), 4001, 1),
        ("network.bind", ends(), 4001, 99),
        ("network.listen", unix(), 4001, 7),
        ("network.accept", ends(), 4001, 1),
        ("network.send", ends(), 4001, 6),
        ("network.dns", query(), 4003, 1),
        ("network.dns", answer, 4003, 2),
        ("memory.map", file(), 1004, 9),
        ("memory.map", memory(), 1004, 1),
        ("memory.protect", memory(), 1004, 2),
        ("memory.memfd", nothing(), 1004, 1),
        ("memory.process_write", target(), 1004, 8),
        ("kernel.module", file(), 1002, 1),
        ("kernel.module", nothing(), 1003, 1),
        ("kernel.kexec", file(), 1003, 4),
        ("kernel.bpf", nothing(), 1003, 4),
        ("kernel.perf", nothing(), 1003, 4),
        (
            "ipc.shm",
            json!({"holdfast": {"ipc": {"operation": "shmget"}}}),
            1003,
            1,
        ),
        (
            "ipc.mq",
            json!({"holdfast": {"ipc": {"operation": "mq_open"}}}),
            1003,
            1,
        ),
        ("container.start", nothing(), 6002, 3),
        ("container.exit", nothing(), 6002, 4),
        ("container.image", nothing(), 6002, 99),
        ("sensor.start", nothing(), 6002, 3),
        ("sensor.stop", nothing(), 6002, 4),
        ("sensor.restart", nothing(), 6002, 5),
        ("sensor.loss", nothing(), 6002, 99),
        ("other.kind", nothing(), 0, 99),
        ("file.open", of_file, 2004, 1),
        ("file.rename", of_rename, 2004, 1),
        ("network.dns", of_name, 2004, 1),
        ("process.exec", alert, 2004, 1),
    ];
    let whole = list.map(|(action, about, class, id)| (whole(action, &about), class, id));
    let mut all = Vec::from(whole);
    // Without the object of their class.
    all.push((
        json!({"event": {"action": "file.open"}, "process": {"pid": 1}}),
        0,
        99,
    ));
    all.push((json!({"event": {"action": "process.exec"}}), 0, 99));
    all.push((json!({"event": {"action": "network.socket"}}), 4001, 99));
    all
}

#[test]
fn each_kind_of_event_is_of_its_class_and_has_what_that_requires() {
    for (body, class, activity) in kinds() {
        let told = told(&body);
        check(&told);
        assert_eq!(
            (&told["class_uid"], &told["activity_id"]),
            (&json!(class), &json!(activity)),
            "{body}"
        );
    }
}

#[test]
fn who_did_what_where_has_its_place() {
    let exec = told(&whole("process.exec", &json!({})));
    let at = |place: &str| exec.pointer(place).cloned().unwrap_or_default();
    assert_eq!(at("/time"), 1_795_374_000_123_i64);
    assert_eq!(at("/device/hostname"), "web");
    assert_eq!(at("/actor/process/pid"), 900);
    assert_eq!(at("/actor/user/name"), "app");
    assert_eq!(at("/process/pid"), 1000);
    assert_eq!(at("/process/cmd_line"), "curl -s");
    assert_eq!(at("/process/container/image/tag"), "1.4");
    assert_eq!(at("/process/ancestry/1/pid"), 1);
    assert_eq!(at("/status_id"), 1);
    assert_eq!(at("/unmapped/holdfast/namespaces/mnt"), 1);
    assert_eq!(at("/unmapped/process/pid"), Value::Null);
}

#[test]
fn what_a_rule_found_has_its_techniques_and_its_evidence() {
    let (body, ..) = kinds()
        .into_iter()
        .find(|(_, class, _)| *class == 2004)
        .unwrap();
    let found = told(&body);
    let at = |place: &str| found.pointer(place).cloned().unwrap_or_default();
    assert_eq!(at("/finding_info/title"), "Shadow is read");
    assert_eq!(at("/finding_info/analytic/uid"), "shadow-read");
    assert_eq!(at("/finding_info/attacks/0/sub_technique/uid"), "T1003.008");
    assert_eq!(at("/finding_info/attacks/1/technique/uid"), "T1059");
    assert_eq!(at("/evidences/0/file/path"), "/etc/shadow");
    assert_eq!(at("/evidences/0/actor/process/pid"), 1000);
    assert_eq!(
        (at("/severity_id"), at("/action_id"), at("/disposition_id")),
        (json!(4), json!(2), json!(2))
    );
    assert_eq!(at("/policy/name"), "credentials");
}

/// Names at which something is looked for, and one at which nothing is.
const NAMES: [&str; 24] = [
    "event",
    "action",
    "kind",
    "severity",
    "process",
    "parent",
    "ancestors",
    "pid",
    "executable",
    "args",
    "user",
    "id",
    "name",
    "file",
    "path",
    "dns",
    "question",
    "answers",
    "container",
    "image",
    "holdfast",
    "target",
    "host",
    "other",
];

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
        "mark[0-9]{9}".prop_map(Value::from),
        proptest::sample::select(vec![
            "alert",
            "file.open",
            "process.exec",
            "network.dns",
            "kernel.module",
            "1"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(NAMES.to_vec()), inner, 0..6)
                .prop_map(|map| map
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()),
        ]
    })
}

fn marks(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with("mark") => into.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| marks(value, into)),
        Value::Object(map) => map.values().for_each(|value| marks(value, into)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn whatever_is_stored_is_told_in_the_schema_and_nothing_of_it_is_lost(which in 0..kinds().len(), change in anything()) {
        let (mut body, ..) = kinds().swap_remove(which);
        merge(&mut body, &change);
        for body in [body, change] {
            let told = told(&body);
            check(&told);
            let (text, mut expected) = (told.to_string(), Vec::new());
            marks(&body, &mut expected);
            for mark in expected {
                prop_assert!(text.contains(&mark), "{mark} of {body} is lost");
            }
        }
    }
}
