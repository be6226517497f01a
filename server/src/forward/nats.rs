//! A message for each event into a stream of [JetStream](https://docs.nats.io/nats-concepts/jetstream), which acknowledges
//! what it has stored, and knows by `Nats-Msg-Id` what comes again within its window for duplicates.

use std::path::Path;

use super::{ForwardError, Schema, Undelivered};
use crate::client::{ClientError, Target, Way};
use crate::store::events::Found;

mod connection;
mod credentials;

use connection::{Connection, Message, NatsError};
use credentials::Credentials;

/// Port of NATS, with TLS and without.
const PORT: u16 = 4222;
/// What this program calls itself.
const NAME: &str = concat!("holdfast-server/", env!("CARGO_PKG_VERSION"));
/// JetStream's error for a message that is longer than its stream takes.
const EXCEEDS_MAXIMUM: u64 = 10054;

/// A stream.
pub(crate) struct Nats {
    way: Way,
    subject: String,
    credentials: Option<Credentials>,
    connection: Option<Connection>,
    schema: Schema,
    /// Before the numbers of events, which another server has as well.
    server: String,
}

impl Nats {
    /// The stream that takes the subject of `nats://HOST[:PORT]/SUBJECT` or `tls://…`. `credentials` are a file's path and
    /// its text. `server` names this server.
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
        let read = |(file, text): (&Path, &str)| {
            Credentials::of(text).ok_or_else(|| ForwardError::Secret {
                file: file.to_owned(),
                reason: "it is no file of credentials of NATS: a JWT and a seed".to_owned(),
            })
        };
        Ok(Self {
            way: Way::new(target, ca)?,
            subject,
            credentials: credentials.map(read).transpose()?,
            connection: None,
            schema,
            server: server.to_owned(),
        })
    }

    pub(super) async fn deliver(&mut self, batch: &[Found]) -> Result<(), Undelivered> {
        let message = |found: &Found| Message {
            id: format!("{}-{}", self.server, found.id),
            payload: self.schema.text(found).into_owned().into_bytes(),
        };
        let messages: Vec<_> = batch.iter().map(message).collect();
        // One on which something failed is left.
        let delivered = match self.connection.take() {
            Some(mut kept) => match kept.publish(&self.subject, &messages).await {
                // It may have been closed since: the same on a new one, where what came already is known.
                Err(NatsError::Broken(reason)) => {
                    tracing::debug!("connecting again: {reason}");
                    self.publish(&messages).await
                }
                published => published.map(|()| kept),
            },
            None => self.publish(&messages).await,
        };
        let delivered = delivered.map_err(|error| self.undelivered(&error))?;
        self.connection = Some(delivered);
        Ok(())
    }

    /// Publishes on a new connection.
    async fn publish(&mut self, messages: &[Message]) -> Result<Connection, NatsError> {
        let credentials = self.credentials.as_ref();
        let mut connection = Connection::open(&self.way, credentials, NAME).await?;
        connection.publish(&self.subject, messages).await?;
        Ok(connection)
    }

    fn undelivered(&self, error: &NatsError) -> Undelivered {
        let subject = &self.subject;
        let why = match error {
            NatsError::NoStream => {
                format!("{error} {subject}: make one, as by nats stream add --subjects={subject}")
            }
            _ => error.to_string(),
        };
        match error {
            NatsError::TooLong
            | NatsError::Refused {
                code: EXCEEDS_MAXIMUM,
                ..
            } => Undelivered::Never(why),
            _ => Undelivered::Later { why, after: None },
        }
    }
}

/// The subject that a path names: words with dots between them, without wildcards.
fn subject(path: &str) -> Option<String> {
    let text = path.strip_prefix('/')?;
    let is_word = |word: &str| {
        let is_fine = |of: u8| of.is_ascii_graphic() && !b"*>/?%".contains(&of);
        !word.is_empty() && word.bytes().all(is_fine)
    };
    let is_subject = !text.starts_with('$') && text.split('.').all(is_word);
    is_subject.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_words_with_dots() {
        assert_eq!(
            subject("/events.holdfast").as_deref(),
            Some("events.holdfast")
        );
        for wrong in [
            "", "/", "/a..b", "/a.", "/a.*", "/>", "/a/b", "/$JS.API", "/a?b", "/a b",
        ] {
            assert!(subject(wrong).is_none(), "{wrong}");
        }
    }
}
