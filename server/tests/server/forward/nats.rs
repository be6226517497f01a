//! Streams of a real NATS server.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use async_nats::jetstream::{self, stream};
use tokio::runtime::Runtime;

use super::{begun, both, ids, send, status, until};

const SUBJECT: &str = "events.holdfast";

/// A server that runs until it is dropped.
struct Nats {
    child: Child,
}

impl Nats {
    fn start(port: u16, store: &Path) -> Self {
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--jetstream"]);
        command.arg("--port").arg(port.to_string());
        command.arg("--store_dir").arg(store);
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

async fn stream(port: u16) -> stream::Stream {
    let client = async_nats::connect(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    let config = stream::Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        max_message_size: 8_000,
        ..stream::Config::default()
    };
    let context = jetstream::new(client);
    context.get_or_create_stream(config).await.unwrap()
}

/// The ids of the events of the stream, in their order.
async fn stored(port: u16) -> Vec<String> {
    let stream = stream(port).await;
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut ids = Vec::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        assert_eq!(message.subject.as_str(), SUBJECT);
        let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        ids.push(event["event"]["id"].as_str().unwrap().to_owned());
    }
    ids
}

#[test]
fn a_stream_gets_each_alert_once_though_its_server_is_killed() {
    both(|data| {
        let runtime = Runtime::new().unwrap();
        let (port, store) = (free_port(), data.with_extension("nats"));
        let nats = Nats::start(port, &store);
        let url = format!("nats://127.0.0.1:{port}/{SUBJECT}");
        let (server, sensor, token) = begun(data, &["--forward-nats", &url]);
        send(&server, &sensor, 1..=20);
        until("it says what is missing", || {
            let status = status(&server, &token);
            let reason = status["failing"]["reason"].as_str().unwrap_or_default();
            reason.contains("no stream takes the subject events.holdfast: make one")
        });
        runtime.block_on(stream(port));
        until("all arrived", || status(&server, &token)["sent"] == 20);
        // In the middle of what is on its way.
        send(&server, &sensor, 21..=1_000);
        until("some arrived", || status(&server, &token)["sent"] != 20);
        nats.kill();
        until("it fails", || {
            status(&server, &token)["failing"]["reason"].is_string()
        });
        let _nats = Nats::start(port, &store);
        until("the rest arrived", || {
            status(&server, &token)["sent"] == 1_000
        });
        assert_eq!(runtime.block_on(stored(port)), ids(1..=1_000));
    });
}
