//! Policies that are tried on what sensors sent.

use holdfast_wire::frame::{Compression, Entry, Frame, Priority};
use serde_json::{Value, json};

use super::harness::{Sensor, Server, both, printed};

/// Sends these events, as of now.
fn send(server: &Server, sensor: &Sensor, priority: Priority, events: &[Value]) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let entry = |(sequence, event): (u64, &Value)| {
        let mut event = event.clone();
        let time = jiff::Timestamp::from_second((now - 100 + sequence).cast_signed());
        event["@timestamp"] = time.unwrap().to_string().into();
        Entry {
            sequence,
            event: event.to_string().into(),
        }
    };
    let frame = Frame {
        sensor_id: sensor.id.clone(),
        stream: [9; 16],
        priority,
        entries: (1..).zip(events).map(entry).collect(),
    };
    let bytes = frame.encode(Compression::Zlib).unwrap();
    assert_eq!(server.frame(&sensor.token, &bytes).status, 200);
}

fn exec(executable: &str) -> Value {
    json!({"event": {"kind": "event", "action": "process.exec"},
           "process": {"pid": 7, "executable": executable, "name": executable.rsplit('/').next()}})
}

#[test]
fn policies_are_tried_on_what_is_stored() {
    both(|data| {
        let server = Server::start(data);
        let sensor = server.sensor(&printed(data, &["key", "create"]), "h");
        let analyst = printed(data, &["token", "create", "a", "--role", "analyst"]);
        let alert = json!({"event": {"kind": "alert", "action": "file.open", "severity": 3},
                       "rule": {"id": "old", "ruleset": "tools"}, "holdfast": {"action": "alert"},
                       "file": {"path": "/etc/shadow"}, "process": {"pid": 8, "executable": "/usr/bin/cat"}});
        send(&server, &sensor, Priority::Alert, &[alert]);
        let events = [
            exec("/usr/bin/nc"),
            exec("/usr/bin/ls"),
            exec("/usr/bin/nc"),
        ];
        send(&server, &sensor, Priority::Event, &events);

        let policy = |when: &str| {
            json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "tools", "mode": "enforce", "rules": [
            {"id": "no-nc", "on": ["process.exec"], "when": when, "action": "deny", "message": "{{process.executable}} ran"},
            {"id": "keys", "on": ["file.open"], "when": "file.path == '/root/key' && container.name == 'web'", "action": "alert"},
            {"id": "dns", "on": ["network.dns"], "when": "dns.question.name == 'a.example'", "action": "alert"}]})
        .to_string()
        };
        let ask = |when: &str, hours: i64| {
            let body =
                json!({"policies": [{"file": "a.json", "text": policy(when)}], "hours": hours});
            server.send("POST", "/api/v1/policies/dry-run", &analyst, &body)
        };
        let answer = ask("process.executable == '/usr/bin/nc'", 24);
        assert_eq!(answer.status, 200, "{answer:?}");
        let found = answer.json();
        assert_eq!(
            (
                &found["events"],
                &found["matched"],
                &found["new"],
                &found["gone"]
            ),
            (&json!(4), &json!(2), &json!(2), &json!(1)),
            "{found}"
        );
        let rule = &found["rules"][0];
        assert_eq!(
            (&rule["id"], &rule["verdict"], &rule["count"]),
            (&json!("no-nc"), &json!("deny"), &json!(2))
        );
        assert_eq!(rule["examples"][0]["message"], "/usr/bin/nc ran");
        let id = rule["examples"][0]["id"].as_i64().unwrap();
        let event = server.get(&format!("/api/v1/alerts/{id}"), &analyst).json();
        assert_eq!(event["event"]["process"]["executable"], "/usr/bin/nc");
        assert_eq!(
            found["kinds"],
            json!([{"action": "file.open", "events": 1, "alerts": 1},
               {"action": "network.dns", "events": 0, "alerts": 0},
               {"action": "process.exec", "events": 3, "alerts": 0}])
        );
        assert_eq!(found["cut"], Value::Null);

        let wrong = ask("process.executible == '/usr/bin/nc'", 24).json();
        assert_eq!(
            (&wrong["ok"], &wrong["errors"][0]["nearest"]),
            (&json!(false), &json!("process.executable"))
        );
        assert_eq!(ask("true", 25).status, 400);
        let reader = printed(data, &["token", "create", "r"]);
        let body = json!({"policies": [], "hours": 1});
        let refused = server.send("POST", "/api/v1/policies/dry-run", &reader, &body);
        assert_eq!(refused.status, 403);
        // Nothing of it was kept.
        let bundles = server.get("/api/v1/bundles", &analyst).json();
        assert_eq!(bundles["bundles"], json!([]));
    });
}
