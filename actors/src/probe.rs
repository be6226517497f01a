//! One hook: attached when something asks for its events.
//!
//! The link belongs to the kernel side, so a probe that dies detaches nothing; the next one finds
//! the hook as it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_wire::Kind;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::kernel::{Counted, KernelError};
use crate::root;
use crate::root::shared::Shared;
use crate::supervisor::Order;

/// How often a hook that could not be attached is tried again: a load costs some hundred
/// milliseconds, and hardly ever does what failed succeed later.
const RETRY: Duration = Duration::from_secs(300);

/// What a probe is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message {
    /// The policies changed: see whether the hook is wanted.
    Reconcile,
    /// Time to try again what failed.
    Retry,
    /// From the root.
    Order(Order),
}

impl From<Order> for Message {
    fn from(order: Order) -> Self {
        Self::Order(order)
    }
}

/// The probe of one kind.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) shared: Arc<Shared>,
    pub(crate) kind: Kind,
    pub(crate) root: ActorRef<root::Message>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    failed_at: Option<Instant>,
}

impl Actor for Probe {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (): (),
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(Message::Reconcile)?;
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Reconcile => {
                let epoch = self.shared.policies.current().epoch();
                self.reconcile(&myself, state).await?;
                // A root that has ended waits for nobody.
                let _ = self.root.cast(root::Message::Reported(self.kind, epoch));
            }
            Message::Retry => {
                // What has failed anew meanwhile has a later one coming.
                if state.failed_at.is_some_and(|then| then.elapsed() >= RETRY) {
                    self.reconcile(&myself, state).await?;
                }
            }
            Message::Order(Order::Drain) => {
                let (kernel, kind) = (self.shared.kernel.clone(), self.kind);
                if !kernel.outlives() {
                    tokio::task::spawn_blocking(move || kernel.detach(kind)).await?;
                }
                myself.stop(None);
            }
            #[cfg(any(test, feature = "fault-injection"))]
            Message::Order(Order::Fail(fault)) => fault.strike().await?,
        }
        Ok(())
    }
}

impl Probe {
    /// Attaches or detaches, as the policies in force want it.
    async fn reconcile(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (kernel, kind) = (self.shared.kernel.clone(), self.kind);
        let degraded = &self.shared.degraded;
        if !is_wanted(&self.shared, kind) {
            tokio::task::spawn_blocking(move || kernel.detach(kind)).await?;
            degraded.clear(kind.action());
            state.failed_at = None;
            return Ok(());
        }
        match tokio::task::spawn_blocking(move || kernel.attach(kind)).await? {
            Ok(tier) => {
                tracing::debug!(action = kind.action(), tier = tier.name(), "attached");
                degraded.clear(kind.action());
                state.failed_at = None;
            }
            Err(error) => {
                degraded.set(kind.action(), &error.to_string());
                state.failed_at = Some(Instant::now());
                myself.send_after(RETRY, || Message::Retry);
            }
        }
        Ok(())
    }
}

/// Whether somebody asks for events of this kind. The life of processes is always followed: every
/// other event names its process.
pub(crate) fn is_wanted(shared: &Shared, kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ProcessExec | Kind::ProcessFork | Kind::ProcessExit
    ) || shared.policies.current().wants(kind)
}

/// Brings the kernel's counters of `kind` into the ledger.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn bring_counters(shared: &Shared, kind: Kind) -> Result<Counted, KernelError> {
    let (counters, skipped) = shared.kernel.counters(kind)?;
    shared.ledger.set_kernel(kind, &counters, skipped);
    Ok(Counted {
        kind,
        counters,
        skipped,
        dropped: shared.ledger.entry(kind).dropped,
    })
}
