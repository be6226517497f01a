//! Ring → lane, for one domain, and nothing else.
//!
//! Waits until the ring's descriptor is readable, or a timer ends (the kernel programs do not wake
//! the reader for every record), or another reader asks for a sweep: when one finds records, the
//! others look too, so that merging by time does not have to wait for their timers.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::Domain;
use ractor::ActorProcessingErr;
use tokio::io::unix::AsyncFd;

use crate::clock;
use crate::root::shared::Shared;
use crate::supervisor::SLICE;
use crate::supervisor::worker::Job;

pub(crate) mod intake;
mod readiness;

use intake::Drained;

/// How long a record may wait in a ring whose wake-up threshold was not reached.
const TIMER: Duration = SLICE;

/// Until the readers look by their timers. All at the same moments, so that they wake the machine once for all.
fn until_next_look() -> Duration {
    let period = TIMER.as_nanos() as u64;
    Duration::from_nanos(period - clock::boottime() % period)
}

/// The reader of one domain.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) domain: Domain,
}

impl Job for Reader {
    type State = AsyncFd<OwnedFd>;

    fn begin(&self) -> Result<Self::State, ActorProcessingErr> {
        // Each incarnation registers a duplicate of its own: the runtime knows descriptors by number.
        let descriptor = self.shared.intake(self.domain).duplicate_fd()?;
        Ok(readiness::register(descriptor)?)
    }

    async fn slice(
        &self,
        readiness: &mut Self::State,
        draining: bool,
    ) -> Result<ControlFlow<()>, ActorProcessingErr> {
        let intake = self.shared.intake(self.domain);
        if draining && self.shared.kernel.outlives() && !intake.is_blocked() {
            // The hooks are attached still, so that there is no end: the next sensor goes on reading.
            return Ok(ControlFlow::Break(()));
        }
        let mut ready = None;
        if !draining && !intake.is_blocked() {
            tokio::select! {
                readable = readiness.readable() => ready = Some(readable?),
                () = intake.swept() => {}
                () = tokio::time::sleep(until_next_look()) => {}
            }
        }
        let (drained, newest) = intake.drain(&self.shared);
        if let Some(newest) = newest {
            self.shared.sweep_others(self.domain, newest);
        }
        match drained {
            Drained::Empty => {
                self.shared.arrival.notify_one();
                if let Some(mut ready) = ready {
                    ready.clear_ready();
                }
                if draining {
                    return Ok(ControlFlow::Break(()));
                }
            }
            // Whom this woke waits for this very worker: the runtime lets no other take it.
            Drained::More => tokio::task::yield_now().await,
            Drained::Blocked => intake.lane.room(SLICE).await,
        }
        Ok(ControlFlow::Continue(()))
    }
}
