//! Supervision: children declared as data, restarted independently, stopped in stages.
//!
//! The root actor embeds a [`Supervisor`] and passes on what happens. Nothing here waits for a
//! child, save its start, which is bounded. Actors get no names in ractor's registry: that one is
//! global to the process, and a name would have to become free before a restart.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use ractor::{ActorCell, ActorId};

use crate::root::status::{self, ActorState};

#[cfg(any(test, feature = "fault-injection"))]
pub(crate) mod fault;
pub(crate) mod progress;
pub(crate) mod restart;
mod spec;
pub(crate) mod worker;

use restart::{Decision, History, Policy};
use spec::Incarnation;
pub(crate) use spec::Spec;

/// What the root may tell any child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Finish what there is, then stop.
    Drain,
    /// Fail, to show that it is survived.
    #[cfg(any(test, feature = "fault-injection"))]
    Fail(fault::Fault),
}

/// Longest slice of waiting in a handler: how late a control message may be handled.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// Longest wait of a handler that has nothing to do while the sensor runs: each of these waits that ends wakes the
/// machine. Once the sensor begins to stop they are slices: [`crate::root::shared::Shared::rest`].
pub(crate) const REST: Duration = Duration::from_millis(500);

/// When a child is stopped: everything of a stage has ended before the next one begins, so that what
/// is in flight moves on to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// No more records are made.
    Probes,
    /// The rings are emptied.
    Readers,
    /// The lanes are emptied.
    Evaluator,
    /// Kills that were asked for are done.
    Killer,
    /// Container engines are asked no more.
    Engines,
    /// Every event is written.
    Sinks,
    /// The last to say that all is well.
    Health,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Probes,
        Self::Readers,
        Self::Evaluator,
        Self::Killer,
        Self::Engines,
        Self::Sinks,
        Self::Health,
    ];
}

struct Child {
    spec: Spec,
    incarnation: Option<Incarnation>,
    history: History,
    state: ActorState,
    restarts: u64,
    last_error: Option<String>,
}

/// What became of a child that ended, or that was to start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It runs; whether it had run before, and why it had to be restarted.
    Runs,
    /// To be started again after the delay.
    Again(Duration),
    /// Parked; to be tried again after the delay.
    Parked(Duration),
    /// It was to stop, and has.
    Stopped,
}

/// The children and their states.
pub(crate) struct Supervisor {
    children: Vec<Child>,
    policy: Policy,
    began: Instant,
    stage: Option<Stage>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("children", &self.children.len())
            .finish()
    }
}

impl Supervisor {
    pub(crate) fn new(specs: Vec<Spec>, policy: Policy) -> Self {
        let child = |spec| Child {
            spec,
            incarnation: None,
            history: History::default(),
            state: ActorState::Restarting,
            restarts: 0,
            last_error: None,
        };
        let children = specs.into_iter().map(child).collect();
        Self {
            children,
            policy,
            began: Instant::now(),
            stage: None,
        }
    }

    /// The indices of all children.
    pub(crate) fn indices(&self) -> std::ops::Range<usize> {
        0..self.children.len()
    }

    /// The name of a child.
    pub(crate) fn name(&self, index: usize) -> &str {
        &self.children[index].spec.name
    }

    /// Why the child ended the last time.
    pub(crate) fn last_error(&self, index: usize) -> &str {
        self.children[index]
            .last_error
            .as_deref()
            .unwrap_or_default()
    }

    /// Starts a child, for the first time or again. Takes as long as its `pre_start`, bounded.
    pub(crate) async fn start(&mut self, index: usize, root: ActorCell) -> Outcome {
        let stopping = self.stage;
        let child = &mut self.children[index];
        if child.state == ActorState::Stopped {
            return Outcome::Stopped;
        }
        match (child.spec.spawn)(root).await {
            Ok(incarnation) => {
                if stopping.is_some_and(|stage| stage >= child.spec.stage) {
                    (incarnation.order)(Order::Drain);
                }
                child.incarnation = Some(incarnation);
                child.restarts += u64::from(child.last_error.is_some());
                child.state = ActorState::Running;
                Outcome::Runs
            }
            Err(error) => self.failed(index, error),
        }
    }

    /// An actor ended: by itself (`error` is `None`) or not. `None`: it was no child that ran.
    pub(crate) fn ended(&mut self, id: ActorId, error: Option<String>) -> Option<(usize, Outcome)> {
        let runs = |child: &Child| {
            child
                .incarnation
                .as_ref()
                .is_some_and(|incarnation| incarnation.cell.get_id() == id)
        };
        let index = self.children.iter().position(runs)?;
        let child = &mut self.children[index];
        let stuck = child
            .incarnation
            .take()
            .and_then(|incarnation| incarnation.stuck);
        let told = self.stage.is_some_and(|stage| stage >= child.spec.stage);
        let outcome = match error {
            None if told => {
                child.state = ActorState::Stopped;
                Outcome::Stopped
            }
            None => self.failed(index, "ended without being told to".to_owned()),
            // Of an actor that was killed it says no more than that.
            Some(error) => self.failed(index, stuck.unwrap_or(error)),
        };
        Some((index, outcome))
    }

    fn failed(&mut self, index: usize, error: String) -> Outcome {
        let child = &mut self.children[index];
        tracing::error!(actor = child.spec.name, error, "actor failed");
        child.last_error = Some(error);
        match child
            .history
            .failed(&self.policy, self.began.elapsed(), random())
        {
            Decision::Restart(delay) => {
                child.state = ActorState::Restarting;
                Outcome::Again(delay)
            }
            Decision::Park(rest) => {
                child.state = ActorState::Parked;
                Outcome::Parked(rest)
            }
        }
    }

    /// Ends the children that do not get on: what they wait for in their step is given up, and they are restarted like
    /// any that failed. Returns those that have not ended since the look before, with why: nothing ends a thread that
    /// runs on or waits in the kernel.
    pub(crate) fn end_stuck(&mut self) -> Vec<(&str, &str)> {
        let mut remain = Vec::new();
        for child in &mut self.children {
            let Some(incarnation) = &mut child.incarnation else {
                continue;
            };
            let patience = child.spec.patience;
            match &mut incarnation.stuck {
                Some(reason) => remain.push((child.spec.name.as_str(), reason.as_str())),
                stuck if incarnation.step.lasts() >= patience => {
                    *stuck = Some(format!("did not get on for {patience:?}"));
                    child.state = ActorState::Stuck;
                    incarnation.cell.kill();
                }
                None => {}
            }
        }
        remain
    }

    /// Stops the children of the first stage that has any left; `None`: all have stopped.
    pub(crate) fn stop_next(&mut self) -> Option<Stage> {
        let first = self.stage.unwrap_or(Stage::Probes);
        for stage in Stage::ALL.into_iter().filter(|stage| *stage >= first) {
            if self.stage != Some(stage) {
                self.stage = Some(stage);
                for child in self
                    .children
                    .iter_mut()
                    .filter(|child| child.spec.stage == stage)
                {
                    match &child.incarnation {
                        Some(incarnation) => (incarnation.order)(Order::Drain),
                        // One that is about to restart is drained then; a parked one stays so.
                        None if child.state == ActorState::Parked => {
                            child.state = ActorState::Stopped;
                        }
                        None => {}
                    }
                }
            }
            if !self.stage_is_over() {
                return Some(stage);
            }
        }
        None
    }

    /// Whether every child of the stage being stopped has stopped.
    pub(crate) fn stage_is_over(&self) -> bool {
        self.children
            .iter()
            .filter(|child| Some(child.spec.stage) == self.stage)
            .all(|child| child.state == ActorState::Stopped)
    }

    /// The time of a stage is up: those of its children that are left end now, wherever they are.
    /// Returns who had to.
    pub(crate) fn kill_stage(&mut self, stage: Stage) -> Vec<String> {
        let mut killed = Vec::new();
        let left = self
            .children
            .iter_mut()
            .filter(|child| child.spec.stage == stage && child.state != ActorState::Stopped);
        for child in left {
            child.state = ActorState::Stopped;
            killed.push(child.spec.name.clone());
            if let Some(incarnation) = child.incarnation.take() {
                incarnation.cell.kill();
            }
        }
        killed
    }

    /// The children, as `status` shows them.
    pub(crate) fn status(&self) -> Vec<status::Actor> {
        let step_ms = |incarnation: &Incarnation| incarnation.step.lasts().as_millis() as u64;
        let actor = |child: &Child| status::Actor {
            name: child.spec.name.clone(),
            state: child.state,
            restarts: child.restarts,
            last_error: child.last_error.clone(),
            step_ms: child.incarnation.as_ref().map_or(0, step_ms),
            waiting: (child.spec.waiting)(),
            children: Vec::new(),
        };
        self.children.iter().map(actor).collect()
    }

    /// Orders the named child to fail; `false`: there is none of this name that runs.
    #[cfg(any(test, feature = "fault-injection"))]
    pub(crate) fn fail(&self, name: &str, fault: fault::Fault) -> bool {
        let child = self.children.iter().find(|child| child.spec.name == name);
        let running = child.and_then(|child| child.incarnation.as_ref());
        running
            .inspect(|incarnation| (incarnation.order)(Order::Fail(fault)))
            .is_some()
    }
}

/// In `0.0..1.0`: spreads restarts and attempts; nothing depends on its quality.
pub(crate) fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / (u64::MAX as f64 + 1.0)
}

#[cfg(test)]
mod tests;
