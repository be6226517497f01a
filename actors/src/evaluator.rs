//! Records → events: joins process facts, asks the policies, has killed whom they say, and hands
//! what is to be reported to the sinks.
//!
//! Everything it works on is an [`Evaluation`], owned by the root: an evaluator that dies in the
//! middle of a record goes on with that record.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use holdfast_policy::snapshot::Snapshot;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinHandle;

use crate::kernel::KernelError;
use crate::root;
use crate::root::shared::Shared;
use crate::supervisor::{Order, SLICE};

mod already;
mod attribute;
pub(crate) mod build;
mod common;
pub(crate) mod evaluation;
pub(crate) mod finished;
pub(crate) mod glob;
mod merge;
mod mounts;
mod outcome;
mod outgoing;
mod path;
pub(crate) mod policies;
pub(crate) mod processes;
mod sensor;
pub(crate) mod users;
mod view;
mod waiting;

#[cfg(test)]
pub(crate) mod testing;

use already::Already;
use build::boot_part;
use evaluation::{Evaluation, Step};
use processes::{MAX_PROCESSES, scan};

/// What the evaluator is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// One more slice of work, or of waiting for it.
    Work,
    /// From the root.
    Order(Order),
    /// Put this into force.
    Reload(Arc<Snapshot>, RpcReplyPort<Result<u32, KernelError>>),
}

impl From<Order> for Message {
    fn from(order: Order) -> Self {
        Self::Order(order)
    }
}

/// The evaluator.
#[derive(Debug)]
pub(crate) struct Evaluator {
    pub(crate) shared: Arc<Shared>,
    pub(crate) root: ActorRef<root::Message>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    draining: bool,
    learning: Option<JoinHandle<Learnt>>,
}

/// What there was before the first record: processes, and events already written.
type Learnt = (Vec<processes::Found>, Already);

impl Actor for Evaluator {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (): (),
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(Message::Work)?;
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Work => {
                if self.work(state).await? {
                    myself.cast(Message::Work)?;
                } else {
                    myself.stop(None);
                }
            }
            Message::Reload(snapshot, reply) => {
                // Who asked may have given up; the policies are in force all the same.
                let _ = reply.send(self.reload(snapshot).await);
            }
            Message::Order(Order::Drain) => state.draining = true,
            #[cfg(any(test, feature = "fault-injection"))]
            Message::Order(Order::Fail(fault)) => fault.strike().await?,
        }
        Ok(())
    }
}

impl Evaluator {
    /// One slice; `false`: all is drained.
    async fn work(&self, state: &mut State) -> Result<bool, ActorProcessingErr> {
        if self.shared.policies.is_unsettled() {
            self.reinstall().await;
        }
        if !self.with(|evaluation| evaluation.knows_processes()) {
            self.learn(state).await?;
            return Ok(true);
        }
        let step = self.with(|evaluation| evaluation.step(&self.shared, state.draining));
        match step {
            // Whom this step woke waits for this very worker: the runtime lets no other take it.
            Step::More => tokio::task::yield_now().await,
            Step::Kill(request) => {
                let reply = self.shared.killing.kill(request).await;
                self.with(|evaluation| evaluation.killed(reply));
            }
            Step::Wait(nanoseconds) => self.pause(Duration::from_nanos(nanoseconds)).await,
            Step::Idle if state.draining => {
                self.with(|evaluation| evaluation.close(&self.shared));
                return Ok(false);
            }
            Step::Idle => self.pause(SLICE).await,
        }
        Ok(true)
    }

    async fn pause(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit.min(SLICE), self.shared.arrival.notified()).await;
    }

    fn with<T>(&self, act: impl FnOnce(&mut Evaluation) -> T) -> T {
        // A panic while it was held leaves a record that is begun again.
        act(&mut self
            .shared
            .evaluation
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads every process that runs, and what a sensor before this one has written. Records wait meanwhile; messages do
    /// not, since it takes as long as the host is large.
    async fn learn(&self, state: &mut State) -> Result<(), ActorProcessingErr> {
        let learning = state.learning.get_or_insert_with(|| self.begin_to_learn());
        if let Ok(learnt) = tokio::time::timeout(SLICE, learning).await {
            state.learning = None;
            let (found, already) = learnt?;
            self.with(|evaluation| evaluation.learn(found, already));
        }
        Ok(())
    }

    fn begin_to_learn(&self) -> JoinHandle<Learnt> {
        if !self.with(|evaluation| evaluation.knows_host()) {
            self.shared.degraded.set(
                "host paths",
                "neither /proc/1/ns/mnt nor its mounts tell which mount namespace is the host's: \
                 events have no holdfast.path.host",
            );
        }
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            let already = written_before(&shared);
            let reading = shared.reading();
            let read = |pid| scan::process(&reading, pid);
            let found = match scan::pids(reading.proc, MAX_PROCESSES) {
                Ok(pids) => pids.into_iter().filter_map(read).collect(),
                Err(error) => {
                    let reason = format!("cannot read /proc: {error}");
                    shared.degraded.set("processes", &reason);
                    Vec::new()
                }
            };
            (found, already)
        })
    }

    /// Kernel first: a record that names a rule of `snapshot` finds it, since it is prepared.
    async fn reload(&self, snapshot: Arc<Snapshot>) -> Result<u32, KernelError> {
        let policies = &self.shared.policies;
        policies.prepare(snapshot.clone());
        self.shared.enter_cgroups_again(&snapshot);
        let result = self.install(snapshot.clone()).await;
        if result.is_err() {
            policies.settle();
        }
        result?;
        let (epoch, rules) = (snapshot.epoch(), snapshot.rules().len());
        policies.switch(snapshot.clone());
        self.shared.enter_cgroups_again(&snapshot);
        let what = format!("revision {epoch} with {rules} rules is in force");
        self.shared.degraded.tell("sensor.policy", what);
        // A root that has ended asks for nothing any more.
        let _ = self.root.cast(root::Message::PolicyChanged);
        Ok(epoch)
    }

    /// An evaluator died while it was installing: makes the kernel's tables those in force again.
    async fn reinstall(&self) {
        match self.install(self.shared.policies.current()).await {
            Ok(()) => self.shared.degraded.clear("policy tables"),
            Err(error) => self
                .shared
                .degraded
                .set("policy tables", &error.to_string()),
        }
        self.shared.policies.settle();
    }

    async fn install(&self, snapshot: Arc<Snapshot>) -> Result<(), KernelError> {
        let kernel = self.shared.kernel.clone();
        let install = move || kernel.install(snapshot.tables());
        tokio::task::spawn_blocking(install)
            .await
            .unwrap_or_else(|error| {
                let attempted = "install the policy tables".to_owned();
                Err(KernelError {
                    attempted,
                    reason: error.to_string(),
                })
            })
    }
}

/// What a sensor before this one has written of the records that it left in the rings.
fn written_before(shared: &Shared) -> Already {
    let predecessor = shared.kernel.predecessor();
    let since = predecessor.and_then(|it| it.unread_since);
    let (Some(since), Some(log)) = (since, &shared.settings.log) else {
        return Already::default();
    };
    match Already::read(
        &log.paths(),
        boot_part(&shared.settings.host.boot_id),
        since,
    ) {
        Ok(already) => {
            let written = already.len();
            tracing::info!(
                written,
                "events are known that the sensor before has written"
            );
            already
        }
        Err(error) => {
            tracing::warn!(%error, "some events may be written twice: the event file cannot be read");
            Already::default()
        }
    }
}
