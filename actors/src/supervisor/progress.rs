//! Whether an actor gets on: alive means getting done with what it is in the middle of, not only being there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::clock;

/// How long actors may take for a step, most of which are slices of a tenth of a second. It is over before a service
/// manager's watchdog is (`WatchdogSec=` of the unit, 30 s).
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The step that an actor is in.
#[derive(Debug, Default)]
pub(crate) struct Step(AtomicU64);

/// The value while there is none.
const NONE: u64 = 0;

impl Step {
    /// How long the actor has been in the step that it is in; zero between two.
    pub(crate) fn lasts(&self) -> Duration {
        let since = match self.0.load(Ordering::Relaxed) {
            NONE => return Duration::ZERO,
            since => since,
        };
        Duration::from_nanos(clock::monotonic().saturating_sub(since))
    }

    /// A step that lasts until what is returned is gone: at its end, in a panic, or when the actor is killed.
    fn begin(&self) -> impl Drop + '_ {
        struct Begun<'a>(&'a Step);
        impl Drop for Begun<'_> {
            fn drop(&mut self) {
                self.0.0.store(NONE, Ordering::Relaxed);
            }
        }
        self.0.store(clock::monotonic(), Ordering::Relaxed);
        Begun(self)
    }
}

/// An actor, and its steps: a message each.
#[derive(Debug)]
pub(super) struct Watched<A> {
    pub(super) actor: A,
    pub(super) step: Arc<Step>,
}

impl<A: Actor> Actor for Watched<A> {
    type Msg = A::Msg;
    type State = A::State;
    type Arguments = A::Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        arguments: A::Arguments,
    ) -> Result<A::State, ActorProcessingErr> {
        self.actor.pre_start(myself, arguments).await
    }

    async fn post_start(
        &self,
        myself: ActorRef<A::Msg>,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.actor.post_start(myself, state).await
    }

    async fn post_stop(
        &self,
        myself: ActorRef<A::Msg>,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.actor.post_stop(myself, state).await
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        let _begun = self.step.begin();
        self.actor.handle(myself, message, state).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.actor.handle_supervisor_evt(myself, event, state).await
    }
}
