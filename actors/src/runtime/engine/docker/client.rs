//! A client of the Docker Engine API whose connections are bounded.

use std::path::{Path, PathBuf};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::Uri;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;

use super::super::bounded;

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
    let stream = bounded::connect(&path).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer, or with who reads it.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
