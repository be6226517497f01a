//! Ring → lane, for one domain, and nothing else.
//!
//! Waits until the ring's descriptor is readable, or a timer ends (the kernel programs do not wake
//! the reader for every record), or another reader asks for a sweep: when one finds records, the
//! others look too, so that merging by time does not have to wait for their timers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::Domain;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::io::unix::AsyncFd;

use crate::root::shared::Shared;
use crate::supervisor::{Order, Pulse, SLICE};

pub(crate) mod intake;
mod readiness;

use intake::Drained;

/// How long a record may wait in a ring whose wake-up threshold was not reached.
const TIMER: Duration = SLICE;

/// The reader of one domain.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) domain: Domain,
}

#[derive(Debug)]
pub(crate) struct State {
    readiness: AsyncFd<OwnedFd>,
    draining: bool,
}

impl Actor for Reader {
    type Msg = Pulse;
    type State = State;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Pulse>,
        (): (),
    ) -> Result<State, ActorProcessingErr> {
        // Each incarnation registers a duplicate of its own: the runtime knows descriptors by number.
        let readiness = readiness::register(self.shared.intake(self.domain).duplicate_fd()?)?;
        myself.cast(Pulse::Work)?;
        Ok(State {
            readiness,
            draining: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Pulse>,
        message: Pulse,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Pulse::Work => {
                if self.work(state).await? {
                    myself.cast(Pulse::Work)?;
                } else {
                    myself.stop(None);
                }
            }
            Pulse::Order(Order::Drain) => state.draining = true,
            #[cfg(any(test, feature = "fault-injection"))]
            Pulse::Order(Order::Panic) => panic!("{}", crate::supervisor::PANIC),
        }
        Ok(())
    }
}

impl Reader {
    /// One slice; `false`: all is drained.
    async fn work(&self, state: &mut State) -> std::io::Result<bool> {
        let intake = self.shared.intake(self.domain);
        let mut ready = None;
        if !state.draining && !intake.is_blocked() {
            tokio::select! {
                readable = state.readiness.readable() => ready = Some(readable?),
                () = intake.swept() => {}
                () = tokio::time::sleep(TIMER) => {}
            }
        }
        let (drained, newest) = intake.drain(&self.shared.ledger);
        if let Some(newest) = newest {
            self.shared.sweep_others(self.domain, newest);
        }
        match drained {
            Drained::Empty => {
                self.shared.arrival.notify_one();
                if let Some(mut ready) = ready {
                    ready.clear_ready();
                }
                return Ok(!state.draining);
            }
            // Whom this woke waits for this very worker: the runtime lets no other take it.
            Drained::More => tokio::task::yield_now().await,
            Drained::Blocked => intake.lane.room(SLICE).await,
        }
        Ok(true)
    }
}
