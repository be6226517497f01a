//! Asking a sensor's control socket by hand: what no command knows, and what must not take a process.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::bench::Bench;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// The body of the answer to `GET` or `POST` of a path.
pub fn ask(bench: &Bench, method: &str, path: &str) -> Result<String> {
    let socket = bench.path("control.sock");
    let mut stream =
        UnixStream::connect(&socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream
        .set_read_timeout(Some(ANSWER))
        .context("limit the wait")?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: holdfast\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .context("ask the control socket")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("read the control socket's answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.contains(" 200 ") || status.contains(" 202 ") || status.contains(" 204 "),
        "{method} {path}: {answer:?}"
    );
    Ok(body.to_owned())
}
