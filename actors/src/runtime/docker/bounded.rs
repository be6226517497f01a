//! The way to an engine's socket: what it answers is bounded, however much it says.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::Uri;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// What one connection may say, bytes: the containers of a crowded node several times over, and some ten
/// thousand events, after which the watch begins anew.
const MAX_BYTES: usize = 32 << 20;

/// A client of the API at `path`, of which each request has a connection of its own. An answer may take so many
/// seconds to begin.
pub(super) fn client(path: &Path, seconds: u64) -> Result<Docker, Error> {
    let path = path.to_owned();
    let send = move |request| send(path.clone(), request);
    Docker::connect_with_custom_transport(send, Some("http://engine"), seconds, API_DEFAULT_VERSION)
}

async fn send(
    path: PathBuf,
    mut request: BollardRequest,
) -> Result<hyper::Response<hyper::body::Incoming>, Error> {
    // RFC 9112, 3.2.1: to whom the connection is, the request names the path alone.
    let target = request.uri().path_and_query();
    let target = target.map_or_else(Uri::default, |it| Uri::from(it.clone()));
    *request.uri_mut() = target;
    let host = HeaderValue::from_static("engine");
    request.headers_mut().insert(HOST, host);
    let stream = Bounded {
        stream: UnixStream::connect(path).await?,
        left: MAX_BYTES,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer, or with who reads it.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// A stream that fails once it was read for so long.
#[derive(Debug)]
struct Bounded<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Ok(()))
            }
            None => {
                let reason = format!("the answer is larger than {MAX_BYTES} bytes");
                Poll::Ready(Err(io::Error::other(reason)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
