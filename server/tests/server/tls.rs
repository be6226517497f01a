//! The same by TLS, with a certificate of these tests, which certifies `localhost` until 2126.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::harness::{Answer, PASSWORD, Server, command};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/server/tls")
        .join(name)
}

fn ask(address: &str, request: &str) -> Answer {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("certificate.pem")).unwrap())
        .unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // The peer may leave the closing message out.
    let _ = stream.read_to_end(&mut bytes);
    Answer::of(&bytes).unwrap()
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
