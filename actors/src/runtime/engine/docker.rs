//! The Docker Engine API, which Podman serves, too: what it tells of its containers and images, when it tells it.

use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::{EventsOptions, InspectContainerOptions, ListContainersOptions};
use futures_util::StreamExt as _;

use super::{ANSWER, Engine, PING};
use crate::runtime::table::Details;

mod client;
pub(super) mod convert;
pub(super) mod image;
mod inquiry;

use inquiry::Inquiries;

/// Events since so long before are asked for when a watch begins: what happened while it did.
const OVERLAP: Duration = Duration::from_secs(2);

/// What of containers and images is told of as it happens.
const WANTED: [&str; 14] = [
    "create",
    "start",
    "rename",
    "update",
    "die",
    "destroy", // of images, Podman's words among them:
    "build",
    "delete",
    "import",
    "load",
    "loadfromarchive",
    "pull",
    "tag",
    "untag",
];

/// Takes in what there is, and then what changes, until the engine goes away.
pub(super) async fn watch(engine: &Engine) -> Result<(), Error> {
    let (path, runtime) = (&engine.socket.path, engine.socket.runtime);
    let docker = connect(path).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let began = now.saturating_sub(OVERLAP);
    let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect();
    let filters = HashMap::from([
        ("type".to_owned(), words(&["container", "image"])),
        ("event".to_owned(), words(&WANTED)),
    ]);
    let mut events = pin!(docker.events(Some(EventsOptions {
        since: Some(began.as_secs().to_string()),
        filters: Some(filters),
        ..Default::default()
    })));
    let before = engine.running();
    engine.tell_all(before, list(&docker, runtime).await?);
    let _watched = engine.began();
    let mut ping = tokio::time::interval(PING);
    let mut inquiries = Inquiries::new(&docker, engine, now);
    loop {
        tokio::select! {
            event = events.next(), if !inquiries.is_full() => match event {
                Some(Ok(event)) => inquiries.happened(event),
                // One that is not understood says nothing of the others.
                Some(Err(Error::JsonDataError { .. } | Error::JsonSerdeError { .. })) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some(answer) = inquiries.next() => inquiries.answered(answer)?,
            _ = ping.tick() => {
                in_time(docker.ping()).await?;
            }
        }
    }
}

/// An answer that is there to its end in time.
async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(ANSWER, answer).await;
    answer.unwrap_or(Err(Error::RequestTimeoutError))
}

async fn connect(path: &Path) -> Result<Docker, Error> {
    in_time(client::client(path, ANSWER.as_secs())?.negotiate_version()).await
}

/// All containers that run.
async fn list(docker: &Docker, runtime: &'static str) -> Result<Vec<Details>, Error> {
    let listed = docker.list_containers(Some(ListContainersOptions::default()));
    let listed = in_time(listed).await?;
    let mut all = Vec::with_capacity(listed.len());
    for id in listed.into_iter().filter_map(|summary| summary.id) {
        all.extend(inspect(docker, &id, runtime).await?);
    }
    Ok(all)
}

/// A container; `None` when it is gone, or the engine says of it what nobody understands: that is about one that is just
/// going, which Podman tells in words of its own, and says nothing of the others.
async fn inspect(
    docker: &Docker,
    id: &str,
    runtime: &'static str,
) -> Result<Option<Details>, Error> {
    let asked = docker.inspect_container(id, None::<InspectContainerOptions>);
    match in_time(asked).await {
        Ok(answer) => Ok(convert::details(answer, runtime)),
        Err(
            Error::DockerResponseServerError { .. }
            | Error::JsonDataError { .. }
            | Error::JsonSerdeError { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An image; `None` when it is gone, or the engine knows none by that name.
async fn inspect_image(docker: &Docker, name: &str) -> Result<Option<Box<ImageInspect>>, Error> {
    match in_time(docker.inspect_image(name)).await {
        Ok(answer) => Ok(Some(Box::new(answer))),
        Err(Error::DockerResponseServerError { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The version of the engine that answers.
pub(super) async fn version(path: &Path) -> Result<String, Error> {
    let answer = in_time(connect(path).await?.version()).await?;
    Ok(answer.version.unwrap_or_default())
}

/// The containers that an engine runs, asked for once.
pub(super) async fn running(path: &Path, runtime: &'static str) -> Result<Vec<Details>, Error> {
    list(&connect(path).await?, runtime).await
}
