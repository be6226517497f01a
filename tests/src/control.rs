//! Asking a sensor's control socket by hand: what no command knows, and what must not take a process.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::Bench;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// In this time a sensor has read all records there are: far longer than its readers sleep.
const REST: Duration = Duration::from_millis(200);

/// The status, asked for when the connection over which it is asked is no news to a sensor that watches
/// connections.
pub fn status_at_rest(bench: &Bench) -> Result<Value> {
    let mut stream = connect(bench)?;
    sleep(REST);
    let status = ask_over(&mut stream, "GET", "/v1/status")?;
    serde_json::from_str(&status).context("parse the status")
}

/// The body of the answer to `GET` or `POST` of a path.
pub fn ask(bench: &Bench, method: &str, path: &str) -> Result<String> {
    ask_over(&mut connect(bench)?, method, path)
}

fn connect(bench: &Bench) -> Result<UnixStream> {
    let socket = bench.path("control.sock");
    let stream =
        UnixStream::connect(&socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream
        .set_read_timeout(Some(ANSWER))
        .context("limit the wait")?;
    Ok(stream)
}

/// The same over a connection.
pub fn ask_over(stream: &mut UnixStream, method: &str, path: &str) -> Result<String> {
    let answer = converse(stream, method, path)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.contains(" 200 ") || status.contains(" 202 ") || status.contains(" 204 "),
        "{method} {path}: {answer:?}"
    );
    Ok(body.to_owned())
}

/// The whole answer to a request over a connection, which ends with it.
pub fn converse(stream: &mut (impl Read + Write), method: &str, path: &str) -> Result<String> {
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: holdfast\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .context("ask the sensor")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("read the sensor's answer")?;
    Ok(answer)
}
