//! Metrics over HTTP for whoever scrapes them (`metrics.listen`): one path, and nothing can be changed there.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::{SharedRef, http, route};

/// Connections at one time: a few that scrape, and not whoever else comes by.
const MAX_CONNECTIONS: usize = 8;
/// How long one may take, from its first byte to its last.
const TIME: Duration = Duration::from_secs(10);
/// In the log.
const WHAT: &str = "metrics";

/// Serves until the future is dropped, which ends every connection.
pub(crate) async fn serve(listener: TcpListener, shared: SharedRef) {
    let accept = || async { Ok(listener.accept().await?.0) };
    http::serve_all(WHAT, MAX_CONNECTIONS, accept, |stream| {
        let served = serve_one(stream, shared.clone());
        async move {
            // Whoever is slow is let go of.
            let _ = tokio::time::timeout(TIME, served).await;
        }
    })
    .await;
}

async fn serve_one(stream: TcpStream, shared: SharedRef) {
    http::serve_one(WHAT, stream, TIME, |request| {
        let shared = shared.clone();
        async move { route::scraped(&request, &shared).await }
    })
    .await;
}
