//! The server as sensors, browsers and scripts see it: the binary, a port, a file.
// Clippy knows tests by their attribute, which the helpers here do not have.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

#[path = "server/compliance.rs"]
mod compliance;
#[path = "server/dryrun.rs"]
mod dryrun;
#[path = "server/forward.rs"]
mod forward;
#[path = "server/harness.rs"]
mod harness;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/moving.rs"]
mod moving;
#[path = "server/openapi.rs"]
mod openapi;
#[path = "server/postgres.rs"]
mod postgres;
#[path = "server/processes.rs"]
mod processes;
#[path = "server/replicas.rs"]
mod replicas;
#[path = "server/restore.rs"]
mod restore;
#[path = "server/rollouts.rs"]
mod rollouts;
#[path = "server/simulate.rs"]
mod simulate;
#[path = "server/tls.rs"]
mod tls;
#[path = "server/web.rs"]
mod web;

use harness::{PASSWORD, Sensor, Server, both, command, frame, next_alert, printed};

const POLICY: &str = r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"credentials",
 "rules":[{"id":"shadow-read","on":["file.open"],"when":"file.path == '/etc/shadow'","action":"deny"}]}"#;

fn heartbeat(bundle: Option<u64>) -> Value {
    json!({"version": "0.1.0", "tier": "lsm", "mode": "enforce",
           "degraded": [{"what": "sink.file", "reason": "disk full", "since": "2026-11-22T19:00:00Z"}],
           "policy": {"revision": 2, "bundle": bundle, "error": null},
           "ledger": {"kinds": {"file.open": {"seen": 7}}},
           "uplink": {"spooled": 1, "lost": 2, "sent": 3},
           "containers": {"total": 2, "list": [{"id": "c0ffee", "name": "web", "image": "nginx:1.27"}]}})
}

/// The `event.id` of everything that is stored, as often as it is.
fn stored(server: &Server, token: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut before = String::new();
    loop {
        let page = server
            .get(&format!("/api/v1/events?limit=500&before={before}"), token)
            .json();
        for found in page["events"].as_array().unwrap() {
            ids.push(found["event"]["event"]["id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => before = next.to_owned(),
            None => return ids,
        }
    }
}

#[test]
fn a_frame_is_stored_once_and_only_as_its_sensors() {
    both(|data| {
        let server = Server::start(data);
        let (key, token) = (
            printed(data, &["key", "create", "--uses", "2"]),
            printed(data, &["token", "create", "t"]),
        );
        let (one, other) = (server.sensor(&key, "h1"), server.sensor(&key, "h2"));
        assert_eq!(server.enrol(&key, "h3").status, 403);

        for _ in 0..2 {
            let answer = server.frame(&one.token, &frame(&one.id, 1..=3));
            assert_eq!(
                (answer.status, answer.json()),
                (200, json!({"acknowledged": 3}))
            );
        }
        // Overlapping, with a gap.
        let answer = server.frame(&one.token, &frame(&one.id, [3, 7]));
        assert_eq!(answer.json(), json!({"acknowledged": 7}));
        assert_eq!(stored(&server, &token), ["e-7", "e-3", "e-2", "e-1"]);

        assert_eq!(server.frame(&other.token, &frame(&one.id, [8])).status, 409);
        assert_eq!(
            server.frame("hfs_nonsense", &frame(&one.id, [8])).status,
            401
        );
        assert_eq!(
            server
                .request("POST", "/uplink/v1/frames", &[], &frame(&one.id, [8]))
                .status,
            401
        );
        let mut tampered = frame(&one.id, [8]);
        let last = tampered.len() - 1;
        tampered[last] ^= 1;
        let answer = server.frame(&one.token, &tampered);
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"error": "the frame's checksum is wrong"}))
        );
        assert_eq!(server.frame(&one.token, b"").status, 400);
        assert_eq!(
            server.frame(&one.token, &vec![0; (4 << 20) + 1]).status,
            413
        );
        assert_eq!(stored(&server, &token).len(), 4);

        // The host enrols again: the same sensor, whose old token is void once the new one was shown.
        let key = printed(data, &["key", "create"]);
        let again = Sensor::of(&server.enrol_again(&key, "h1", Some(&one.token)));
        assert_eq!(again.id, one.id);
        assert_eq!(server.frame(&again.token, &frame(&one.id, [9])).status, 200);
        assert_eq!(server.frame(&one.token, &frame(&one.id, [9])).status, 401);

        // Removed, it is known no longer; its events are.
        let admin = printed(data, &["token", "create", "a", "--role", "admin"]);
        let path = format!("/api/v1/sensors/{}", one.id);
        assert_eq!(server.send("DELETE", &path, &token, &json!({})).status, 403);
        assert_eq!(server.send("DELETE", &path, &admin, &json!({})).status, 200);
        assert_eq!(server.send("DELETE", &path, &admin, &json!({})).status, 404);
        assert_eq!(
            server.frame(&again.token, &frame(&one.id, [10])).status,
            401
        );
        let list = server.get("/api/v1/sensors", &token).json();
        assert_eq!(list["sensors"].as_array().unwrap().len(), 1);
        assert_eq!(stored(&server, &token).len(), 5);
    });
}

#[test]
fn a_key_alone_makes_nobody_a_host_that_is_enrolled() {
    both(|data| {
        let server = Server::start(data);
        let key = printed(data, &["key", "create"]);
        let admin = printed(data, &["token", "create", "a", "--role", "admin"]);
        let sensor = server.sensor(&key, "h");
        assert_eq!(
            server.frame(&sensor.token, &frame(&sensor.id, [1])).status,
            200
        );
        let other = server.sensor(&key, "other");
        for shown in [None, Some("hfs_nonsense"), Some(other.token.as_str())] {
            let answer = server.enrol_again(&key, "h", shown);
            assert_eq!(answer.status, 403, "{answer:?}");
            let error = answer.json()["error"].as_str().unwrap().to_owned();
            assert!(error.contains("allow-enrol"), "{error}");
        }
        assert_eq!(
            server.frame(&sensor.token, &frame(&sensor.id, [2])).status,
            200
        );

        // Installed anew: an administrator lets it, once.
        let path = format!("/api/v1/sensors/{}", sensor.id);
        let may = || server.get(&path, &admin).json()["may_enrol"].clone();
        assert_eq!(may(), false);
        let allowed = server.send(
            "POST",
            &format!("{path}/allow-enrolment"),
            &admin,
            &json!({}),
        );
        assert_eq!((allowed.status, may()), (200, json!(true)));
        let again = server.sensor(&key, "h");
        assert_eq!(again.id, sensor.id);
        assert_eq!(
            server.frame(&again.token, &frame(&again.id, [3])).status,
            200
        );
        assert_eq!((server.enrol(&key, "h").status, may()), (403, json!(false)));
        printed(data, &["sensor", "allow-enrol", &sensor.id]);
        assert_eq!(server.enrol(&key, "h").status, 200);
        assert!(
            !command(data, &["sensor", "allow-enrol", "x"])
                .status
                .success()
        );

        let audit = server.get("/api/v1/audit", &admin).json();
        let count = |action: &str| {
            let lines = audit["lines"].as_array().unwrap().iter();
            lines.filter(|line| line["action"] == action).count()
        };
        let counts = ["enrol", "enrol-again", "enrol-refused", "allow-enrolment"]
            .map(|action| count(&format!("sensor.{action}")));
        // Refusals of a sensor are noted once an hour.
        assert_eq!(counts, [2, 2, 1, 2]);
    });
}

#[test]
fn who_sends_slowly_keeps_nobody_waiting() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start(&data);
    let key = printed(&data, &["key", "create"]);
    let (slow, other) = (server.sensor(&key, "slow"), server.sensor(&key, "other"));
    let begin_frame = || server.begin_frame(&slow.token);
    let mut begun: Vec<_> = (0..40).map(|_| begin_frame()).collect();
    // Until one of them was looked at, which is not while a whole one is.
    let begin = std::time::Instant::now();
    while server.frame(&slow.token, &frame(&slow.id, [1])).status != 503 {
        assert!(begin.elapsed() < Duration::from_secs(10));
        begun.push(begin_frame());
    }
    let begin = std::time::Instant::now();
    assert_eq!(
        server.frame(&other.token, &frame(&other.id, [1])).status,
        200
    );
    assert!(begin.elapsed() < Duration::from_secs(3));
    drop(begun);
    let begin = std::time::Instant::now();
    while server.frame(&slow.token, &frame(&slow.id, [2])).status != 200 {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn what_was_acknowledged_outlives_kill_9_and_nothing_is_stored_twice() {
    both(|data| {
        let server = Server::start(data);
        let key = printed(data, &["key", "create"]);
        let sensor = server.sensor(&key, "h");
        let address = server.address.clone();
        let (tell, told) = std::sync::mpsc::channel();
        let sending = {
            let (id, token) = (sensor.id.clone(), sensor.token.clone());
            std::thread::spawn(move || {
                let mut acknowledged = 0;
                for first in (1..).step_by(50) {
                    let bytes = frame(&id, first..first + 50);
                    let sent = harness::post_frame(&address, &token, &bytes);
                    match sent {
                        Ok(answer) if answer.status == 200 => {
                            acknowledged = answer.json()["acknowledged"].as_u64().unwrap();
                        }
                        Ok(answer) if answer.status == 429 => {
                            std::thread::sleep(Duration::from_millis(100));
                            continue;
                        }
                        _ => return (first, acknowledged),
                    }
                    let _ = tell.send(());
                }
                unreachable!("it sends until it fails")
            })
        };
        for _ in 0..5 {
            told.recv().unwrap();
        }
        server.kill();
        let (unsure, acknowledged) = sending.join().unwrap();
        assert!(acknowledged >= 250);

        let server = Server::start(data);
        // What it is not sure of it sends again, with the one before.
        for first in [unsure - 50, unsure] {
            assert_eq!(
                server
                    .frame(&sensor.token, &frame(&sensor.id, first..first + 50))
                    .status,
                200
            );
        }
        let token = printed(data, &["token", "create", "t"]);
        let ids = stored(&server, &token);
        let different: BTreeSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), different.len());
        // All before were acknowledged, but for those that were held back.
        for sequence in unsure - 50..unsure + 50 {
            assert!(different.contains(&format!("e-{sequence}")), "{sequence}");
        }
        assert!(server.stop());
    });
}

#[test]
fn a_sensor_gets_what_is_assigned_to_it_and_nothing_else() {
    both(|data| {
        let server = Server::start(data);
        let key = printed(data, &["key", "create", "--tag", "web"]);
        let token = printed(data, &["token", "create", "t", "--role", "admin"]);
        let sensor = server.sensor(&key, "h");
        let beat = |bundle| {
            let answer = server.send(
                "POST",
                "/uplink/v1/heartbeat",
                &sensor.token,
                &heartbeat(bundle),
            );
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json()
        };
        assert_eq!(beat(None), json!({"bundle": null, "heartbeat_seconds": 30}));

        let wrong = POLICY.replace("file.path", "file.pth");
        let drafts =
            |text: &str| json!({"name": "b", "policies": [{"file": "a.json", "text": text}]});
        let checked = server
            .send("POST", "/api/v1/policies/check", &token, &drafts(&wrong))
            .json();
        assert_eq!(checked["ok"], false);
        assert_eq!(checked["errors"][0]["line"], 2);
        assert_eq!(checked["errors"][0]["nearest"], "file.path");
        assert_eq!(
            server
                .send("POST", "/api/v1/bundles", &token, &drafts(&wrong))
                .status,
            400
        );
        let checked = server
            .send("POST", "/api/v1/policies/check", &token, &drafts(POLICY))
            .json();
        assert_eq!(checked["rules"][0]["hooks"][0]["decided"], "kernel");
        for version in [1, 2] {
            let made = server.send("POST", "/api/v1/bundles", &token, &drafts(POLICY));
            assert_eq!(made.json(), json!({"version": version}));
        }

        let assign = |target: &str, version: u64| {
            let body = json!({"target": target, "version": version});
            server
                .send("PUT", "/api/v1/assignments", &token, &body)
                .json()["version"]
                .as_u64()
        };
        assert_eq!(assign("all", 1), Some(1));
        assert_eq!(assign("tag:web", 2), Some(2));
        assert_eq!(assign("all", 9), None);
        assert_eq!(beat(None)["bundle"], 2);
        assert_eq!(server.get("/uplink/v1/bundle/1", &sensor.token).status, 404);
        let verified = |version: u64| -> Value {
            let answer = server
                .get(&format!("/uplink/v1/bundle/{version}"), &sensor.token)
                .json();
            let bytes = |value: &Value| BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap();
            let key = BASE64_STANDARD.decode(&sensor.bundle_key).unwrap();
            let payload = bytes(&answer["payload"]);
            let signed = UnparsedPublicKey::new(&ED25519, key);
            signed
                .verify(&payload, &bytes(&answer["signature"]))
                .unwrap();
            serde_json::from_slice(&payload).unwrap()
        };
        let bundle = verified(2);
        assert_eq!(
            (&bundle["version"], &bundle["policies"][0]["file"]),
            (&json!(2), &json!("a.json"))
        );
        assert_eq!(bundle["policies"][0]["document"]["name"], "credentials");

        // Back to the first, for those with the tag.
        assert_eq!(assign("tag:web", 1), Some(3));
        assert_eq!(beat(Some(2))["bundle"], 3);
        assert_eq!(verified(3)["rollback"], true);
        let taken = server.send("DELETE", "/api/v1/assignments/tag:web", &token, &json!({}));
        assert_eq!(taken.status, 200);
        // What is for all got a version above the one that the sensor has.
        assert_eq!(beat(Some(3))["bundle"], 4);

        // The alert's rule is explained from the bundle that the sensor says it has.
        beat(Some(4));
        server.frame(&sensor.token, &frame(&sensor.id, [1]));
        let alerts = server
            .get("/api/v1/alerts?rule=shadow-read&sensor=h.example", &token)
            .json();
        let id = alerts["events"][0]["id"].as_i64().unwrap();
        let alert = server.get(&format!("/api/v1/alerts/{id}"), &token).json();
        assert_eq!(alert["rule"]["rule"]["when"], "file.path == '/etc/shadow'");
        let shown = server
            .get(&format!("/api/v1/sensors/{}", sensor.id), &token)
            .json();
        assert_eq!(
            (&shown["state"], &shown["tier"]),
            (&json!("online"), &json!("lsm"))
        );
        assert_eq!(shown["ledger"]["kinds"]["file.open"]["seen"], 7);
        assert_eq!(shown["containers"], heartbeat(None)["containers"]);
        let overview = server.get("/api/v1/overview", &token).json();
        assert_eq!(overview["sensors"]["by"]["health"], json!({"degraded": 1}));
    });
}

#[test]
fn a_users_role_is_changed_by_an_admin_and_one_admin_stays() {
    both(|data| {
        let server = Server::start(data);
        let admin = printed(data, &["token", "create", "a", "--role", "admin"]);
        printed(data, &["user", "add", "ada"]);
        let set = |name: &str, role: &str| {
            let path = format!("/api/v1/users/{name}/role");
            server
                .send("PUT", &path, &admin, &json!({"role": role}))
                .status
        };
        assert_eq!(set("ada", "analyst"), 200);
        assert_eq!((set("nobody", "analyst"), set("ada", "king")), (404, 400));
        assert_eq!(set("admin", "analyst"), 409);
        let output = command(data, &["user", "role", "admin", "read-only"]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("the last admin"));
        printed(data, &["user", "role", "ada", "admin"]);
        assert_eq!(set("admin", "read-only"), 200);
        let users = server.get("/api/v1/users", &admin).json();
        let role = |at: usize| users["users"][at]["role"].clone();
        assert_eq!([role(0), role(1)], ["admin", "read-only"]);
        let audit = server.get("/api/v1/audit", &admin).json();
        let lines = audit["lines"].as_array().unwrap().iter();
        let roles: Vec<_> = lines.filter(|line| line["action"] == "user.role").collect();
        assert_eq!(roles.len(), 3);
        assert_eq!(roles[0]["detail"], "admin, read-only");
    });
}

#[test]
fn a_token_is_replaced_when_it_is_old_and_good_until_the_new_one_is_shown() {
    both(|data| {
        let server = Server::start_with(data, &["--token-days", "0"]);
        let sensor = server.sensor(&printed(data, &["key", "create"]), "h");
        let beat =
            |token: &str| server.send("POST", "/uplink/v1/heartbeat", token, &heartbeat(None));
        // It is as old as it is since it was first shown.
        assert_eq!(beat(&sensor.token).status, 200);
        std::thread::sleep(Duration::from_millis(5));
        let new = beat(&sensor.token).json()["token"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            server.frame(&sensor.token, &frame(&sensor.id, [1])).status,
            200
        );
        assert_eq!(server.frame(&new, &frame(&sensor.id, [2])).status, 200);
        assert_eq!(
            server.frame(&sensor.token, &frame(&sensor.id, [3])).status,
            401
        );
        assert_eq!(beat(&new).status, 200);
    });
}

#[test]
fn alerts_are_followed_as_they_come_and_from_where_one_left() {
    both(|data| {
        let server = Server::start(data);
        let sensor = server.sensor(&printed(data, &["key", "create"]), "h");
        let token = printed(data, &["token", "create", "t"]);
        server.frame(&sensor.token, &frame(&sensor.id, [1]));
        let mut follower = server.follow("?severity=3", &token, "");
        server.frame(&sensor.token, &frame(&sensor.id, [4, 5, 6]));
        let alert = next_alert(&mut follower);
        assert_eq!(alert["event"]["event"]["id"], "e-6");
        assert_eq!(alert["sensor"]["host"], "h.example");
        server.frame(&sensor.token, &frame(&sensor.id, [7]));
        assert_eq!(next_alert(&mut follower)["event"]["event"]["id"], "e-7");
        drop(follower);
        let mut again = server.follow("", &token, &alert["id"].to_string());
        assert_eq!(next_alert(&mut again)["event"]["event"]["id"], "e-7");
    });
}

#[test]
fn a_backup_of_a_running_server_is_a_server() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start(&data);
    let sensor = server.sensor(&printed(&data, &["key", "create"]), "h");
    server.frame(&sensor.token, &frame(&sensor.id, [1]));
    let copy = place.path().join("copy.db");
    printed(&data, &["backup", copy.to_str().unwrap()]);
    assert!(
        !command(&data, &["backup", copy.to_str().unwrap()])
            .status
            .success()
    );
    assert!(server.stop());
    let restored = place.path().join("restored");
    let said = printed(&restored, &["restore", copy.to_str().unwrap()]);
    assert!(
        said.starts_with("restored: 1 sensors; the last event came: 20"),
        "{said}"
    );
    let server = Server::start(&restored);
    assert_eq!(
        server
            .frame(&sensor.token, &frame(&sensor.id, [1, 2]))
            .status,
        200
    );
    let key = printed(&restored, &["key", "create"]);
    let again = server.enrol_again(&key, "h", Some(&sensor.token));
    assert_eq!(Sensor::of(&again).bundle_key, sensor.bundle_key);
    assert_eq!(
        stored(&server, &printed(&restored, &["token", "create", "t"])).len(),
        2
    );
}

#[test]
fn secrets_are_in_no_log_and_in_no_file() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start(&data);
    let key = printed(&data, &["key", "create", "--note", "findable"]);
    let token = printed(&data, &["token", "create", "t", "--role", "admin"]);
    let sensor = server.sensor(&key, "h");
    assert_eq!(server.login("admin", PASSWORD).status, 200);
    assert_eq!(server.login("admin", "some wrong password").status, 401);
    assert_eq!(server.enrol("hfk_no_such_key", "h2").status, 403);
    server.frame("hfs_no_such_token", b"");
    server.send(
        "POST",
        "/api/v1/users",
        &token,
        &json!({"name": "ada", "password": "another good password", "role": "analyst"}),
    );
    let mut written = server.log().into_bytes();
    for file in std::fs::read_dir(&data).unwrap() {
        written.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let has = |text: &str| {
        written
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(has("findable") && has("enrolled as"));
    for secret in [
        key.as_str(),
        &token,
        &sensor.token,
        PASSWORD,
        "some wrong password",
        "hfk_no_such_key",
        "hfs_no_such_token",
        "another good password",
    ] {
        assert!(!has(secret), "{secret}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    for file in std::fs::read_dir(&data).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn a_start_without_a_first_user_prints_no_password() {
    both(|place| {
        let server = Server::start_as(place, &["--no-first-user"]);
        assert_eq!(server.said.len(), 1, "{:?}", server.said);
        assert_eq!(
            printed(place, &["user", "list", "--json"]),
            r#"{"users":[]}"#
        );
        let added = printed(place, &["user", "add", "ada", "--role", "admin"]);
        let password = added.split_whitespace().last().unwrap();
        assert_eq!(server.login("ada", password).status, 200, "{added}");
        assert!(server.stop());
        // There is a user now, so that no other is made.
        assert_eq!(Server::start_as(place, &[]).said.len(), 1);
    });
}

#[test]
fn the_first_start_prints_a_password_and_no_other_does() {
    both(|place| {
        let server = Server::start_as(place, &[]);
        let line = &server.said[0];
        let password = line
            .strip_prefix("user admin, password ")
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        assert_eq!(server.login("admin", password).status, 200);
        assert!(server.stop());
        assert_eq!(Server::start_as(place, &[]).said.len(), 1);
        let output = command(place, &["user", "remove", "admin"]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("the last admin"));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            command(place, &["run", "--listen", "nowhere"])
                .status
                .code(),
            Some(2)
        );
    });
}
