//! Container engines that are asked what they know of their containers, each by its API.
//!
//! One actor for each socket. An engine that is not there, that goes away and comes back, is no failure;
//! one that does not answer is said to be so, and asked again.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::ActorProcessingErr;
use tokio::task::JoinHandle;

use super::table::Details;
use crate::root::shared::Shared;
use crate::supervisor::SLICE;
use crate::supervisor::worker::Job;

mod answer;
mod bounded;
mod containerd;
mod cri;
mod docker;
mod grpc;
mod oci;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often an engine that tells nothing is asked whether it lives.
const PING: Duration = Duration::from_secs(30);
/// How long after a failure, or while there is no socket, it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What is spoken at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    /// The Docker Engine API, which Podman serves, too.
    Docker,
    /// containerd's own.
    Containerd,
    /// That of the kubelet.
    Cri,
}

/// The socket of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The actor's name, and that of what is degraded when it does not answer.
    pub name: String,
    /// `docker`, `podman`, `containerd` or `cri-o`.
    pub runtime: &'static str,
    /// Where it is.
    pub path: PathBuf,
    api: Api,
}

impl Socket {
    /// A socket of the Docker Engine API at `path`, on a host whose root is `root`; the `number`-th of all
    /// that are set.
    #[must_use]
    pub fn docker(root: &Path, path: &Path, number: usize) -> Self {
        let is_podman = path.to_string_lossy().contains("podman");
        let runtime = if is_podman { "podman" } else { "docker" };
        Self::new(Api::Docker, (runtime, runtime), (root, path), number)
    }

    /// containerd's socket, likewise.
    #[must_use]
    pub fn containerd(root: &Path, path: &Path, number: usize) -> Self {
        Self::new(
            Api::Containerd,
            ("containerd", "containerd"),
            (root, path),
            number,
        )
    }

    /// A socket at which CRI is served, likewise: by containerd, by CRI-O, or by what stands before Docker.
    #[must_use]
    pub fn cri(root: &Path, path: &Path, number: usize) -> Self {
        let name = path.to_string_lossy();
        let runtime = if name.contains("crio") {
            "cri-o"
        } else if name.contains("docker") {
            "docker"
        } else {
            "containerd"
        };
        Self::new(Api::Cri, (runtime, "cri"), (root, path), number)
    }

    /// What is spoken there.
    #[must_use]
    pub fn api(&self) -> &'static str {
        match self.api {
            Api::Docker => "docker",
            Api::Containerd => "containerd",
            Api::Cri => "cri",
        }
    }

    fn new(
        api: Api,
        (runtime, called): (&'static str, &'static str),
        (root, path): (&Path, &Path),
        number: usize,
    ) -> Self {
        let below = root.join(path.strip_prefix("/").unwrap_or(path));
        Self {
            name: format!("engine.{number}.{called}"),
            runtime,
            // A container may have it mounted anywhere.
            path: if below.exists() || !path.exists() {
                below
            } else {
                path.to_owned()
            },
            api,
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
pub(crate) struct Watch(JoinHandle<Result<(), String>>);

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
    fn failed(&self, error: &str) {
        let Socket { name, path, .. } = &self.socket;
        let path = path.display();
        let reason = format!("{path} does not answer, so new containers have no name: {error}");
        self.shared.degraded.set(name, &reason);
    }

    /// Takes in what there is, and then what changes, until the engine goes away.
    async fn watch(&self) -> Result<(), String> {
        match self.socket.api {
            Api::Docker => docker::watch(self).await.map_err(|error| error.to_string()),
            Api::Containerd => containerd::watch(self)
                .await
                .map_err(|error| error.to_string()),
            Api::Cri => cri::watch(self).await.map_err(|error| error.to_string()),
        }
    }

    /// All containers that there were when the watch began are told of.
    fn began(&self) -> super::table::Watched<'_> {
        self.shared.degraded.clear(&self.socket.name);
        self.shared.containers.watched(self.socket.runtime)
    }

    /// The engine tells of a container, which has just been started or not, and something may wait for it.
    fn tell(&self, details: Details, is_start: bool) {
        let (id, pid) = (details.container.id.clone(), details.pid);
        self.shared.tell_container(details);
        if is_start || pid.is_some() {
            self.start(&id, pid, is_start);
        }
        self.shared.arrival.notify_one();
    }

    /// A container that was told of runs; `just_now`: the engine says that it has started it.
    fn start(&self, id: &str, pid: Option<u32>, just_now: bool) {
        let engine = &self.socket.name;
        self.shared.start_container(engine, (id, pid), just_now);
    }

    /// Those that ran by what it has told so far: before it is asked for all.
    fn running(&self) -> Vec<String> {
        self.shared.containers.running(&self.socket.name)
    }

    /// The engine says which containers there are; of those that ran `before`, some may have ended since.
    fn tell_all(&self, before: Vec<String>, all: Vec<Details>) {
        let mut ended: HashSet<String> = before.into_iter().collect();
        for details in all {
            if details.pid.is_some() {
                ended.remove(&details.container.id);
            }
            self.tell(details, false);
        }
        for id in ended {
            self.shared.end_container(&id, None);
        }
    }
}

/// The version of the engine that answers.
///
/// # Errors
/// What is wrong, when none does.
pub async fn version(socket: &Socket) -> Result<String, String> {
    match socket.api {
        Api::Docker => docker::version(&socket.path)
            .await
            .map_err(|error| error.to_string()),
        Api::Containerd => containerd::version(&socket.path)
            .await
            .map_err(|error| error.to_string()),
        Api::Cri => cri::version(&socket.path)
            .await
            .map_err(|error| error.to_string()),
    }
}

/// The containers that an engine runs, asked for once.
///
/// # Errors
/// What is wrong, when it does not answer.
pub async fn running(socket: &Socket) -> Result<Vec<Details>, String> {
    match socket.api {
        Api::Docker => {
            let running = docker::running(&socket.path, socket.runtime).await;
            running.map_err(|error| error.to_string())
        }
        Api::Containerd => {
            let running = containerd::running(&socket.path).await;
            running.map_err(|error| error.to_string())
        }
        Api::Cri => {
            let running = cri::running(&socket.path, socket.runtime).await;
            running.map_err(|error| error.to_string())
        }
    }
}
