//! Forwarding: alerts, or all events, to where people already look.
//!
//! What waits is what is stored behind the position of a destination: it outlives the server, is bounded by a number, and
//! what does not fit is counted. Delivery is at least once, in the order in which events were stored.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_wire::backoff::Backoff;
use serde_json::{Value, json};

use crate::app::App;
use crate::client::ClientError;
use crate::clock::{now, rfc3339};
use crate::secret;
use crate::store::events::{self, Filter, Found, Most};
use crate::store::forwards::{self, Forward};
use crate::store::{self, Connection, StoreError};

mod batch;
mod nats;
mod otlp;
mod s3;
mod schema;
mod syslog;
mod webhook;

use batch::{Batch, Terms};

pub(crate) use nats::Nats;
pub(crate) use otlp::Otlp;
pub(crate) use s3::{Place, S3};
pub(crate) use schema::Schema;
pub(crate) use syslog::Syslog;
pub(crate) use webhook::Webhook;

/// Of destinations that have none of their own.
const TERMS: Terms = Terms {
    events: 100,
    bytes: 1 << 20,
    patience: Duration::ZERO,
    by_hour: false,
};
/// After a batch was refused, to find out which of it was meant.
const SINGLE: Terms = Terms { events: 1, ..TERMS };
/// Events that are read at a time.
const PAGE: usize = 250;
/// The most bytes of them.
const PAGE_BYTES: usize = 8 << 20;
/// A full queue is emptied by this part of it, so that it is not full again at once.
const SPARE: i64 = 10;
/// Between two looks for what is to be forwarded.
const LOOK: Duration = Duration::from_secs(1);

/// Why a destination cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// Its address or its certificates.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file with the secret.
    #[error("cannot use {file}: {reason}")]
    Secret {
        /// Which.
        file: PathBuf,
        /// What is wrong with it; not what is in it.
        reason: String,
    },
}

/// Why a batch is not delivered.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// It may be at another time.
    Later {
        /// What went wrong.
        why: String,
        /// After how long the receiver wants it again.
        after: Option<Duration>,
    },
    /// The receiver will never take it.
    Never(String),
}

impl From<ClientError> for Undelivered {
    fn from(error: ClientError) -> Self {
        Self::Later {
            why: error.to_string(),
            after: None,
        }
    }
}

/// Where events go.
pub(crate) enum Destination {
    /// A signed POST for each batch.
    Webhook(Box<Webhook>),
    /// A message for each event.
    Syslog(Syslog),
    /// A log record for each event, by a POST for each batch.
    Otlp(Box<Otlp>),
    /// A message for each event, into a stream.
    Nats(Box<Nats>),
    /// A file of Parquet for many events.
    S3(Box<S3>),
}

impl Destination {
    /// As it is stored and shown.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Syslog(_) => "syslog",
            Self::Otlp(_) => "otlp",
            Self::Nats(_) => "nats",
            Self::S3(_) => "s3",
        }
    }

    /// Delivers all of a batch; how many events of it the receiver took note of and refuses.
    async fn deliver(&mut self, batch: &[Found]) -> Result<usize, Undelivered> {
        match self {
            Self::Webhook(webhook) => webhook.deliver(batch).await.map(|()| 0),
            Self::Syslog(syslog) => syslog.deliver(batch).await.map(|()| 0),
            Self::Otlp(otlp) => otlp.deliver(batch).await,
            Self::Nats(nats) => nats.deliver(batch).await.map(|()| 0),
            Self::S3(s3) => s3.deliver(batch).await.map(|()| 0),
        }
    }

    const fn terms(&self) -> Terms {
        match self {
            Self::S3(s3) => s3.terms(),
            _ => TERMS,
        }
    }
}

/// How forwarding to a destination goes, beside what is stored of it.
#[derive(Clone, Debug, Default)]
struct Trouble {
    /// What went wrong, and since when; `None` while all is well.
    failing: Option<(String, i64)>,
}

/// What is shown of a destination.
pub(crate) struct Status {
    name: &'static str,
    /// Most events that may wait.
    queue: i64,
    trouble: Mutex<Trouble>,
}

impl Status {
    pub(crate) fn new(name: &'static str, queue: i64) -> Self {
        Self {
            name,
            queue,
            trouble: Mutex::default(),
        }
    }

    fn fails(&self, why: String) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match trouble.failing.take() {
            Some((_, since)) => since,
            None => {
                tracing::warn!("forwarding by {} fails: {why}", self.name);
                now()
            }
        };
        trouble.failing = Some((why, since));
    }

    fn works(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.failing.take().is_some() {
            tracing::info!("forwarding by {} works again", self.name);
        }
    }

    /// As JSON.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) fn shown(&self, connection: &Connection) -> store::Result<Value> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = trouble.failing.clone();
        drop(trouble);
        let failing =
            failing.map(|(reason, since)| json!({"reason": reason, "since": rfc3339(since)}));
        let Some(forward) = forwards::one(connection, self.name)? else {
            return Ok(json!({"destination": self.name, "failing": failing}));
        };
        Ok(json!({
            "destination": self.name,
            "events": if forward.alerts_only { "alerts" } else { "all" },
            "sent": forward.sent,
            "waiting": forwards::waiting(connection, &forward, self.queue + 1)?,
            "queue": self.queue,
            "lost": {"full": forward.lost_full, "refused": forward.lost_refused, "deleted": forward.lost_deleted},
            "failing": failing,
        }))
    }
}

/// Forwards to a destination until the server ends.
pub(crate) async fn forward(
    app: Arc<App>,
    destination: Destination,
    status: Arc<Status>,
    alerts_only: bool,
) {
    let mut forwarder = Forwarder {
        app,
        terms: destination.terms(),
        destination,
        status,
    };
    let name = forwarder.destination.name();
    let begin = move |connection: &Connection| forwards::begin(connection, name, alerts_only);
    let mut backoff = Backoff::default();
    while let Err(error) = forwarder.app.store.write(begin).await {
        tracing::warn!("forwarding cannot begin: {error}");
        tokio::time::sleep(backoff.failed(secret::fraction(), None)).await;
    }
    backoff.worked();
    let right = forwarder.app.store.right(name);
    let mut pending = Batch::default();
    loop {
        // Of several servers one forwards; what it had not delivered another goes on with.
        if !right.is_ours().await {
            pending.clear();
            forwarder.status.works();
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let wait = match forwarder.step(&mut pending).await {
            Ok(wait) => {
                backoff.worked();
                wait
            }
            Err((why, after)) => {
                forwarder.status.fails(why);
                backoff.failed(secret::fraction(), after)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

struct Forwarder {
    app: Arc<App>,
    destination: Destination,
    status: Arc<Status>,
    /// How much of what waits the next batch is.
    terms: Terms,
}

type Failed = (String, Option<Duration>);

impl Forwarder {
    /// Delivers the next batch, or `pending`, which is what was not delivered before, if it is as large as it should be; how
    /// long to wait then.
    async fn step(&mut self, pending: &mut Batch) -> Result<Duration, Failed> {
        let failed = |error: StoreError| (error.to_string(), None);
        let (name, queue) = (self.destination.name(), self.status.queue);
        let look = move |connection: &Connection| {
            let Some(forward) = forwards::one(connection, name)? else {
                return Ok(None);
            };
            let is_full = forwards::is_full(connection, &forward, queue)?;
            Ok(Some((forward, is_full)))
        };
        let known = self.app.store.read(look).await.map_err(failed)?;
        let Some((mut forward, is_full)) = known else {
            return Err(("its position is gone".to_owned(), None));
        };
        if is_full {
            let shed = move |connection: &Connection| {
                let lost = forwards::shed(connection, name, queue - queue / SPARE)?;
                Ok((lost, forwards::one(connection, name)?))
            };
            let (lost, now) = self.app.store.write(shed).await.map_err(failed)?;
            tracing::warn!("{lost} events are not forwarded by {name}: more than {queue} waited");
            forward = now.unwrap_or(forward);
        }
        // What was shed meanwhile is not sent any more; a batch is otherwise the same at each attempt.
        let first = pending.events().first();
        if first.is_some_and(|first| first.id <= forward.position)
            || pending.events().len() > self.terms.events
        {
            pending.clear();
        }
        fill(&self.app, &self.terms, pending, &forward)
            .await
            .map_err(failed)?;
        let Some(last) = pending.events().last().map(|last| last.id) else {
            return Ok(LOOK);
        };
        if !pending.is_closed() {
            return Ok(LOOK);
        }
        let count = pending.events().len();
        let refused = match self.destination.deliver(pending.events()).await {
            Ok(refused) => {
                self.terms = self.destination.terms();
                self.status.works();
                refused
            }
            Err(Undelivered::Never(why)) if count > 1 => {
                tracing::debug!("a batch is refused, {why}: its events are sent one by one");
                self.terms = SINGLE;
                return Ok(Duration::ZERO);
            }
            Err(Undelivered::Never(why)) => {
                tracing::warn!("an event is lost, which the receiver by {name} refuses: {why}");
                1
            }
            Err(Undelivered::Later { why, after }) => return Err((why, after)),
        };
        let sent = count - refused;
        let advance =
            move |connection: &Connection| forwards::advance(connection, name, last, sent, refused);
        self.app.store.write(advance).await.map_err(failed)?;
        pending.clear();
        Ok(Duration::ZERO)
    }
}

/// Adds what waits to a batch until it is closed.
async fn fill(
    app: &App,
    terms: &Terms,
    pending: &mut Batch,
    forward: &Forward,
) -> Result<(), StoreError> {
    while !pending.is_closed() {
        let after = pending
            .events()
            .last()
            .map_or(forward.position, |last| last.id);
        let filter = Filter {
            alerts_only: forward.alerts_only,
            after: Some(after),
            ..Filter::default()
        };
        let most = Most {
            events: terms.events.min(PAGE),
            bytes: PAGE_BYTES,
        };
        let find = move |connection: &Connection| events::find(connection, &filter, most);
        let page = app.store.read(find).await?;
        for found in page.events {
            pending.take(found, terms);
        }
        if !page.more {
            pending.close_if_due(terms, now());
            break;
        }
    }
    Ok(())
}
