//! Connections of a running server: a few that write, and a few that only read.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::intake::Intake;
use super::{Address, DURABLE, is_away};
use crate::clock::now;
use crate::store::StoreError;
use crate::store::connection::{Connection, DatabaseError, Result as Done};
use crate::store::events::Sent;
use crate::store::{IDENTIFIERS, READERS};

/// Writes at a time: their commits reach the disk together.
const WRITERS: usize = 12;
/// How long a write or a query waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// What a connection that reads may do, and for how long. With an index on hand, plans that look at all are for no question
/// that is asked here.
const READING: &str =
    "SET default_transaction_read_only = on; SET statement_timeout = '8s'; SET jit = off";
/// How long a statement that writes may take, with the locks that it waits for.
const WRITING: &str = "SET statement_timeout = '30s'; SET jit = off";

/// How a write stands to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Way {
    /// As if it were alone, but for those beside.
    Exclusively,
    /// Beside all others: rows that it changes are its own to see to.
    Beside,
}

/// Whether the database is there.
pub(super) struct Presence {
    away: AtomicBool,
    /// Milliseconds since 1970.
    since: AtomicI64,
    name: String,
}

impl Presence {
    pub(super) fn new(name: String) -> Self {
        Self {
            away: AtomicBool::new(false),
            since: AtomicI64::new(now()),
            name,
        }
    }

    fn lost(&self, why: &DatabaseError) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::error!("the database {} is away: {why}", self.name);
        }
    }

    fn there(&self) {
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
            self.since.store(now(), Ordering::Relaxed);
            tracing::info!("the database {} is there again", self.name);
        }
    }
}

pub(super) struct Pool {
    address: Address,
    settings: String,
    presence: Arc<Presence>,
    turns: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    fn new(address: &Address, settings: &str, size: usize, presence: &Arc<Presence>) -> Arc<Self> {
        Arc::new(Self {
            address: address.clone(),
            settings: format!("{DURABLE}{settings}"),
            presence: presence.clone(),
            turns: Semaphore::new(size),
            idle: Mutex::default(),
        })
    }

    /// Does `work` with a connection, in a thread that may wait.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let pool = self.clone();
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        let turn = turn
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Stopped)?;
        // Not given back earlier, also when whoever asked has gone away.
        turn.forget();
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(|| work(&pool)));
            pool.turns.add_permits(1);
            result.unwrap_or_else(|panic| resume_unwind(panic))
        };
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|_| StoreError::Stopped)?
    }

    fn open(&self) -> Done<Connection> {
        match self.address.open(&self.settings) {
            Ok(session) => {
                self.presence.there();
                Ok(Connection::Postgres(Box::new(session)))
            }
            Err(error) => {
                self.presence.lost(&error);
                Err(error)
            }
        }
    }

    fn take(&self) -> Done<Connection> {
        let idle = self.lock().pop();
        idle.map_or_else(|| self.open(), Ok)
    }

    /// Keeps a connection on which `result` came, if it is good for more. Where one is lost all others are.
    fn keep<T>(&self, connection: Connection, result: &Done<T>) {
        let lost = result.as_ref().err().filter(|error| is_away(error));
        if let Some(error) = lost {
            self.presence.lost(error);
            self.lock().clear();
        } else if matches!(&connection, Connection::Postgres(session) if !session.is_closed()) {
            self.lock().push(connection);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Done<T>) -> Result<T, StoreError> {
        let connection = self.take()?;
        let result = work(&connection);
        self.keep(connection, &result);
        Ok(result?)
    }

    pub(super) fn write<T>(
        &self,
        way: Way,
        work: impl FnOnce(&Connection) -> Done<T>,
    ) -> Result<T, StoreError> {
        let connection = self.begun(way)?;
        let result = match work(&connection) {
            // Where the answer to this is lost nobody knows; whoever wrote is told that it failed, and sends again.
            Ok(value) => connection.batch("COMMIT").map(|()| value),
            Err(error) => connection.batch("ROLLBACK").and(Err(error)),
        };
        self.keep(connection, &result);
        result.map_err(|error| match error.into() {
            // It waited for others.
            StoreError::TooSlow => StoreError::Busy,
            error => error,
        })
    }

    /// A connection with a transaction; another one where the database ended those that were kept.
    fn begun(&self, way: Way) -> Done<Connection> {
        let begin = |connection: &Connection| match (connection, way) {
            (Connection::Postgres(session), Way::Exclusively) => session.begin_exclusively(),
            (other, _) => other.batch("BEGIN"),
        };
        let connection = self.take()?;
        let begun = begin(&connection);
        match begun {
            Ok(()) => Ok(connection),
            Err(error) if is_away(&error) => {
                self.keep(connection, &Err::<(), _>(error));
                let connection = self.open()?;
                begin(&connection)?;
                Ok(connection)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A connection says goodbye, for which it waits: not in a thread of the runtime.
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        let _ = thread::spawn(move || drop(idle)).join();
    }
}

/// The connections of a running server.
pub(in crate::store) struct Pools {
    address: Address,
    presence: Arc<Presence>,
    writers: Arc<Pool>,
    readers: Arc<Pool>,
    identifiers: Arc<Pool>,
    intake: Intake,
}

impl Pools {
    /// Of a database whose tables are there. To be called in a runtime.
    pub(in crate::store) fn new(address: &Address) -> Self {
        let presence = Arc::new(Presence::new(address.shown()));
        let writers = Pool::new(address, WRITING, WRITERS, &presence);
        Self {
            address: address.clone(),
            intake: Intake::start(&writers),
            writers,
            readers: Pool::new(address, READING, READERS, &presence),
            identifiers: Pool::new(address, READING, IDENTIFIERS, &presence),
            presence,
        }
    }

    pub(in crate::store) async fn write<T: Send + 'static>(
        &self,
        way: Way,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writers.run(move |pool| pool.write(way, work)).await
    }

    pub(in crate::store) async fn take(&self, sent: Sent) -> Result<usize, StoreError> {
        self.intake.take(sent).await
    }

    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(move |pool| pool.read(work)).await
    }

    pub(in crate::store) async fn identify<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.identifiers.run(move |pool| pool.read(work)).await
    }

    /// Since when the database is there, as far as this server knows: milliseconds since 1970.
    pub(in crate::store) fn since(&self) -> i64 {
        self.presence.since.load(Ordering::Relaxed)
    }

    pub(in crate::store) fn address(&self) -> Address {
        self.address.clone()
    }
}
