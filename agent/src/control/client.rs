//! The commands' side of the control socket.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::config::Config;
use crate::failure::Failure;
use crate::loader::pins;

/// Longer than the sensor takes for its slowest answer, a reload.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// Bytes of an answer that is not a stream: a status with every hook and actor has some ten thousand.
const MAX_ANSWER: usize = 16 << 20;
/// Bytes of one event: longer than any that the sensor writes.
const MAX_LINE: usize = 1 << 20;

/// Where the running sensor is.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    pin_dir: PathBuf,
}

impl Client {
    /// For the sensor that this configuration is for.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            socket: config.control.socket.clone(),
            pin_dir: config.kernel.pin_dir.clone(),
        }
    }

    /// Asks for `path` and returns its JSON.
    ///
    /// # Errors
    /// When the sensor does not run, does not let us, or refuses.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        block_on(self.ask(Method::GET, path))
    }

    /// Makes the sensor do `path` and returns its JSON.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn post(&self, path: &str) -> Result<Value, Failure> {
        block_on(self.ask(Method::POST, path))
    }

    /// Whether a sensor answers behind the socket.
    pub(crate) fn is_running(&self) -> bool {
        std::os::unix::net::UnixStream::connect(&self.socket).is_ok()
    }

    /// Asks for `path` and returns the text that is there.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn text(&self, path: &str) -> Result<String, Failure> {
        let body = block_on(self.body(Method::GET, path))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Value, Failure> {
        let body = self.body(method, path).await?;
        Ok(serde_json::from_slice(&body).context("the sensor's answer is no JSON")?)
    }

    async fn body(&self, method: Method, path: &str) -> Result<Bytes, Failure> {
        let asked = async {
            let response = self.send(method, path).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            let body =
                body.map_err(|error| anyhow::anyhow!("the sensor broke off its answer: {error}"))?;
            let body = body.to_bytes();
            if !status.is_success() {
                let answer = serde_json::from_slice(&body);
                refused(status, &answer.context("the sensor's answer is no JSON")?)?;
            }
            Ok(body)
        };
        tokio::time::timeout(ANSWER_TIME, asked)
            .await
            .unwrap_or_else(|_| {
                Err(anyhow::anyhow!(
                    "the sensor did not answer within {} s",
                    ANSWER_TIME.as_secs()
                )
                .into())
            })
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .context("cannot talk to the sensor")?;
        // Its error reaches the sender too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "holdfast")
            .body(Empty::<Bytes>::new())
            .context("cannot make the request")?;
        Ok(sender
            .send_request(request)
            .await
            .context("the sensor broke off the connection")?)
    }

    /// Follows the stream of lines at `path`, from its subscription on.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn follow(&self, path: &str) -> Result<Stream, Failure> {
        let response = tokio::time::timeout(ANSWER_TIME, self.send(Method::GET, path))
            .await
            .map_err(|_| anyhow::anyhow!("the sensor did not answer"))??;
        let status = response.status();
        if status.is_success() {
            return Ok(Stream {
                body: response.into_body(),
                pending: Vec::new(),
            });
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let body =
            body.map_err(|error| anyhow::anyhow!("the sensor broke off its answer: {error}"))?;
        refused(
            status,
            &serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
        )?;
        Err(anyhow::anyhow!("the sensor answered {status}").into())
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Failure::NotPermitted(format!("only root may use {socket}: try again as root"))
            }
            _ => {
                let left = if pins::are_left(&self.pin_dir) {
                    "; the kernel programs of the last one go on deciding, until `holdfast stop --unload`"
                } else {
                    ""
                };
                Failure::NotRunning(format!(
                    "the sensor is not running ({socket}: {error}): start it with `holdfast run`{left}"
                ))
            }
        }
    }
}

/// Turns a refusal into the failure that it is.
fn refused(status: StatusCode, answer: &Value) -> Result<(), Failure> {
    let text = || {
        answer["error"]
            .as_str()
            .unwrap_or("the sensor refused")
            .to_owned()
    };
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::FORBIDDEN => Err(Failure::NotPermitted(text())),
        StatusCode::UNPROCESSABLE_ENTITY => {
            let errors = answer["errors"].as_array().into_iter().flatten();
            let mut lines: Vec<String> = errors
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            match lines.first_mut() {
                Some(first) => first.push_str(&format!("; {}", text())),
                None => lines.push(text()),
            }
            Err(Failure::Refused(lines))
        }
        StatusCode::NOT_FOUND => {
            Err(anyhow::anyhow!("the running sensor does not know this: {}", text()).into())
        }
        _ => Err(anyhow::anyhow!(text()).into()),
    }
}

/// A stream of lines.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    pending: Vec<u8>,
}

impl Stream {
    /// The next line, without its end; `None` when the sensor has ended the stream.
    ///
    /// # Errors
    /// When the connection broke, or a line is longer than any event.
    pub(crate) async fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.pop();
                return Ok(Some(line));
            }
            if self.pending.len() > MAX_LINE {
                return Err(anyhow::anyhow!("the sensor sent a line without end").into());
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => {
                    return Err(Failure::NotRunning("the sensor has stopped".into()));
                }
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.pending.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

/// Runs one command's conversation.
///
/// # Errors
/// What `future` says, or that no runtime can be made.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(future)
}
