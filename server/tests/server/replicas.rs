//! Servers on a database of PostgreSQL: one that loses it, and two that share it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::harness::{
    PASSWORD, Sensor, Server, command, frame, next_alert, post_frame, printed, stand_for,
};
use super::postgres::Cluster;
use super::stored;
use super::tls::file;

/// Longer than a database takes to start again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a frame until it is acknowledged.
fn send(address: &str, sensor: &Sensor, bytes: &[u8]) {
    let end = Instant::now() + PATIENCE;
    while !post_frame(address, &sensor.token, bytes).is_ok_and(|answer| answer.status == 200) {
        assert!(Instant::now() < end, "a frame is not taken");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What is stored, without anything twice.
fn once(server: &Server, data: &Path) -> BTreeSet<String> {
    let ids = stored(server, &printed(data, &["token", "create", "t"]));
    let different: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), different.len(), "something is stored twice");
    different
}

#[test]
fn a_database_that_is_killed_meanwhile_has_each_alert_once() {
    let (place, mut cluster) = (tempfile::tempdir().unwrap(), Cluster::start());
    let data = place.path().join("data");
    stand_for(&data, &cluster.database("fleet"));
    // It waits for one that is not there yet.
    cluster.kill();
    let starting = {
        let data = data.clone();
        thread::spawn(move || Server::start(&data))
    };
    thread::sleep(Duration::from_millis(500));
    cluster.run();
    let server = starting.join().unwrap();
    assert!(server.log().contains("waited for"), "{}", server.log());
    let key = printed(&data, &["key", "create"]);
    let sensors = [server.sensor(&key, "a"), server.sensor(&key, "b")];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for (number, sensor) in (0..).zip(&sensors) {
            let (address, done) = (&server.address, &done);
            scope.spawn(move || {
                // Sequences of both are apart, so that the events are.
                let first = 1 + number * 100_000;
                let mut next = first;
                while !done.load(Ordering::Relaxed) {
                    send(address, sensor, &frame(&sensor.id, next..next + 20));
                    next += 20;
                }
                let taken = next - first;
                assert!(taken > 100, "{taken}");
            });
        }
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(700));
            cluster.kill();
            // Whoever asks is told.
            let answer = server.request("GET", "/readyz", &[], b"");
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.header("retry-after").is_some());
            let late = post_frame(&server.address, &sensors[0].token, b"").unwrap();
            assert_eq!(late.status, 503, "{late:?}");
            cluster.run();
        }
        thread::sleep(Duration::from_millis(700));
        done.store(true, Ordering::Relaxed);
    });
    let log = server.log();
    assert!(
        log.contains("is away") && log.contains("is there again"),
        "{log}"
    );
    let known = once(&server, &data);
    for first in [1, 100_001] {
        let mut sequence = first;
        while known.contains(&format!("e-{sequence}")) {
            sequence += 1;
        }
        let of_this = known.iter().filter(|id| {
            let number: u64 = id[2..].parse().unwrap();
            (number > 100_000) == (first > 100_000)
        });
        assert_eq!(
            of_this.count() as u64,
            sequence - first,
            "something is missing"
        );
    }
    assert!(server.stop());
}

#[test]
fn two_servers_are_one() {
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::start());
    let data = place.path().join("data");
    stand_for(&data, &cluster.database("fleet"));
    // Both at once make the tables, the first user and the key that signs.
    let other = {
        let data = data.clone();
        thread::spawn(move || Server::start(&data))
    };
    let servers = [Server::start(&data), other.join().unwrap()];
    let key = printed(&data, &["key", "create", "--uses", "1"]);
    let enrolled = thread::scope(|scope| {
        let both = servers
            .each_ref()
            .map(|server| scope.spawn(|| server.enrol(&key, "h").status));
        both.map(|answer| answer.join().unwrap())
    });
    assert!(
        enrolled == [200, 403] || enrolled == [403, 200],
        "{enrolled:?}"
    );

    // The same host at both: one sensor. The same frames to both: each event once.
    let key = printed(&data, &["key", "create"]);
    let [one, two] = thread::scope(|scope| {
        let both = servers
            .each_ref()
            .map(|server| scope.spawn(|| server.sensor(&key, "twice")));
        both.map(|sensor| sensor.join().unwrap())
    });
    assert_eq!((&one.id, &one.bundle_key), (&two.id, &two.bundle_key));
    let sensor = servers[0].sensor(&key, "twice");
    let token = printed(&data, &["token", "create", "f"]);
    let mut follower = servers[0].follow("", &token, "0");
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| {
                for first in (1..2000).step_by(20) {
                    send(
                        &server.address,
                        &sensor,
                        &frame(&sensor.id, first..first + 25),
                    );
                }
            });
        }
    });
    let known = once(&servers[1], &data);
    assert_eq!(known.len(), 2005);
    let followed = (0..2005).map(|_| next_alert(&mut follower)["event"]["event"]["id"].to_string());
    assert_eq!(followed.collect::<BTreeSet<_>>().len(), 2005);

    // Logged in at one, known at the other.
    let answer = servers[0].login("admin", PASSWORD);
    let cookie = answer.header("set-cookie").unwrap();
    let session = cookie.split(';').next().unwrap();
    let me = servers[1].request("GET", "/api/v1/me", &[("Cookie", session)], b"");
    assert_eq!(me.json(), json!({"name": "admin", "role": "admin"}));

    // Bundles that are made at once have versions of their own.
    let admin = printed(&data, &["token", "create", "a", "--role", "admin"]);
    let draft = json!({"name": "b", "policies": [{"file": "a.json", "text": super::POLICY}]});
    let mut versions: Vec<_> = thread::scope(|scope| {
        let make = |server: &Server| {
            let made = server.send("POST", "/api/v1/bundles", &admin, &draft);
            made.json()["version"].as_u64().unwrap()
        };
        let all: Vec<_> = (0..8)
            .map(|number| {
                let server = &servers[number % 2];
                scope.spawn(move || make(server))
            })
            .collect();
        all.into_iter().map(|made| made.join().unwrap()).collect()
    });
    versions.sort_unstable();
    assert_eq!(versions, (1..=8).collect::<Vec<_>>());
    // And of two roll-outs to a target one begins.
    let plan =
        json!({"target": "all", "version": 1, "stages": [{"percent": 100, "wait_seconds": 60}]});
    let begun = thread::scope(|scope| {
        let both = servers.each_ref().map(|server| {
            scope.spawn(|| {
                server
                    .send("POST", "/api/v1/rollouts", &admin, &plan)
                    .status
            })
        });
        both.map(|status| status.join().unwrap())
    });
    assert!(begun == [200, 409] || begun == [409, 200], "{begun:?}");
    for server in servers {
        assert!(server.stop());
    }
}

#[test]
fn a_database_that_cannot_be_is_said_without_its_password() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    for (database, expected) in [
        ("postgres://ada:s3cret@127.0.0.1:1/fleet", "is away"),
        (
            "postgres://ada:s3cret@db.example.org/fleet?sslmode=prefer",
            "sslmode is",
        ),
        ("ada:s3cret", "postgres://USER@HOST/NAME"),
        (
            "postgres://ada:s3cret@h/fleet?none=1",
            "postgres://USER@HOST/NAME",
        ),
    ] {
        stand_for(&data, database);
        let run = &["run", "--listen", "127.0.0.1:0"][..];
        // A server waits for a database that is away.
        let all = [&["key", "list"][..], run];
        for arguments in all
            .into_iter()
            .take(if expected == "is away" { 1 } else { 2 })
        {
            let output = command(&data, arguments);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.contains(expected) && !said.contains("s3cret"),
                "{said}"
            );
        }
    }
    let cluster = Cluster::start();
    stand_for(&data, &cluster.database("fleet"));
    let output = command(&data, &["backup", place.path().join("b").to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("pg_dump"), "{said}");
    cluster.sql("fleet", "INSERT INTO schema_version VALUES (1000)");
    let output = command(&data, &["key", "list"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("schema 1000"), "{said}");
}

#[test]
fn by_tls_a_database_is_known_by_its_certificate() {
    let (place, certificate) = (tempfile::tempdir().unwrap(), file("certificate.pem"));
    let (cluster, port) = Cluster::start_with_tls(&certificate, &file("key.pem"));
    cluster.database("fleet");
    cluster.sql("fleet", "ALTER USER holdfast PASSWORD 's3cret'");
    let data = place.path().join("data");
    let tried = |host: &str, mode: &str| {
        stand_for(
            &data,
            &format!("postgres://holdfast:s3cret@{host}:{port}/fleet{mode}"),
        );
        let output = command(&data, &["key", "list"]);
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    // The system's authorities do not know it.
    let (success, said) = tried("localhost", "?sslmode=require");
    assert!(!success && said.contains("certificate"), "{said}");
    std::fs::copy(&certificate, data.with_extension("trust")).unwrap();
    for (host, mode, expected) in [
        ("localhost", "?sslmode=require", true),
        ("localhost", "?sslmode=verify-full", true),
        // It is for another name.
        ("127.0.0.1", "?sslmode=require", false),
        // It takes connections by TLS alone.
        ("localhost", "", false),
    ] {
        let (success, said) = tried(host, mode);
        assert_eq!(success, expected, "{host} {mode}: {said}");
    }
    let encrypted = "SELECT count(*) FROM pg_stat_ssl WHERE ssl";
    let server = {
        stand_for(
            &data,
            &format!("postgres://holdfast:s3cret@localhost:{port}/fleet?sslmode=require"),
        );
        Server::start(&data)
    };
    assert_ne!(cluster.sql("fleet", encrypted), "0");
    assert!(!server.log().contains("s3cret"));
    assert!(server.stop());
}
