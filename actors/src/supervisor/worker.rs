//! The actors that work off a lane: a slice of work, then whatever message came meanwhile, then the
//! next slice. What they work on belongs to the root, so a new incarnation goes on with it.

use std::future::Future;
use std::ops::ControlFlow;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::Order;

/// The messages of a [`Worker`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pulse {
    /// One more slice of work, or of waiting for it.
    Work,
    /// From the root.
    Order(Order),
}

impl From<Order> for Pulse {
    fn from(order: Order) -> Self {
        Self::Order(order)
    }
}

/// What a worker does.
pub(crate) trait Job: Send + Sync + 'static {
    /// What one incarnation has of its own.
    type State: Send;

    /// Prepares an incarnation. Short, and without disk or network.
    fn begin(&self) -> Result<Self::State, ActorProcessingErr>;

    /// One slice of work, or of waiting for it: a tenth of a second at most, save by
    /// [`Shared::rest`](crate::root::shared::Shared::rest). `draining`: finish what
    /// there is. [`ControlFlow::Break`]: nothing is left, and nothing will come.
    fn slice(
        &self,
        state: &mut Self::State,
        draining: bool,
    ) -> impl Future<Output = Result<ControlFlow<()>, ActorProcessingErr>> + Send;
}

/// The actor that does a [`Job`].
#[derive(Debug)]
pub(crate) struct Worker<J>(pub(crate) J);

/// The state of one incarnation.
#[derive(Debug)]
pub(crate) struct State<S> {
    own: S,
    draining: bool,
}

impl<J: Job> Actor for Worker<J> {
    type Msg = Pulse;
    type State = State<J::State>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Pulse>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let own = self.0.begin()?;
        myself.cast(Pulse::Work)?;
        Ok(State {
            own,
            draining: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Pulse>,
        message: Pulse,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Pulse::Work => match self.0.slice(&mut state.own, state.draining).await? {
                ControlFlow::Continue(()) => myself.cast(Pulse::Work)?,
                ControlFlow::Break(()) => myself.stop(None),
            },
            Pulse::Order(Order::Drain) => state.draining = true,
            #[cfg(any(test, feature = "fault-injection"))]
            Pulse::Order(Order::Fail(fault)) => fault.strike().await?,
        }
        Ok(())
    }
}
