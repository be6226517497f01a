//! A message for each event ([RFC 5424](https://www.rfc-editor.org/rfc/rfc5424)), over TCP with octet counting
//! ([RFC 6587](https://www.rfc-editor.org/rfc/rfc6587), section 3.4.1) or TLS
//! ([RFC 5425](https://www.rfc-editor.org/rfc/rfc5425)).
//!
//! Receivers acknowledge nothing: what was written when a connection breaks may not have arrived, and only a write that
//! fails is repeated.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ForwardError, Schema, Undelivered};
use crate::client::{Stream, Target, Way};
use crate::store::events::Found;

/// For a batch to be written: a receiver that reads nothing for so long hangs.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Port of syslog over TLS (RFC 5425, section 4.1), …
const TLS_PORT: u16 = 6514;
/// … and the one that is used for TCP, which has none of its own.
const TCP_PORT: u16 = 514;
/// Facility "log audit" (section 6.2.1).
const FACILITY: u8 = 13;
/// The most characters of HOSTNAME and of MSGID (section 6).
const MAX_HOST: usize = 255;
const MAX_MESSAGE_ID: usize = 32;

/// A receiver.
pub(crate) struct Syslog {
    way: Way,
    schema: Schema,
    connection: Option<Box<dyn Stream>>,
}

impl Syslog {
    /// The receiver at `tcp://HOST[:PORT]` or `tls://HOST[:PORT]`.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub(crate) fn new(url: &str, ca: Option<&Path>, schema: Schema) -> Result<Self, ForwardError> {
        let target = Target::parse(url, ("tcp", TCP_PORT), ("tls", TLS_PORT))?;
        target.warn_if_readable("syslog");
        Ok(Self {
            way: Way::new(target, ca)?,
            schema,
            connection: None,
        })
    }

    pub(super) async fn deliver(&mut self, batch: &[Found]) -> Result<(), Undelivered> {
        let mut bytes = Vec::new();
        for found in batch {
            let message = message(found, &self.schema.text(found));
            bytes.extend(format!("{} ", message.len()).bytes());
            bytes.extend(message.bytes());
        }
        let kept = match self.connection.take() {
            Some(kept) => if_open(kept).await,
            None => None,
        };
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.way.connect().await?,
        };
        let written = async {
            connection.write_all(&bytes).await?;
            connection.flush().await
        };
        let written: io::Result<()> = tokio::time::timeout(WRITE_LIMIT, written)
            .await
            .unwrap_or_else(|_| {
                let hangs = format!("the receiver took nothing for {WRITE_LIMIT:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, hangs))
            });
        written.map_err(|error| Undelivered::Later {
            why: error.to_string(),
            after: None,
        })?;
        self.connection = Some(connection);
        Ok(())
    }
}

/// A connection, unless the other end has closed it. What it says, which is nothing by the protocol, is passed over.
async fn if_open(mut connection: Box<dyn Stream>) -> Option<Box<dyn Stream>> {
    let mut said = [0; 512];
    let read = tokio::time::timeout(Duration::ZERO, connection.read(&mut said)).await;
    let is_open = match read {
        // There is nothing to be read.
        Err(_) => true,
        Ok(Ok(count)) => count > 0,
        Ok(Err(_)) => false,
    };
    is_open.then_some(connection)
}

/// The message of an event: what is told of it behind the header.
fn message(found: &Found, told: &str) -> String {
    let event = found.event();
    let severity = match event["event"]["severity"].as_i64() {
        Some(4) => 2,
        Some(3) => 3,
        Some(2) => 4,
        Some(1) => 5,
        _ => 6,
    };
    let priority = FACILITY * 8 + severity;
    let time = event["@timestamp"]
        .as_str()
        .map_or("-".to_owned(), microseconds);
    let host = word(&found.host_name, MAX_HOST);
    let kind = word(
        event["event"]["action"].as_str().unwrap_or_default(),
        MAX_MESSAGE_ID,
    );
    let mut message = String::with_capacity(told.len() + 128);
    // Writing to a string cannot fail.
    let _ = write!(
        message,
        "<{priority}>1 {time} {host} holdfast - {kind} - {told}"
    );
    message
}

/// A time with at most six digits behind the second (section 6.2.3); `-` for what is none.
fn microseconds(text: &str) -> String {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map_or("-".to_owned(), |time| format!("{time:.6}"))
}

/// `text` as a word of the header: printable ASCII without spaces; `-` for nothing.
fn word(text: &str, most: usize) -> String {
    let fine = |of: char| if of.is_ascii_graphic() { of } else { '_' };
    let word: String = text.chars().take(most).map(fine).collect();
    if word.is_empty() {
        "-".to_owned()
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_header_and_the_event() {
        let body = r#"{"@timestamp":"2026-11-22T19:00:00.123456789Z","event":{"action":"file.open","severity":3}}"#;
        let mut found = Found {
            id: 1,
            time: 0,
            received: 0,
            sensor_id: "s".into(),
            host_name: "web 1é".into(),
            body: body.into(),
        };
        assert_eq!(
            message(&found, &found.body),
            format!("<107>1 2026-11-22T19:00:00.123456Z web_1_ holdfast - file.open - {body}")
        );
        found.body = "{}".into();
        found.host_name.clear();
        assert_eq!(message(&found, &found.body), "<110>1 - - holdfast - - - {}");
    }
}
