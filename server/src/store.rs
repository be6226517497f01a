//! The store: one SQLite file in the data directory, written by one thread and read by a few.
//!
//! Writes that wait while a transaction is made durable go into the next one together (group commit), each under a
//! savepoint of its own, so that one that fails leaves the others alone. Who wrote is told after the commit: what was
//! acknowledged is on disk. A transaction is durable when it is committed (`synchronous = FULL`).
//!
//! The modules below have the statements; every value is a parameter.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

pub(crate) mod accounts;
pub(crate) mod bundles;
pub(crate) mod events;
pub(crate) mod forwards;
pub(crate) mod keys;
mod read;
pub(crate) mod rollouts;
mod schema;
pub(crate) mod sensors;
mod write;

use read::Readers;
use write::Writer;

/// The file in the data directory.
const FILE: &str = "holdfast-server.db";
/// How long a statement waits for another process that writes, which is a command of the administrator.
const BUSY: Duration = Duration::from_secs(5);
/// The log is cut to this after a checkpoint: what a burst made of it should not stay.
const MAX_LOG_BYTES: i64 = 64 << 20;

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
    /// The file was made by a later version of this program.
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
    #[error("the query took longer than {} seconds: narrow it down, by time first", read::QUERY_TIME.as_secs())]
    TooSlow,
    /// Too much is waiting.
    #[error("the store is busy")]
    Busy,
    /// The thread that writes is gone.
    #[error("the store has stopped")]
    Stopped,
    /// What SQLite said.
    #[error("the store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The transaction that others were in as well could not be committed.
    #[error("the store could not commit: {0}")]
    Commit(String),
}

impl StoreError {
    fn of_query(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::TooSlow,
            _ => Self::Sqlite(error),
        }
    }
}

/// The store of a running server.
pub(crate) struct Store {
    writer: Writer,
    readers: Readers,
}

impl Store {
    /// Opens the store in `directory`, which is made where it is not there, and starts its threads.
    ///
    /// # Errors
    /// [`StoreError::Directory`], [`StoreError::Schema`], [`StoreError::Sqlite`].
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        let connection = connect(directory)?;
        let readers = Readers::open(&directory.join(FILE))?;
        let writer = Writer::start(connection).map_err(|source| StoreError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        Ok(Self { writer, readers })
    }

    /// Does `work` within a transaction, and returns when it is durable.
    ///
    /// # Errors
    /// What `work` failed with, in which case nothing of it is stored; [`StoreError::Busy`],
    /// [`StoreError::Commit`].
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(work).await
    }

    /// Does `work`, which only reads.
    ///
    /// # Errors
    /// What `work` failed with; [`StoreError::TooSlow`], [`StoreError::Busy`].
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(work).await
    }
}

/// A connection that writes, for the commands, which may run beside the server.
///
/// # Errors
/// [`StoreError::Directory`], [`StoreError::Schema`], [`StoreError::Sqlite`].
pub(crate) fn connect(directory: &Path) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::Directory {
        path: directory.to_owned(),
        source,
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).map_err(failed)?;
    let file = directory.join(FILE);
    // SQLite gives its other files the mode of this one, which only its owner may read.
    let mut options = fs::OpenOptions::new();
    let made = options.create(true).append(true).mode(0o600);
    drop(made.open(&file).map_err(failed)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)?;
    schema::migrate(&mut connection)?;
    Ok(connection)
}

/// Writes a copy of the store to `file`, which must not be there; the server may run meanwhile.
///
/// # Errors
/// What SQLite says, [`StoreError::Directory`] for `file`.
pub(crate) fn backup(connection: &Connection, file: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Directory {
        path: file.to_owned(),
        source,
    };
    let mut options = fs::OpenOptions::new();
    // Made first, so that nobody else may read what is written into it: the signing key is there too.
    drop(
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .map_err(failed)?,
    );
    let path = file
        .to_str()
        .ok_or_else(|| failed(io::Error::other("the name is not UTF-8")))?;
    let copied = connection.execute("VACUUM INTO ?1", [path]);
    if copied.is_err() {
        // What is there of it is no backup.
        let _ = fs::remove_file(file);
    }
    copied?;
    Ok(())
}

/// The store of a test, in memory.
#[cfg(test)]
pub(crate) fn in_memory() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    connection
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    schema::migrate(&mut connection).unwrap();
    connection
}
