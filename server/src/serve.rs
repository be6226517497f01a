//! Connections: accepted within bounds, by TLS or without, each request with its peer.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::auth::limit::{Limiter, Rate};

mod places;
mod steady;
mod tls;

use places::{Place, Places};
use steady::Steady;
pub(crate) use tls::{Files, Tls};

/// How long a connection may be idle or take for a request's head; more than two heartbeats, so that a sensor
/// keeps its own.
const HEAD_TIME: Duration = Duration::from_secs(75);
/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a client may take nothing of its answer: longer than the networks that sensors and browsers are on are away
/// and come back.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request's head: a search with all its filters is a tenth.
const MAX_HEAD: usize = 32 * 1024;
/// Between two lines of the log on addresses that have too many connections.
const TOLD: Duration = Duration::from_secs(60);
/// After `accept` failed (no descriptors left, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests may go on when the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Whether the client showed a certificate, which then is a good one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsCertified(pub(crate) bool);

/// Serves until `stop` is true, and then lets requests end within a grace. `of_address`: the most connections of an address,
/// where clients have their own.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    of_address: Option<usize>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    serve_within(WRITE_TIME, listener, tls, of_address, router, stop).await;
}

/// The same with a limit on how long a client may take nothing of its answer.
async fn serve_within(
    write_time: Duration,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    of_address: Option<usize>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let places = Places::new(of_address);
    let told = Limiter::new(
        1,
        Rate {
            burst: 1,
            every: TOLD,
        },
    );
    let mut connections = JoinSet::new();
    let stopping = stop.clone();
    loop {
        while connections.try_join_next().is_some() {}
        // Waiting here leaves further clients in the socket's backlog.
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, peer, place)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = place else {
            if told.take(()).is_ok() {
                tracing::warn!(
                    "{} has as many connections as an address may have (--connections-per-address): more are ended",
                    peer.ip()
                );
            }
            continue;
        };
        let stream = Steady::new(stream, write_time);
        let (router, stop) = (router.clone(), stopping.clone());
        let acceptor = tls.as_deref().map(Tls::acceptor);
        connections.spawn(async move {
            match acceptor {
                None => serve_one(stream, Peer(peer), IsCertified(false), router, stop).await,
                Some(acceptor) => {
                    let shaken =
                        tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        let certified = stream.get_ref().1.peer_certificates().is_some();
                        serve_one(stream, Peer(peer), IsCertified(certified), router, stop).await;
                    }
                }
            }
            drop(place);
        });
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, ended).await;
}

/// The next connection, and its place where its address may have one more.
async fn accept(
    listener: &TcpListener,
    places: &Places,
) -> io::Result<(TcpStream, SocketAddr, Option<Place>)> {
    let room = places.room().await;
    let (stream, peer) = listener.accept().await.inspect_err(|error| {
        tracing::warn!("cannot accept: {error}");
    })?;
    stream.set_nodelay(true)?;
    let place = room.and_then(|room| places.take(room, peer.ip()));
    Ok((stream, peer, place))
}

async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    certified: IsCertified,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(certified);
        let answer = router.clone().oneshot(request);
        async move { answer.await.map_err(|never: Infallible| never) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Without what `wait_for` lends, which must not be held while waiting.
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection of {} ended: {error}", peer.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};

    use axum::routing::get;

    use super::*;

    /// More than the buffers of both ends of a socket have.
    const ANSWER: usize = 64 << 20;

    #[tokio::test]
    async fn who_reads_nothing_of_an_answer_loses_the_connection_and_others_do_not() {
        const LIMIT: Duration = Duration::from_millis(500);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { vec![7_u8; ANSWER] }));
        let (_keep, stop) = watch::channel(false);
        tokio::spawn(serve_within(LIMIT, listener, None, None, router, stop));
        let ask = move || {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            client.write_all(request).unwrap();
            client
        };
        let read_after = move |wait: Duration| {
            let mut client = ask();
            std::thread::sleep(wait);
            let mut answer = Vec::new();
            match client.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
            answer.len()
        };
        let late = tokio::task::spawn_blocking(move || read_after(6 * LIMIT));
        let in_time = tokio::task::spawn_blocking(move || read_after(Duration::ZERO));
        assert!(in_time.await.unwrap() > ANSWER);
        let some = late.await.unwrap();
        assert!(some > 0 && some < ANSWER, "{some}");
    }
}
