//! SQLite: one file in the data directory, written by one thread and read by a few.
//!
//! Writes that wait while a transaction is made durable go into the next one together (group commit), each under a
//! savepoint of its own, so that one that fails leaves the others alone. A transaction is durable when it is committed
//! (`synchronous = FULL`).

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OpenFlags, ToSql};

use super::StoreError;
use super::connection::{Connection, DatabaseError, Result};
use super::value::{Column, Param, params};

pub(super) mod events;
mod read;
mod restore;
pub(super) mod room;
pub(super) mod schema;
mod write;

pub(super) use read::{QUERY_TIME, Readers};
pub(crate) use restore::RestoreError;
pub(super) use restore::restore;
pub(super) use write::Writer;

/// The file in the data directory.
pub(super) const FILE: &str = "holdfast-server.db";
/// How long a statement waits for another process that writes, which is a command of the administrator.
const BUSY: Duration = Duration::from_secs(5);
/// The log is cut to this after a checkpoint: what a burst made of it should not stay.
const MAX_LOG_BYTES: i64 = 64 << 20;

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A value as both databases have it.
pub(super) fn column(value: ValueRef<'_>) -> Result<Column<'_>> {
    let other = |what: &str| Err(DatabaseError::Value(what.to_owned()));
    Ok(match value {
        ValueRef::Null => Column::Null,
        ValueRef::Integer(number) => Column::Integer(number),
        ValueRef::Blob(bytes) => Column::Blob(bytes),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Column::Text(text),
            Err(_) => return other("a text is not UTF-8"),
        },
        ValueRef::Real(_) => return other("a number has a fraction"),
    })
}

/// A connection that writes, to the store in `directory`, which is made where it is not there.
///
/// # Errors
/// [`StoreError::Directory`], [`StoreError::Schema`], what SQLite says.
pub(super) fn connect(directory: &Path) -> std::result::Result<Connection, StoreError> {
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
    let mut connection = rusqlite::Connection::open_with_flags(&file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)?;
    schema::migrate(&mut connection)?;
    Ok(Connection::Sqlite(connection))
}

/// Writes a copy of the store to `file`, which must not be there; the server may run meanwhile.
///
/// # Errors
/// What SQLite says, [`StoreError::Directory`] for `file`.
pub(super) fn backup(connection: &Connection, file: &Path) -> std::result::Result<(), StoreError> {
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
    let copied = connection.execute("VACUUM INTO ?1", params![path]);
    if copied.is_err() {
        // What is there of it is no backup.
        let _ = fs::remove_file(file);
    }
    copied?;
    Ok(())
}

/// A store in memory.
#[cfg(test)]
pub(super) fn in_memory() -> Connection {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    connection
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    schema::migrate(&mut connection).unwrap();
    Connection::Sqlite(connection)
}
