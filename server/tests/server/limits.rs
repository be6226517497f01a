//! What one client or one sensor may not do to the others.

use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use holdfast_wire::frame::{Compression, Entry, Frame, Priority};
use serde_json::json;

use super::harness::{Sensor, Server, both, printed};
use super::stored;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(100);
/// Bytes of a large event; an event has 256 KiB at most.
const LARGE: usize = 250 << 10;
/// Large events of the largest frame, which has 16 MiB.
const FRAME: u64 = 60;

/// A frame of large events.
fn large(sensor: &Sensor, priority: Priority, sequences: Range<u64>) -> Vec<u8> {
    let kind = match priority {
        Priority::Alert => "alert",
        Priority::Event => "event",
    };
    let entry = |sequence: u64| {
        let event = json!({
            "@timestamp": format!("2026-11-22T19:{:02}:{:02}Z", sequence / 60 % 60, sequence % 60),
            "event": {"id": format!("{kind}-{sequence}"), "kind": kind, "action": "file.open"},
            "message": "x".repeat(LARGE),
        });
        Entry {
            sequence,
            event: event.to_string().into(),
        }
    };
    let frame = Frame {
        sensor_id: sensor.id.clone(),
        stream: [7; 16],
        priority,
        entries: sequences.map(entry).collect(),
    };
    frame.encode(Compression::Zlib).unwrap()
}

fn send(server: &Server, sensor: &Sensor, priority: Priority, sequences: Range<u64>) {
    let answer = server.frame(&sensor.token, &large(sensor, priority, sequences));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A number that the server counts.
fn counted(server: &Server, token: &str, name: &str) -> u64 {
    let answer = server.get("/api/v1/metrics", token);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    number.trim().parse().unwrap()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(POLL);
    }
}

fn with_token(data: &Path, arguments: &[&str]) -> (Server, Sensor, String) {
    let server = Server::start_with(data, arguments);
    let sensor = server.sensor(&printed(data, &["key", "create"]), "h");
    let token = printed(data, &["token", "create", "t"]);
    (server, sensor, token)
}

#[test]
fn an_answer_has_no_more_than_some_mib_and_the_next_goes_on_behind_it() {
    both(|data| {
        let (server, sensor, token) = with_token(data, &[]);
        send(&server, &sensor, Priority::Alert, 1..FRAME + 1);
        let answer = server.get("/api/v1/alerts?limit=500", &token);
        assert!(answer.body.len() < 9 << 20, "{}", answer.body.len());
        let page = answer.json();
        let shown = page["events"].as_array().unwrap().len();
        assert!(
            (20..40).contains(&shown) && page["next"].is_string(),
            "{shown}"
        );
        let all: Vec<_> = (1..=FRAME).rev().map(|it| format!("alert-{it}")).collect();
        assert_eq!(stored(&server, &token), all);
    });
}

#[test]
fn a_sensor_that_sends_more_than_it_may_is_told_to_wait_and_others_are_not() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let (server, sensor, _) = with_token(&data, &["--sensor-rate", "1MiB"]);
    // What may come at once is 15 MiB; what goes beyond is waited for.
    send(&server, &sensor, Priority::Event, 1..FRAME + 1);
    send(&server, &sensor, Priority::Event, FRAME + 1..2 * FRAME + 1);
    let bytes = large(&sensor, Priority::Event, 200..201);
    let answer = server.frame(&sensor.token, &bytes);
    assert_eq!(answer.status, 429, "{answer:?}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((5..=16).contains(&wait), "{wait}");
    let other = server.sensor(&printed(&data, &["key", "create"]), "other");
    send(&server, &other, Priority::Event, 1..2);
}

#[test]
fn a_store_that_is_too_large_loses_its_oldest_events_and_alerts_last() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let arguments = ["--max-size", "64MiB", "--sensor-rate", "1GiB"];
    let (server, sensor, token) = with_token(&data, &arguments);
    let size = || counted(&server, &token, "holdfast_server_store_bytes ");
    let removed = |kind: &str| {
        let name = format!("holdfast_server_removed_events_total{{kind=\"{kind}\"}}");
        counted(&server, &token, &name)
    };
    send(&server, &sensor, Priority::Alert, 1..FRAME + 1);
    for frame in 0..5 {
        let first = frame * FRAME + 1;
        send(&server, &sensor, Priority::Event, first..first + FRAME);
    }
    until("there is room", || {
        removed("event") > 0 && size() < 64 << 20
    });
    let kept = stored(&server, &token);
    let alerts = kept.iter().filter(|id| id.starts_with("alert")).count();
    assert_eq!((alerts as u64, removed("alert")), (FRAME, 0));
    assert_eq!(kept.len() as u64 + removed("event"), 6 * FRAME);

    // Of alerts the oldest go, where there is nothing else.
    for frame in 1..6 {
        let first = frame * FRAME + 1;
        send(&server, &sensor, Priority::Alert, first..first + FRAME);
    }
    until("alerts made room", || {
        removed("alert") > 0 && size() < 64 << 20
    });
    let kept = stored(&server, &token);
    assert_eq!(kept.len() as u64 + removed("alert"), 6 * FRAME);
    assert_eq!(removed("event"), 5 * FRAME);
    until("it says so", || server.log().contains("--max-size"));
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start_with(&data, &["--connections-per-address", "3"]);
    let held: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let read = server.connect().read(&mut [0]);
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(
        matches!(&read, Ok(0)) || read.as_ref().is_err_and(reset),
        "{read:?}"
    );
    until("it says so", || {
        server.log().contains("--connections-per-address")
    });
    drop(held);
    until("they are free again", || {
        server.try_request("GET", "/healthz").is_ok()
    });

    // Behind a proxy they are of many clients.
    let arguments = ["--behind-tls-proxy", "--connections-per-address", "1"];
    let server = Server::start_with(&data.with_file_name("other"), &arguments);
    let _held: Vec<_> = (0..3).map(|_| server.connect()).collect();
    assert_eq!(server.request("GET", "/healthz", &[], b"").status, 200);
}

#[test]
fn who_guesses_tokens_is_told_to_wait_and_who_has_one_is_not() {
    both(|data| {
        let server = Server::start_with(data, &["--behind-tls-proxy"]);
        let token = printed(data, &["token", "create", "t"]);
        let sensor = server.sensor(&printed(data, &["key", "create"]), "h");
        let from = |address: &str, path: &str, token: &str| {
            let bearer = format!("Bearer {token}");
            let headers = [
                ("Authorization", bearer.as_str()),
                ("X-Forwarded-For", address),
            ];
            server.request("GET", path, &headers, b"")
        };
        let (api, uplink) = ("/api/v1/me", "/uplink/v1/bundle/1");
        let guess = |address: &str, number: usize| {
            let path = [api, uplink][number % 2];
            from(address, path, &format!("hft_guess_{number}"))
        };
        let mut guesses = (0..400).map(|number| guess("192.0.2.1", number));
        let refused = guesses.find(|answer| answer.status != 401).unwrap();
        assert_eq!(refused.status, 429, "{refused:?}");
        assert!(refused.header("retry-after").is_some());
        // Who has a token at the same address goes on, and who has none at another is told that.
        assert_eq!(from("192.0.2.1", api, &token).status, 200);
        assert_eq!(from("192.0.2.1", uplink, &sensor.token).status, 404);
        assert_eq!(guess("192.0.2.2", 0).status, 401);
        let told = "192.0.2.1 shows many tokens that nobody has";
        guess("192.0.2.1", 0);
        assert_eq!(server.log().matches(told).count(), 1);
    });
}

#[test]
fn who_asks_too_often_is_told_to_wait_and_others_are_not() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start(&data);
    let [one, other] = ["one", "other"].map(|name| printed(&data, &["token", "create", name]));
    let began = Instant::now();
    let refused = (0..2000).find_map(|_| {
        let answer = server.get("/api/v1/me", &one);
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.unwrap_or_else(|| panic!("2000 requests in {:?}", began.elapsed()));
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(server.get("/api/v1/me", &other).status, 200);
}
