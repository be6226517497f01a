//! Logs by [OTLP/HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp), version 1: a POST of protobuf for each batch,
//! compressed by gzip, which every receiver has to understand.
//!
//! What a receiver refuses for what is in it is final, as the specification has it; so is what it says of a part of a
//! batch. It also has every other status but 429, 502, 503 and 504 be final: these are about addresses and tokens, which
//! somebody puts right, and nothing is lost until then.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use miniz_oxide::deflate::compress_to_vec;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;

use super::{ForwardError, Schema, Undelivered};
use crate::client::{Answer, Client, Target, Way};
use crate::store::events::Found;

mod record;

/// For a request and its answer: what exporters wait by default.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer, which is a number and a text.
const MAX_ANSWER: usize = 64 << 10;
/// Characters of what a receiver says that are told on.
const MAX_SAID: usize = 200;
/// As fast as can be: events are alike, and shrink at every level.
const LEVEL: u8 = 1;
/// What stands before what is compressed ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952), section 2.3): no name, no
/// time, made on Unix.
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// Headers that are not for others to give.
const OURS: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
];

/// A receiver.
pub(crate) struct Otlp {
    client: Client,
    path: String,
    headers: HeaderMap,
    schema: Schema,
}

impl Otlp {
    /// The receiver whose base is `url`: logs go to `v1/logs` below it. `headers` are a file's path and its text, a line
    /// `Name: value` for each.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub(crate) fn new(
        url: &str,
        headers: Option<(&Path, &str)>,
        ca: Option<&Path>,
        schema: Schema,
    ) -> Result<Self, ForwardError> {
        let target = Target::http(url)?;
        target.warn_if_readable("receiver of OTLP");
        let path = below(&target.path);
        let mut all = HeaderMap::new();
        if let Some((file, text)) = headers {
            all = given(text).map_err(|reason| ForwardError::Secret {
                file: file.to_owned(),
                reason,
            })?;
        }
        all.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        all.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Ok(Self {
            client: Client::new(Way::new(target, ca)?),
            path,
            headers: all,
            schema,
        })
    }

    pub(super) async fn deliver(&mut self, batch: &[Found]) -> Result<usize, Undelivered> {
        let body = gzip(&record::request(batch, self.schema).encode_to_vec());
        let asked = self.client.ask(
            Method::POST,
            &self.path,
            &self.headers,
            Bytes::from(body),
            REQUEST_LIMIT,
            MAX_ANSWER,
        );
        refused(&asked.await?, batch.len())
    }
}

/// How many of `count` records the answer says were refused.
fn refused(answer: &Answer, count: usize) -> Result<usize, Undelivered> {
    let why = format!("the receiver answers {}", answer.status);
    match answer.status {
        status if status.is_success() => {}
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => return Err(Undelivered::Never(why)),
        _ => {
            return Err(Undelivered::Later {
                why,
                after: answer.retry_after,
            });
        }
    }
    // Pages that say 200 to everything are no receivers.
    let response = ExportLogsServiceResponse::decode(answer.body.as_ref()).map_err(|_| {
        Undelivered::Later {
            why: format!("{why}, and not in OTLP"),
            after: None,
        }
    })?;
    let Some(partial) = response.partial_success else {
        return Ok(0);
    };
    let refused = usize::try_from(partial.rejected_log_records).unwrap_or(0);
    if refused > 0 || !partial.error_message.is_empty() {
        let said: String = partial.error_message.chars().take(MAX_SAID).collect();
        tracing::warn!("of {count} events the receiver by otlp refuses {refused}: {said:?}");
    }
    Ok(refused.min(count))
}

/// The path of logs below a base, whose query stays behind it.
fn below(base: &str) -> String {
    let (path, query) = match base.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (base, String::new()),
    };
    format!("{}/v1/logs{query}", path.trim_end_matches('/'))
}

/// The headers of a file.
fn given(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |what| format!("line {number}: {what}");
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| wrong("a header is Name: value"))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| wrong("it is no name of a header"))?;
        if OURS.contains(&name.as_str()) {
            return Err(wrong("this header is not to be given"));
        }
        let mut value: HeaderValue = value
            .trim()
            .parse()
            .map_err(|_| wrong("it is no value of a header"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut all = GZIP.to_vec();
    all.extend(compress_to_vec(bytes, LEVEL));
    all.extend(crc32fast::hash(bytes).to_le_bytes());
    // By the format it is the length modulo 2^32.
    all.extend((bytes.len() as u32).to_le_bytes());
    all
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: Some(Duration::from_secs(7)),
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn logs_are_below_the_base() {
        for (base, path) in [
            ("/", "/v1/logs"),
            ("/otlp", "/otlp/v1/logs"),
            ("/otlp/?a=1", "/otlp/v1/logs?a=1"),
        ] {
            assert_eq!(below(base), path);
        }
    }

    #[test]
    fn a_part_that_is_refused_is_counted_within_reason() {
        let partial = |rejected_log_records| {
            let partial_success = Some(ExportLogsPartialSuccess {
                rejected_log_records,
                error_message: "x".repeat(10_000),
            });
            let response = ExportLogsServiceResponse { partial_success };
            refused(&answer(200, &response.encode_to_vec()), 5).unwrap()
        };
        assert_eq!(
            [i64::MIN, 0, 2, i64::MAX].map(partial),
            [0, 0, 2, 5],
            "of five"
        );
        assert_eq!(refused(&answer(200, b""), 5).unwrap(), 0);
    }

    #[test]
    fn what_is_wrong_with_the_events_is_final_and_nothing_else() {
        for status in [400, 413, 415, 422] {
            let said = refused(&answer(status, b""), 1);
            assert!(matches!(said, Err(Undelivered::Never(_))), "{status}");
        }
        for status in [301, 401, 403, 404, 429, 500, 502, 503, 504] {
            let Err(Undelivered::Later { after, .. }) = refused(&answer(status, b""), 1) else {
                panic!("{status} is final");
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
        }
        let page = refused(&answer(200, b"<html></html>"), 1);
        assert!(matches!(page, Err(Undelivered::Later { .. })));
    }

    #[test]
    fn headers_are_lines_and_a_wrong_one_is_not_repeated() {
        let headers = given("Authorization: Bearer a:b\n\nX-Scope-OrgID: 1\n").unwrap();
        assert_eq!(headers["authorization"], "Bearer a:b");
        assert_eq!(headers["x-scope-orgid"], "1");
        assert!(!format!("{headers:?}").contains("a:b"));
        for wrong in [
            "hunter2",
            "a b: hunter2",
            "x: hunter2\u{7f}",
            "Host: hunter2",
        ] {
            let said = given(wrong).unwrap_err();
            assert!(said.starts_with("line 1: ") && !said.contains("hunter2"));
        }
    }
}
