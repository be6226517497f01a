//! Requests of this program to others: HTTP/1.1 (RFC 9112) over one connection that is kept, by TLS or without; and
//! plain streams for protocols that are not HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

mod target;

pub(crate) use target::Target;

/// For a connection, its TLS included: three attempts at the handshake of a bad line.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What this program calls itself.
const AGENT: &str = concat!("holdfast-server/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The address is none.
    #[error("{url:?} is no address: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Certificates are wrong, here or there.
    #[error("TLS: {0}")]
    Tls(String),
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// It ended before the answer was there.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Whom to trust: those certified by what is in `ca` (PEM) and nobody else, or else whom the system trusts.
///
/// # Errors
/// [`ClientError::Tls`].
pub(crate) fn trust(ca: Option<&Path>) -> Result<TlsConnector, ClientError> {
    Ok(TlsConnector::from(Arc::new(trusting(ca)?)))
}

/// The same, as what TLS is configured with.
///
/// # Errors
/// [`ClientError::Tls`].
pub(crate) fn trusting(ca: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let failed = |error: &dyn std::fmt::Display| ClientError::Tls(error.to_string());
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let of_file = |error: &dyn std::fmt::Display| {
                ClientError::Tls(format!("cannot use {}: {error}", file.display()))
            };
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| of_file(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| of_file(&error))?;
                roots.add(certificate).map_err(|error| of_file(&error))?;
            }
            if roots.is_empty() {
                return Err(of_file(&"it has no certificate"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            if roots.add_parsable_certificates(found.certs).0 == 0 {
                return Err(failed(
                    &"this system trusts nobody: give a file of certificates",
                ));
            }
        }
    }
    let configuration = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(configuration)
}

/// Both ways of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How to reach somebody.
#[derive(Clone)]
pub(crate) struct Way {
    target: Target,
    tls: Option<TlsConnector>,
    /// The address to come from.
    from: Option<IpAddr>,
}

impl Way {
    /// The way to `target`, trusting those in `ca` or whom the system trusts.
    ///
    /// # Errors
    /// [`ClientError::Tls`].
    pub(crate) fn new(target: Target, ca: Option<&Path>) -> Result<Self, ClientError> {
        let tls = target.encrypted.then(|| trust(ca)).transpose()?;
        Ok(Self {
            target,
            tls,
            from: None,
        })
    }

    /// The same from this address of this machine.
    pub(crate) fn from(&self, address: IpAddr) -> Self {
        Self {
            from: Some(address),
            ..self.clone()
        }
    }

    /// Connects, in ten seconds at most.
    ///
    /// # Errors
    /// [`ClientError::Connect`], [`ClientError::Tls`], [`ClientError::Timeout`].
    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        tokio::time::timeout(CONNECT_LIMIT, self.connect_at_leisure())
            .await
            .unwrap_or(Err(ClientError::Timeout(CONNECT_LIMIT)))
    }

    async fn connect_at_leisure(&self) -> Result<Box<dyn Stream>, ClientError> {
        let stream = self.connect_plain().await?;
        if self.is_encrypted() {
            self.encrypt(stream).await
        } else {
            Ok(stream)
        }
    }

    /// Whether TLS is spoken.
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects without TLS, for protocols that begin it later.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub(crate) async fn connect_plain(&self) -> Result<Box<dyn Stream>, ClientError> {
        let failed = |error: io::Error| ClientError::Connect(error.to_string());
        let stream = self.open().await.map_err(failed)?;
        // What is written is written whole.
        stream.set_nodelay(true).map_err(failed)?;
        Ok(Box::new(stream))
    }

    /// Begins TLS, if it is spoken.
    ///
    /// # Errors
    /// [`ClientError::Tls`].
    pub(crate) async fn encrypt(
        &self,
        stream: Box<dyn Stream>,
    ) -> Result<Box<dyn Stream>, ClientError> {
        let Some(tls) = &self.tls else {
            return Ok(stream);
        };
        let name = ServerName::try_from(self.target.host.clone())
            .map_err(|error| ClientError::Tls(error.to_string()))?;
        let encrypted = tls.connect(name, stream).await;
        Ok(Box::new(
            encrypted.map_err(|error| ClientError::Tls(error.to_string()))?,
        ))
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let place = (self.target.host.as_str(), self.target.port);
        let Some(from) = self.from else {
            return TcpStream::connect(place).await;
        };
        let address = lookup_host(place)
            .await?
            .find(|address| address.is_ipv4() == from.is_ipv4())
            .ok_or_else(|| io::Error::other("it has no address of this family"))?;
        let socket = if from.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(address).await
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// After how long to ask again, if it says so.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// One request at a time, over a connection that is kept as long as it can be.
pub(crate) struct Client {
    way: Way,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Connects to nothing yet.
    pub(crate) const fn new(way: Way) -> Self {
        Self {
            way,
            connection: None,
        }
    }

    /// Asks, within `limit`, for an answer of at most `most` bytes. A connection that was kept may have been closed by the
    /// other end at this very moment: then it is asked once more, over a new one.
    ///
    /// # Errors
    /// Where there is no answer; whatever its status, an answer is none.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        limit: Duration,
        most: usize,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(all) = request.headers_mut() {
            *all = headers.clone();
            all.insert(USER_AGENT, HeaderValue::from_static(AGENT));
            let host = HeaderValue::from_str(&self.way.target.host_header())
                .map_err(|error| ClientError::Connect(error.to_string()))?;
            all.insert(HOST, host);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| ClientError::Connect(error.to_string()))?;
        let reused = self.connection.take().filter(|kept| !kept.is_closed());
        let answered = tokio::time::timeout(limit, self.try_twice(reused, request, most)).await;
        answered.unwrap_or(Err(ClientError::Timeout(limit)))
    }

    async fn try_twice(
        &mut self,
        reused: Option<SendRequest<Full<Bytes>>>,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Answer, ClientError> {
        if let Some(connection) = reused {
            match self.send(connection, request.clone(), most).await {
                Err(ClientError::Broken(reason)) => tracing::debug!("connecting again: {reason}"),
                answered => return answered,
            }
        }
        let stream = self.way.connect().await?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ClientError::Connect(error.to_string()))?;
        // It ends with its sender, and its error reaches that.
        tokio::spawn(driver);
        self.send(connection, request, most).await
    }

    async fn send(
        &mut self,
        mut connection: SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Answer, ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        connection.ready().await.map_err(broken)?;
        let response = connection.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body
            .map_err(|error| ClientError::Broken(error.to_string()))?
            .to_bytes();
        self.connection = Some(connection);
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }
}
