//! A message for each event into a stream of [JetStream](https://docs.nats.io/nats-concepts/jetstream), which acknowledges
//! what it has stored, and knows by `Nats-Msg-Id` what comes again within its window for duplicates.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{ConnectOptions, Subject};
use bytes::Bytes;

use super::{ForwardError, Schema, Undelivered};
use crate::client::{ClientError, Target, trusting};
use crate::store::events::Found;

/// Port of NATS, with TLS and without.
const PORT: u16 = 4222;
/// For a connection, …
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// … and for what was published to be acknowledged.
const ACKNOWLEDGE_LIMIT: Duration = Duration::from_secs(10);
/// What this program calls itself.
const NAME: &str = concat!("holdfast-server/", env!("CARGO_PKG_VERSION"));

/// A stream.
pub(crate) struct Nats {
    address: String,
    subject: Subject,
    options: ConnectOptions,
    connection: Option<Context>,
    schema: Schema,
    /// Before the numbers of events, which another server has as well.
    server: String,
}

impl Nats {
    /// The stream that takes the subject of `nats://HOST[:PORT]/SUBJECT` or `tls://…`. `credentials` are a file's path and
    /// its text, with a JWT and the seed of its key. `server` names this server.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub(crate) fn new(
        url: &str,
        credentials: Option<(&Path, &str)>,
        ca: Option<&Path>,
        schema: Schema,
        server: &str,
    ) -> Result<Self, ForwardError> {
        let target = Target::parse(url, ("nats", PORT), ("tls", PORT))?;
        target.warn_if_readable("stream of NATS");
        let subject = subject(&target.path).ok_or_else(|| ClientError::Url {
            url: url.to_owned(),
            reason: "its path is no subject to publish to, as events.holdfast",
        })?;
        let mut options = ConnectOptions::new()
            .name(NAME)
            .connection_timeout(CONNECT_LIMIT);
        if target.is_encrypted() {
            options = options.require_tls(true).tls_client_config(trusting(ca)?);
        }
        if let Some((file, text)) = credentials {
            // What it says of a wrong one may repeat it.
            options = options
                .credentials(text)
                .map_err(|_| ForwardError::Secret {
                    file: file.to_owned(),
                    reason: "it is no file of credentials of NATS: a JWT and a seed".to_owned(),
                })?;
        }
        Ok(Self {
            address: target.authority(),
            subject,
            options,
            connection: None,
            schema,
            server: server.to_owned(),
        })
    }

    pub(super) async fn deliver(&mut self, batch: &[Found]) -> Result<(), Undelivered> {
        // A connection that was of no use is left, with what waits in it.
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut published = Vec::with_capacity(batch.len());
        for found in batch {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, format!("{}-{}", self.server, found.id));
            let payload = Bytes::from(self.schema.text(found).into_owned());
            let publish = connection.publish_with_headers(self.subject.clone(), headers, payload);
            let publish = publish.await;
            published.push(publish.map_err(|error| self.undelivered(&error))?);
        }
        for acknowledged in published {
            acknowledged
                .await
                .map_err(|error| self.undelivered(&error))?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    async fn connect(&self) -> Result<Context, Undelivered> {
        let client = self.options.clone().connect(self.address.as_str()).await;
        let client = client.map_err(|error| later(format!("cannot connect: {error}")))?;
        let builder = jetstream::ContextBuilder::new().timeout(ACKNOWLEDGE_LIMIT);
        Ok(builder.build(client))
    }

    fn undelivered(&self, error: &PublishError) -> Undelivered {
        let subject = &self.subject;
        match error.kind() {
            PublishErrorKind::StreamNotFound => later(format!(
                "no stream takes the subject {subject}: make one, as by nats stream add --subjects={subject}"
            )),
            PublishErrorKind::MaxPayloadExceeded => too_long(),
            _ if refusal(error) == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => too_long(),
            _ => later(error.to_string()),
        }
    }
}

fn too_long() -> Undelivered {
    Undelivered::Never("it is longer than the stream takes".to_owned())
}

/// Why the stream refuses a message, if it was asked.
fn refusal(error: &PublishError) -> Option<ErrorCode> {
    let refusal: &jetstream::Error = error.source()?.downcast_ref()?;
    Some(refusal.error_code())
}

fn later(why: String) -> Undelivered {
    Undelivered::Later { why, after: None }
}

/// The subject that a path names: words with dots between them, without wildcards.
fn subject(path: &str) -> Option<Subject> {
    let text = path.strip_prefix('/')?;
    let is_word = |word: &str| {
        let is_fine = |of: u8| of.is_ascii_graphic() && !b"*>/?%".contains(&of);
        !word.is_empty() && word.bytes().all(is_fine)
    };
    let is_subject = !text.starts_with('$') && text.split('.').all(is_word);
    is_subject.then(|| Subject::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_words_with_dots() {
        assert_eq!(
            subject("/events.holdfast").unwrap().as_str(),
            "events.holdfast"
        );
        for wrong in [
            "", "/", "/a..b", "/a.", "/a.*", "/>", "/a/b", "/$JS.API", "/a?b", "/a b",
        ] {
            assert!(subject(wrong).is_none(), "{wrong}");
        }
    }
}
