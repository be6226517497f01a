//! A receiver of POST requests that drops, hangs and refuses.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Closes the connection without an answer.
    Drop,
    /// Keeps it open without one.
    Hang,
    /// Answers with this status.
    Answer(u16),
    /// Answers with this status, this header, and this body.
    Say(u16, &'static str, Vec<u8>),
}

/// A request as it came, and what was done with it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    /// What it says, decompressed.
    pub(crate) body: Vec<u8>,
    accepted: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn has(&self, what: &str) -> bool {
        let mut parts = self.body.windows(what.len().max(1));
        parts.any(|part| part == what.as_bytes())
    }
}

/// Follows its script, and then does what `afterwards` says.
pub(crate) struct Receiver {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) afterwards: Arc<Mutex<Act>>,
}

impl Receiver {
    /// Answers 400 to whatever has `poison` in it.
    pub(crate) fn start(script: &[Act], afterwards: Act, poison: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let afterwards = Arc::new(Mutex::new(afterwards));
        let (kept, then) = (requests.clone(), afterwards.clone());
        let mut script: VecDeque<_> = script.iter().cloned().collect();
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(mut request) = read(&mut stream) else {
                    continue;
                };
                let after = || then.lock().unwrap().clone();
                let mut act = script.pop_front().unwrap_or_else(after);
                if !poison.is_empty() && request.has(poison) {
                    act = Act::Answer(400);
                }
                request.accepted = matches!(act, Act::Answer(200..=299) | Act::Say(200..=299, ..));
                kept.lock().unwrap().push(request);
                match act {
                    Act::Drop => {}
                    Act::Hang => hanging.push(stream),
                    Act::Answer(status) => answer(&mut stream, status, "", &[]),
                    Act::Say(status, header, body) => answer(&mut stream, status, header, &body),
                }
            }
        });
        Self {
            address,
            requests,
            afterwards,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The requests that it accepted, in their order.
    pub(crate) fn accepted(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.accepted);
        requests
    }
}

fn answer(stream: &mut TcpStream, status: u16, header: &str, body: &[u8]) {
    let mut bytes = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{header}");
    if !header.is_empty() {
        bytes.push_str("\r\n");
    }
    bytes.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let _ = stream.write_all(&[bytes.as_bytes(), body].concat());
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?;
    let mut body = vec![0; length.1.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let mut request = Request {
        method,
        path,
        headers,
        body,
        accepted: false,
    };
    if request.header("content-encoding") == "gzip" {
        request.body = decompressed(&request.body);
    }
    Some(request)
}

/// By the program that everybody has.
fn decompressed(bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new("gzip");
    command.arg("-dc").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let writing = thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}
