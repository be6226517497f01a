//! Backups that come back, and files that are none.

use std::path::Path;

use serde_json::json;

use super::harness::{Sensor, Server, command, frame, printed, stand_for};
use super::postgres::Cluster;
use super::{POLICY, heartbeat, stored};

fn refused(data: &Path, file: &Path, more: &[&str], why: &str) {
    let arguments = [&["restore", file.to_str().unwrap()], more].concat();
    let output = command(data, &arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(why), "{said}");
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_takes_the_place_of_a_store_only_where_that_is_said_and_nobody_has_it() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start(&data);
    let sensor = server.sensor(&printed(&data, &["key", "create"]), "h");
    let token = printed(&data, &["token", "create", "t"]);
    server.frame(&sensor.token, &frame(&sensor.id, [1]));
    let backup = place.path().join("backup.db");
    printed(&data, &["backup", backup.to_str().unwrap()]);
    server.frame(&sensor.token, &frame(&sensor.id, [2]));

    refused(&data, &backup, &[], "--replace");
    refused(
        &data,
        &backup,
        &["--replace"],
        "is in use: stop the server first",
    );
    assert_eq!(stored(&server, &token).len(), 2);
    server.kill();
    // What the one that was killed had in its log is there until it is replaced.
    refused(&data, &backup, &[], "--replace");
    let server = Server::start(&data);
    assert_eq!(stored(&server, &token).len(), 2);
    server.kill();
    printed(&data, &["restore", backup.to_str().unwrap(), "--replace"]);
    let server = Server::start(&data);
    assert_eq!(stored(&server, &token), ["e-1"]);
    let admin = printed(&data, &["token", "create", "a", "--role", "admin"]);
    let audit = server.get("/api/v1/audit", &admin).json();
    let lines = audit["lines"].as_array().unwrap();
    assert!(lines.iter().any(|it| it["action"] == "store.restore"));
    // The sensor goes on.
    assert_eq!(
        server.frame(&sensor.token, &frame(&sensor.id, [3])).status,
        200
    );
}

/// Makes a bundle and assigns it to all: its version.
fn assigned(server: &Server, token: &str, name: &str) -> u64 {
    let policies = json!([{"file": "a.json", "text": POLICY}]);
    let draft = json!({"name": name, "policies": policies});
    let made = server.send("POST", "/api/v1/bundles", token, &draft);
    let version = made.json()["version"].as_u64().unwrap();
    let target = json!({"target": "all", "version": version});
    let put = server.send("PUT", "/api/v1/assignments", token, &target);
    assert_eq!(put.status, 200, "{put:?}");
    version
}

#[test]
fn a_version_has_no_other_content_after_a_restore() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start(&data);
    let sensor = server.sensor(&printed(&data, &["key", "create"]), "h");
    let token = printed(&data, &["token", "create", "a", "--role", "admin"]);
    let wanted = |server: &Server, bundle| {
        let body = heartbeat(Some(bundle));
        let answer = server.send("POST", "/uplink/v1/heartbeat", &sensor.token, &body);
        answer.json()["bundle"].as_u64().unwrap()
    };
    let before = assigned(&server, &token, "before");
    let backup = place.path().join("backup.db");
    printed(&data, &["backup", backup.to_str().unwrap()]);
    let since = assigned(&server, &token, "since");
    assert_eq!(wanted(&server, before), since);
    server.kill();
    printed(&data, &["restore", backup.to_str().unwrap(), "--replace"]);
    let server = Server::start(&data);
    // What was assigned, above what the sensor has, and what is made now above that.
    let again = wanted(&server, since);
    assert!(again > since, "{again}");
    let listed = server.get("/api/v1/bundles", &token).json();
    let listed = listed["bundles"].as_array().unwrap();
    let bundle = listed.iter().find(|it| it["version"] == again).unwrap();
    assert_eq!(
        (&bundle["name"], &bundle["origin"]),
        (&json!("before"), &json!(before))
    );
    assert!(assigned(&server, &token, "later") > again);
}

#[test]
fn what_is_no_backup_is_refused_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    printed(&data, &["key", "create"]);
    let keys = printed(&data, &["key", "list", "--json"]);
    let backup = place.path().join("backup.db");
    printed(&data, &["backup", backup.to_str().unwrap()]);
    let whole = std::fs::read(&backup).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = place.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let before = names(&data);
    let refused = |file: &Path, why: &str| {
        refused(&data, file, &["--replace"], why);
        assert_eq!(names(&data), before);
        assert_eq!(printed(&data, &["key", "list", "--json"]), keys);
    };
    refused(&place.path().join("nowhere.db"), "No such file");
    refused(&file("text.db", b"not a store"), "no file of SQLite");
    refused(
        &file("short.db", &whole[..whole.len() / 2]),
        "no backup that can be restored",
    );
    let other = place.path().join("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection
        .execute_batch("CREATE TABLE setting (a); PRAGMA user_version = 1")
        .unwrap();
    drop(connection);
    refused(&other, "no store of a Team Server");
    let mut later = whole.clone();
    later[60..64].copy_from_slice(&1000_u32.to_be_bytes());
    refused(&file("later.db", &later), "use a later version");
    let log = file("served.db-wal", b"");
    refused(&file("served.db", &whole), "as of a store that is served");
    std::fs::remove_file(log).unwrap();
    printed(&data, &["restore", backup.to_str().unwrap(), "--replace"]);
}

#[test]
fn a_dump_of_postgresql_is_a_server() {
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::start());
    let data = place.path().join("data");
    stand_for(&data, &cluster.database("fleet"));
    let server = Server::start(&data);
    let sensor = server.sensor(&printed(&data, &["key", "create"]), "h");
    let token = printed(&data, &["token", "create", "t"]);
    server.frame(&sensor.token, &frame(&sensor.id, [1, 2]));
    // While it runs.
    let restored = cluster.dumped_into("fleet", "restored");
    server.frame(&sensor.token, &frame(&sensor.id, [3]));
    assert!(server.stop());

    refused(&data, &place.path().join("any"), &[], "pg_restore");
    let copy = place.path().join("copy");
    stand_for(&copy, &restored);
    printed(&copy, &["restore"]);
    let server = Server::start(&copy);
    assert_eq!(stored(&server, &token), ["e-2", "e-1"]);
    assert_eq!(
        server
            .frame(&sensor.token, &frame(&sensor.id, [2, 4]))
            .status,
        200
    );
    assert_eq!(stored(&server, &token), ["e-4", "e-2", "e-1"]);
    let key = printed(&copy, &["key", "create"]);
    let again = server.enrol_again(&key, "h", Some(&sensor.token));
    assert_eq!(Sensor::of(&again).bundle_key, sensor.bundle_key);
}
