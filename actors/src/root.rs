//! The root: the tree, declared as data, and what outlives every actor in it.

use std::sync::Arc;
use std::time::Duration;

use holdfast_policy::snapshot::Snapshot;
use holdfast_wire::{Domain, Kind};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::watch;

mod handle;
mod settings;
pub(crate) mod shared;
pub mod status;
mod tree;

#[cfg(any(test, feature = "fault-injection"))]
pub use crate::supervisor::fault::Fault;
pub use handle::{Handle, HandleError};
pub use settings::{Format, Host, Log, Settings, Stdout, Waits};

use crate::clock;
use crate::evaluator;
use crate::health::watchdog;
use crate::kernel::{Kernel, KernelError, Predecessor, Ring};
use crate::losses;
use crate::namespace::{Map, Namespaces};
use crate::supervisor::restart::Policy;
use crate::supervisor::{Outcome, Stage, Supervisor};
use shared::Shared;
use status::{ActorState, Status};

/// Time that the actors of a stage have to finish when the sensor stops. Seven stages stay below the
/// time that a service manager grants (90 s, `DefaultTimeoutStopSec=`), and what is in the rings and
/// lanes is done in a fraction of one.
const STAGE_LIMIT: Duration = Duration::from_secs(10);

/// How often the root looks whether its actors get on.
const LOOK: Duration = Duration::from_secs(5);

/// Why the tree could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tables of the first snapshot could not be installed.
    #[error("cannot install the policy tables: {0}")]
    Install(#[from] KernelError),
    /// A domain has no ring, or several.
    #[error("domain `{0}` needs exactly one ring, and has {1}")]
    Rings(&'static str, usize),
    /// What engines tell cannot be put beside what the kernel does.
    #[error("cannot join two rings: {0}")]
    Joined(std::io::Error),
    /// The root actor did not start.
    #[error("cannot start the root actor: {0}")]
    Root(String),
}

/// What the root is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Say how everything stands.
    Status(RpcReplyPort<Status>),
    /// Say which namespaces there are, or why that is not known; with what is mounted where.
    Namespaces(bool, RpcReplyPort<std::io::Result<Map>>),
    /// Put policies into force.
    Reload(Arc<Snapshot>, RpcReplyPort<Result<u32, KernelError>>),
    /// Answer when every hook is as the policies in force want it, or it is known why not.
    Settled(RpcReplyPort<()>),
    /// Stop everything, and say how it stood.
    Stop(RpcReplyPort<Status>),
    /// Time to look whether the children get on.
    Look,
    /// The delay before a child's restart is over.
    Restart(usize),
    /// The time of a stage of the stop is over.
    StageOver(Stage),
    /// A probe has its hook as the policies of this epoch want it, or knows why not.
    Reported(Kind, u32),
    /// Other policies are in force.
    PolicyChanged,
    /// Other policies were to be in force, and are not: why, in one line.
    PolicyRefused(String),
    /// How something stands that only the agent knows of.
    Degraded(&'static str, Option<String>),
    /// Have an actor fail.
    #[cfg(any(test, feature = "fault-injection"))]
    Fail(String, Fault, RpcReplyPort<bool>),
}

/// Starts the tree on the current tokio runtime: installs the tables of `snapshot`, then starts
/// every actor. Blocks for as long as the installation and a look at every process take.
///
/// # Errors
/// See [`StartError`]; nothing is left running then.
pub async fn start(
    settings: Settings,
    kernel: Arc<dyn Kernel>,
    rings: Vec<(Domain, Box<dyn Ring>)>,
    snapshot: Snapshot,
) -> Result<Handle, StartError> {
    kernel.install(snapshot.tables())?;
    let shared = Arc::new(Shared::new(settings, kernel, rings, Arc::new(snapshot))?);
    shared.tell_conditions();
    // Before any hook can kill.
    if let Err(error) = shared.killing.refresh(&*shared.kernel) {
        shared.degraded.set("never-kill list", &error);
    }
    launch(shared).await
}

async fn launch(shared: Arc<Shared>) -> Result<Handle, StartError> {
    let tails = shared.sinks.tails().clone();
    let (sender, ready) = watch::channel(false);
    let (root, _) = Actor::spawn(None, Root, (shared, sender))
        .await
        .map_err(|error| StartError::Root(error.to_string()))?;
    Ok(Handle { root, ready, tails })
}

/// The root actor.
#[derive(Debug)]
struct Root;

#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    supervisor: Supervisor,
    probes: tree::Probes,
    since: String,
    /// Kinds whose probe has not reported yet that its hook is as the policies in force want it.
    awaited: Vec<Kind>,
    ready: watch::Sender<bool>,
    /// Who waits until none is awaited.
    settling: Vec<RpcReplyPort<()>>,
    /// Who waits for the end.
    stop: Option<RpcReplyPort<Status>>,
}

impl Actor for Root {
    type Msg = Message;
    type State = State;
    type Arguments = (Arc<Shared>, watch::Sender<bool>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (shared, ready): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let (specs, probes) = tree::declare(&shared, &myself, &ready);
        let since = clock::wall_text();
        shared
            .degraded
            .tell("sensor.start", beginning(shared.kernel.predecessor()));
        if let Some(lost) = shared
            .kernel
            .predecessor()
            .and_then(|it| losses::unfinished(&it))
        {
            shared.degraded.tell("sensor.loss", lost);
        }
        let supervisor = Supervisor::new(specs, Policy::DEFAULT);
        let awaited = Kind::hooked().collect();
        Ok(State {
            shared,
            supervisor,
            probes,
            since,
            awaited,
            ready,
            settling: Vec::new(),
            stop: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        for index in state.supervisor.indices() {
            state.start(&myself, index).await;
        }
        myself.cast(Message::Look)?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Status(reply) => {
                // Who asked may have given up.
                let _ = reply.send(state.status());
            }
            Message::Namespaces(mounts, reply) => {
                // It may take seconds, and nobody else waits for it.
                let shared = state.shared.clone();
                tokio::spawn(async move { reply.send(Namespaces::look(&shared, mounts).await) });
            }
            Message::Reload(snapshot, reply) => state.reload(snapshot, reply),
            Message::Stop(reply) => {
                if state.stop.is_none() {
                    watchdog::tell_stopping();
                    state.shared.begin_to_stop();
                    state.stop = Some(reply);
                    state.stop_on(&myself);
                }
            }
            Message::Look => {
                state.end_stuck();
                myself.send_after(LOOK, || Message::Look);
            }
            Message::Restart(index) => state.start(&myself, index).await,
            Message::StageOver(stage) => state.stage_over(&myself, stage),
            Message::Reported(kind, epoch) => {
                // What stands as former policies wanted it is looked at again.
                if epoch == state.shared.policies.current().epoch() {
                    state.awaited.retain(|awaited| *awaited != kind);
                }
                let settles = state.awaited.is_empty() && !*state.ready.borrow();
                if settles {
                    // Before it says that it is ready: what it replaces is gone then.
                    let kernel = state.shared.kernel.clone();
                    let left = tokio::task::spawn_blocking(move || kernel.settle()).await?;
                    if let Some(lost) = losses::unreadable(left) {
                        state.shared.degraded.tell("sensor.loss", lost);
                    }
                    state.ready.send_replace(true);
                }
                state.tell_settled();
            }
            Message::PolicyChanged => {
                state.awaited = Kind::hooked().collect();
                state.probes.reconcile();
            }
            Message::Settled(reply) => {
                state.settling.push(reply);
                state.tell_settled();
            }
            Message::Degraded(what, Some(reason)) => state.shared.degraded.set(what, &reason),
            Message::Degraded(what, None) => state.shared.degraded.clear(what),
            Message::PolicyRefused(reason) => {
                let reason = format!("refused, the policies in force stay in force: {reason}");
                state.shared.degraded.tell("sensor.policy", reason);
            }
            #[cfg(any(test, feature = "fault-injection"))]
            Message::Fail(name, fault, reply) => {
                let _ = reply.send(state.supervisor.fail(&name, fault));
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let ended = match event {
            SupervisionEvent::ActorTerminated(actor, _, None) => {
                state.supervisor.ended(actor.get_id(), None)
            }
            SupervisionEvent::ActorTerminated(actor, _, Some(reason)) => {
                state.supervisor.ended(actor.get_id(), Some(reason))
            }
            SupervisionEvent::ActorFailed(actor, error) => state
                .supervisor
                .ended(actor.get_id(), Some(error.to_string())),
            _ => None,
        };
        if let Some((index, outcome)) = ended {
            state.follow(&myself, index, outcome);
        }
        Ok(())
    }
}

/// What a sensor says of its start.
fn beginning(predecessor: Option<Predecessor>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match predecessor {
        None => format!("version {version}"),
        Some(Predecessor { adopted: true, .. }) => {
            format!(
                "version {version}, with the kernel programs of the sensor before, which went on"
            )
        }
        Some(_) => {
            format!(
                "version {version}, whose kernel programs replace those of the sensor before, which went on"
            )
        }
    }
}

impl State {
    async fn start(&mut self, myself: &ActorRef<Message>, index: usize) {
        let outcome = self.supervisor.start(index, myself.get_cell()).await;
        self.follow(myself, index, outcome);
    }

    /// Ends the actors that do not get on, and says that the others do.
    fn end_stuck(&mut self) {
        let remain = self.supervisor.end_stuck();
        for (name, reason) in &remain {
            let reason = format!("{reason}, and does not end");
            self.shared.degraded.set(name, &reason);
        }
        if remain.is_empty() {
            self.shared.progress.beat();
        }
    }

    /// Does what has to be done after a child started or ended.
    fn follow(&mut self, myself: &ActorRef<Message>, index: usize, outcome: Outcome) {
        let name = self.supervisor.name(index);
        match outcome {
            Outcome::Runs => {
                self.shared.degraded.clear(name);
                let error = self.supervisor.last_error(index);
                if !error.is_empty() {
                    self.shared
                        .degraded
                        .tell("sensor.restart", format!("{name}: {error}"));
                }
            }
            Outcome::Again(delay) => {
                myself.send_after(delay, move || Message::Restart(index));
            }
            Outcome::Parked(rest) => {
                let error = self.supervisor.last_error(index);
                self.shared
                    .degraded
                    .set(name, &format!("parked, it keeps failing: {error}"));
                myself.send_after(rest, move || Message::Restart(index));
            }
            Outcome::Stopped => {
                if self.supervisor.stage_is_over() {
                    self.stop_on(myself);
                }
            }
        }
    }

    fn reload(&self, snapshot: Arc<Snapshot>, reply: RpcReplyPort<Result<u32, KernelError>>) {
        let message = evaluator::Message::Reload(snapshot, reply);
        let refused = match self.shared.evaluator.get() {
            Some(evaluator) => evaluator.cast(message).err(),
            None => Some(ractor::MessagingErr::SendErr(message)),
        };
        if let Some(ractor::MessagingErr::SendErr(evaluator::Message::Reload(_, reply))) = refused {
            let attempted = "reload".to_owned();
            let reason = "the evaluator is being restarted; try again".to_owned();
            let _ = reply.send(Err(KernelError { attempted, reason }));
        }
    }

    /// Answers those that wait for the hooks, once no probe is awaited.
    fn tell_settled(&mut self) {
        if self.awaited.is_empty() {
            for reply in self.settling.drain(..) {
                // Who asked may have given up.
                let _ = reply.send(());
            }
        }
    }

    /// Stops the next stage, or, after the last, everything.
    fn stop_on(&mut self, myself: &ActorRef<Message>) {
        if self.stop.is_none() {
            return;
        }
        match self.supervisor.stop_next() {
            Some(stage) => {
                myself.send_after(STAGE_LIMIT, move || Message::StageOver(stage));
            }
            None => self.end(myself),
        }
    }

    fn stage_over(&mut self, myself: &ActorRef<Message>, stage: Stage) {
        for name in self.supervisor.kill_stage(stage) {
            tracing::error!(actor = name, "did not stop in time, and was ended");
        }
        self.stop_on(myself);
    }

    /// All have stopped: says how it stood, and ends.
    fn end(&mut self, myself: &ActorRef<Message>) {
        for kind in Kind::hooked() {
            if let Err(error) = crate::probe::bring_counters(&self.shared, kind) {
                tracing::debug!(%error, "the last counters are missing");
            }
        }
        for outlet in self.shared.sinks.outlets() {
            outlet.give_up();
        }
        self.shared.release_rings();
        self.shared.kernel.told(&[]);
        self.shared.sinks.tails().close();
        if let Some(reply) = self.stop.take() {
            let _ = reply.send(self.status());
        }
        myself.stop(None);
    }

    fn status(&self) -> Status {
        let shared = &self.shared;
        for kind in Kind::hooked() {
            if let Err(error) = crate::probe::bring_counters(shared, kind) {
                tracing::debug!(%error, "status shows the counters of a second ago");
            }
        }
        let hooks: Vec<_> = Kind::hooked()
            .map(|kind| shared.kernel.report(kind))
            .collect();
        let policies = shared.policies.current();
        let cap = shared.settings.cap;
        Status {
            tier: shared.tier(),
            mode: shared.mode(),
            ready: *self.ready.borrow(),
            since: self.since.clone(),
            degraded: shared.degraded.in_force(),
            actors: status::Actor {
                name: "root".to_owned(),
                state: ActorState::Running,
                restarts: 0,
                last_error: None,
                step_ms: 0,
                waiting: None,
                children: self.supervisor.status(),
            },
            policy: status::Policy {
                revision: policies.epoch(),
                rules: policies.rules().len(),
            },
            ledger: shared.ledger.status(),
            buffer: shared.kernel.buffer(),
            limits: status::Limits {
                cgroup_events_per_second: cap.map_or(0, |cap| cap.events_per_second),
                cgroup_burst: cap.map_or(0, |cap| cap.burst),
                capped: shared.caps.status(),
            },
            hooks,
            lanes: shared.lanes(),
            sinks: shared.sinks.status(),
            uplink: shared.uplink.as_ref().map(|uplink| uplink.status()),
            containers: shared.containers.status(),
            processes: status::Processes {
                known: shared.progress.processes(),
                capacity: evaluator::processes::MAX_PROCESSES,
            },
            resources: shared.progress.resources(),
        }
    }
}

#[cfg(test)]
mod tests;
