//! A fleet of sensors in one process, which sends real frames to a server: how many events a second it takes, and how
//! long its answers take.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::uplink::Secret;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, ClientError, Target, Way};
use crate::secret::NoRandomness;

pub(crate) mod counts;
mod event;
mod load;
mod search;
mod sensor;

use counts::Counts;
use search::Search;
use sensor::{Phase, Sensor, Shared};

/// Sensors that enrol at a time.
const ENROLLING: usize = 16;
/// How long what waits at the end of an attempt may take to be sent.
const DRAIN: Duration = Duration::from_secs(60);
/// Between two looks whether all was sent.
const LOOK: Duration = Duration::from_millis(100);
/// A rate holds when no more waits than came in this time, beside what waits for its batch: a server that falls behind
/// has more and more.
const BEHIND: f64 = 1.0;

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SimulateError {
    /// The server cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It does not take the sensors.
    #[error("a sensor could not enrol: {0}")]
    Enrol(String),
    /// It took them, and does not know them any more.
    #[error("a sensor is not known any more ({0}): does another simulation use the same name?")]
    Unknown(String),
    /// The system has none to give.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// A message could not be made or read.
    #[error("{0}")]
    Message(String),
}

impl SimulateError {
    fn message(error: impl ToString) -> Self {
        Self::Message(error.to_string())
    }
}

/// Which fleet.
pub(crate) struct Fleet<'a> {
    pub(crate) url: &'a str,
    /// Certificates to know the server by.
    pub(crate) ca: Option<&'a Path>,
    pub(crate) key: Secret,
    /// How hosts are called, before their number.
    pub(crate) name: &'a str,
    pub(crate) sensors: usize,
    /// Most events of a batch.
    pub(crate) batch_events: u64,
    pub(crate) batch_interval: Duration,
    /// One frame of so many is sent twice; 0: none.
    pub(crate) repeat: u64,
}

/// What came of one rate.
pub(crate) struct Attempt {
    /// Events a second, by the whole fleet.
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
    /// At its end, before the rest was sent.
    pub(crate) waiting: u64,
    /// After the rest was sent, or could not be.
    pub(crate) counts: Counts,
    pub(crate) holds: bool,
}

/// Sensors that have enrolled.
pub(crate) struct Running {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<Result<(), SimulateError>>,
    sensors: usize,
    interval: Duration,
}

impl Running {
    /// Enrols a fleet.
    ///
    /// # Errors
    /// [`SimulateError`].
    pub(crate) async fn start(fleet: Fleet<'_>) -> Result<Self, SimulateError> {
        let target = Target::http(fleet.url)?;
        let on_loopback = target.is_loopback();
        let way = Way::new(target, fleet.ca)?;
        let (interval, key) = (fleet.batch_interval, Arc::new(fleet.key));
        let shared = Arc::new(Shared::new(fleet.batch_events, interval, fleet.repeat));
        let turns = Arc::new(Semaphore::new(ENROLLING));
        let mut enrolling = JoinSet::new();
        for number in 0..fleet.sensors {
            let way = if on_loopback {
                way.from(address(number))
            } else {
                way.clone()
            };
            let (shared, key, turns) = (shared.clone(), key.clone(), turns.clone());
            let name = format!("{}-{number}", fleet.name);
            enrolling.spawn(async move {
                let _turn = turns.acquire().await.map_err(SimulateError::message)?;
                Sensor::enrol(shared, Client::new(way), &key, name).await
            });
        }
        let now = Instant::now();
        let rest = Phase::Load {
            rate: 0.0,
            from: now,
            to: now,
        };
        let (phase, phases) = watch::channel(rest);
        let mut tasks = JoinSet::new();
        while let Some(enrolled) = enrolling.join_next().await {
            let sensor = enrolled.map_err(SimulateError::message)??;
            tasks.spawn(sensor.run(phases.clone()));
        }
        Ok(Self {
            shared,
            phase,
            tasks,
            sensors: fleet.sensors,
            interval,
        })
    }

    /// Has the fleet send `rate` events a second for `duration`, and waits until all of it is acknowledged, or a minute.
    ///
    /// # Errors
    /// [`SimulateError`] of a sensor.
    pub(crate) async fn attempt(
        &mut self,
        rate: f64,
        duration: Duration,
    ) -> Result<Attempt, SimulateError> {
        *self.shared.counts() = Counts::default();
        let from = Instant::now();
        let to = from + duration;
        self.phase.send_replace(Phase::Load {
            rate: rate / self.sensors as f64,
            from,
            to,
        });
        self.sleep_until(to).await?;
        let waiting = {
            let counts = self.shared.counts();
            // Sensors count what has come when they look, which one that waits for an answer does not.
            let offered = (rate * duration.as_secs_f64()) as u64;
            offered
                .max(counts.offered)
                .saturating_sub(counts.acknowledged + counts.refused)
        };
        let most = (rate * (self.interval.as_secs_f64() + BEHIND)).ceil() as u64;
        // At least one look by each, so that everything that came is known.
        let least = Instant::now() + 3 * LOOK;
        let end = Instant::now() + DRAIN;
        while Instant::now() < end {
            self.sleep_until(Instant::now() + LOOK).await?;
            if Instant::now() > least && self.shared.counts().waiting() == 0 {
                break;
            }
        }
        let counts = self.shared.counts().clone();
        let holds = waiting <= most && counts.refused == 0 && counts.unanswered == 0;
        Ok(Attempt {
            rate,
            duration,
            waiting,
            counts,
            holds,
        })
    }

    /// Looks for the highest rate that holds, each attempt as long as `duration`; `None` where none does.
    ///
    /// # Errors
    /// [`SimulateError`] of a sensor, or what `tell` returns.
    pub(crate) async fn search<E: From<SimulateError>>(
        &mut self,
        duration: Duration,
        mut tell: impl FnMut(&Attempt) -> Result<(), E>,
    ) -> Result<Option<Attempt>, E> {
        let mut search = Search::default();
        let mut best: Option<Attempt> = None;
        while let Some(rate) = search.next() {
            let attempt = self.attempt(rate, duration).await?;
            tell(&attempt)?;
            search.tried(rate, attempt.holds);
            if attempt.holds && search.found() == Some(rate) {
                best = Some(attempt);
            }
        }
        Ok(best)
    }

    /// Ends the sensors.
    ///
    /// # Errors
    /// [`SimulateError`] of a sensor.
    pub(crate) async fn stop(mut self) -> Result<(), SimulateError> {
        self.phase.send_replace(Phase::Over);
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(SimulateError::message)??;
        }
        Ok(())
    }

    /// A sensor that ends meanwhile failed.
    async fn sleep_until(&mut self, time: Instant) -> Result<(), SimulateError> {
        tokio::select! {
            () = tokio::time::sleep_until(time) => Ok(()),
            Some(ended) = self.tasks.join_next() => ended.map_err(SimulateError::message)?,
        }
    }
}

/// An address of this machine for each sensor, in 127.16.0.0/12: a fleet comes from many, and enrolling is limited by address.
fn address(number: usize) -> IpAddr {
    let low = 0x7f10_0001 + (number as u32 & 0x000f_ffff);
    Ipv4Addr::from_bits(low).into()
}
