//! Requests to the Team Server: one at a time, over one connection, each with a limit to its time and to what is
//! answered.
//!
//! HTTP/1.1 (RFC 9112): with one request at a time, HTTP/2 would bring nothing but more to parse.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::uplink::{MAX_MESSAGE_BYTES, PREFIX, Refusal, Secret};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::server::Server;
use super::tls;

/// For a connection, its TLS and its proxy included: three attempts at the handshake of a bad line.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For a request and its answer: a store that has to wait for its disk answers in seconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Bytes a second of the slowest line that is of use: by so much a large request may take longer.
const SLOWEST: u64 = 16 << 10;
/// Bytes of a proxy's answer before it becomes a line.
const MAX_PROXY_HEAD: usize = 8 << 10;
/// Characters of what a server says is wrong: it goes into events.
const MAX_SAID: usize = 200;
/// What the sensor calls itself.
const AGENT: &str = concat!("holdfast/", env!("CARGO_PKG_VERSION"));

/// Why a request was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// There is no connection.
    #[error("cannot reach the server: {0}")]
    Connect(String),
    /// There is none that can be trusted, or certificates are wrong here.
    #[error("TLS: {0}")]
    Tls(String),
    /// It ended before the answer was there.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server says that it does not.
    #[error("the server answers {status}: {said}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Why, cut.
        said: String,
        /// Whether it is said as the Team Server says it, and not by something on the way.
        by_the_server: bool,
        /// After how long to ask again, if it says so.
        retry_after: Option<Duration>,
    },
    /// The answer is none.
    #[error("the server's answer makes no sense: {0}")]
    Answer(String),
}

impl ClientError {
    fn connect(error: impl Display) -> Self {
        Self::Connect(error.to_string())
    }

    /// After how long the server wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What the server answered with, if it did.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What is sent.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Below the protocol's prefix, as `/enrol`.
    pub(super) path: String,
    pub(super) token: Option<&'a Secret>,
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
    /// Bytes that the answer may have.
    pub(super) most: usize,
}

impl<'a> Ask<'a> {
    /// A message.
    pub(super) fn json(path: &str, token: Option<&'a Secret>, body: Vec<u8>) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            token,
            kind: "application/json",
            body: body.into(),
            most: MAX_MESSAGE_BYTES,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    server: Server,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When certificates or keys cannot be read.
    pub(super) fn new(server: &Server) -> Result<Self, ClientError> {
        if server.is_encrypted() {
            tls::connector(server)?;
        }
        Ok(Self {
            server: server.clone(),
            connection: None,
        })
    }

    /// Whether something answers, whatever it answers.
    ///
    /// # Errors
    /// When nothing does.
    pub(super) async fn probe(&mut self) -> Result<(), ClientError> {
        let ask = Ask {
            method: Method::GET,
            path: String::new(),
            token: None,
            kind: "application/json",
            body: Bytes::new(),
            most: MAX_MESSAGE_BYTES,
        };
        match self.ask(&ask).await {
            Ok(_) | Err(ClientError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks, and reads the answer's JSON.
    ///
    /// # Errors
    /// When there is no answer, or another than 200.
    pub(super) async fn json<T: DeserializeOwned>(
        &mut self,
        ask: &Ask<'_>,
    ) -> Result<T, ClientError> {
        let body = self.ask(ask).await?;
        // What is in it may be secret.
        serde_json::from_slice(&body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            ClientError::Answer(format!("line {line}, column {column}, of {}", ask.path))
        })
    }

    async fn ask(&mut self, ask: &Ask<'_>) -> Result<Bytes, ClientError> {
        let slow = Duration::from_secs(ask.body.len() as u64 / SLOWEST);
        let limit = CONNECT_LIMIT + REQUEST_LIMIT + slow;
        let reused = self.connection.take().filter(|it| !it.is_closed());
        let answered = tokio::time::timeout(limit, self.try_twice(reused, ask)).await;
        answered.unwrap_or(Err(ClientError::Timeout(limit)))
    }

    /// A connection that was kept may have been closed by the other end at this very moment: that is no failure. All
    /// requests may be sent twice.
    async fn try_twice(
        &mut self,
        reused: Option<SendRequest<Full<Bytes>>>,
        ask: &Ask<'_>,
    ) -> Result<Bytes, ClientError> {
        if let Some(connection) = reused {
            match self.send(connection, ask).await {
                Err(ClientError::Broken(reason)) => tracing::debug!("connecting again: {reason}"),
                answered => return answered,
            }
        }
        let connection = tokio::time::timeout(CONNECT_LIMIT, connect(&self.server))
            .await
            .unwrap_or(Err(ClientError::Timeout(CONNECT_LIMIT)))?;
        self.send(connection, ask).await
    }

    /// Sends over `connection`, which is kept if it can be used again.
    async fn send(
        &mut self,
        mut connection: SendRequest<Full<Bytes>>,
        ask: &Ask<'_>,
    ) -> Result<Bytes, ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(causes(&error));
        let request = self.request(ask)?;
        connection.ready().await.map_err(broken)?;
        let response = connection.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let most = if status.is_success() {
            ask.most
        } else {
            MAX_MESSAGE_BYTES
        };
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body
            .map_err(|error| ClientError::Broken(error.to_string()))?
            .to_bytes();
        self.connection = Some(connection);
        if status == StatusCode::OK {
            return Ok(body);
        }
        let refusal = serde_json::from_slice::<Refusal>(&body);
        let by_the_server = refusal.is_ok();
        let said = refusal.map_or_else(|_| "it does not say why".to_owned(), |it| cut(&it.error));
        Err(ClientError::Refused {
            status,
            said,
            by_the_server,
            retry_after,
        })
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, ClientError> {
        let failed = |error: hyper::http::Error| ClientError::Answer(error.to_string());
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(self.server.path(&format!("{PREFIX}{}", ask.path)))
            .header(HOST, self.server.authority())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, ask.kind);
        if let Some(token) = ask.token {
            let value = format!("Bearer {}", token.expose());
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| ClientError::Answer("the token has other characters".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(ask.body.clone())).map_err(failed)
    }
}

/// Both ways of a connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(server: &Server) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    let (host, port) = server.proxy().unwrap_or((server.host(), server.port()));
    let mut stream = TcpStream::connect((host, port))
        .await
        .map_err(ClientError::connect)?;
    // Requests are written whole.
    let _ = stream.set_nodelay(true);
    if server.proxy().is_some() {
        let tunnelled = tunnel(&mut stream, &server.authority()).await;
        tunnelled.map_err(|error| ClientError::Connect(format!("the proxy: {error}")))?;
    }
    let stream: Box<dyn Stream> = if server.is_encrypted() {
        let name = ServerName::try_from(server.host().to_owned())
            .map_err(|error| ClientError::Tls(error.to_string()))?;
        let connector = tls::connector(server)?;
        let encrypted = connector.connect(name, stream).await;
        Box::new(encrypted.map_err(|error| ClientError::Tls(error.to_string()))?)
    } else {
        Box::new(stream)
    };
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ClientError::connect)?;
    // It ends with its sender, and its error reaches that.
    tokio::spawn(connection);
    Ok(sender)
}

/// Has a proxy connect to `authority`: CONNECT of RFC 9110, section 9.3.6.
async fn tunnel(stream: &mut TcpStream, authority: &str) -> io::Result<()> {
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_PROXY_HEAD {
            return Err(io::Error::other("its answer has no end"));
        }
        // One at a time, since what follows is the server's.
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_ascii_whitespace();
    let version = words.next().unwrap_or_default();
    if version.starts_with("HTTP/1.") && words.next().is_some_and(|code| code.starts_with('2')) {
        return Ok(());
    }
    let line = head.lines().next().unwrap_or_default();
    Err(io::Error::other(format!("it answers {}", cut(line))))
}

/// In one line, and not too long a one.
fn cut(text: &str) -> String {
    text.chars()
        .map(|of| if of.is_control() { ' ' } else { of })
        .take(MAX_SAID)
        .collect()
}

/// An error and what it comes from.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(of) = cause {
        text = format!("{text}: {of}");
        cause = of.source();
    }
    text
}

#[cfg(test)]
mod tests;
