//! What the sensor says to its server, one thing after the other: who it is, how it is, what it saw.
//!
//! It waits for nothing but the server, the disk and the clock, and each of these has a limit.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::frame::{self, Compression, Entry, Frame, Priority};
use holdfast_wire::uplink::{
    Acknowledgement, Degraded, Enrol, Enrolled, Heartbeat, HeartbeatAnswer, PolicyState, Secret,
    SignedBundle, UplinkTotals,
};
use hyper::{Method, StatusCode};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::bundle::{BundleError, MAX_SIGNED_BYTES, Offer, Verified};
use super::client::{Ask, Client, ClientError};
use super::identity::Identity;
use super::retry::{Backoff, Pace};
use super::spool::name;
use super::{Settings, Uplink};
use crate::clock;
use crate::root::shared::Shared;
use crate::root::status;
use crate::supervisor::random;

/// What `status` calls it when the server is not reached, or does not take the sensor.
const WHAT: &str = "uplink";
/// What `status` calls it when the disk does not take events for the spool.
const SPOOL: &str = "uplink.spool";
/// What `status` calls it when the bundle that was assigned is not in force.
const BUNDLE: &str = "uplink.bundle";
/// What is lost is told of this often: each telling is an event that is sent, too.
const LOSSES: Duration = Duration::from_secs(10);
/// The least and the most that a server can ask for.
const HEARTBEATS: (u64, u64) = (1, 3600);
/// A bundle that was refused is fetched again after this, or once other policies are in force: what it clashed with may
/// be gone.
const REFUSED_REST: Duration = Duration::from_secs(600);
/// For a bundle to come into force: as long as a reload over the control socket may take.
const APPLY_LIMIT: Duration = Duration::from_secs(20);
/// While the sensor stops, it is looked so often whether all is sent.
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// Bytes of a file with a key.
const MAX_KEY: u64 = 4096;

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

/// A bundle that was refused.
struct Refused {
    version: u64,
    at: Instant,
    /// By which policies.
    epoch: u32,
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
            match self.known().await? {
                Some(identity) => self.be(identity),
                None => {
                    self.enrol(None).await?;
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

    /// Has what was lost reported, and gives up what is too old.
    async fn tell_losses(&self) -> io::Result<()> {
        let now = clock::wall() / 1_000_000_000;
        let (untold, trouble) = self
            .with_spool(move |spool| {
                spool.expire(now);
                spool.save()?;
                Ok((spool.untold(), spool.trouble().map(str::to_owned)))
            })
            .await?;
        match trouble {
            Some(reason) => self.shared.degraded.set(SPOOL, &reason),
            None => self.shared.degraded.clear(SPOOL),
        }
        if let Some(lost) = untold {
            let reason = format!("lost on the way to the server: {lost}");
            self.shared.degraded.tell("sensor.loss", reason);
        }
        Ok(())
    }

    /// Who the sensor already is to this server.
    async fn known(&self) -> io::Result<Option<Identity>> {
        let directory = self.settings().directory.clone();
        let known = tokio::task::spawn_blocking(move || Identity::load(&directory))
            .await
            .map_err(io::Error::other)?;
        let url = self.settings().server.url().to_string();
        match known {
            Ok(known) => Ok(known.filter(|known| known.server == url)),
            Err(error) => {
                tracing::warn!("enrolling again: {error}");
                Ok(None)
            }
        }
    }

    /// Becomes one of the server's sensors. `pinned`: by which bundles were verified so far.
    async fn enrol(&mut self, pinned: Option<Vec<u8>>) -> Result<(), Trouble> {
        let host = &self.shared.settings.host.event;
        let enrol = Enrol {
            installation_key: self.key().await?,
            host_id: host.id.clone(),
            host_name: host.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            kernel: host.os.kernel.clone(),
        };
        let body = serde_json::to_vec(&enrol).map_err(io::Error::other)?;
        let enrolled: Enrolled = self
            .client()?
            .json(&Ask::json("/enrol", None, body))
            .await
            .map_err(Trouble::Enrol)?;
        if pinned.is_some_and(|pinned| pinned != enrolled.bundle_key.0) {
            return Err(Trouble::OtherKey);
        }
        let identity = Identity {
            server: self.settings().server.url().to_string(),
            sensor_id: enrolled.sensor_id,
            token: enrolled.token,
            bundle_key: enrolled.bundle_key,
        };
        self.keep(identity).await?;
        let id = self.identity.as_ref().map(|it| it.sensor_id.as_str());
        tracing::info!(sensor = id, "enrolled at {}", self.settings().server.url());
        Ok(())
    }

    /// From now on the sensor is this one.
    fn be(&mut self, identity: Identity) {
        let id = identity.sensor_id.clone();
        self.uplink.stand(|standing| standing.sensor_id = Some(id));
        self.identity = Some(identity);
    }

    /// The same, and after the next start, too.
    async fn keep(&mut self, identity: Identity) -> io::Result<()> {
        let directory = self.settings().directory.clone();
        let kept = identity.clone();
        tokio::task::spawn_blocking(move || kept.keep(&directory))
            .await
            .map_err(io::Error::other)??;
        self.be(identity);
        Ok(())
    }

    /// What permits to enrol.
    async fn key(&self) -> Result<Secret, Trouble> {
        let Settings { key, key_file, .. } = self.settings();
        if let Some(key) = key {
            return Ok(key.clone());
        }
        let Some(path) = key_file.clone() else {
            return Err(Trouble::NoKey);
        };
        let read = move || {
            use std::io::Read as _;

            let mut text = String::new();
            let file = std::fs::File::open(&path)?;
            file.take(MAX_KEY).read_to_string(&mut text)?;
            Ok(Secret::new(text.trim().to_owned()))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(io::Error::other)
            .and_then(|key| key)
            .map_err(Trouble::Key)
    }

    /// Asks as the sensor that it is; where the server knows it no more, it enrols again.
    async fn ask<T: serde::de::DeserializeOwned>(
        &mut self,
        make: impl Fn(&Secret) -> Ask<'_>,
    ) -> Result<T, Trouble> {
        let Some(Identity {
            token, bundle_key, ..
        }) = self.identity.clone()
        else {
            return Err(Trouble::NoKey);
        };
        let answered = self.client()?.json(&make(&token)).await;
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
                self.enrol(Some(bundle_key.0)).await?;
                // What was asked is asked again after a pause, so that two hosts that take the identity from each
                // other do not do so as fast as they can.
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends some of a priority.
    async fn send(&mut self, priority: Priority) -> Result<(), Trouble> {
        let most = self.settings().batch_events.min(frame::MAX_ENTRIES);
        let bytes = self.settings().batch_bytes;
        let batch =
            self.with_spool(move |spool| Ok((spool.stream(), spool.batch(priority, most, bytes)?)));
        let (stream, records) = batch.await?;
        if priority == Priority::Event {
            self.events_at = Instant::now();
        }
        let entries: Vec<_> = records
            .into_iter()
            .map(|(sequence, event)| Entry { sequence, event })
            .collect();
        let Some(last) = entries.last().map(|entry| entry.sequence) else {
            return Ok(());
        };
        let sensor_id = self.identity.as_ref().map(|it| it.sensor_id.clone());
        let frame = Frame {
            sensor_id: sensor_id.unwrap_or_default(),
            stream,
            priority,
            entries,
        };
        // Compressing takes long enough to be kept off the runtime's threads.
        let encoded = tokio::task::spawn_blocking(move || frame.encode(Compression::Zlib)).await;
        let body = match encoded.map_err(io::Error::other)? {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return Ok(self.refuse(priority, last, &error.to_string()).await?),
        };
        self.pace
            .sent(body.len() as u64, Instant::now() - self.began);
        let asked = self
            .ask::<Acknowledgement>(|token| Ask {
                kind: "application/octet-stream",
                body: body.clone(),
                ..Ask::json("/frames", Some(token), Vec::new())
            })
            .await;
        match asked {
            Ok(Acknowledgement { acknowledged }) => {
                self.with_spool(move |spool| spool.acknowledge(priority, acknowledged))
                    .await?;
                if acknowledged < last {
                    let said = format!("it has up to {acknowledged}, of {last}");
                    return Err(ClientError::Answer(said).into());
                }
                Ok(())
            }
            Err(Trouble::Client(error)) if is_final(&error) => {
                Ok(self.refuse(priority, last, &error.to_string()).await?)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// What was sent will never be taken.
    async fn refuse(&self, priority: Priority, last: u64, why: &str) -> io::Result<()> {
        tracing::error!(priority = name(priority), "a batch is lost: {why}");
        self.with_spool(move |spool| spool.refuse(priority, last))
            .await
    }

    /// Says how the sensor is, and learns what it should do.
    async fn heartbeat(&mut self) -> Result<(), Trouble> {
        let heartbeat = self.state();
        let body = serde_json::to_vec(&heartbeat).map_err(io::Error::other)?;
        let answer: HeartbeatAnswer = self
            .ask(|token| Ask::json("/heartbeat", Some(token), body.clone()))
            .await?;
        let (least, most) = HEARTBEATS;
        let seconds = answer.heartbeat_seconds.clamp(least, most);
        self.heartbeat_at = Instant::now() + Duration::from_secs(seconds);
        if let Some(identity) = &self.identity
            && let Some(token) = answer.token
        {
            let identity = Identity {
                token,
                ..identity.clone()
            };
            self.keep(identity).await?;
        }
        let in_force = self.uplink.standing().bundle;
        match answer.bundle {
            Some(wanted) if Some(wanted) != in_force && !self.is_refused(wanted) => {
                self.fetch(wanted, in_force).await
            }
            _ => Ok(()),
        }
    }

    /// Whether this bundle was refused, and nothing speaks for trying it again.
    fn is_refused(&self, version: u64) -> bool {
        let epoch = self.shared.policies.current().epoch();
        self.refused.as_ref().is_some_and(|refused| {
            refused.version == version
                && refused.epoch == epoch
                && refused.at.elapsed() < REFUSED_REST
        })
    }

    /// Fetches a bundle and has it put into force.
    async fn fetch(&mut self, version: u64, in_force: Option<u64>) -> Result<(), Trouble> {
        let path = format!("/bundle/{version}");
        let signed: SignedBundle = self
            .ask(|token| Ask {
                method: Method::GET,
                most: MAX_SIGNED_BYTES,
                ..Ask::json(&path, Some(token), Vec::new())
            })
            .await?;
        let key = self.identity.as_ref().map(|it| it.bundle_key.0.clone());
        let verified = Verified::new(signed, &key.unwrap_or_default()).and_then(|bundle| {
            bundle.may_follow(version, in_force)?;
            Ok(bundle)
        });
        let applied = match verified {
            Ok(bundle) => self.apply(bundle).await,
            Err(error) => Err(one_line(&error)),
        };
        match &applied {
            Ok(()) => {
                tracing::info!("bundle {version} is in force");
                self.refused = None;
                self.shared.degraded.clear(BUNDLE);
            }
            Err(error) => {
                self.refused = Some(Refused {
                    version,
                    at: Instant::now(),
                    epoch: self.shared.policies.current().epoch(),
                });
                let reason = format!("bundle {version} is refused: {error}");
                self.shared.degraded.set(BUNDLE, &reason);
            }
        }
        self.uplink.stand(|standing| match applied {
            Ok(()) => {
                standing.bundle = Some(version);
                standing.bundle_error = None;
            }
            Err(error) => standing.bundle_error = Some(error),
        });
        // The server is told at once.
        self.heartbeat_at = Instant::now();
        Ok(())
    }

    async fn apply(&self, bundle: Verified) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let offered = self.settings().offers.send(Offer { bundle, reply });
        let applied = async {
            offered.await.map_err(|_| "the sensor stops".to_owned())?;
            answer.await.map_err(|_| "the sensor stops".to_owned())?
        };
        tokio::time::timeout(APPLY_LIMIT, applied)
            .await
            .unwrap_or_else(|_| Err(format!("it did not come into force within {APPLY_LIMIT:?}")))
    }

    /// How the sensor is.
    fn state(&self) -> Heartbeat {
        let shared = &self.shared;
        let standing = self.uplink.standing();
        let totals = standing.totals;
        let sum = |counts: [u64; 2]| counts.iter().sum();
        let lost: u64 = totals.lost.iter().flat_map(|lost| lost.values()).sum();
        let degraded = shared.degraded.in_force().into_iter().map(
            |status::Degradation {
                 what,
                 reason,
                 since,
             }| Degraded {
                what,
                reason,
                since,
            },
        );
        Heartbeat {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tier: shared.tier().to_owned(),
            mode: shared.mode().to_owned(),
            degraded: degraded.collect(),
            policy: PolicyState {
                revision: shared.policies.current().epoch().into(),
                bundle: standing.bundle,
                error: standing.bundle_error,
            },
            // Its keys are actions.
            ledger: serde_json::to_value(shared.ledger.status()).unwrap_or_default(),
            uplink: UplinkTotals {
                spooled: sum(totals.waiting),
                lost: lost + shared.sinks.refused_by_uplink(),
                sent: sum(totals.sent),
            },
        }
    }
}

/// Whether the server will never take what was sent.
fn is_final(error: &ClientError) -> bool {
    matches!(
        error.status(),
        Some(StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE)
    )
}

fn one_line(error: &BundleError) -> String {
    error.to_string().replace(['\n', '\r'], " ")
}
