//! A POST for each batch, signed as [Standard Webhooks](https://www.standardwebhooks.com) has it: HMAC-SHA256 over the
//! message's id, its time and its body.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use ring::hmac;
use serde_json::json;

use super::{ForwardError, Schema, Undelivered};
use crate::api::shown;
use crate::client::{Client, Target, Way};
use crate::clock::now;
use crate::store::events::Found;

/// For a request and its answer: receivers that have much to do answer first and work then.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer, of which only the status is looked at.
const MAX_ANSWER: usize = 64 << 10;
/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, within its base64.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A receiver.
pub(crate) struct Webhook {
    client: Client,
    path: String,
    key: hmac::Key,
    schema: Schema,
    /// Before the numbers of events, which another server has as well.
    server: String,
}

impl Webhook {
    /// The receiver at `url`, who knows the secret that is `secret`: `whsec_` and base64. `server` names this server.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub(crate) fn new(
        url: &str,
        secret: &str,
        file: &Path,
        ca: Option<&Path>,
        schema: Schema,
        server: &str,
    ) -> Result<Self, ForwardError> {
        let target = Target::http(url)?;
        target.warn_if_readable("webhook");
        let path = target.path.clone();
        Ok(Self {
            client: Client::new(Way::new(target, ca)?),
            path,
            key: key(secret).map_err(|reason| ForwardError::Secret {
                file: file.to_owned(),
                reason,
            })?,
            schema,
            server: server.to_owned(),
        })
    }

    pub(super) async fn deliver(&mut self, batch: &[Found]) -> Result<(), Undelivered> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return Ok(());
        };
        let id = format!("{}-{}-{}", self.server, first.id, last.id);
        let seconds = now() / 1000;
        let events = batch.iter();
        let events: Vec<_> = events
            .map(|found| shown(found, self.schema.event(found)))
            .collect();
        let body = json!({"type": "holdfast.events", "events": events}).to_string();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let signed = [
            ("webhook-id", id.clone()),
            ("webhook-timestamp", seconds.to_string()),
            (
                "webhook-signature",
                signature(&self.key, &id, seconds, &body),
            ),
        ];
        for (name, value) in signed {
            let value = HeaderValue::from_str(&value).map_err(|error| Undelivered::Later {
                why: error.to_string(),
                after: None,
            })?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let asked = self.client.ask(
            Method::POST,
            &self.path,
            &headers,
            Bytes::from(body),
            REQUEST_LIMIT,
            MAX_ANSWER,
        );
        let answer = asked.await?;
        let why = format!("the receiver answers {}", answer.status);
        match answer.status {
            status if status.is_success() => Ok(()),
            // What is in it: whatever else is wrong, addresses and secrets, somebody may put right.
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => Err(Undelivered::Never(why)),
            _ => Err(Undelivered::Later {
                why,
                after: answer.retry_after,
            }),
        }
    }
}

fn key(secret: &str) -> Result<hmac::Key, String> {
    let wrong = || {
        let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
        format!("a secret is {PREFIX} and the base64 of {least} to {most} bytes")
    };
    let encoded = secret.strip_prefix(PREFIX).ok_or_else(wrong)?;
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| wrong())?;
    if !SECRET_BYTES.contains(&bytes.len()) {
        return Err(wrong());
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn signature(key: &hmac::Key, id: &str, seconds: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn a_message_is_signed_as_the_specification_has_it() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            signature(
                &key,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_that_is_none_is_refused_and_not_repeated() {
        for wrong in ["", "secret", "whsec_", "whsec_!", "whsec_c2hvcnQ="] {
            let said = key(wrong).unwrap_err();
            assert!(!said.contains("c2hvcnQ"), "{said}");
        }
    }
}
