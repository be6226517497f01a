//! Files of Parquet in a bucket of a store that speaks S3: a PUT for each, signed by
//! [AWS Signature Version 4](https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use rusty_s3::actions::PutObject;
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};

use super::batch::Terms;
use super::{ForwardError, Schema, Undelivered};
use crate::client::{Answer, Client, ClientError, Target, Way};
use crate::store::events::Found;

mod credentials;
mod table;

/// For a file to be stored.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// How long a signature holds: the clocks of both may differ by some of it.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);
/// Bytes of an answer, which has a reason in it.
const MAX_ANSWER: usize = 64 << 10;
/// Events of a file, of which there are fewer unless they are tiny.
const MAX_EVENTS: usize = 200_000;
/// Characters of a reason that are told on.
const MAX_REASON: usize = 64;

/// Where files go.
pub(crate) struct Place<'a> {
    /// `https://HOST/BUCKET[/PREFIX]`
    pub(crate) url: &'a str,
    /// The store's region, which is signed.
    pub(crate) region: &'a str,
    /// File with what to sign by, as AWS has it; the environment where there is none.
    pub(crate) credentials: Option<PathBuf>,
    /// Events, and bytes of them, at which a file is written.
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    /// How long an event waits for its file to grow.
    pub(crate) patience: Duration,
}

/// A bucket.
pub(crate) struct S3 {
    client: Client,
    bucket: Bucket,
    /// With the `/` at its end, if it is not empty.
    prefix: String,
    credentials: Option<PathBuf>,
    terms: Terms,
    schema: Schema,
    server: String,
}

impl S3 {
    /// The bucket at `place`. `server` names this server.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub(crate) fn new(
        place: Place<'_>,
        ca: Option<&std::path::Path>,
        schema: Schema,
        server: &str,
    ) -> Result<Self, ForwardError> {
        let target = Target::http(place.url)?;
        target.warn_if_readable("bucket");
        let wrong = |reason| ClientError::Url {
            url: place.url.to_owned(),
            reason,
        };
        let (name, prefix) = bucket(&target.path).ok_or_else(|| wrong("it names no bucket"))?;
        let endpoint = format!(
            "{}://{}",
            if target.is_encrypted() {
                "https"
            } else {
                "http"
            },
            target.host_header()
        );
        let endpoint = endpoint.parse().map_err(|_| wrong("it is no URL"))?;
        let region = place.region.to_owned();
        let bucket = Bucket::new(endpoint, UrlStyle::Path, name, region)
            .map_err(|_| wrong("it names no bucket"))?;
        credentials::read(place.credentials.as_deref())?;
        Ok(Self {
            client: Client::new(Way::new(target, ca)?),
            bucket,
            prefix,
            credentials: place.credentials,
            terms: Terms {
                events: place.events.clamp(1, MAX_EVENTS),
                bytes: place.bytes,
                patience: place.patience,
                by_hour: true,
            },
            schema,
            server: server.to_owned(),
        })
    }

    pub(super) const fn terms(&self) -> Terms {
        self.terms
    }

    pub(super) async fn deliver(&mut self, batch: &[Found]) -> Result<(), Undelivered> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return Ok(());
        };
        let key = key(&self.prefix, &self.server, first, last);
        // Some megabytes are made into columns and compressed: others are not to wait for that.
        let file = tokio::task::block_in_place(|| table::file(batch, self.schema));
        let file = file.map_err(|error| later(error.to_string()))?;
        // Those that are good for some hours only are replaced in their file.
        let credentials = credentials::read(self.credentials.as_deref());
        let credentials = credentials.map_err(|error| later(error.to_string()))?;
        let path = signed(&self.bucket, &credentials, &key);
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/vnd.apache.parquet");
        headers.insert(CONTENT_TYPE, kind);
        let file = Bytes::from(file);
        let asked = self.client.ask(
            Method::PUT,
            &path,
            &headers,
            file,
            REQUEST_LIMIT,
            MAX_ANSWER,
        );
        stored(&asked.await?)
    }
}

fn later(why: String) -> Undelivered {
    Undelivered::Later { why, after: None }
}

/// Whether a file was stored. Nothing is final: a file is one as any other, and what is wrong is the bucket, the key or the
/// region, which somebody puts right.
fn stored(answer: &Answer) -> Result<(), Undelivered> {
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    let code = body.split_once("<Code>");
    let code = code.and_then(|(_, rest)| Some(rest.split_once("</Code>")?.0));
    let is_fine = |of: &char| of.is_ascii_alphanumeric();
    let reason: String = code
        .unwrap_or_default()
        .chars()
        .filter(is_fine)
        .take(MAX_REASON)
        .collect();
    let why = format!("the bucket's store answers {}", answer.status);
    Err(Undelivered::Later {
        why: if reason.is_empty() {
            why
        } else {
            format!("{why}: {reason}")
        },
        after: answer.retry_after,
    })
}

/// The path, with the signature, to which an object is put.
fn signed(bucket: &Bucket, credentials: &Credentials, key: &str) -> String {
    let url = PutObject::new(bucket, Some(credentials), key).sign(SIGNED_FOR);
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// The name of the bucket and the prefix of `/BUCKET[/PREFIX]`.
fn bucket(path: &str) -> Option<(String, String)> {
    if path.contains('?') {
        return None;
    }
    let path = path.trim_matches('/');
    let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
    let prefix = if prefix.is_empty() {
        String::new()
    } else {
        format!("{prefix}/")
    };
    (!name.is_empty()).then(|| (name.to_owned(), prefix))
}

/// The name of a batch's file, in partitions as Hive has them: by the day and the hour in which it was received.
fn key(prefix: &str, server: &str, first: &Found, last: &Found) -> String {
    let received = Timestamp::from_millisecond(first.received).unwrap_or_default();
    format!(
        "{prefix}{}/{server}-{}-{}.parquet",
        received.strftime("date=%Y-%m-%d/hour=%H"),
        first.id,
        last.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_a_prefix_are_the_path() {
        let split = |path| bucket(path).map(|(name, prefix)| format!("{name} {prefix}"));
        assert_eq!(split("/b").as_deref(), Some("b "));
        assert_eq!(split("/b/").as_deref(), Some("b "));
        assert_eq!(split("/b/p/q/").as_deref(), Some("b p/q/"));
        assert_eq!((split("/"), split("/b?x=1")), (None, None));
    }

    #[test]
    fn a_reason_is_told_on_and_no_more_than_that() {
        let said = |status, body: &str| {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: None,
                body: Bytes::copy_from_slice(body.as_bytes()),
            };
            match stored(&answer) {
                Ok(()) => "stored".to_owned(),
                Err(Undelivered::Later { why, .. }) => why,
                Err(Undelivered::Never(why)) => panic!("{why}"),
            }
        };
        assert_eq!(said(200, ""), "stored");
        assert_eq!(
            said(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"),
            "the bucket's store answers 403 Forbidden: SignatureDoesNotMatch"
        );
        let endless = format!("<Code>{}\n</Code>", "x".repeat(10_000));
        assert!(said(400, &endless).len() < 128);
        assert_eq!(
            said(301, "<Code>"),
            "the bucket's store answers 301 Moved Permanently"
        );
    }
}
