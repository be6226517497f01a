//! Container engines that are asked what they know of their containers, each by its API.
//!
//! One actor for each place that is set, which may stand for several sockets. An engine that is not there, that goes away and comes back, is no failure;
//! one that does not answer is said to be so, and asked again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::ActorProcessingErr;
use tokio::task::JoinHandle;

use super::table::Details;
use crate::root::shared::Shared;
use crate::supervisor::worker::Job;

mod answer;
mod bounded;
mod containerd;
mod cri;
mod docker;
#[cfg(fuzzing)]
pub mod fuzzing;
mod grpc;
mod listening;
mod oci;
mod socket;
mod users;

pub use listening::Listening;
use socket::Api;
pub use socket::{Place, Socket};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often an engine that tells nothing is asked whether it lives.
const PING: Duration = Duration::from_secs(30);
/// How long after a failure, or while there is no socket, it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Place,
}

/// One of the engines that are there.
#[derive(Clone, Debug)]
struct Engine {
    shared: Arc<Shared>,
    socket: Socket,
}

/// The watches that are going on, by the sockets' names, and when it is looked again for others.
#[derive(Debug)]
pub(crate) struct State {
    watches: BTreeMap<String, (Engine, Watch)>,
    next: Instant,
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
        Ok(State {
            watches: BTreeMap::new(),
            next: Instant::now(),
        })
    }

    async fn slice(
        &self,
        state: &mut State,
        draining: bool,
    ) -> Result<ControlFlow<()>, ActorProcessingErr> {
        if draining {
            state.watches.clear();
            return Ok(ControlFlow::Break(()));
        }
        if state.next <= Instant::now() {
            self.look(state);
        }
        let left = state.next.saturating_duration_since(Instant::now());
        self.shared.rest(left, std::future::pending()).await;
        let ended = |(_, watch): &(Engine, Watch)| watch.0.is_finished();
        let names: Vec<String> = state
            .watches
            .iter()
            .filter(|(_, it)| ended(it))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let Some((engine, mut watch)) = state.watches.remove(&name) else {
                continue;
            };
            state.next = Instant::now() + RETRY;
            // A panic in it is one of this actor's.
            if let Err(error) = (&mut watch.0).await? {
                engine.failed(&error);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Watcher {
    /// Begins to watch each socket that is there and is not watched.
    fn look(&self, state: &mut State) {
        let Self { shared, place } = self;
        state.next = Instant::now() + place.interval();
        let present = place.present();
        // One that is gone is no failure.
        let is_present = |what: &str| present.iter().any(|socket| socket.name == what);
        shared.degraded.clear_below(place.name(), is_present);
        for socket in present {
            if let Entry::Vacant(vacant) = state.watches.entry(socket.name.clone()) {
                let engine = Engine {
                    shared: Arc::clone(shared),
                    socket,
                };
                let own = engine.clone();
                let watch = Watch(tokio::spawn(async move { own.watch().await }));
                vacant.insert((engine, watch));
            }
        }
    }
}

impl Engine {
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
        let user = self.socket.owner;
        let is_theirs = user.is_none_or(|user| users::is_of(&self.shared.proc, &details, user));
        if !is_theirs || !self.may_tell(&id) {
            return;
        }
        self.shared.tell_container(&self.socket.name, details);
        if is_start || pid.is_some() {
            let engine = &self.socket.name;
            self.shared.start_container(engine, (&id, pid), is_start);
        }
        self.shared.arrival.notify_one();
    }

    /// Whether the engine is to be heard of a container: a user's, where no other has told of it.
    fn may_tell(&self, id: &str) -> bool {
        let containers = &self.shared.containers;
        self.socket.owner.is_none() || containers.is_free_for(id, &self.socket.name)
    }

    /// The engine says that a container has ended, with this code where it says.
    fn end(&self, id: &str, code: Option<i32>) {
        if self.may_tell(id) {
            self.shared.end_container(id, code);
        }
    }

    /// The engine says that it has just started a container that was told of, and no more of it.
    fn start(&self, id: &str) {
        if self.may_tell(id) {
            let engine = &self.socket.name;
            self.shared.start_container(engine, (id, None), true);
        }
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

/// The containers that an engine runs, asked for once; of a user's engine those that are the user's, as `proc` shows.
///
/// # Errors
/// What is wrong, when it does not answer.
pub async fn running(socket: &Socket, proc: &Path) -> Result<Vec<Details>, String> {
    let mut running = all_running(socket).await?;
    if let Some(user) = socket.owner {
        running.retain(|details| users::is_of(proc, details, user));
    }
    Ok(running)
}

async fn all_running(socket: &Socket) -> Result<Vec<Details>, String> {
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
