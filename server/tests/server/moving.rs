//! From SQLite to PostgreSQL.

use serde_json::json;

use super::harness::{Server, command, frame, printed, stand_for};
use super::postgres::Cluster;
use super::{POLICY, stored};

#[test]
fn everything_goes_into_an_empty_database_and_sensors_go_on() {
    let place = tempfile::tempdir().unwrap();
    let (old, new) = (place.path().join("old"), place.path().join("new"));
    let server = Server::start(&old);
    let sensor = server.sensor(&printed(&old, &["key", "create"]), "h");
    let token = printed(&old, &["token", "create", "t", "--role", "admin"]);
    let policies = json!({"name": "first", "policies": [{"file": "a.json", "text": POLICY}]});
    let bundle = server.send("POST", "/api/v1/bundles", &token, &policies);
    assert_eq!(bundle.status, 200, "{bundle:?}");
    let assigned = json!({"target": "all", "version": bundle.json()["version"]});
    let assigned = server.send("PUT", "/api/v1/assignments", &token, &assigned);
    assert_eq!(assigned.status, 200, "{assigned:?}");
    // With a gap.
    for sequences in [1..=1500, 1601..=1700] {
        let answer = server.frame(&sensor.token, &frame(&sensor.id, sequences));
        assert_eq!(answer.status, 200);
    }
    let paths = [
        "sensors",
        "bundles",
        "users",
        "tokens",
        "alerts?limit=500",
        "audit",
    ];
    let seen = |server: &Server, path: &str| server.get(&format!("/api/v1/{path}"), &token).json();
    let before: Vec<_> = paths.map(|path| seen(&server, path)).into();
    let events = stored(&server, &token);
    assert!(server.stop());

    let cluster = Cluster::start();
    stand_for(&new, &cluster.database("fleet"));
    let from = ["move", "--from", old.to_str().unwrap()];
    printed(&new, &from);
    let again = command(&new, &from);
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("has something in its table"), "{said}");

    let server = Server::start(&new);
    for (path, before) in paths.iter().zip(&before) {
        assert_eq!(&seen(&server, path), before, "{path}");
    }
    assert!(stored(&server, &token) == events);
    // What came already is known, and what did not is taken, from the same sensor.
    let answer = server.frame(&sensor.token, &frame(&sensor.id, 1490..=1610));
    assert_eq!(answer.status, 200);
    let mut after = stored(&server, &token);
    after.sort_unstable();
    let mut expected: Vec<_> = (1..=1700).map(|sequence| format!("e-{sequence}")).collect();
    expected.sort_unstable();
    assert!(after == expected, "{} events", after.len());
    server.sensor(&printed(&new, &["key", "create"]), "another");
}

#[test]
fn there_has_to_be_a_store() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    stand_for(&data, "postgres://nobody@%2Fnowhere/none");
    let output = command(&data, &["move", "--from", data.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!data.exists());
}
