//! Forwarding, to receivers that drop, hang and refuse.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring as provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::harness::{Sensor, Server, both, command, frame, printed};
use receiver::{Act, Receiver};

#[path = "forward/nats.rs"]
mod nats;
#[path = "forward/otlp.rs"]
mod otlp;
#[path = "forward/receiver.rs"]
mod receiver;
#[path = "forward/s3.rs"]
mod s3;

const SECRET: [u8; 32] = *b"a secret of the tests, 32 bytes.";
/// Longer than a receiver that hangs is waited for, with the attempts around it.
const PATIENCE: Duration = Duration::from_secs(60);

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn secret_file(place: &Path) -> PathBuf {
    let file = place.join("secret.txt");
    let secret = format!("whsec_{}\n", BASE64_STANDARD.encode(SECRET));
    std::fs::write(&file, secret).unwrap();
    file
}

/// What the API says of the only destination.
fn status(server: &Server, token: &str) -> Value {
    let answer = server.get("/api/v1/forwarding", token).json();
    answer["destinations"][0].clone()
}

/// A server that forwards, with a sensor, and a token for its API. It begins with what is stored from now on.
fn begun(data: &Path, arguments: &[&str]) -> (Server, Sensor, String) {
    let server = Server::start_with(data, arguments);
    let sensor = server.sensor(&printed(data, &["key", "create"]), "h");
    let token = printed(data, &["token", "create", "t", "--role", "admin"]);
    until("it has begun", || status(&server, &token)["sent"] == 0);
    (server, sensor, token)
}

fn send(server: &Server, sensor: &Sensor, sequences: std::ops::RangeInclusive<u64>) {
    let answer = server.frame(&sensor.token, &frame(&sensor.id, sequences));
    assert_eq!(answer.status, 200);
}

/// The ids of the events that a receiver of webhooks accepted, in their order.
fn accepted(receiver: &Receiver) -> Vec<String> {
    let mut ids = Vec::new();
    for request in receiver.accepted() {
        assert_eq!(request.path, "/hook?a=1");
        let body: Value = serde_json::from_str(request.text()).unwrap();
        let events = body["events"].as_array().unwrap();
        let id = |event: &Value| event["event"]["event"]["id"].as_str().unwrap().to_owned();
        ids.extend(events.iter().map(id));
    }
    ids
}

fn ids(sequences: std::ops::RangeInclusive<u64>) -> Vec<String> {
    sequences.map(|sequence| format!("e-{sequence}")).collect()
}

#[test]
fn a_webhook_gets_each_alert_in_order_whatever_the_receiver_does() {
    both(|data| {
        let script = [Act::Drop, Act::Answer(500), Act::Hang];
        let receiver = Receiver::start(&script, Act::Answer(204), "");
        let file = secret_file(data.parent().unwrap());
        let arguments = [
            "--forward-webhook",
            &receiver.url("/hook?a=1"),
            "--forward-webhook-secret-file",
            file.to_str().unwrap(),
        ];
        let (server, sensor, token) = begun(data, &arguments);
        send(&server, &sensor, 1..=250);
        until("the receiver fails", || {
            let reason = &status(&server, &token)["failing"]["reason"];
            reason == "the receiver answers 500 Internal Server Error"
        });
        until("all arrived", || accepted(&receiver).len() >= 250);
        assert_eq!(accepted(&receiver), ids(1..=250));
        until("it is known", || status(&server, &token)["sent"] == 250);
        let status = status(&server, &token);
        assert_eq!(
            (&status["waiting"], &status["failing"], &status["events"]),
            (&json!(0), &Value::Null, &json!("alerts"))
        );

        let requests = receiver.requests();
        let first = requests[0].header("webhook-id");
        assert!(
            requests[..4]
                .iter()
                .all(|request| request.header("webhook-id") == first)
        );
        assert_ne!(requests[4].header("webhook-id"), first);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
        for request in &requests {
            let (id, time) = (
                request.header("webhook-id"),
                request.header("webhook-timestamp"),
            );
            let signed = format!("{id}.{time}.{}", request.text());
            let signature = request
                .header("webhook-signature")
                .strip_prefix("v1,")
                .unwrap();
            let tag = BASE64_STANDARD.decode(signature).unwrap();
            hmac::verify(&key, signed.as_bytes(), &tag).unwrap();
        }
        assert!(!server.log().contains(&BASE64_STANDARD.encode(SECRET)));

        // Another start goes on where this one was.
        assert!(server.stop());
        let server = Server::start_with(data, &arguments);
        send(&server, &sensor, 251..=260);
        until("the rest arrived", || accepted(&receiver).len() >= 260);
        assert_eq!(accepted(&receiver), ids(1..=260));
    });
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted() {
    both(|data| {
        let receiver = Receiver::start(&[], Act::Answer(503), "");
        let file = secret_file(data.parent().unwrap());
        let arguments = [
            "--forward-webhook",
            &receiver.url("/hook?a=1"),
            "--forward-webhook-secret-file",
            file.to_str().unwrap(),
            "--forward-queue",
            "10",
        ];
        let (server, sensor, token) = begun(data, &arguments);
        send(&server, &sensor, 1..=30);
        until("some were shed", || {
            status(&server, &token)["lost"]["full"] == 21
        });
        send(&server, &sensor, 31..=50);
        until("more were shed", || {
            status(&server, &token)["lost"]["full"] == 41
        });
        *receiver.afterwards.lock().unwrap() = Act::Answer(200);
        until("the rest arrived", || status(&server, &token)["sent"] == 9);
        assert_eq!(accepted(&receiver), ids(42..=50));
        assert_eq!(status(&server, &token)["waiting"], 0);
    });
}

#[test]
fn an_event_that_is_refused_is_counted_and_holds_up_no_other() {
    both(|data| {
        let receiver = Receiver::start(&[], Act::Answer(200), "\"e-3\"");
        let file = secret_file(data.parent().unwrap());
        let arguments = [
            "--forward-webhook",
            &receiver.url("/hook?a=1"),
            "--forward-webhook-secret-file",
            file.to_str().unwrap(),
        ];
        let (server, sensor, token) = begun(data, &arguments);
        send(&server, &sensor, 1..=5);
        until("the others arrived", || {
            status(&server, &token)["sent"] == 4
        });
        assert_eq!(accepted(&receiver), ["e-1", "e-2", "e-4", "e-5"]);
        assert_eq!(
            status(&server, &token)["lost"],
            json!({"full": 0, "refused": 1, "deleted": 0})
        );
    });
}

/// The messages of a stream with octet counting, until it ends or there are `most`.
fn messages(stream: impl Read, most: usize) -> Vec<String> {
    let mut reader = BufReader::new(stream);
    let mut messages = Vec::new();
    while messages.len() < most {
        let mut length = Vec::new();
        if reader.read_until(b' ', &mut length).unwrap_or(0) == 0 {
            break;
        }
        let length = String::from_utf8(length).unwrap().trim().parse().unwrap();
        let mut message = vec![0; length];
        reader.read_exact(&mut message).unwrap();
        messages.push(String::from_utf8(message).unwrap());
    }
    messages
}

fn check_messages(messages: &[String], expected: &[String]) {
    let mut found = Vec::new();
    for message in messages {
        let (header, body) = message.split_once(" - {").unwrap();
        let words: Vec<_> = header.split(' ').collect();
        assert_eq!(words[0].strip_suffix(">1").unwrap().len(), 4, "{header}");
        assert!(words[1].ends_with('Z'), "{header}");
        assert_eq!(words[2..], ["h.example", "holdfast", "-", "file.open"]);
        let event: Value = serde_json::from_str(&format!("{{{body}")).unwrap();
        found.push(event["event"]["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(found, expected);
}

#[test]
fn syslog_over_tcp_goes_on_after_the_receiver_closed() {
    both(|data| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let server = Server::start_with(data, &["--forward-syslog", &url]);
        let sensor = server.sensor(&printed(data, &["key", "create"]), "h");
        let token = printed(data, &["token", "create", "t", "--role", "admin"]);
        until("it has begun", || status(&server, &token)["sent"] == 0);
        send(&server, &sensor, 1..=120);
        let (stream, _) = listener.accept().unwrap();
        check_messages(&messages(stream, 120), &ids(1..=120));
        until("it is known", || status(&server, &token)["sent"] == 120);
        // The receiver has closed the connection; nobody listens for a while.
        let address = listener.local_addr().unwrap();
        drop(listener);
        send(&server, &sensor, 121..=130);
        until("it fails", || {
            status(&server, &token)["failing"] != Value::Null
        });
        let listener = TcpListener::bind(address).unwrap();
        let (stream, _) = listener.accept().unwrap();
        check_messages(&messages(stream, 10), &ids(121..=130));
    });
}

#[test]
fn events_are_told_by_the_schema_that_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let receiver = Receiver::start(&[], Act::Answer(200), "");
    let file = secret_file(place.path());
    let arguments = [
        "--forward-webhook",
        &receiver.url("/hook?a=1"),
        "--forward-webhook-secret-file",
        file.to_str().unwrap(),
        "--forward-schema",
        "ocsf",
    ];
    let (server, sensor, token) = begun(&data, &arguments);
    send(&server, &sensor, 1..=1);
    until("it arrived", || status(&server, &token)["sent"] == 1);
    let body: Value = serde_json::from_str(receiver.accepted()[0].text()).unwrap();
    let event = &body["events"][0]["event"];
    assert_eq!(event["class_uid"], 2004);
    assert_eq!(event["metadata"]["uid"], "e-1");
    assert_eq!(event["device"]["hostname"], "h.example");
    assert_eq!(event["evidences"][0]["file"]["path"], "/etc/shadow");
}

#[test]
fn syslog_over_tls_is_for_a_receiver_that_is_known() {
    let place = tempfile::tempdir().unwrap();
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/tls");
    let certificate = tls.join("certificate.pem");
    let chain = vec![CertificateDer::from_pem_file(&certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(tls.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca = certificate.to_str().unwrap();
    for (name, is_known) in [("localhost", true), ("127.0.0.1", false)] {
        let data = place.path().join(name);
        let url = format!("tls://{name}:{port}");
        let arguments = ["--forward-syslog", &url, "--forward-ca", ca];
        let (server, sensor, token) = begun(&data, &arguments);
        send(&server, &sensor, 1..=3);
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let found = messages(&mut stream, 3);
        if is_known {
            check_messages(&found, &ids(1..=3));
        } else {
            assert_eq!(found.len(), 0);
            until("it says why", || {
                let status = status(&server, &token);
                let reason = status["failing"]["reason"].as_str().unwrap_or_default();
                reason.contains("certificate")
            });
        }
    }
}

#[test]
fn a_destination_that_cannot_be_is_refused_at_the_start() {
    let place = tempfile::tempdir().unwrap();
    let weak = place.path().join("weak.txt");
    std::fs::write(&weak, "hunter2hunter2").unwrap();
    let (weak, strong) = (weak.to_str().unwrap(), secret_file(place.path()));
    let strong = strong.to_str().unwrap();
    let data = place.path().join("data");
    let refused = |arguments: &[&str], code: i32, reason: &str| {
        let all = [&["run", "--listen", "127.0.0.1:0"], arguments].concat();
        let output = command(&data, &all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(reason) && !said.contains("hunter2"), "{said}");
    };
    let (hook, file) = ("--forward-webhook", "--forward-webhook-secret-file");
    refused(&[hook, "http://a"], 2, file);
    refused(&[hook, "http://a", file, weak], 1, "a secret is whsec_");
    refused(&[hook, "ftp://a", file, strong], 1, "no address");
    refused(&["--forward-syslog", "udp://a"], 1, "no address");
    refused(
        &["--forward-syslog", "tls://a", "--forward-ca", weak],
        1,
        "weak.txt",
    );
    let headers = ["--forward-otlp-header-file", weak];
    refused(&headers, 2, "--forward-otlp");
    let otlp = ["--forward-otlp", "http://a"];
    refused(&[otlp, headers].concat(), 1, "line 1: a header is");
    let nats = ["--forward-nats", "nats://a/b", "--forward-nats-creds", weak];
    refused(&nats, 1, "no file of credentials");
    refused(&["--forward-nats", "nats://a"], 1, "no subject");
    let s3 = ["--forward-s3", "https://a/b"];
    refused(&s3, 1, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    let keys = ["--forward-s3-credentials-file", weak];
    refused(&[s3, keys].concat(), 1, "[default] has no");
    refused(&["--forward-s3", "https://a"], 1, "names no bucket");
    refused(&["--forward-queue", "0"], 2, "--forward-queue");
}
