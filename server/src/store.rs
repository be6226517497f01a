//! The store: an SQLite file in the data directory, or a PostgreSQL database that several servers may share.
//!
//! Who wrote is told after the commit: what was acknowledged is on disk. The modules below have the statements, one text for
//! both; every value is a parameter.

use std::io;
use std::path::{Path, PathBuf};

pub(crate) mod accounts;
pub(crate) mod bundles;
mod connection;
pub(crate) mod events;
pub(crate) mod forwards;
pub(crate) mod keys;
#[cfg(test)]
mod migrations;
mod postgres;
pub(crate) mod processes;
pub(crate) mod rollouts;
pub(crate) mod sensors;
mod sqlite;
#[cfg(test)]
pub(crate) mod test;
pub(crate) mod value;

use crate::clock::now;
pub(crate) use connection::{Connection, DatabaseError, Result};
use events::Sent;
use postgres::Lease;
use postgres::pool::{Pools, Way};
pub(crate) use postgres::{Address, AddressError};
pub(crate) use sqlite::RestoreError;
use sqlite::{Readers, Writer};

/// Why something was not stored or found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The data directory cannot be used.
    #[error("cannot use {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tables were made by a later version of this program.
    #[error(
        "the database has schema {found}, this version knows {known}: use a later version of holdfast-server"
    )]
    Schema {
        /// Its schema.
        found: i64,
        /// The last that is known here.
        known: i64,
    },
    /// A query took too long, and was ended.
    #[error("the query took longer than {} seconds: narrow it down, by time first", sqlite::QUERY_TIME.as_secs())]
    TooSlow,
    /// Too much is waiting.
    #[error("the store is busy")]
    Busy,
    /// The thread that writes is gone.
    #[error("the store has stopped")]
    Stopped,
    /// The database does not answer.
    #[error("the database is away: {0}")]
    Away(String),
    /// PostgreSQL has tools of its own.
    #[error("the store is in PostgreSQL: copy it with pg_dump, as docs/server.md says")]
    NoBackup,
    /// It is to have nothing.
    #[error("the database has something in its table {0} already: nothing is brought there")]
    NotEmpty(String),
    /// What the database said.
    #[error("the store failed: {0}")]
    Database(DatabaseError),
    /// The transaction that others were in as well could not be committed.
    #[error("the store could not commit: {0}")]
    Commit(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        DatabaseError::Sqlite(error).into()
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        let ended = match &error {
            DatabaseError::Sqlite(error) => {
                error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
            }
            error => error.code() == Some("57014"),
        };
        if ended {
            Self::TooSlow
        } else if postgres::is_away(&error) {
            Self::Away(error.to_string())
        } else {
            Self::Database(error)
        }
    }
}

/// Searches and other queries at a time.
const READERS: usize = 6;
/// Looks at who asks at a time. They have connections of their own: searches, which take seconds, keep nobody from being
/// recognised, and so no sensor from being heard.
const IDENTIFIERS: usize = 2;

/// Where a store is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A directory for SQLite's file.
    Directory(PathBuf),
    /// A database of PostgreSQL.
    Database(Address),
}

/// The store of a running server.
pub(crate) struct Store(Backend);

enum Backend {
    Sqlite {
        writer: Writer,
        readers: Readers,
        identifiers: Readers,
        since: i64,
    },
    Postgres(Pools),
}

impl Store {
    /// Opens the store, which is made where it is not there, and starts its threads.
    ///
    /// # Errors
    /// [`StoreError::Directory`], [`StoreError::Schema`], [`StoreError::Away`], what the database says.
    pub(crate) async fn open(place: &Place) -> std::result::Result<Self, StoreError> {
        match place {
            Place::Directory(directory) => Self::in_directory(directory),
            Place::Database(address) => {
                let address = address.clone();
                let prepare = move || {
                    let connection = postgres::connect(&address)?;
                    connection.exclusively(|connection| prepare(connection, now()))?;
                    Ok(Pools::new(&address))
                };
                let pools = tokio::task::spawn_blocking(prepare).await;
                pools
                    .map_err(|_| StoreError::Stopped)?
                    .map(|pools| Self(Backend::Postgres(pools)))
            }
        }
    }

    fn in_directory(directory: &Path) -> std::result::Result<Self, StoreError> {
        let connection = sqlite::connect(directory)?;
        let file = directory.join(sqlite::FILE);
        let readers = Readers::open(&file, READERS)?;
        let identifiers = Readers::open(&file, IDENTIFIERS)?;
        let writer = Writer::start(connection).map_err(|source| StoreError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let since = now();
        Ok(Self(Backend::Sqlite {
            writer,
            readers,
            identifiers,
            since,
        }))
    }

    /// Does `work` within a transaction, as if nobody else wrote but by [`write_beside`](Self::write_beside), and returns when it
    /// is durable.
    ///
    /// # Errors
    /// What `work` failed with, in which case nothing of it is stored; [`StoreError::Busy`], [`StoreError::Commit`],
    /// [`StoreError::Away`].
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, StoreError> {
        match &self.0 {
            Backend::Sqlite { writer, .. } => writer.write(work).await,
            Backend::Postgres(pools) => pools.write(Way::Exclusively, work).await,
        }
    }

    /// Stores what a sensor sent, with what others send meanwhile; how many alerts were stored with it. Returns when it is durable.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn take(&self, sent: Sent) -> std::result::Result<usize, StoreError> {
        match &self.0 {
            Backend::Sqlite { writer, .. } => {
                let store =
                    move |connection: &Connection| events::store(connection, &[sent], now());
                writer.write(store).await
            }
            Backend::Postgres(pools) => pools.take(sent).await,
        }
    }

    /// As [`write`](Self::write), for what else sensors say, which is much: others may write at the same time, and `work` sees to that by itself.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn write_beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, StoreError> {
        match &self.0 {
            Backend::Sqlite { writer, .. } => writer.write(work).await,
            Backend::Postgres(pools) => pools.write(Way::Beside, work).await,
        }
    }

    /// Does `work`, which only reads.
    ///
    /// # Errors
    /// What `work` failed with; [`StoreError::TooSlow`], [`StoreError::Busy`], [`StoreError::Away`].
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, StoreError> {
        match &self.0 {
            Backend::Sqlite { readers, .. } => readers.read(work).await,
            Backend::Postgres(pools) => pools.read(work).await,
        }
    }

    /// As [`read`](Self::read), for what finds out who asks: a look at an index.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) async fn identify<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, StoreError> {
        match &self.0 {
            Backend::Sqlite { identifiers, .. } => identifiers.read(work).await,
            Backend::Postgres(pools) => pools.identify(work).await,
        }
    }

    /// Since when it is there without having been away, as far as this server knows: milliseconds since 1970.
    pub(crate) fn since(&self) -> i64 {
        match &self.0 {
            Backend::Sqlite { since, .. } => *since,
            Backend::Postgres(pools) => pools.since(),
        }
    }

    /// The right to do something that one of several servers on a store does.
    pub(crate) fn right(&self, name: &'static str) -> Right {
        match &self.0 {
            Backend::Sqlite { .. } => Right(None),
            Backend::Postgres(pools) => Right(Some(Lease::new(pools.address(), name))),
        }
    }
}

/// A right of one server; the only one of a store has all.
pub(crate) struct Right(Option<Lease>);

impl Right {
    /// Whether this server has it now, or gets it.
    pub(crate) async fn is_ours(&self) -> bool {
        match &self.0 {
            None => true,
            Some(lease) => lease.is_held().await,
        }
    }
}

/// A connection that writes, for the commands, which may run beside the server.
///
/// # Errors
/// [`StoreError::Directory`], [`StoreError::Schema`], [`StoreError::Away`], what the database says.
pub(crate) fn connect(place: &Place) -> std::result::Result<Connection, StoreError> {
    match place {
        Place::Directory(directory) => sqlite::connect(directory),
        Place::Database(address) => postgres::connect(address),
    }
}

/// Has room for what comes in the next days.
pub(crate) fn prepare(connection: &Connection, now: i64) -> Result<()> {
    match connection {
        Connection::Sqlite(_) => Ok(()),
        Connection::Postgres(session) => postgres::make(session, now),
    }
}

/// Writes a copy of the store to `file`, which must not be there; the server may run meanwhile.
///
/// # Errors
/// What SQLite says, [`StoreError::Directory`] for `file`; [`StoreError::NoBackup`] with PostgreSQL.
pub(crate) fn backup(connection: &Connection, file: &Path) -> std::result::Result<(), StoreError> {
    match connection {
        Connection::Sqlite(_) => sqlite::backup(connection, file),
        Connection::Postgres(_) => Err(StoreError::NoBackup),
    }
}

/// Puts a copy of the backup `file` into the data directory, in the place of the store that may be there if `replace` says so: all of
/// it or nothing. No server has the directory meanwhile. With PostgreSQL there is no file: its own tools have done it.
///
/// # Errors
/// [`RestoreError`].
pub(crate) fn restore(
    place: &Place,
    file: Option<&Path>,
    replace: bool,
) -> std::result::Result<(), RestoreError> {
    match (place, file) {
        (Place::Directory(directory), Some(file)) => sqlite::restore(file, directory, replace),
        (Place::Directory(_), None) => Err(RestoreError::NoFile),
        (Place::Database(_), Some(_)) => Err(RestoreError::InDatabase),
        (Place::Database(_), None) => Ok(()),
    }
}

/// Brings everything from SQLite's file in `directory` into the database at `to`, which must have nothing: all of it or
/// nothing. Nobody writes to the file meanwhile. `told` is told of how many rows of which table are there.
///
/// # Errors
/// [`StoreError::Directory`] where there is no store; [`StoreError::NotEmpty`]; what the databases say.
pub(crate) fn carry(
    directory: &Path,
    to: &Address,
    told: impl FnMut(&str, i64),
) -> std::result::Result<(), StoreError> {
    // A store would be made there.
    std::fs::metadata(directory.join(sqlite::FILE)).map_err(|source| StoreError::Directory {
        path: directory.to_owned(),
        source,
    })?;
    let from = sqlite::connect(directory)?;
    from.exclusively(|from| {
        postgres::connect(to)?.exclusively(|to| {
            prepare(to, now())?;
            match to {
                Connection::Postgres(session) => postgres::carry(from, session, told),
                Connection::Sqlite(_) => Err(StoreError::Stopped),
            }
        })
    })
}
