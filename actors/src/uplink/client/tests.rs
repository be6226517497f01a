use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::super::server::Stated;
use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// Certificates and keys that were made for these tests, and are used for nothing else.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/uplink/client/fixtures")
        .join(name)
}

/// Answers each connection by `serve`; returns where.
async fn listening<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    // At all addresses of this machine, of which the certificate has one.
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads a request's head.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// An answer to all requests of a connection.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> io::Result<()> {
    loop {
        head(&mut stream).await?;
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn at(address: &str) -> Stated {
    Stated {
        url: format!("http://{address}"),
        ..Stated::default()
    }
}

async fn get(stated: &Stated) -> Result<serde_json::Value, ClientError> {
    let mut client = Client::new(&Server::new(stated).unwrap())?;
    let mut ask = Ask::json("/x", None, Vec::new());
    ask.method = Method::GET;
    client.json(&ask).await
}

#[tokio::test]
async fn answers_are_read_and_refusals_told_with_their_reason_and_rest() {
    let address = listening(|stream| async { answer(stream, &ok("{\"a\":1}")).await }).await;
    assert_eq!(get(&at(&address)).await.unwrap()["a"], 1);
    let busy =
        "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 17\r\n\r\n{\"error\":\"a\\nb\"} ";
    let address = listening(move |stream| async move { answer(stream, busy).await }).await;
    let error = get(&at(&address)).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(
        error.to_string(),
        "the server answers 503 Service Unavailable: a b"
    );
    let address = listening(|stream| async { answer(stream, &ok("{\"token\":\"secret\"")).await });
    let error = get(&at(&address.await)).await.unwrap_err().to_string();
    assert!(
        error.contains("makes no sense") && !error.contains("secret"),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_is_used_again_and_replaced_when_it_was_closed() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let address = listening(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            // Two answers, and it is closed without a word.
            for _ in 0..2 {
                head(&mut stream).await?;
                stream.write_all(ok("{}").as_bytes()).await?;
            }
            Ok(())
        }
    })
    .await;
    let mut client = Client::new(&Server::new(&at(&address)).unwrap()).unwrap();
    for _ in 0..5 {
        let ask = Ask::json("/x", None, Vec::new());
        client.json::<serde_json::Value>(&ask).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn nonsense_is_no_answer_and_too_much_is_not_read() {
    let address = listening(|stream| async { answer(stream, "SMTP ready\r\n").await }).await;
    assert!(matches!(
        get(&at(&address)).await,
        Err(ClientError::Broken(_))
    ));
    let large = ok(&" ".repeat(MAX_MESSAGE_BYTES + 1));
    let large = Arc::new(large);
    let address = listening(move |stream| {
        let large = large.clone();
        async move { answer(stream, &large).await }
    });
    assert!(matches!(
        get(&at(&address.await)).await,
        Err(ClientError::Broken(_))
    ));
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    assert!(matches!(
        get(&at(&gone.to_string())).await,
        Err(ClientError::Connect(_))
    ));
}

/// A server by TLS, which asks for the client's certificate or not.
async fn encrypted(mutual: bool) -> String {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(fixture("ca.pem")).unwrap())
            .unwrap();
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let chain = vec![CertificateDer::from_pem_file(fixture("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    listening(move |stream| {
        let acceptor = acceptor.clone();
        async move { answer(acceptor.accept(stream).await?, &ok("{\"tls\":true}")).await }
    })
    .await
}

#[tokio::test]
async fn only_who_is_certified_by_the_pinned_authority_is_the_server() {
    let port = encrypted(false)
        .await
        .rsplit_once(':')
        .unwrap()
        .1
        .to_owned();
    let with = |host: &str, ca: &str| Stated {
        url: format!("https://{host}:{port}"),
        ca: fixture(ca),
        ..Stated::default()
    };
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(get(&with(host, "ca.pem")).await.unwrap()["tls"], true);
    }
    for (host, ca) in [("localhost", "other.pem"), ("127.0.0.2", "ca.pem")] {
        let error = get(&with(host, ca)).await.unwrap_err();
        assert!(matches!(error, ClientError::Tls(_)), "{error}");
    }
    let error = get(&with("localhost", "missing.pem")).await.unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = get(&with("localhost", "server.key")).await.unwrap_err();
    assert!(error.to_string().contains("server.key"), "{error}");
}

#[tokio::test]
async fn the_sensor_shows_its_certificate_to_who_asks_for_it() {
    let address = encrypted(true).await;
    let mut stated = Stated {
        url: format!("https://{address}"),
        ca: fixture("ca.pem"),
        ..Stated::default()
    };
    assert!(get(&stated).await.is_err());
    stated.client_certificate = fixture("client.pem");
    stated.client_key = fixture("client.key");
    assert_eq!(get(&stated).await.unwrap()["tls"], true);
}

#[tokio::test]
async fn a_proxy_is_asked_to_lead_to_the_server() {
    let server = encrypted(false).await;
    let expected = format!("CONNECT {server} HTTP/1.1");
    let to = server.clone();
    let proxy = listening(move |mut stream| {
        let (to, expected) = (to.clone(), expected.clone());
        async move {
            let head = head(&mut stream).await?;
            if !head.starts_with(&expected) {
                return stream.write_all(b"HTTP/1.1 403 No\r\n\r\n").await;
            }
            stream
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await?;
            let mut server = TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut server).await?;
            Ok(())
        }
    })
    .await;
    let by_proxy = |url: String| Stated {
        url,
        ca: fixture("ca.pem"),
        proxy: format!("http://{proxy}"),
        ..Stated::default()
    };
    let stated = by_proxy(format!("https://{server}"));
    assert_eq!(get(&stated).await.unwrap()["tls"], true);
    let error = get(&by_proxy("https://localhost:1".into()))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the proxy: it answers HTTP/1.1 403 No"),
        "{error}"
    );
}

#[tokio::test]
async fn a_probe_asks_whether_anything_answers() {
    let refusing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let address = listening(move |stream| async move { answer(stream, refusing).await }).await;
    assert_eq!(
        Server::new(&at(&address)).unwrap().probe(LIMIT).await,
        Ok(())
    );
    let silent = listening(|stream| async move {
        tokio::time::sleep(10 * LIMIT).await;
        drop(stream);
        Ok(())
    });
    let silent = Server::new(&at(&silent.await)).unwrap();
    let error = silent.probe(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error, "no answer within 50ms");
}
