//! What the sensor says to its server, one thing after the other: who it is, how it is, what it saw.
//!
//! It waits for nothing but the server, the disk and the clock, and each of these has a limit.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_wire::backoff::Backoff;
use holdfast_wire::frame::Priority;
use holdfast_wire::uplink::Secret;
use hyper::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Ask, Client, ClientError};
use super::identity::Identity;
use super::pace::Pace;
use super::{Settings, Uplink};
use crate::root::shared::Shared;
use crate::supervisor::random;

mod containers;
mod enrolment;
mod events;
mod heartbeat;
mod narrowing;

use heartbeat::{BUNDLE, Refused};
use narrowing::Narrowing;

/// What `status` calls it when the server is not reached, or does not take the sensor.
const WHAT: &str = "uplink";
/// What is lost is told of this often: each telling is an event that is sent, too.
const LOSSES: Duration = Duration::from_secs(10);
/// While the sensor stops, it is looked so often whether all is sent.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("not enrolled: {0}")]
    Enrol(ClientError),
    #[error("not enrolled, and there is no installation key: uplink.key or uplink.key_file has it")]
    NoKey,
    #[error("cannot read uplink.key_file: {0}")]
    Key(io::Error),
    #[error(
        "the server's key for bundles is not the one that was pinned: if it was set up anew, remove uplink.json from state.dir"
    )]
    OtherKey,
    #[error("state.dir: {0}")]
    Disk(#[from] io::Error),
}

/// What a step came to.
enum Step {
    /// Something was done.
    Done,
    /// Nothing is to be done for so long, unless something comes.
    Idle(Duration),
    /// The sensor stops, and all is sent.
    Over,
}

/// See the module.
pub(super) struct Session {
    shared: Arc<Shared>,
    uplink: Arc<Uplink>,
    drain: watch::Receiver<bool>,
    client: Option<Client>,
    identity: Option<Identity>,
    backoff: Backoff,
    pace: Pace,
    began: Instant,
    heartbeat_at: Instant,
    losses_at: Instant,
    /// When events were last sent.
    events_at: Instant,
    refused: Option<Refused>,
    /// By priority.
    narrowing: [Narrowing; 2],
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        uplink: Arc<Uplink>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let now = Instant::now();
        let pace = Pace::new(uplink.settings.bandwidth);
        Self {
            shared,
            uplink,
            drain,
            client: None,
            identity: None,
            backoff: Backoff::default(),
            pace,
            began: now,
            heartbeat_at: now,
            losses_at: now,
            events_at: now,
            refused: None,
            narrowing: Default::default(),
        }
    }

    /// Goes on until the sensor stops, and all is sent or cannot be.
    pub(super) async fn run(mut self) {
        if let Some(error) = &self.settings().bundle_error {
            self.shared.degraded.set(BUNDLE, error);
        }
        loop {
            match self.step().await {
                Ok(Step::Over) => return,
                Ok(Step::Done) => {}
                Ok(Step::Idle(most)) => self.wait(most, true).await,
                Err(trouble) => {
                    self.shared.degraded.set(WHAT, &trouble.to_string());
                    let asked = match &trouble {
                        Trouble::Client(error) | Trouble::Enrol(error) => error.retry_after(),
                        _ => None,
                    };
                    let delay = self.backoff.failed(random(), asked);
                    self.wait(delay, false).await;
                    // What could not be sent is there for the next sensor.
                    if *self.drain.borrow() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for so long, or until the sensor stops, or `arrivals`: until something is to be sent.
    async fn wait(&mut self, most: Duration, arrivals: bool) {
        let arrival = async {
            if arrivals {
                self.uplink.arrival.notified().await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = tokio::time::sleep(most) => {}
            () = arrival => {}
            // An error means that nobody waits for the end any more.
            _ = self.drain.changed() => {}
        }
    }

    async fn step(&mut self) -> Result<Step, Trouble> {
        let now = Instant::now();
        if now >= self.losses_at {
            self.losses_at = now + LOSSES;
            self.tell_losses().await?;
        }
        if self.identity.is_none() {
            // Who has the spool has the identity, too: tokens of two sensors would end each other.
            self.with_spool(|_| Ok(())).await?;
            match self.known().await? {
                Some(identity) if self.is_here(&identity) => self.be(identity),
                previous => {
                    self.enrol(previous).await?;
                    // The one in force is not this server's, as far as it knows.
                    self.uplink.stand(|standing| standing.bundle = None);
                }
            }
        }
        let draining = *self.drain.borrow();
        if now >= self.heartbeat_at && !draining {
            self.heartbeat().await?;
            return Ok(Step::Done);
        }
        let pause = self.pace.wait(now - self.began);
        let is_due = |priority| match priority {
            Priority::Alert => true,
            Priority::Event => {
                draining
                    || self.uplink.waiting(priority) >= self.uplink.settings.batch_events as u64
                    || now - self.events_at >= self.uplink.settings.batch_interval
            }
        };
        let waiting = Priority::ALL
            .into_iter()
            .filter(|priority| self.uplink.waiting(*priority) > 0);
        let due = waiting.clone().find(|priority| is_due(*priority));
        if let Some(priority) = due.filter(|_| pause.is_zero()) {
            self.send(priority).await?;
            return Ok(Step::Done);
        }
        if draining && due.is_none() && self.uplink.finished.load(Ordering::Acquire) {
            return Ok(Step::Over);
        }
        if draining {
            return Ok(Step::Idle(DRAIN_LOOK));
        }
        let until = self.heartbeat_at.min(self.losses_at) - now;
        let interval = match waiting.count() {
            0 => Duration::MAX,
            _ if due.is_some() => pause,
            _ => (self.events_at + self.uplink.settings.batch_interval) - now,
        };
        Ok(Step::Idle(until.min(interval)))
    }

    /// Something that waits for the disk.
    async fn with_spool<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut super::spool::Spool) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let uplink = self.uplink.clone();
        tokio::task::spawn_blocking(move || uplink.with_spool(act))
            .await
            .map_err(io::Error::other)?
    }

    /// The connection's client.
    ///
    /// # Errors
    /// When certificates cannot be read.
    fn client(&mut self) -> Result<&mut Client, ClientError> {
        match &mut self.client {
            Some(client) => Ok(client),
            none => Ok(none.insert(Client::new(&self.uplink.settings.server)?)),
        }
    }

    fn settings(&self) -> &Settings {
        &self.uplink.settings
    }

    /// Asks as the sensor that it is; where the server knows it no more, it enrols again.
    async fn ask<T: serde::de::DeserializeOwned>(
        &mut self,
        make: impl Fn(&Secret) -> Ask<'_>,
    ) -> Result<T, Trouble> {
        let Some(identity) = self.identity.clone() else {
            return Err(Trouble::NoKey);
        };
        let answered = self.client()?.json(&make(&identity.token)).await;
        let stranger = |error: &ClientError| {
            matches!(
                error.status(),
                Some(StatusCode::UNAUTHORIZED | StatusCode::CONFLICT)
            )
        };
        match answered {
            Ok(answer) => {
                self.backoff.worked();
                self.uplink.succeeded();
                self.shared.degraded.clear(WHAT);
                Ok(answer)
            }
            Err(error) if stranger(&error) => {
                tracing::warn!("enrolling again: {error}");
                self.enrol(Some(identity)).await?;
                // What was asked is asked again after a pause, so that two hosts that take the identity from each
                // other do not do so as fast as they can.
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
