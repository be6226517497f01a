//! Connections that only read: SQLite lets them go on beside the writer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::OpenFlags;
use tokio::sync::Semaphore;

use super::{BUSY, StoreError};
use crate::store::connection::{Connection, Result as Done};

/// How long a query waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// After this a query is ended: it looks through more than anybody waits for.
pub(in crate::store) const QUERY_TIME: Duration = Duration::from_secs(8);
/// Between two looks at the clock, in SQLite's instructions: well below a millisecond.
const INSTRUCTIONS: i32 = 10_000;

pub(in crate::store) struct Readers {
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// So many queries at a time.
    pub(in crate::store) fn open(file: &Path, size: usize) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = |_| {
            let connection = rusqlite::Connection::open_with_flags(file, flags)?;
            connection.busy_timeout(BUSY)?;
            Ok(Connection::Sqlite(connection))
        };
        let idle = (0..size).map(open).collect::<Result<_, StoreError>>()?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(size)),
            idle: Arc::new(Mutex::new(idle)),
        })
    }

    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = tokio::time::timeout(TURN, self.turns.clone().acquire_owned()).await;
        let turn = turn
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Stopped)?;
        let idle = self.idle.clone();
        let read = move || {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // There are as many as turns; one is only missing after a query that panicked.
            let mut connection = taken.ok_or(StoreError::Stopped)?;
            let end = Instant::now() + QUERY_TIME;
            if let Connection::Sqlite(connection) = &mut connection {
                connection.progress_handler(INSTRUCTIONS, Some(move || Instant::now() > end))?;
            }
            let result = work(&connection).map_err(StoreError::from);
            idle.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
            // Not earlier, also when whoever asked has gone away.
            drop(turn);
            result
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| StoreError::Stopped)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::value::params;
    use crate::store::{Place, Store};

    #[tokio::test]
    async fn readers_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Directory(directory.path().to_owned());
        let store = Store::open(&place).await.unwrap();
        let write = |connection: &Connection| connection.execute("DELETE FROM event", params![]);
        assert!(store.read(write).await.is_err());
        assert_eq!(store.write(write).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn searches_keep_nobody_from_being_recognised() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Directory(directory.path().to_owned());
        let store = Arc::new(Store::open(&place).await.unwrap());
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let searches: Vec<_> = (0..100)
            .map(|_| {
                let (store, ended) = (store.clone(), ended.clone());
                let search = move |_: &Connection| {
                    let _ = ended.lock().unwrap().recv();
                    Ok(())
                };
                tokio::spawn(async move { store.read(search).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let look = |connection: &Connection| connection.batch("SELECT 1");
        tokio::time::timeout(TURN / 2, store.identify(look))
            .await
            .unwrap()
            .unwrap();
        drop(end);
        for search in searches {
            search.await.unwrap().unwrap();
        }
    }
}
