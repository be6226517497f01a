//! The Docker Engine API, which Podman serves, too: what it tells of its containers, when it tells it.
//!
//! One actor for each socket. An engine that is not there, that goes away and comes back, is no failure;
//! one that does not answer is said to be so, and asked again.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{EventsOptions, InspectContainerOptions, ListContainersOptions};
use futures_util::StreamExt as _;
use ractor::ActorProcessingErr;
use tokio::task::JoinHandle;

use super::table::Details;
use crate::root::shared::Shared;
use crate::supervisor::SLICE;
use crate::supervisor::worker::Job;

mod bounded;
mod convert;

/// How long an answer may take, seconds.
const ANSWER_SECONDS: u64 = 10;
/// How often an engine that tells nothing is asked whether it lives.
const PING: Duration = Duration::from_secs(30);
/// How long after a failure, or while there is no socket, it is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Events since so long before are asked for when a watch begins: what happened while it did.
const OVERLAP: Duration = Duration::from_secs(2);

/// One socket of the Docker Engine API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The actor's name, and that of what is degraded when it does not answer.
    pub name: String,
    /// `docker` or `podman`.
    pub runtime: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

impl Socket {
    /// The socket at `path`, on a host whose root is `root`; the `number`-th of those that are set.
    #[must_use]
    pub fn new(root: &Path, path: &Path, number: usize) -> Self {
        let runtime = if path.to_string_lossy().contains("podman") {
            "podman"
        } else {
            "docker"
        };
        let below = root.join(path.strip_prefix("/").unwrap_or(path));
        Self {
            name: format!("engine.{number}.{runtime}"),
            runtime,
            // A container may have it mounted anywhere.
            path: if below.exists() || !path.exists() {
                below
            } else {
                path.to_owned()
            },
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub(crate) shared: Arc<Shared>,
    pub(crate) socket: Socket,
}

/// The watch that is going on, or when the next begins.
#[derive(Debug)]
pub(crate) enum State {
    Waiting(Instant),
    Watching(Watch),
}

/// A task that ends with its incarnation.
#[derive(Debug)]
pub(crate) struct Watch(JoinHandle<Result<(), Error>>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Job for Watcher {
    type State = State;

    fn begin(&self) -> Result<State, ActorProcessingErr> {
        Ok(State::Waiting(Instant::now()))
    }

    async fn slice(
        &self,
        state: &mut State,
        draining: bool,
    ) -> Result<ControlFlow<()>, ActorProcessingErr> {
        if draining {
            *state = State::Waiting(Instant::now());
            return Ok(ControlFlow::Break(()));
        }
        match state {
            State::Waiting(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    tokio::time::sleep(left.min(SLICE)).await;
                } else if self.socket.path.exists() {
                    let watcher = self.clone();
                    *state =
                        State::Watching(Watch(tokio::spawn(async move { watcher.watch().await })));
                } else {
                    self.shared.degraded.clear(&self.socket.name);
                    *state = State::Waiting(Instant::now() + RETRY);
                }
            }
            State::Watching(watch) => {
                if let Ok(ended) = tokio::time::timeout(SLICE, &mut watch.0).await {
                    *state = State::Waiting(Instant::now() + RETRY);
                    // A panic in it is one of this actor's.
                    if let Err(error) = ended? {
                        self.failed(&error);
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Watcher {
    fn failed(&self, error: &Error) {
        let Socket { name, path, .. } = &self.socket;
        let path = path.display();
        let reason = format!("{path} does not answer, so new containers have no name: {error}");
        self.shared.degraded.set(name, &reason);
    }

    /// Takes in what there is, and then what changes, until the engine goes away.
    async fn watch(&self) -> Result<(), Error> {
        let docker = connect(&self.socket.path).await?;
        let began = SystemTime::now() - OVERLAP;
        let began = began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let wanted = ["create", "start", "rename", "update", "die", "destroy"];
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), wanted.map(str::to_owned).to_vec()),
        ]);
        let mut events = pin!(docker.events(Some(EventsOptions {
            since: Some(began.as_secs().to_string()),
            filters: Some(filters),
            ..Default::default()
        })));
        for details in list(&docker, self.socket.runtime).await? {
            self.shared.tell_container(details);
        }
        let _watched = self.shared.containers.watched(self.socket.runtime);
        self.shared.degraded.clear(&self.socket.name);
        let mut ping = tokio::time::interval(PING);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = ping.tick() => {
                    in_time(docker.ping()).await?;
                    continue;
                }
            };
            let event = match event {
                Some(Ok(event)) => event,
                // One that is not understood says nothing of the others.
                Some(Err(Error::JsonDataError { .. } | Error::JsonSerdeError { .. })) => continue,
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            };
            let Some(id) = event.actor.and_then(|actor| actor.id) else {
                continue;
            };
            match event.action.as_deref() {
                Some("die" | "destroy") => self.shared.end_container(&id),
                _ => {
                    if let Some(details) = inspect(&docker, &id, self.socket.runtime).await? {
                        self.shared.tell_container(details);
                        // Something may wait for it.
                        self.shared.arrival.notify_one();
                    }
                }
            }
        }
    }
}

/// An answer that is there to its end in time.
async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let limit = Duration::from_secs(ANSWER_SECONDS);
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or(Err(Error::RequestTimeoutError))
}

async fn connect(path: &Path) -> Result<Docker, Error> {
    in_time(bounded::client(path, ANSWER_SECONDS)?.negotiate_version()).await
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

/// A container; `None` when it is gone.
async fn inspect(
    docker: &Docker,
    id: &str,
    runtime: &'static str,
) -> Result<Option<Details>, Error> {
    let asked = docker.inspect_container(id, None::<InspectContainerOptions>);
    match in_time(asked).await {
        Ok(answer) => Ok(convert::details(answer, runtime)),
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The version of the engine that answers.
///
/// # Errors
/// What is wrong, when none does.
pub async fn version(socket: &Socket) -> Result<String, String> {
    let asked = async { in_time(connect(&socket.path).await?.version()).await };
    let answer = asked.await.map_err(|error: Error| error.to_string())?;
    Ok(answer.version.unwrap_or_default())
}

/// The containers that an engine runs, asked for once.
///
/// # Errors
/// What is wrong, when it does not answer.
pub async fn running(socket: &Socket) -> Result<Vec<Details>, String> {
    let listed = async {
        let docker = connect(&socket.path).await?;
        list(&docker, socket.runtime).await
    };
    listed.await.map_err(|error: Error| error.to_string())
}
