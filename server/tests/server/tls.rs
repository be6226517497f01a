//! The same by TLS, with a certificate of these tests, which certifies `localhost` until 2126.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::harness::{Answer, PASSWORD, Server, command, printed};

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/server/tls")
        .join(name)
}

fn ask(address: &str, request: &str) -> Answer {
    ask_as(address, request, None).unwrap()
}

/// With the certificate and key in a file; `None`: there is no answer.
fn ask_as(address: &str, request: &str, identity: Option<&str>) -> Option<Answer> {
    ask_trusting("certificate.pem", address, request, identity)
}

/// A server that has to have the certificate in a file.
fn ask_trusting(
    certificate: &str,
    address: &str,
    request: &str,
    identity: Option<&str>,
) -> Option<Answer> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file(certificate)).unwrap())
        .unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let client = match identity.map(file) {
        None => client.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_file(&identity).unwrap();
            let key = PrivateKeyDer::from_pem_file(&identity).unwrap();
            client
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    // The peer may leave the closing message out.
    let _ = stream.read_to_end(&mut bytes);
    Answer::of(&bytes)
}

#[test]
fn by_tls_cookies_are_for_tls_alone() {
    let place = tempfile::tempdir().unwrap();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let paths = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    let arguments = ["--tls-certificate", paths[0], "--tls-key", paths[1]];
    let server = Server::start_with(&place.path().join("data"), &arguments);
    assert!(server.said[0].starts_with("holdfast-server at https://"));
    let body = format!(r#"{{"name":"admin","password":"{PASSWORD}"}}"#);
    let request = format!(
        "POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(&server.address, &request);
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"));
    assert!(answer.header("strict-transport-security").is_some());
}

/// Far longer than it takes until files are looked at twice.
const PATIENCE: Duration = Duration::from_secs(30);

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_new_certificate_is_served_without_a_restart_and_a_broken_one_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let [certificate, key] = ["chain.pem", "key.pem"].map(|name| place.path().join(name));
    let put = |from: &str, to: &Path| {
        // As programs do that renew certificates: a new file in the place of the old one.
        let new = to.with_extension("new");
        std::fs::copy(file(from), &new).unwrap();
        std::fs::rename(new, to).unwrap();
    };
    put("certificate.pem", &certificate);
    put("key.pem", &key);
    let paths = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    let arguments = ["--tls-certificate", paths[0], "--tls-key", paths[1]];
    let server = Server::start_with(&place.path().join("data"), &arguments);
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let has = |name: &str| ask_trusting(name, &server.address, request, None).is_some();
    assert!(has("certificate.pem") && !has("renewed.pem"));

    put("renewed.pem", &certificate);
    put("renewed-key.pem", &key);
    until("the new one is served", || has("renewed.pem"));
    assert!(!has("certificate.pem"));

    let stays = "the former certificate stays";
    std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nnone\n").unwrap();
    until("it says so", || server.log().contains(stays));
    // Some looks later it has said it once.
    std::thread::sleep(Duration::from_secs(7));
    assert!(has("renewed.pem"));
    assert_eq!(server.log().matches(stays).count(), 1, "{}", server.log());

    // A key that is not the certificate's is not taken either.
    put("certificate.pem", &certificate);
    until("it says so again", || {
        server.log().matches(stays).count() == 2
    });
    assert!(has("renewed.pem"));
    put("key.pem", &key);
    until("what goes together is served", || has("certificate.pem"));
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let certificate = file("certificate.pem");
    let certificate = certificate.to_str().unwrap();
    let output = command(place.path(), &["run", "--tls-certificate", certificate]);
    assert_eq!(output.status.code(), Some(2));
    let arguments = [
        "run",
        "--tls-certificate",
        certificate,
        "--tls-key",
        certificate,
    ];
    let output = command(place.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot use"));
}

#[test]
fn sensors_are_taken_with_a_certificate_of_their_authority_and_browsers_without() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let files = ["certificate.pem", "key.pem", "client-ca.pem"].map(file);
    let [certificate, key, ca] = files.each_ref().map(|path| path.to_str().unwrap());
    let server = Server::start_with(
        &data,
        &[
            "--tls-certificate",
            certificate,
            "--tls-key",
            key,
            "--tls-client-ca",
            ca,
        ],
    );
    let installation = printed(&data, &["key", "create"]);
    let body =
        json!({"installation_key": installation, "host_id": "h", "host_name": "h", "version": "",
                      "architecture": "", "kernel": ""})
        .to_string();
    let request = |method: &str, path: &str, body: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let enrol = request("POST", "/uplink/v1/enrol", &body);
    let refused = ask(&server.address, &enrol);
    assert_eq!(refused.status, 403);
    let reason = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(reason.contains("uplink.client_certificate"), "{reason}");
    // Of another authority there is no connection.
    for path in ["/uplink/v1/enrol", "/healthz"] {
        let asked = request("GET", path, "");
        assert!(ask_as(&server.address, &asked, Some("other-client.pem")).is_none());
    }
    let taken = ask_as(&server.address, &enrol, Some("client.pem")).unwrap();
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(
        ask(&server.address, &request("GET", "/healthz", "")).status,
        200
    );
    // A certificate is no token.
    let me = request("GET", "/api/v1/me", "");
    assert_eq!(
        ask_as(&server.address, &me, Some("client.pem"))
            .unwrap()
            .status,
        401
    );

    let output = command(&data, &["run", "--tls-client-ca", ca]);
    assert_eq!(output.status.code(), Some(2));
}
