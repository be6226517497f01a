//! What of the [protocol of NATS](https://docs.nats.io/reference/reference-protocols/nats-protocol) publishing to a stream takes.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::credentials::Credentials;
use crate::client::{Stream, Way};
use crate::secret;

/// For all that is said until messages can be published, …
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// … and for a batch to be acknowledged.
const ACKNOWLEDGE_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of a line: what a server says of itself and its cluster is one.
const MAX_LINE: u64 = 64 << 10;
/// Bytes of an answer, which is a few words.
const MAX_ANSWER: usize = 64 << 10;
/// Characters of what a server says that are told on.
const MAX_SAID: usize = 200;

/// Why something was not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum NatsError {
    /// There is no connection, or none any more.
    #[error("{0}")]
    Broken(String),
    /// The server takes no messages of this length.
    #[error("it is longer than the server takes")]
    TooLong,
    /// No stream takes the subject.
    #[error("no stream takes the subject")]
    NoStream,
    /// The stream does not take the message.
    #[error("the stream refuses: {said} ({code})")]
    Refused {
        /// Which of JetStream's errors.
        code: u64,
        /// In its words.
        said: String,
    },
}

impl From<std::io::Error> for NatsError {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What a server says of itself.
#[derive(Deserialize)]
struct Info {
    max_payload: usize,
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    headers: bool,
    nonce: Option<String>,
}

/// What a stream says to a message.
#[derive(Deserialize)]
struct Answer {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// A message: its id, and what it says.
pub(super) struct Message {
    pub(super) id: String,
    pub(super) payload: Vec<u8>,
}

/// A connection on which messages are published.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// Where answers go, with the number of the message behind it.
    inbox: String,
    max_payload: usize,
    /// Messages that were published.
    published: u64,
}

impl Connection {
    /// Connects as `name`.
    ///
    /// # Errors
    /// [`NatsError::Broken`].
    pub(super) async fn open(
        way: &Way,
        credentials: Option<&Credentials>,
        name: &str,
    ) -> Result<Self, NatsError> {
        let opened = tokio::time::timeout(CONNECT_LIMIT, Self::greet(way, credentials, name)).await;
        opened.unwrap_or_else(|_| Err(NatsError::Broken("the server says nothing".to_owned())))
    }

    async fn greet(
        way: &Way,
        credentials: Option<&Credentials>,
        name: &str,
    ) -> Result<Self, NatsError> {
        let broken = |error: crate::client::ClientError| NatsError::Broken(error.to_string());
        // The server speaks first, and not by TLS yet.
        let plain = way.connect_plain().await.map_err(broken)?;
        let mut stream = BufReader::new(plain);
        let line = line(&mut stream).await?;
        let info = line.strip_prefix("INFO ");
        let info: Option<Info> = info.and_then(|info| serde_json::from_str(info).ok());
        let info = info.ok_or_else(|| NatsError::Broken("it is no server of NATS".to_owned()))?;
        if !info.headers {
            return Err(NatsError::Broken("the server knows no headers".to_owned()));
        }
        if info.tls_required && !way.is_encrypted() {
            return Err(NatsError::Broken(
                "the server wants TLS: use tls://".to_owned(),
            ));
        }
        if way.is_encrypted() {
            // Whatever came in the clear behind that line is not taken for the server's.
            let encrypted = way.encrypt(stream.into_inner()).await.map_err(broken)?;
            stream = BufReader::new(encrypted);
        }
        let mut options = json!({
            "verbose": false, "pedantic": false, "lang": "rust", "version": env!("CARGO_PKG_VERSION"), "name": name,
            "protocol": 1, "headers": true, "no_responders": true, "tls_required": way.is_encrypted(),
        });
        if let Some(credentials) = credentials {
            let nonce = info.nonce.unwrap_or_default();
            options["jwt"] = credentials.jwt().into();
            options["sig"] = credentials.sign(nonce.as_bytes()).into();
        }
        let random: [u8; 16] =
            secret::random().map_err(|error| NatsError::Broken(error.to_string()))?;
        let inbox = format!("_INBOX.{}", secret::hex(&random));
        let said = format!("CONNECT {options}\r\nSUB {inbox}.* 1\r\nPING\r\n");
        stream.write_all(said.as_bytes()).await?;
        stream.flush().await?;
        let mut connection = Self {
            stream,
            inbox,
            max_payload: info.max_payload,
            published: 0,
        };
        while connection.next().await?.is_some() {}
        Ok(connection)
    }

    /// Publishes messages on `subject`, and returns when all of them are acknowledged.
    ///
    /// # Errors
    /// What is wrong with the first that is not; after that the connection is of no use.
    pub(super) async fn publish(
        &mut self,
        subject: &str,
        messages: &[Message],
    ) -> Result<(), NatsError> {
        let published = tokio::time::timeout(ACKNOWLEDGE_LIMIT, self.exchange(subject, messages));
        published.await.unwrap_or_else(|_| {
            let hangs = format!("not acknowledged within {ACKNOWLEDGE_LIMIT:?}");
            Err(NatsError::Broken(hangs))
        })
    }

    async fn exchange(&mut self, subject: &str, messages: &[Message]) -> Result<(), NatsError> {
        let before = self.published;
        for Message { id, payload } in messages {
            let header = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
            let length = header.len() + payload.len();
            if length > self.max_payload {
                return Err(NatsError::TooLong);
            }
            self.published += 1;
            let (inbox, number, header_length) = (&self.inbox, self.published, header.len());
            let line = format!("HPUB {subject} {inbox}.{number} {header_length} {length}\r\n");
            for part in [line.as_bytes(), header.as_bytes(), payload, b"\r\n"] {
                self.stream.write_all(part).await?;
            }
        }
        self.stream.flush().await?;
        let mut missing: std::collections::BTreeSet<_> = (before + 1..=self.published).collect();
        while !missing.is_empty() {
            if let Some(number) = self.next().await? {
                missing.remove(&number);
            }
        }
        Ok(())
    }

    /// The number of the next message that is acknowledged; `None` for a `PONG`.
    async fn next(&mut self) -> Result<Option<u64>, NatsError> {
        loop {
            let line = line(&mut self.stream).await?;
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                ["PING"] => {
                    self.stream.write_all(b"PONG\r\n").await?;
                    self.stream.flush().await?;
                }
                ["PONG"] => return Ok(None),
                ["MSG", subject, _, .., length] => {
                    let number = number(subject);
                    self.answer("0", length).await?;
                    return Ok(number);
                }
                ["HMSG", subject, _, .., header, length] => {
                    let number = number(subject);
                    self.answer(header, length).await?;
                    return Ok(number);
                }
                ["-ERR", ..] => {
                    let said: String = line.chars().skip(5).take(MAX_SAID).collect();
                    return Err(NatsError::Broken(format!("the server says {said}")));
                }
                // What it says of itself when its cluster changes, and +OK.
                _ => {}
            }
        }
    }

    /// Reads what is answered: an acknowledgement, or what is wrong.
    async fn answer(&mut self, header: &str, length: &str) -> Result<(), NatsError> {
        let wrong = || NatsError::Broken("the server's answer is none".to_owned());
        let header: usize = header.parse().map_err(|_| wrong())?;
        let length: usize = length.parse().map_err(|_| wrong())?;
        if length > MAX_ANSWER || header > length {
            return Err(wrong());
        }
        // With the end of the line behind it.
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await?;
        let (header, payload) = bytes[..length].split_at(header);
        if header.starts_with(b"NATS/1.0 503") {
            return Err(NatsError::NoStream);
        }
        let answer: Answer = serde_json::from_slice(payload).map_err(|_| wrong())?;
        match answer.error {
            None => Ok(()),
            Some(refusal) => Err(NatsError::Refused {
                code: refusal.err_code,
                said: refusal.description.chars().take(MAX_SAID).collect(),
            }),
        }
    }
}

/// The number at the end of the subject that an answer came to.
fn number(subject: &str) -> Option<u64> {
    subject.rsplit('.').next()?.parse().ok()
}

/// The next line, without its end.
async fn line(stream: &mut BufReader<Box<dyn Stream>>) -> Result<String, NatsError> {
    let mut bytes = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut bytes).await?;
    if bytes.last() != Some(&b'\n') {
        return Err(NatsError::Broken(
            "the server closed the connection".to_owned(),
        ));
    }
    let line = String::from_utf8(bytes);
    let line = line.map_err(|_| NatsError::Broken("a line is not UTF-8".to_owned()))?;
    Ok(line.trim_end().to_owned())
}
