//! A server of the tests' own: it notes what it is asked, and answers as it is told to.

use std::sync::{Arc, Mutex};

use holdfast_wire::frame::Frame;
use holdfast_wire::uplink::PREFIX;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What it was asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) at: Instant,
    /// Below the protocol's prefix.
    pub(super) path: String,
    /// What was shown.
    pub(super) token: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The message that it is.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The frame that it is.
    pub(super) fn frame(&self) -> Frame {
        Frame::decode(&self.body).unwrap()
    }

    /// The frame's events.
    pub(super) fn events(&self) -> Vec<String> {
        let entries = self.frame().entries.into_iter();
        entries
            .map(|entry| String::from_utf8(entry.event).unwrap())
            .collect()
    }
}

/// Bytes of an answer, behind which the connection may end.
pub(super) struct Answer(Vec<u8>, bool);

impl Answer {
    pub(super) fn new(status: u16, kind: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        Self((head + body).into(), true)
    }

    pub(super) fn ok(body: &Value) -> Self {
        Self::new(200, "application/json", &body.to_string())
    }

    pub(super) fn refused(status: u16) -> Self {
        let body = json!({"error": "no"}).to_string();
        Self::new(status, "application/json", &body)
    }

    /// The same without its last byte.
    pub(super) fn cut(mut self) -> Self {
        self.0.pop();
        Self(self.0, false)
    }
}

/// What a server that is well answers.
pub(super) fn usual(request: &Request) -> Answer {
    match request.path.as_str() {
        "/enrol" => Answer::ok(&enrolled("t-1", 7)),
        "/heartbeat" => Answer::ok(&json!({"heartbeat_seconds": 3600})),
        "/frames" => Answer::ok(&json!({"acknowledged": request.frame().last_sequence()})),
        path => panic!("nobody asks for {path}"),
    }
}

/// What a sensor gets that enrols; `key` tells one server's key for bundles from another's.
pub(super) fn enrolled(token: &str, key: u8) -> Value {
    let key = holdfast_wire::uplink::Base64(vec![key; 32]);
    json!({"sensor_id": "s-1", "token": token, "bundle_key": key})
}

/// One that answers until the test ends.
pub(super) struct Server {
    pub(super) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` is given each request with its number among those of its path, from 0.
    pub(super) async fn start(
        answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (noted, answer) = (requests.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (noted, answer) = (noted.clone(), answer.clone());
                tokio::spawn(async move {
                    while let Some(request) = read(&mut stream).await {
                        let number = {
                            let mut noted = noted.lock().unwrap();
                            noted.push(request.clone());
                            let same = noted.iter().filter(|it| it.path == request.path);
                            same.count() - 1
                        };
                        let Answer(bytes, goes_on) = answer(&request, number);
                        stream.write_all(&bytes).await.unwrap();
                        if !goes_on {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    /// What it was asked for so far by this path.
    pub(super) fn asked(&self, path: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        let of_path = requests.iter().filter(|it| it.path == path);
        of_path.cloned().collect()
    }
}

/// The next request; none once the other end has closed.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let value = head.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_default().trim().to_owned()
    };
    let length = header("content-length:").parse().unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let path = head.split(' ').nth(1)?.strip_prefix(PREFIX)?.to_owned();
    Some(Request {
        at: Instant::now(),
        path,
        token: header("authorization:").replace("Bearer ", ""),
        body,
    })
}
