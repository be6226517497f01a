//! Backups that come back, and files that are none.

use std::path::Path;

use super::harness::{Sensor, Server, command, frame, printed, stand_for};
use super::postgres::Cluster;
use super::stored;

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
