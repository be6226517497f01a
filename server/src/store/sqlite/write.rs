//! The thread that writes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use crate::store::connection::{Connection, Result};

/// Writes that may wait. More are refused, so that whoever sends frames holds them back instead of this memory.
const MAX_WAITING: usize = 256;
/// Writes in a transaction: enough to share the cost of making it durable, few enough that nobody waits for long.
const MAX_TOGETHER: usize = 64;

/// Does a write, and says what is to be done once it is known whether it is durable.
type Job = Box<dyn FnOnce(&Connection) -> Done + Send>;

struct Done {
    /// Whether it is to be kept.
    keep: bool,
    tell: Box<dyn FnOnce(std::result::Result<(), StoreError>)>,
}

pub(in crate::store) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread; it ends with the last sender.
    pub(in crate::store) fn start(connection: Connection) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&connection, waiting))?;
        Ok(Self { jobs })
    }

    pub(in crate::store) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, StoreError> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = work(connection);
            Done {
                keep: result.is_ok(),
                tell: Box::new(move |committed| {
                    let result = result.map_err(StoreError::from);
                    // Whoever asked may have gone away.
                    let _ = tell.send(result.and_then(|value| committed.map(|()| value)));
                }),
            }
        });
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
        })?;
        told.await.map_err(|_| StoreError::Stopped)?
    }
}

fn run(connection: &Connection, mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut done = Vec::new();
        let committed = together(connection, first, &mut waiting, &mut done);
        if let Err(error) = &committed {
            tracing::error!("a transaction failed: {error}");
            // SQLite may have done it by itself.
            let _ = connection.batch("ROLLBACK");
        }
        let reason = committed.err().map(|error| error.to_string());
        for Done { tell, .. } in done {
            tell(
                reason
                    .clone()
                    .map_or(Ok(()), |reason| Err(StoreError::Commit(reason))),
            );
        }
    }
}

/// Does `first` and what waits behind it, and commits.
fn together(
    connection: &Connection,
    first: Job,
    waiting: &mut mpsc::Receiver<Job>,
    done: &mut Vec<Done>,
) -> Result<()> {
    let mut next = Some(first);
    // A job that is not begun tells by being dropped.
    connection.batch("BEGIN IMMEDIATE")?;
    while let Some(job) = next {
        connection.batch("SAVEPOINT job")?;
        match catch_unwind(AssertUnwindSafe(|| job(connection))) {
            Ok(finished) => {
                let keep = finished.keep;
                done.push(finished);
                // Where the disk is full SQLite may have rolled everything back, and says so here.
                end(connection, keep)?;
            }
            Err(_) => end(connection, false)?,
        }
        next = if done.len() < MAX_TOGETHER {
            waiting.try_recv().ok()
        } else {
            None
        };
    }
    connection.batch("COMMIT")
}

fn end(connection: &Connection, keep: bool) -> Result<()> {
    connection.batch(if keep {
        "RELEASE job"
    } else {
        "ROLLBACK TO job; RELEASE job"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::connection::DatabaseError;
    use crate::store::value::params;

    fn count(connection: &Connection) -> Result<i64> {
        connection.query_one("SELECT count(*) FROM setting", params![], |row| row.get(0))
    }

    fn add(connection: &Connection, name: &str) -> Result<()> {
        connection
            .execute("INSERT INTO setting VALUES (?1, x'00')", params![name])
            .map(drop)
    }

    #[tokio::test]
    async fn one_that_fails_leaves_the_others_alone() {
        let writer = Writer::start(super::super::in_memory()).unwrap();
        let fails = writer.write(|connection| {
            add(connection, "a")?;
            add(connection, "a")
        });
        let panics = writer.write(|_| -> Result<()> { panic!("a job's") });
        let (fine, fails, panics) = tokio::join!(
            writer.write(|connection| add(connection, "b")),
            fails,
            panics
        );
        fine.unwrap();
        assert!(matches!(
            fails,
            Err(StoreError::Database(DatabaseError::Sqlite(_)))
        ));
        assert!(matches!(panics, Err(StoreError::Stopped)));
        assert_eq!(writer.write(count).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn nothing_of_a_full_disk_is_acknowledged() {
        let connection = super::super::in_memory();
        let Connection::Sqlite(file) = &connection else {
            unreachable!("it is one of SQLite");
        };
        let pages: i64 = file
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        file.pragma_update(None, "max_page_count", pages + 1)
            .unwrap();
        let writer = Writer::start(connection).unwrap();
        let large = |name: &'static str| {
            writer.write(move |connection| {
                connection
                    .execute(
                        "INSERT INTO setting VALUES (?1, zeroblob(100000))",
                        params![name],
                    )
                    .map(drop)
            })
        };
        assert!(large("a").await.is_err());
        assert_eq!(writer.write(count).await.unwrap(), 0);
        writer
            .write(|connection| add(connection, "small"))
            .await
            .unwrap();
    }
}
