//! One simulated sensor: enrols, says how it is, and sends its events as a sensor's uplink does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::backoff::Backoff;
use holdfast_wire::frame::{Compression, Entry, Frame, MAX_ENTRIES, Priority};
use holdfast_wire::uplink::{
    Acknowledgement, Enrol, Enrolled, Heartbeat, HeartbeatAnswer, MAX_BUNDLE_BYTES,
    MAX_MESSAGE_BYTES, PREFIX, PolicyState, Refusal, Secret, UplinkTotals,
};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::SimulateError;
use super::counts::Counts;
use super::event::{Host, event};
use super::load::{IDLE, Load};
use crate::client::{Answer, Client, ClientError};
use crate::secret::fraction;

/// For a request and its answer, as a sensor has it.
const REQUEST_LIMIT: Duration = Duration::from_secs(40);
/// The longest that a server can have a sensor wait.
const MOST_ASKED: Duration = Duration::from_secs(3600);
/// When a sensor first says how it is, at most: as sensors that enrolled one after the other.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(30);
/// What all sensors share.
pub(super) struct Shared {
    pub(super) batch_events: u64,
    pub(super) batch_interval: Duration,
    /// One frame of so many is sent twice; 0: none.
    pub(super) repeat: u64,
    counts: Mutex<Counts>,
}

impl Shared {
    pub(super) fn new(batch_events: u64, batch_interval: Duration, repeat: u64) -> Self {
        Self {
            batch_events: batch_events.min(MAX_ENTRIES as u64),
            batch_interval,
            repeat,
            counts: Mutex::default(),
        }
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What sensors do at the moment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Have events: each so many a second, from the one instant to the other.
    Load {
        rate: f64,
        from: Instant,
        to: Instant,
    },
    /// End.
    Over,
}

/// A frame that is not acknowledged.
struct Pending {
    priority: Priority,
    events: u64,
    event_bytes: u64,
    last: u64,
    body: Bytes,
    /// Whether it was sent and might be stored.
    unsure: bool,
}

pub(super) struct Sensor {
    shared: Arc<Shared>,
    client: Client,
    host: Host,
    sensor_id: String,
    token: Secret,
    stream: [u8; 16],
    /// The last sequence of alerts and of events.
    sequences: [u64; 2],
    sent: u64,
    frames: u64,
    bundle: Option<u64>,
    heartbeat_at: Instant,
    backoff: Backoff,
    pending: Option<Pending>,
}

impl Sensor {
    /// Enrols a host; where the server asks to wait it waits.
    ///
    /// # Errors
    /// [`SimulateError`].
    pub(super) async fn enrol(
        shared: Arc<Shared>,
        mut client: Client,
        key: &Secret,
        name: String,
    ) -> Result<Self, SimulateError> {
        let message = Enrol {
            installation_key: key.clone(),
            host_id: name.clone(),
            host_name: name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            kernel: "simulated".to_owned(),
            previous_token: None,
        };
        let body = Bytes::from(serde_json::to_vec(&message).map_err(SimulateError::message)?);
        let path = format!("{PREFIX}/enrol");
        let enrolled: Enrolled = loop {
            let headers = HeaderMap::new();
            let asked = client
                .ask(
                    Method::POST,
                    &path,
                    &headers,
                    body.clone(),
                    REQUEST_LIMIT,
                    MAX_MESSAGE_BYTES,
                )
                .await?;
            match asked.status {
                StatusCode::OK => break parsed(&asked)?,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    let wait = asked.retry_after.unwrap_or(Duration::from_secs(1));
                    tokio::time::sleep(wait.min(MOST_ASKED)).await;
                }
                _ => return Err(SimulateError::Enrol(said(&asked))),
            }
        };
        Ok(Self {
            client,
            host: Host {
                id: name.clone(),
                name,
            },
            sensor_id: enrolled.sensor_id,
            token: enrolled.token,
            stream: crate::secret::random()?,
            sequences: [0; 2],
            sent: 0,
            // Sensors enrolled at once here, and do not say the same things at the same time.
            frames: (fraction() * shared.repeat as f64) as u64,
            bundle: None,
            heartbeat_at: Instant::now() + FIRST_HEARTBEAT.mul_f64(fraction()),
            shared,
            backoff: Backoff::default(),
            pending: None,
        })
    }

    /// Goes on until the phase is over; what is then not acknowledged stays so.
    ///
    /// # Errors
    /// [`SimulateError::Unknown`], when another simulation took this sensor's identity.
    pub(super) async fn run(
        mut self,
        mut phase: watch::Receiver<Phase>,
    ) -> Result<(), SimulateError> {
        // Not all in the same moment, as hosts that started at different times.
        let spread = fraction();
        loop {
            let Phase::Load { rate, from, to } = *phase.borrow_and_update() else {
                return Ok(());
            };
            let mut load = Load::new(rate, from, to, spread, self.shared.batch_interval);
            while !phase.has_changed().unwrap_or(true) {
                let wait = self.step(&mut load).await?;
                if !wait.is_zero() {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = phase.changed() => phase.mark_changed(),
                    }
                }
            }
        }
    }

    /// Does what is due; how long to wait then.
    async fn step(&mut self, load: &mut Load) -> Result<Duration, SimulateError> {
        let now = Instant::now();
        if now >= self.heartbeat_at {
            return self.heartbeat().await;
        }
        if self.pending.is_some() {
            return self.send().await;
        }
        let come = load.come(now);
        self.shared.counts().offered += come;
        let most = self.shared.batch_events;
        let frame = if load.alerts > 0 {
            Some((Priority::Alert, load.alerts.min(most)))
        } else if load.events >= most || (load.events > 0 && now >= load.flush_at) {
            Some((Priority::Event, load.events.min(most)))
        } else {
            None
        };
        let Some((priority, events)) = frame else {
            return Ok(load.wait(now).min(IDLE));
        };
        load.take(priority, events, now, self.shared.batch_interval);
        self.pending = Some(self.frame(priority, events).await?);
        self.send().await
    }

    /// A frame of the next events.
    async fn frame(&mut self, priority: Priority, events: u64) -> Result<Pending, SimulateError> {
        let line = &mut self.sequences[usize::from(priority.number())];
        let sequences = *line + 1..=*line + events;
        *line += events;
        let last = *line;
        let entries: Vec<_> = sequences
            .map(|sequence| Entry {
                sequence,
                event: event(&self.host, priority, sequence).into_bytes(),
            })
            .collect();
        let event_bytes = entries.iter().map(|entry| entry.event.len() as u64).sum();
        let frame = Frame {
            sensor_id: self.sensor_id.clone(),
            stream: self.stream,
            priority,
            entries,
        };
        let encoded = tokio::task::spawn_blocking(move || frame.encode(Compression::Zlib)).await;
        let body = encoded
            .map_err(SimulateError::message)?
            .map_err(SimulateError::message)?;
        Ok(Pending {
            priority,
            events,
            event_bytes,
            last,
            body: body.into(),
            unsure: false,
        })
    }

    /// Sends what is pending, once.
    async fn send(&mut self) -> Result<Duration, SimulateError> {
        let Some(mut pending) = self.pending.take() else {
            return Ok(Duration::ZERO);
        };
        let (began, body) = (Instant::now(), pending.body.clone());
        let asked = self
            .ask(Method::POST, "/frames", "application/octet-stream", body)
            .await;
        {
            let mut counts = self.shared.counts();
            counts.bytes += pending.body.len() as u64;
            if pending.unsure {
                counts.duplicates += pending.events;
            }
        }
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!("{}: {error}", self.host.name);
                self.shared.counts().unanswered += 1;
                pending.unsure = true;
                self.pending = Some(pending);
                return Ok(self.backoff.failed(fraction(), None));
            }
        };
        self.backoff.worked();
        match answer.status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
                tracing::error!("{}: a batch is refused: {}", self.host.name, said(&answer));
                self.shared.counts().refused += pending.events;
                return Ok(Duration::ZERO);
            }
            StatusCode::UNAUTHORIZED | StatusCode::CONFLICT => {
                return Err(SimulateError::Unknown(said(&answer)));
            }
            _ => {
                self.shared.counts().held_back += 1;
                self.pending = Some(pending);
                return Ok(later(&answer));
            }
        }
        let acknowledged: Acknowledgement = parsed(&answer)?;
        if acknowledged.acknowledged < pending.last {
            return Err(SimulateError::message(format!(
                "up to {} is acknowledged, of {}",
                acknowledged.acknowledged, pending.last
            )));
        }
        {
            let mut counts = self.shared.counts();
            counts.frames.add(began.elapsed());
            counts.frames_accepted += 1;
            counts.acknowledged += pending.events;
            counts.event_bytes += pending.event_bytes;
            if pending.priority == Priority::Alert {
                counts.alerts += pending.events;
            }
        }
        self.sent += pending.events;
        self.frames += 1;
        if self.shared.repeat > 0 && self.frames.is_multiple_of(self.shared.repeat) {
            return self.send_again(pending).await;
        }
        Ok(Duration::ZERO)
    }

    /// Sends what was acknowledged, as a sensor that did not get the answer.
    async fn send_again(&mut self, sent: Pending) -> Result<Duration, SimulateError> {
        let asked = self
            .ask(
                Method::POST,
                "/frames",
                "application/octet-stream",
                sent.body.clone(),
            )
            .await;
        let mut counts = self.shared.counts();
        counts.bytes += sent.body.len() as u64;
        match asked {
            Ok(answer) if answer.status == StatusCode::OK => {
                counts.frames_accepted += 1;
                counts.duplicates += sent.events;
            }
            Ok(_) => counts.held_back += 1,
            Err(_) => counts.unanswered += 1,
        }
        Ok(Duration::ZERO)
    }

    /// Says how it is, and takes the bundle that it is to have.
    async fn heartbeat(&mut self) -> Result<Duration, SimulateError> {
        let heartbeat = Heartbeat {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tier: "lsm".to_owned(),
            mode: "observe".to_owned(),
            degraded: Vec::new(),
            policy: PolicyState {
                revision: 1,
                bundle: self.bundle,
                error: None,
            },
            ledger: ledger(self.sent),
            uplink: UplinkTotals {
                spooled: self.pending.as_ref().map_or(0, |pending| pending.events),
                lost: 0,
                sent: self.sent,
            },
            containers: None,
        };
        let body = serde_json::to_vec(&heartbeat).map_err(SimulateError::message)?;
        let began = Instant::now();
        let asked = self
            .ask(Method::POST, "/heartbeat", "application/json", body.into())
            .await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!("{}: {error}", self.host.name);
                self.shared.counts().unanswered += 1;
                return Ok(self.backoff.failed(fraction(), None));
            }
        };
        self.backoff.worked();
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(SimulateError::Unknown(said(&answer))),
            _ => {
                self.shared.counts().held_back += 1;
                return Ok(later(&answer));
            }
        }
        self.shared.counts().heartbeats.add(began.elapsed());
        let answer: HeartbeatAnswer = parsed(&answer)?;
        let seconds = Duration::from_secs(answer.heartbeat_seconds.clamp(1, 3600));
        self.heartbeat_at = Instant::now() + seconds;
        if let Some(token) = answer.token {
            self.token = token;
        }
        if let Some(wanted) = answer.bundle.filter(|it| self.bundle != Some(*it)) {
            let path = format!("/bundle/{wanted}");
            let asked = self
                .ask(Method::GET, &path, "application/json", Bytes::new())
                .await;
            if asked.is_ok_and(|answer| answer.status == StatusCode::OK) {
                self.bundle = Some(wanted);
                // The server is told at once.
                self.heartbeat_at = Instant::now();
            }
        }
        Ok(Duration::ZERO)
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let bearer = format!("Bearer {}", self.token.expose());
        let mut bearer = HeaderValue::from_str(&bearer)
            .map_err(|_| ClientError::Broken("the token has other characters".to_owned()))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        let path = format!("{PREFIX}{path}");
        let most = 2 * MAX_BUNDLE_BYTES;
        self.client
            .ask(method, &path, &headers, body, REQUEST_LIMIT, most)
            .await
    }
}

/// As long as one of a real sensor, which has one entry for each of its kinds.
fn ledger(sent: u64) -> serde_json::Value {
    let counts = json!({"seen": sent, "filtered": 0, "submitted": sent, "ring_full": 0, "missed": 0, "truncated": 0,
                        "received": sent, "evaluated": sent, "emitted": sent, "suppressed": 0, "dropped": 0});
    let kinds = holdfast_wire::Kind::ALL.iter();
    let kinds: serde_json::Map<_, _> = kinds
        .map(|kind| (kind.action().to_owned(), counts.clone()))
        .collect();
    json!({ "kinds": kinds })
}

fn later(answer: &Answer) -> Duration {
    let asked = answer.retry_after.unwrap_or(Duration::from_secs(1));
    let asked = asked.min(MOST_ASKED);
    asked + asked.mul_f64(0.1 * fraction())
}

fn parsed<T: DeserializeOwned>(answer: &Answer) -> Result<T, SimulateError> {
    // What is in it may be secret.
    serde_json::from_slice(&answer.body)
        .map_err(|_| SimulateError::message("an answer makes no sense: is it a Team Server?"))
}

fn said(answer: &Answer) -> String {
    match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(refusal) => format!("{}: {}", answer.status, refusal.error),
        Err(_) => answer.status.to_string(),
    }
}
