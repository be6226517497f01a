//! A server that runs, and clients of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use holdfast_wire::frame::{Compression, Entry, Frame, Priority};
use serde_json::{Value, json};

use super::postgres::Cluster;

/// Longer than anything that is asked for takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the first start gives the user `admin`.
pub(crate) const PASSWORD: &str = "a password of the tests";

/// Does `body` with a data directory, and then with one that stands for a database of PostgreSQL.
pub(crate) fn both(body: impl Fn(&Path)) {
    let place = tempfile::tempdir().unwrap();
    body(&place.path().join("data"));
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::start());
    let data = place.path().join("data");
    stand_for(&data, &cluster.database("fleet"));
    body(&data);
}

/// Has commands and servers use a database instead of this directory.
pub(crate) fn stand_for(directory: &Path, database: &str) {
    std::fs::write(directory.with_extension("database"), database).unwrap();
}

/// The binary with a store.
fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-server"));
    command.env_clear().env("HOLDFAST_SERVER_DATA", directory);
    if let Ok(database) = std::fs::read_to_string(directory.with_extension("database")) {
        command.env("HOLDFAST_SERVER_DATABASE", database);
    }
    let trust = directory.with_extension("trust");
    if trust.exists() {
        command.env("SSL_CERT_FILE", trust);
    }
    command
}

/// `holdfast-server` with these arguments, to its end.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Output {
    program(directory).args(arguments).output().unwrap()
}

/// What it printed, without the newline.
pub(crate) fn printed(directory: &Path, arguments: &[&str]) -> String {
    let output = command(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    /// What it said on stdout until it was ready.
    pub(crate) said: Vec<String>,
    log: Arc<Mutex<String>>,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[])
    }

    pub(crate) fn start_with(directory: &Path, arguments: &[&str]) -> Self {
        let password = directory.with_extension("password");
        std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        Self::start_as(
            directory,
            &[
                &["--admin-password-file", password.to_str().unwrap()],
                arguments,
            ]
            .concat(),
        )
    }

    pub(crate) fn start_as(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", directory, arguments)
    }

    pub(crate) fn start_at(listen: &str, directory: &Path, arguments: &[&str]) -> Self {
        let child = program(directory)
            .args(["run", "--listen", listen, "--log", "debug"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            address: String::new(),
            said: Vec::new(),
            log: Arc::default(),
        };
        let (stderr, lines) = (server.child.stderr.take().unwrap(), server.log.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        for line in BufReader::new(server.child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let address = line
                .split_once("://")
                .map(|(_, address)| address.to_owned());
            server.said.push(line);
            if let Some(address) = address {
                server.address = address;
                return server;
            }
        }
        panic!("the server ended: {}", server.log());
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as a service manager does; whether it said that it went well.
    pub(crate) fn stop(mut self) -> bool {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        self.child.wait().unwrap().success()
    }

    /// Ends it as a terminal does that is closed; whether it said that it went well.
    pub(crate) fn hang_up(mut self) -> bool {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-HUP", &id]).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap().success()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        try_request(&self.address, method, path, headers, body).unwrap()
    }

    /// A connection that asks for nothing yet.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks a server that may not answer.
    pub(crate) fn try_request(&self, method: &str, path: &str) -> std::io::Result<Answer> {
        try_request(&self.address, method, path, &[], b"")
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        self.request(
            "GET",
            path,
            &[("Authorization", &format!("Bearer {token}"))],
            b"",
        )
    }

    pub(crate) fn send(&self, method: &str, path: &str, token: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.request(method, path, &headers, body.to_string().as_bytes())
    }

    pub(crate) fn login(&self, name: &str, password: &str) -> Answer {
        let body = json!({"name": name, "password": password}).to_string();
        self.request(
            "POST",
            "/api/v1/login",
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    }

    /// Enrols a host by a key.
    pub(crate) fn enrol(&self, key: &str, host: &str) -> Answer {
        self.enrol_again(key, host, None)
    }

    /// The same, of a host that shows the token that it had.
    pub(crate) fn enrol_again(&self, key: &str, host: &str, token: Option<&str>) -> Answer {
        let body = json!({"previous_token": token, "installation_key": key, "host_id": host, "host_name": format!("{host}.example"),
                          "version": "0.1.0", "architecture": "x86_64", "kernel": "6.1.0"});
        self.request("POST", "/uplink/v1/enrol", &[], body.to_string().as_bytes())
    }

    /// Enrols a host that may.
    pub(crate) fn sensor(&self, key: &str, host: &str) -> Sensor {
        Sensor::of(&self.enrol(key, host))
    }

    pub(crate) fn frame(&self, token: &str, bytes: &[u8]) -> Answer {
        self.request(
            "POST",
            "/uplink/v1/frames",
            &[("Authorization", &format!("Bearer {token}"))],
            bytes,
        )
    }

    /// Begins to send a frame, of which nothing comes until the returned stream is written to.
    pub(crate) fn begin_frame(&self, token: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let head = head(
            &self.address,
            "POST",
            "/uplink/v1/frames",
            &headers,
            4 << 20,
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// Follows the alerts, until the returned reader is dropped.
    pub(crate) fn follow(&self, query: &str, token: &str, last: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        if !last.is_empty() {
            headers.push(("Last-Event-ID", last));
        }
        let path = format!("/api/v1/alerts/stream{query}");
        stream
            .write_all(head(&self.address, "GET", &path, &headers, 0).as_bytes())
            .unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        reader
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn try_request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(head(address, method, path, headers, body.len()).as_bytes())?;
    // A server that refuses a body by its length reads no more of it.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    Answer::of(&bytes).ok_or_else(|| {
        read.err()
            .unwrap_or(std::io::ErrorKind::UnexpectedEof.into())
    })
}

/// Sends a frame to a server that may be gone.
pub(crate) fn post_frame(address: &str, token: &str, bytes: &[u8]) -> std::io::Result<Answer> {
    let bearer = format!("Bearer {token}");
    try_request(
        address,
        "POST",
        "/uplink/v1/frames",
        &[("Authorization", &bearer)],
        bytes,
    )
}

fn head(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    length: usize,
) -> String {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

/// The next alert of a stream.
pub(crate) fn next_alert(reader: &mut impl std::io::BufRead) -> Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

/// A sensor that enrolled.
pub(crate) struct Sensor {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) bundle_key: String,
}

impl Sensor {
    /// By what the server answered.
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        Self {
            id: text("sensor_id"),
            token: text("token"),
            bundle_key: text("bundle_key"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Some(Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A frame of alerts with these sequences.
pub(crate) fn frame(sensor_id: &str, sequences: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let events = sequences.into_iter().map(|it| (it, event(it)));
    frame_of(sensor_id, Priority::Alert, events)
}

/// A frame of these events with their sequences.
pub(crate) fn frame_of(
    sensor_id: &str,
    priority: Priority,
    events: impl IntoIterator<Item = (u64, Value)>,
) -> Vec<u8> {
    let entry = |(sequence, event): (u64, Value)| Entry {
        sequence,
        event: event.to_string().into(),
    };
    let frame = Frame {
        sensor_id: sensor_id.to_owned(),
        stream: [9; 16],
        priority,
        entries: events.into_iter().map(entry).collect(),
    };
    frame.encode(Compression::Zlib).unwrap()
}

fn event(sequence: u64) -> Value {
    json!({
        "@timestamp": format!("2026-11-22T19:{:02}:{:02}Z", sequence / 60 % 60, sequence % 60),
        "event": {"id": format!("e-{sequence}"), "kind": "alert", "action": "file.open", "severity": 1 + sequence % 4},
        "process": {"name": "cat", "executable": "/usr/bin/cat", "pid": 7},
        "rule": {"id": "shadow-read", "ruleset": "credentials"},
        "file": {"path": "/etc/shadow"},
    })
}
