//! Metrics over HTTP for whoever scrapes them (`metrics.listen`): one path, and nothing can be changed there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{SharedRef, route};

/// Connections at one time: a few that scrape, and not whoever else comes by.
const MAX_CONNECTIONS: usize = 8;
/// How long one may take, from its first byte to its last.
const TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const MAX_HEAD: usize = 8 * 1024;
/// After `accept` failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens at `address`.
///
/// # Errors
/// When that is not to be had.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: SharedRef) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Waiting here leaves further clients in the socket's backlog.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    // Whoever is slow is let go of.
                    let _ = tokio::time::timeout(TIME, serve_one(stream, shared)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("metrics: cannot accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, shared: SharedRef) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(route::scraped(&request, &shared).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIME)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("metrics: {error}");
    }
}
