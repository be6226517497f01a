//! A backup in the place of a store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, OpenFlags};

use super::{FILE, schema};
use crate::store::StoreError;

/// What the copy is called until all of it is there.
const COPY: &str = "holdfast-server.db.restored";
/// How each file of SQLite begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Tables without which it is no store of this program's, of whichever version.
const TABLES: [&str; 5] = ["setting", "user", "sensor", "event", "bundle"];

/// Why a backup is not restored; what was there is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The file cannot be read, or has something else.
    #[error("{path} is no backup that can be restored: {reason}")]
    NoBackup {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is a store, which would be lost.
    #[error("{0} is there already, and would be lost: --replace says that it may be")]
    Present(PathBuf),
    /// Somebody has the store that is there open.
    #[error("{0} is in use: stop the server first")]
    InUse(PathBuf),
    /// PostgreSQL has tools of its own.
    #[error(
        "the store is in PostgreSQL: pg_restore brings it back, as docs/server.md says, and then `restore` without a file"
    )]
    InDatabase,
    /// SQLite has none.
    #[error("a backup's FILE is needed: only of PostgreSQL pg_restore has brought it back")]
    NoFile,
    /// It cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Puts a copy of the backup `file` into `directory`, in the place of the store that may be there if `replace` says so. All of it is there
/// then, and durable, or nothing has changed.
///
/// # Errors
/// [`RestoreError`].
pub(in crate::store) fn restore(
    file: &Path,
    directory: &Path,
    replace: bool,
) -> Result<(), RestoreError> {
    let mut from = opened(file)?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).map_err(of(directory))?;
    let (store, copy) = (directory.join(FILE), directory.join(COPY));
    let is_there = store.try_exists().map_err(of(&store))?;
    if is_there && !replace {
        return Err(RestoreError::Present(store));
    }
    let mut put_there = || {
        copied(&mut from, &copy, directory).map_err(of(&copy))?;
        // What is read back is what is going to be served.
        check(&copy).map_err(|reason| RestoreError::NoBackup {
            path: file.to_owned(),
            reason,
        })?;
        if is_there {
            close(&store)?;
        }
        // Another store's log is not this one's.
        for end in ["-wal", "-shm"] {
            remove(&beside(&store, end)).map_err(of(&store))?;
        }
        fs::rename(&copy, &store).map_err(of(&store))?;
        let synced = File::open(directory).and_then(|it| it.sync_all());
        Ok(synced.map_err(of(directory))?)
    };
    let put = put_there();
    if put.is_err() {
        // What is there of it is of no use.
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&copy, end));
        }
    }
    put
}

/// What went wrong with a file or directory of the store.
fn of(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Directory { path, source }
}

/// A file of SQLite's beside another.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The backup, which looks like one.
fn opened(file: &Path) -> Result<File, RestoreError> {
    let no_backup = |reason: String| RestoreError::NoBackup {
        path: file.to_owned(),
        reason,
    };
    let mut from = File::open(file).map_err(|error| no_backup(error.to_string()))?;
    let mut magic = [0; MAGIC.len()];
    let read = from.read_exact(&mut magic).and_then(|()| from.rewind());
    if read.is_err() || magic != *MAGIC {
        return Err(no_backup("it is no file of SQLite".to_owned()));
    }
    let log = beside(file, "-wal");
    if log.exists() {
        // What is in it is missing in the file.
        let reason = format!(
            "{} is beside it, as of a store that is served",
            log.display()
        );
        return Err(no_backup(reason));
    }
    Ok(from)
}

/// Writes the copy to the disk, which only the directory's owner may read: the signing key is there too.
fn copied(from: &mut File, copy: &Path, directory: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut to = options.open(copy)?;
    let (owner, own) = (fs::metadata(directory)?, to.metadata()?);
    if (owner.uid(), owner.gid()) != (own.uid(), own.gid()) {
        // Who restores may be root, and the server is not.
        fchown(&to, Some(owner.uid()), Some(owner.gid()))?;
    }
    io::copy(from, &mut to)?;
    to.sync_all()
}

/// Whether a file is a whole store, of a version that is known here; else why not.
fn check(file: &Path) -> Result<(), String> {
    let said = |error: rusqlite::Error| error.to_string();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(file, flags).map_err(said)?;
    let version = schema::version(&connection).map_err(|error| error.to_string())?;
    let statement = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let mut is_ours = version > 0;
    for table in TABLES {
        let count: i64 = connection
            .query_row(statement, [table], |row| row.get(0))
            .map_err(said)?;
        is_ours &= count > 0;
    }
    if !is_ours {
        return Err("it is no store of a Team Server".to_owned());
    }
    let found: String = connection
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(said)?;
    if found == "ok" {
        Ok(())
    } else {
        Err(format!("it is damaged: {found}"))
    }
}

/// Finds out that nobody else has a store open, and has all of it in its file alone.
fn close(store: &Path) -> Result<(), RestoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        rusqlite::Connection::open_with_flags(store, flags).map_err(StoreError::from)?;
    let changed =
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0));
    let mode: String = match changed {
        Ok(mode) => mode,
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                return Err(RestoreError::InUse(store.to_owned()));
            }
            // A store that is damaged is one to be replaced.
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => return Ok(()),
            _ => return Err(StoreError::from(error).into()),
        },
    };
    if mode == "delete" {
        Ok(())
    } else {
        Err(RestoreError::InUse(store.to_owned()))
    }
}
