//! The server's side: connections, and the bounds on them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{SharedRef, peer, route};

/// Connections at one time: all followers that there may be, and as many again for short requests.
const MAX_CONNECTIONS: usize = 32;
/// A client on this machine sends its request at once.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Bytes of a request's head; the longest path that is served has 40.
const MAX_HEAD: usize = 8 * 1024;
/// After `accept` failed (no descriptors left, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the control socket: for its owner only, in place of one that a killed sensor left behind.
/// The caller holds the instance lock, so that a socket at `path` is nobody's.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn bind(path: &Path) -> io::Result<Server> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(Server {
        listener,
        path: path.to_owned(),
    })
}

/// The bound socket; removed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Serves until the future is dropped, which ends every connection.
    pub(crate) async fn serve(self, shared: SharedRef) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            // Waiting here leaves further clients in the socket's backlog.
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let shared = shared.clone();
                    connections.spawn(async move {
                        serve_one(stream, shared).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("control socket: cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is left behind is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve_one(stream: UnixStream, shared: SharedRef) {
    let permitted = peer::is_permitted(&stream);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move {
            Ok::<_, std::convert::Infallible>(if permitted {
                route::answer(&request, &shared).await
            } else {
                route::refusal()
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("control socket: {error}");
    }
}
