//! The server's side: connections, and the bounds on them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use super::{SharedRef, http, peer, route};

/// Connections at one time: all followers that there may be, and as many again for short requests.
const MAX_CONNECTIONS: usize = 32;
/// A client on this machine sends its request at once.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// In the log.
const WHAT: &str = "control socket";

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
        let accept = || async { Ok(self.listener.accept().await?.0) };
        http::serve_all(WHAT, MAX_CONNECTIONS, accept, |stream| {
            serve_one(stream, shared.clone())
        })
        .await;
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
    http::serve_one(WHAT, stream, HEADER_TIME, |request| {
        let shared = shared.clone();
        async move {
            if permitted {
                route::answer(&request, &shared).await
            } else {
                route::refusal()
            }
        }
    })
    .await;
}
