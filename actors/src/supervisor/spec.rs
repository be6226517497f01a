//! What a child is, and one that runs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorRef};

use super::progress::{PATIENCE, Step, Watched};
use super::worker::{Job, Worker};
use super::{Order, Stage};
use crate::root::status::Waiting;

/// For a child's `pre_start`: it opens a descriptor or two, and touches no network and no disk.
const START_LIMIT: Duration = Duration::from_secs(5);

type Spawned = Pin<Box<dyn Future<Output = Result<Incarnation, String>> + Send>>;

/// A child, declared.
pub(crate) struct Spec {
    /// Its name in `status`.
    pub(crate) name: String,
    /// When it is stopped.
    pub(crate) stage: Stage,
    /// How long a step of it may last; longer, and it is stuck.
    pub(super) patience: Duration,
    /// What waits to be worked off by it.
    pub(super) waiting: Box<dyn Fn() -> Option<Waiting> + Send + Sync>,
    pub(super) spawn: Box<dyn Fn(ActorCell) -> Spawned + Send + Sync>,
}

/// A running actor: its identity, how it gets on, and how to give it orders.
pub(super) struct Incarnation {
    pub(super) cell: ActorCell,
    pub(super) step: Arc<Step>,
    /// Why it was killed, where it was for not getting on.
    pub(super) stuck: Option<String>,
    pub(super) order: Box<dyn Fn(Order) + Send + Sync>,
}

impl Spec {
    /// Declares a child. `make` makes the actor and its arguments, anew for each start; `announce`
    /// gets the reference of each incarnation before it is needed by anybody.
    pub(crate) fn new<A: Actor>(
        name: impl Into<String>,
        stage: Stage,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
        announce: impl Fn(ActorRef<A::Msg>) + Clone + Send + Sync + 'static,
    ) -> Self
    where
        A::Msg: From<Order> + Sync,
    {
        let spawn = move |root: ActorCell| -> Spawned {
            let (actor, arguments) = make();
            let announce = announce.clone();
            let step = Arc::<Step>::default();
            Box::pin(async move {
                let watched = Watched {
                    actor,
                    step: step.clone(),
                };
                let spawning = Actor::spawn_linked(None, watched, arguments, root);
                let (child, _) = tokio::time::timeout(START_LIMIT, spawning)
                    .await
                    .map_err(|_| format!("did not start within {START_LIMIT:?}"))?
                    .map_err(|error| error.to_string())?;
                announce(child.clone());
                let cell = child.get_cell();
                // An order to an actor that has just ended is lost; its end is noticed anyway.
                let order = Box::new(move |order: Order| drop(child.cast(order.into())));
                Ok(Incarnation {
                    cell,
                    step,
                    stuck: None,
                    order,
                })
            })
        };
        Self {
            name: name.into(),
            stage,
            patience: PATIENCE,
            waiting: Box::new(|| None),
            spawn: Box::new(spawn),
        }
    }

    /// A step of it may last this long.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// So much waits to be worked off by it.
    pub(crate) fn with_lane(
        mut self,
        waiting: impl Fn() -> Waiting + Send + Sync + 'static,
    ) -> Self {
        self.waiting = Box::new(move || Some(waiting()));
        self
    }

    /// Declares a child that works off a lane.
    pub(crate) fn worker(name: impl Into<String>, stage: Stage, job: impl Job + Clone) -> Self {
        Self::new(name, stage, move || (Worker(job.clone()), ()), |_| {})
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("name", &self.name)
            .field("stage", &self.stage)
            .finish()
    }
}
