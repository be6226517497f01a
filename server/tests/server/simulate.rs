//! A simulated fleet against a real server: what it says is what the store has.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::harness::{Server, command, printed};
use super::stored;

fn simulate(data: &std::path::Path, server: &Server, arguments: &[&str]) -> (Option<i32>, Value) {
    let key = printed(data, &["key", "create"]);
    let url = format!("http://{}", server.address);
    let all = [
        &["simulate", "--json", "--url", &url, "--key", &key],
        arguments,
    ]
    .concat();
    let output = command(data, &all);
    let last = String::from_utf8(output.stdout).unwrap();
    let last = last.lines().last().unwrap_or_else(|| {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code(), serde_json::from_str(last).unwrap())
}

#[test]
fn the_store_has_exactly_what_was_acknowledged_whatever_was_sent_twice() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start(&data);
    let token = printed(&data, &["token", "create", "t"]);
    let arguments = [
        "--sensors",
        "7",
        "--events-per-second",
        "45",
        "--for",
        "3s",
        "--batch-interval",
        "200ms",
        "--repeat",
        "3",
    ];
    let (code, first) = simulate(&data, &server, &arguments);
    // Whether the rate holds depends on what else the machine does; what is stored does not.
    let said = |attempt: &Value| i32::from(attempt["holds"] != true);
    assert_eq!(code, Some(said(&first)), "{first}");
    let count = |attempt: &Value, of: &str| attempt[of].as_u64().unwrap();
    let acknowledged = count(&first, "acknowledged");
    // 7 sensors, 45 a second, 3 seconds; each may have one more or less.
    assert!((938..=952).contains(&count(&first, "offered")), "{first}");
    assert!(first["duplicates"].as_u64().unwrap() > 100, "{first}");
    assert!(first["alerts"].as_u64().unwrap() >= 7, "{first}");
    assert!(first["frame_milliseconds"]["p50"].as_f64().unwrap() > 0.0);

    let ids = stored(&server, &token);
    let different: BTreeSet<_> = ids.iter().collect();
    assert_eq!(
        (ids.len() as u64, different.len() as u64),
        (acknowledged, acknowledged)
    );
    let sensors = server.get("/api/v1/sensors", &token).json();
    assert_eq!(sensors["sensors"].as_array().unwrap().len(), 7);

    // Again: the same sensors, with events of their own.
    printed(&data, &["sensor", "allow-enrol", "--all"]);
    let (code, again) = simulate(&data, &server, &arguments);
    assert_eq!(code, Some(said(&again)), "{again}");
    let all = stored(&server, &token).len() as u64;
    assert_eq!(all, acknowledged + count(&again, "acknowledged"));
    let sensors = server.get("/api/v1/sensors", &token).json();
    assert_eq!(sensors["sensors"].as_array().unwrap().len(), 7);
}

#[test]
fn a_server_that_is_killed_meanwhile_has_each_event_once() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start(&data);
    let token = printed(&data, &["token", "create", "t"]);
    let key = printed(&data, &["key", "create"]);
    let address = server.address.clone();
    let running = {
        let (data, url) = (data.clone(), format!("http://{address}"));
        std::thread::spawn(move || {
            let arguments = [
                "simulate",
                "--json",
                "--url",
                &url,
                "--key",
                &key,
                "--sensors",
                "20",
                "--events-per-second",
                "50",
                "--for",
                "5s",
                "--batch-interval",
                "100ms",
            ];
            command(&data, &arguments)
        })
    };
    std::thread::sleep(Duration::from_secs(2));
    server.kill();
    std::thread::sleep(Duration::from_millis(500));
    let server = Server::start_at(&address, &data, &[]);
    let output = running.join().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let found: Value = serde_json::from_str(&said).unwrap();
    // Requests were not answered, which the rate does not hold with; and yet nothing is lost.
    assert_eq!(output.status.code(), Some(1), "{found}");
    assert!(
        found["requests"]["unanswered"].as_u64().unwrap() > 0,
        "{found}"
    );
    assert_eq!(
        (&found["offered"], &found["refused"]),
        (&found["acknowledged"], &Value::from(0))
    );
    let ids = stored(&server, &token);
    let different: BTreeSet<_> = ids.iter().collect();
    let acknowledged = found["acknowledged"].as_u64().unwrap();
    assert!(acknowledged > 4900, "{found}");
    assert_eq!(
        (ids.len() as u64, different.len() as u64),
        (acknowledged, acknowledged)
    );
}

#[test]
fn a_simulation_that_cannot_be_says_why() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(&place.path().join("data"));
    let url = format!("http://{}", server.address);
    let refused = |arguments: &[&str], code: i32, reason: &str| {
        let output = command(place.path(), &[&["simulate"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(reason), "{said}");
    };
    refused(
        &["--url", &url, "--key", "hfk_none"],
        1,
        "installation key is unknown",
    );
    refused(
        &["--url", "http://127.0.0.1:1", "--key", "k"],
        1,
        "cannot connect",
    );
    refused(
        &["--url", "gopher://a", "--key", "k"],
        1,
        "\"gopher://a\" is no address",
    );
    refused(&["--url", &url], 2, "--key");
    refused(&["--key", "k", "--sensors", "0"], 2, "--sensors");
    refused(&["--key", "k", "--for", "1y"], 2, "a duration is");
}
