//! Buckets whose store looks at the signature.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use ring::{digest, hmac};
use serde_json::Value;

use super::receiver::{Act, Receiver, Request};
use super::{begun, both, ids, send, status, until};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn keys(data: &Path) -> PathBuf {
    let file = data.with_extension("credentials");
    let text = format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n");
    std::fs::write(&file, text).unwrap();
    file
}

/// Computes the signature by the steps of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.
fn check_signature(request: &Request, region: &str) {
    let (path, query) = request.path.split_once('?').unwrap();
    let mut pairs: Vec<_> = query.split('&').collect();
    let signature = pairs
        .iter()
        .find_map(|pair| pair.strip_prefix("X-Amz-Signature="));
    let signature = signature.unwrap();
    let value = |name: &str| {
        pairs
            .iter()
            .find_map(|pair| pair.strip_prefix(name))
            .unwrap()
    };
    let time = value("X-Amz-Date=").to_owned();
    let day = &time[..8];
    let scope = format!("{day}/{region}/s3/aws4_request");
    let credential = value("X-Amz-Credential=").replace("%2F", "/");
    assert_eq!(credential, format!("{KEY}/{scope}"));
    pairs.retain(|pair| !pair.starts_with("X-Amz-Signature="));
    pairs.sort_unstable();
    let (query, host) = (pairs.join("&"), request.header("host"));
    let canonical = format!("PUT\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in [day, region, "s3", "aws4_request", &to_sign] {
        let by = hmac::Key::new(hmac::HMAC_SHA256, &key);
        key = hmac::sign(&by, part.as_bytes()).as_ref().to_vec();
    }
    assert_eq!(hex(&key), signature);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The ids of the events of the files that were stored, in their order.
fn stored(receiver: &Receiver) -> Vec<String> {
    let mut ids = Vec::new();
    for request in receiver.accepted() {
        let reader = SerializedFileReader::new(Bytes::from(request.body)).unwrap();
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            assert_eq!(row.get_string(5).unwrap(), "file.open");
            let event: Value = serde_json::from_str(row.get_string(13).unwrap()).unwrap();
            ids.push(event["event"]["id"].as_str().unwrap().to_owned());
        }
    }
    ids
}

#[test]
fn a_bucket_gets_a_file_of_what_waited_whatever_its_store_does() {
    both(|data| {
        let refusal = b"<Error><Code>SignatureDoesNotMatch</Code></Error>";
        let script = [
            Act::Drop,
            Act::Answer(500),
            Act::Say(403, "", refusal.to_vec()),
        ];
        let receiver = Receiver::start(&script, Act::Answer(200), "");
        let (url, file) = (receiver.url("/bucket/events/"), keys(data));
        let arguments = [
            "--forward-s3",
            &url,
            "--forward-s3-credentials-file",
            file.to_str().unwrap(),
            "--forward-s3-region",
            "eu-central-1",
            "--forward-s3-seconds",
            "3",
        ];
        let (server, sensor, token) = begun(data, &arguments);
        send(&server, &sensor, 1..=100);
        send(&server, &sensor, 101..=250);
        until("it says why it fails", || {
            let reason = &status(&server, &token)["failing"]["reason"];
            reason == "the bucket's store answers 403 Forbidden: SignatureDoesNotMatch"
        });
        until("it is known", || status(&server, &token)["sent"] == 250);
        assert_eq!(stored(&receiver), ids(1..=250));
        let requests = receiver.requests();
        // There are two where an hour ended.
        assert!(receiver.accepted().len() <= 2);
        for request in &requests {
            check_signature(request, "eu-central-1");
        }
        for request in &requests[..3] {
            let path = request.path.split('?').next().unwrap();
            assert!(path.starts_with("/bucket/events/date%3D20"), "{path}");
            assert!(
                path.contains("/hour%3D") && path.ends_with(".parquet"),
                "{path}"
            );
            assert_eq!(requests[3].path.split('?').next(), Some(path));
            assert_eq!(requests[3].body, request.body);
        }
        assert!(!server.log().contains(SECRET));
    });
}

#[test]
fn a_file_that_is_large_enough_waits_for_nothing() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let receiver = Receiver::start(&[], Act::Answer(200), "");
    let (url, file) = (receiver.url("/bucket"), keys(&data));
    let arguments = [
        "--forward-s3",
        &url,
        "--forward-s3-credentials-file",
        file.to_str().unwrap(),
        "--forward-s3-mib",
        "1",
    ];
    let (server, sensor, token) = begun(&data, &arguments);
    for first in [1, 1001, 2001, 3001, 4001] {
        send(&server, &sensor, first..=first + 999);
    }
    until("a file arrived", || status(&server, &token)["sent"] != 0);
    let sent = status(&server, &token)["sent"].as_u64().unwrap();
    assert!((1_000..5_000).contains(&sent), "{sent}");
    assert_eq!(stored(&receiver), ids(1..=sent));
    assert_eq!(status(&server, &token)["waiting"], 5_000 - sent);
}
