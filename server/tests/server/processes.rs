//! What an alert's process started, and who else was started beside it.

use holdfast_wire::frame::Priority;
use serde_json::{Value, json};

use super::harness::{Server, both, frame_of, printed};

/// A process by its entity id, which its pid goes by.
fn process(entity: &str) -> Value {
    json!({"entity_id": entity, "pid": entity.len(), "executable": format!("/bin/{entity}"), "args": [entity, "-x"]})
}

/// An event of `entity`, which `parent` started.
fn event(sequence: u64, kind: &str, action: &str, entity: &str, parent: &str) -> Value {
    let mut process = process(entity);
    process["parent"] = json!({"entity_id": parent, "pid": 1});
    json!({
        "@timestamp": format!("2026-11-22T19:00:{sequence:02}Z"),
        "event": {"id": format!("e-{sequence}"), "kind": kind, "action": action},
        "process": process,
    })
}

fn names(list: &Value) -> Vec<&str> {
    let processes = list["processes"].as_array().unwrap().iter();
    processes
        .map(|it| it["entity_id"].as_str().unwrap())
        .collect()
}

#[test]
fn an_alert_has_what_its_process_and_its_parent_started() {
    both(|data| {
        let server = Server::start(data);
        let key = printed(data, &["key", "create", "--uses", "2"]);
        let token = printed(data, &["token", "create", "t"]);
        let [sensor, other] = ["h", "other"].map(|host| server.sensor(&key, host));
        let mut fork = event(5, "event", "process.fork", "child", "own");
        fork["holdfast"] = json!({"target": process("forked")});
        let told = [
            event(1, "event", "process.exec", "brother", "shell"),
            event(2, "alert", "file.open", "own", "shell"),
            event(3, "event", "process.exec", "child", "own"),
            // An alert tells of its process too, which is there once.
            event(4, "alert", "network.connect", "child", "own"),
            fork,
            event(6, "event", "process.exec", "far", "forked"),
            // Says nothing of who started whom.
            event(7, "event", "file.open", "unseen", "own"),
            // A sensor that says that it started its own parent.
            event(8, "event", "process.exec", "own", "far"),
        ];
        let events = (1..).zip(told);
        let bytes = frame_of(&sensor.id, Priority::Alert, events);
        assert_eq!(server.frame(&sensor.token, &bytes).status, 200);
        let foreign = event(1, "alert", "file.open", "foreign", "own");
        let bytes = frame_of(&other.id, Priority::Alert, [(1, foreign)]);
        assert_eq!(server.frame(&other.token, &bytes).status, 200);

        let alerts = server.get("/api/v1/alerts", &token).json();
        let alerts = alerts["events"].as_array().unwrap();
        let own = alerts
            .iter()
            .find(|it| it["event"]["event"]["id"] == "e-2")
            .unwrap();
        let path = format!("/api/v1/alerts/{}/processes", own["id"]);
        let known = server.get(&path, &token).json();
        assert_eq!(names(&known["siblings"]), ["brother"]);
        assert_eq!(names(&known["children"]), ["child"]);
        let child = &known["children"]["processes"][0];
        assert_eq!(child["args"], json!(["child", "-x"]));
        // What tells of it first.
        let first = child["event"].as_i64().unwrap();
        let first = server
            .get(&format!("/api/v1/alerts/{first}"), &token)
            .json();
        assert_eq!(first["event"]["event"]["id"], "e-3");
        let forked = &child["children"]["processes"][0];
        assert_eq!(forked["executable"], "/bin/forked");
        let far = &forked["children"];
        assert_eq!(names(far), ["far"]);
        let below = &far["processes"][0]["children"];
        assert_eq!(
            below,
            &json!({"processes": [], "more": 0, "at_least": false})
        );
        assert_eq!(
            server.get("/api/v1/alerts/99999/processes", &token).status,
            404
        );
    });
}

#[test]
fn what_is_not_shown_of_a_process_is_counted() {
    both(|data| {
        let server = Server::start(data);
        let sensor = server.sensor(&printed(data, &["key", "create"]), "h");
        let token = printed(data, &["token", "create", "t"]);
        let alert = (1, event(1, "alert", "file.open", "own", "shell"));
        let child = |it: u64| {
            (
                it,
                event(it, "event", "process.exec", &format!("c{it}"), "own"),
            )
        };
        let events = [alert].into_iter().chain((2..=41).map(child));
        let bytes = frame_of(&sensor.id, Priority::Alert, events);
        assert_eq!(server.frame(&sensor.token, &bytes).status, 200);
        let known = server.get("/api/v1/alerts/1/processes", &token).json();
        let children = &known["children"];
        // Those that are nearest to the alert.
        let nearest: Vec<_> = (2..=21).map(|it| format!("c{it}")).collect();
        assert_eq!(names(children), nearest);
        assert_eq!(
            (&children["more"], &children["at_least"]),
            (&json!(20), &json!(false))
        );
    });
}
