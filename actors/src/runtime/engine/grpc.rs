//! gRPC over an engine's socket, within bounds.

use std::path::{Path, PathBuf};

use containerd_client::tonic::transport::{Channel, Endpoint};
use containerd_client::tonic::{Code, Response, Status};
use hyper_util::rt::TokioIo;

use super::{ANSWER, PING, bounded};

/// What was asked for, if it is there.
pub(super) fn found<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// An answer that is there to its end in time.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let answer = tokio::time::timeout(ANSWER, answer).await;
    answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}

/// A connection that says so itself when nobody is there any more.
pub(super) async fn connect(path: &Path) -> Result<Channel, Status> {
    let path: PathBuf = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { bounded::connect(&path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://engine")
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(ANSWER)
        .keep_alive_while_idle(true);
    in_time(async {
        let connected = endpoint.connect_with_connector(connector).await;
        connected.map_err(|error| Status::from_error(error.into()))
    })
    .await
}
