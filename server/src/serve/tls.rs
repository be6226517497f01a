//! TLS: a certificate, its key and the authorities of clients, read again when the files change.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Between two looks at the files, which are the times of three of them. What changed is read once it is the same at two looks,
/// since a certificate and its key are written one after the other.
const LOOK: Duration = Duration::from_secs(2);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file is not to be read, or is not what it should be.
    #[error("cannot use {file}: {reason}")]
    File {
        /// Which.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// They do not go together.
    #[error("the certificate and the key cannot be used: {0}")]
    Pair(#[from] tokio_rustls::rustls::Error),
}

/// The files, all PEM.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The chain, the server's certificate first.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The authorities of clients' certificates, where clients may have some.
    pub(crate) client_ca: Option<PathBuf>,
}

/// By what it is told that a file is another one, or has other content.
type Mark = Option<(u64, u64, i64, i64, u64)>;

impl Files {
    fn marks(&self) -> Vec<Mark> {
        let all = [
            Some(&self.certificate),
            Some(&self.key),
            self.client_ca.as_ref(),
        ];
        let mark = |path: &PathBuf| {
            let of = fs::metadata(path).ok()?;
            Some((of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.size()))
        };
        all.into_iter().flatten().map(mark).collect()
    }
}

/// TLS 1.2 and 1.3 by what the files have.
pub(crate) struct Tls {
    files: Files,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    /// By what the files have now.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn new(files: Files) -> Result<Self, TlsError> {
        let acceptor = RwLock::new(acceptor(&files)?);
        Ok(Self { files, acceptor })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let acceptor = self.acceptor.read();
        acceptor.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has new connections go by what the files have, whenever they change. Files that cannot be used change nothing, and are
    /// told of once.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut used = self.files.marks();
        let mut last = used.clone();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.files.marks();
            let settled = now == last;
            last = now;
            if !settled || last == used {
                continue;
            }
            used.clone_from(&last);
            match acceptor(&self.files) {
                Ok(new) => {
                    let mut acceptor = self
                        .acceptor
                        .write()
                        .unwrap_or_else(PoisonError::into_inner);
                    *acceptor = new;
                    tracing::info!(
                        "new connections have the certificate in {}",
                        self.files.certificate.display()
                    );
                }
                Err(error) => tracing::error!(
                    "the files of TLS have changed, and the former certificate stays: {error}"
                ),
            }
        }
    }
}

fn acceptor(files: &Files) -> Result<TlsAcceptor, TlsError> {
    let key = &files.key;
    let chain = certificates(&files.certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots
                    .add(certificate)
                    .map_err(|error| failed(file, &error))?;
            }
            // Browsers have none: who needs one is asked for it by path.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| failed(file, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut configuration = builder.with_single_cert(chain, private)?;
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(configuration)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(file, &error))
}

fn failed(file: &Path, error: &dyn std::error::Error) -> TlsError {
    TlsError::File {
        file: file.display().to_string(),
        reason: error.to_string(),
    }
}
