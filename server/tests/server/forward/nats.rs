//! Streams of a real NATS server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{begun, both, ids, send, status, until};

const SUBJECT: &str = "events.holdfast";

/// A server that runs until it is dropped.
struct Nats {
    child: Child,
}

impl Nats {
    fn start(port: u16, store: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--jetstream"]);
        command.arg("--port").arg(port.to_string());
        command.arg("--store_dir").arg(store).args(arguments);
        let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = silent.spawn() else {
            panic!("this test takes nats-server: tools/setup test installs it");
        };
        until("it listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { child }
    }

    /// Ends it at once, as a crash does.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Asks JetStream's API, as an administrator's tool does.
fn ask(port: u16, what: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = body.to_string();
    let said = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.{what} answer {}\r\n{body}\r\n",
        body.len()
    );
    stream.write_all(said.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("MSG ") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{what}");
    }
    let length = line.trim_end().rsplit(' ').next().unwrap();
    let mut answer = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut answer).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["error"], Value::Null, "{what}");
    answer
}

fn make_stream(port: u16) {
    let stream = json!({"name": "EVENTS", "subjects": ["events.>"], "retention": "limits", "storage": "file",
                        "max_msg_size": 600});
    ask(port, "STREAM.CREATE.EVENTS", &stream);
}

/// The ids of the events of the stream, in their order.
fn stored(port: u16) -> Vec<String> {
    let stream = ask(port, "STREAM.INFO.EVENTS", &json!({}));
    let last = stream["state"]["last_seq"].as_u64().unwrap();
    let event = |sequence: u64| {
        let found = ask(port, "STREAM.MSG.GET.EVENTS", &json!({"seq": sequence}));
        assert_eq!(found["message"]["subject"], SUBJECT);
        let data = found["message"]["data"].as_str().unwrap();
        let data = BASE64_STANDARD.decode(data).unwrap();
        let event: Value = serde_json::from_slice(&data).unwrap();
        event["event"]["id"].as_str().unwrap().to_owned()
    };
    (1..=last).map(event).collect()
}

#[test]
fn a_stream_gets_each_alert_once_though_its_server_is_killed() {
    both(|data| {
        let (port, store) = (free_port(), data.with_extension("nats"));
        let nats = Nats::start(port, &store, &[]);
        let url = format!("nats://127.0.0.1:{port}/{SUBJECT}");
        let (server, sensor, token) = begun(data, &["--forward-nats", &url]);
        send(&server, &sensor, 1..=20);
        until("it says what is missing", || {
            let status = status(&server, &token);
            let reason = status["failing"]["reason"].as_str().unwrap_or_default();
            reason.contains("no stream takes the subject events.holdfast: make one")
        });
        make_stream(port);
        until("all arrived", || status(&server, &token)["sent"] == 20);
        // In the middle of what is on its way.
        send(&server, &sensor, 21..=1_000);
        until("some arrived", || status(&server, &token)["sent"] != 20);
        nats.kill();
        until("it fails, or all had arrived", || {
            let status = status(&server, &token);
            status["failing"]["reason"].is_string() || status["sent"] == 1_000
        });
        send(&server, &sensor, 1_001..=1_010);
        let _nats = Nats::start(port, &store, &[]);
        until("the rest arrived", || {
            status(&server, &token)["sent"] == 1_010
        });
        assert_eq!(stored(port), ids(1..=1_010));
    });
}

#[test]
fn a_message_that_the_stream_never_takes_is_counted() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let port = free_port();
    let _nats = Nats::start(port, &place.path().join("nats"), &[]);
    make_stream(port);
    let url = format!("nats://127.0.0.1:{port}/{SUBJECT}");
    // By OCSF they are longer.
    let arguments = ["--forward-nats", &url, "--forward-schema", "ocsf"];
    let (server, sensor, token) = begun(&data, &arguments);
    send(&server, &sensor, 1..=3);
    until("they are counted", || {
        status(&server, &token)["lost"]["refused"] == 3
    });
    assert!(server.log().contains("10054"));
}

#[test]
fn by_tls_a_server_has_to_be_known() {
    let place = tempfile::tempdir().unwrap();
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/tls");
    let file = |name: &str| tls.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let port = free_port();
    let options = ["--tls", "--tlscert", &certificate, "--tlskey", &key];
    let _nats = Nats::start(port, &place.path().join("nats"), &options);
    for (name, scheme, reason) in [
        ("localhost", "tls", "no stream takes the subject"),
        ("127.0.0.1", "tls", "TLS: "),
        ("localhost", "nats", "the server wants TLS"),
    ] {
        let data = place.path().join(format!("{name}-{scheme}"));
        let url = format!("{scheme}://{name}:{port}/{SUBJECT}");
        let arguments = ["--forward-nats", &url, "--forward-ca", &certificate];
        let (server, sensor, token) = begun(&data, &arguments);
        send(&server, &sensor, 1..=3);
        until(reason, || {
            let status = status(&server, &token);
            let why = status["failing"]["reason"].as_str().unwrap_or_default();
            why.contains(reason)
        });
    }
}
