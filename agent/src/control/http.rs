//! Serving HTTP/1 on whatever is accepted, within bounds.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::route::Answer;

/// Bytes of a request's head; the longest path that is served has 40.
const MAX_HEAD: usize = 8 * 1024;
/// After `accept` failed (no descriptors left, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves what `accept` gives, at most `most` at a time, until the future is dropped, which ends every connection.
/// `what`: for the log.
pub(super) async fn serve_all<S, A, F>(
    what: &str,
    most: usize,
    accept: impl Fn() -> A,
    serve: impl Fn(S) -> F,
) where
    A: Future<Output = io::Result<S>>,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(most));
    let mut connections = JoinSet::new();
    let mut fails = false;
    loop {
        while connections.try_join_next().is_some() {}
        // Waiting here leaves further clients in the socket's backlog.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match accept().await {
            Ok(stream) => {
                fails = false;
                let served = serve(stream);
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Once, until it works again: ten times a second it would fill the log.
                if !std::mem::replace(&mut fails, true) {
                    tracing::warn!("{what}: cannot accept: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the one request of a connection, whose head has to be there within `head_time`.
pub(super) async fn serve_one<F>(
    what: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    head_time: Duration,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Answer>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("{what}: {error}");
    }
}
