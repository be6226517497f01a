//! Tells the service manager how the sensor is, brings the kernel's counters into the ledger, and looks at what the
//! sensor itself uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_wire::Kind;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::kernel::{Counted, KernelError};
use crate::probe::bring_counters;
use crate::root::shared::Shared;
use crate::supervisor::Order;

mod limits;
pub(crate) mod watchdog;

use watchdog::Watchdog;

/// How often it looks. Half a second: what it tells of, it has had counted at the look before, so that a loss is told
/// within a second.
const TICK: Duration = Duration::from_millis(500);

/// What it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message {
    /// Time to look.
    Tick,
    /// From the root.
    Order(Order),
}

impl From<Order> for Message {
    fn from(order: Order) -> Self {
        Self::Order(order)
    }
}

/// The health actor.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ready: watch::Receiver<bool>,
}

#[derive(Debug)]
pub(crate) struct State {
    watchdog: Watchdog,
    told_ready: bool,
    /// The counting that was begun last.
    counting: Option<JoinHandle<Vec<Counted>>>,
}

impl Actor for Health {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (): (),
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(Message::Tick)?;
        Ok(State {
            watchdog: Watchdog::of_environment(),
            told_ready: false,
            counting: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Tick => {
                self.look(state).await?;
                myself.send_after(TICK.min(state.watchdog.interval()), || Message::Tick);
            }
            Message::Order(Order::Drain) => myself.stop(None),
            #[cfg(any(test, feature = "fault-injection"))]
            Message::Order(Order::Fail(fault)) => fault.strike().await?,
        }
        Ok(())
    }
}

impl Health {
    async fn look(&self, state: &mut State) -> Result<(), ActorProcessingErr> {
        self.shared
            .progress
            .set_resources(tokio::task::spawn_blocking(limits::usage).await?);
        let counted = counted(&mut state.counting).await?;
        let stuck = self.shared.progress.silence() > watchdog::STUCK;
        if stuck {
            // Worded without the time, which would make it another degradation each second.
            self.shared.degraded.set(
                "progress",
                "an actor that does not get on does not end either, or the root does not get on",
            );
        } else {
            self.shared.degraded.clear("progress");
        }
        self.shared.tell_conditions();
        let capped = self.capped().await?;
        self.shared
            .losses
            .tell(&self.shared.ledger, &capped, &self.shared.degraded);
        if let Some(counted) = counted {
            state.counting = Some(self.count(counted));
        }
        if *self.ready.borrow() && !state.told_ready {
            state.told_ready = true;
            watchdog::tell_ready();
        }
        watchdog::tell_status(&self.line());
        if state.watchdog.is_due(Instant::now(), !stuck) {
            watchdog::tell_alive();
        }
        Ok(())
    }

    /// Has the kernel's counters brought into the ledger, of all hooks at once. `told`: those before, which were told of.
    fn count(&self, told: Vec<Counted>) -> JoinHandle<Vec<Counted>> {
        let shared = self.shared.clone();
        let count = move || {
            shared.kernel.told(&told);
            let count = |kind: Kind| {
                let what = format!("{} counters", kind.action());
                let counted = bring_counters(&shared, kind);
                match &counted {
                    Ok(_) => shared.degraded.clear(&what),
                    Err(error) => shared.degraded.set(&what, &error.to_string()),
                }
                counted.ok()
            };
            Kind::hooked().filter_map(count).collect()
        };
        tokio::task::spawn_blocking(count)
    }

    /// Which cgroups were capped since the last look, in words; empty when none were.
    async fn capped(&self) -> Result<String, ActorProcessingErr> {
        const WHAT: &str = "cap counters";
        let shared = self.shared.clone();
        if !shared
            .caps
            .is_more(shared.ledger.total(|entry| entry.capped))
        {
            return Ok(String::new());
        }
        let look = move || {
            let capped = shared.kernel.capped()?;
            Ok(shared.caps.look(&capped, shared.cgroups.as_ref()))
        };
        let looked: Result<_, KernelError> = tokio::task::spawn_blocking(look).await?;
        match &looked {
            Ok(_) => self.shared.degraded.clear(WHAT),
            Err(error) => self.shared.degraded.set(WHAT, &error.to_string()),
        }
        Ok(looked.unwrap_or_default())
    }

    /// One line for `systemctl status`.
    fn line(&self) -> String {
        let ledger = &self.shared.ledger;
        let degraded = self.shared.degraded.in_force().len();
        let events = ledger.total(|entry| entry.emitted);
        let lost = ledger.total(|entry| entry.ring_full + entry.missed + entry.dropped);
        format!("{events} events, {lost} lost, {degraded} degraded")
    }
}

/// What was counted last; `None`: that is going on. While hooks are attached it waits for them, and nobody is to wait for
/// it.
async fn counted(
    counting: &mut Option<JoinHandle<Vec<Counted>>>,
) -> Result<Option<Vec<Counted>>, ActorProcessingErr> {
    match counting.take_if(|it| it.is_finished()) {
        // A panic in it is one of this actor's.
        Some(last) => Ok(Some(last.await?)),
        None if counting.is_some() => Ok(None),
        None => Ok(Some(Vec::new())),
    }
}
