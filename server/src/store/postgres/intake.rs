//! What sensors send: frames that wait while others are made durable go into the next transaction together.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::pool::{Pool, Way};
use crate::clock::now;
use crate::store::StoreError;
use crate::store::events::{self, Sent};

/// Frames that may wait. Those that are in memory at a time are fewer.
const MAX_WAITING: usize = 256;
/// Frames in a transaction.
const MAX_TOGETHER: usize = 32;
/// Transactions at a time: one is made durable while the next is written.
const AT_ONCE: usize = 2;

type Told = Result<usize, StoreError>;
type Waiting = (Sent, oneshot::Sender<Told>);

pub(super) struct Intake {
    frames: mpsc::Sender<Waiting>,
}

impl Intake {
    /// Starts taking, in the runtime that this is called in; it ends with the last sender.
    pub(super) fn start(writers: &Arc<Pool>) -> Self {
        let (frames, waiting) = mpsc::channel(MAX_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..AT_ONCE {
            tokio::spawn(work(writers.clone(), waiting.clone()));
        }
        Self { frames }
    }

    pub(super) async fn take(&self, sent: Sent) -> Told {
        let (tell, told) = oneshot::channel();
        self.frames
            .try_send((sent, tell))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Busy,
                mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
            })?;
        told.await.map_err(|_| StoreError::Stopped)?
    }
}

async fn work(writers: Arc<Pool>, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    loop {
        let mut together = Vec::new();
        // The other one waits for its turn, and not for frames.
        let mut turn = waiting.lock().await;
        let received = turn.recv_many(&mut together, MAX_TOGETHER).await;
        drop(turn);
        if received == 0 {
            return;
        }
        let (frames, tell): (Vec<_>, Vec<_>) = together.into_iter().unzip();
        let frames = Arc::new(frames);
        match stored(&writers, &frames, 0..frames.len()).await {
            Ok(alerts) => {
                for tell in tell {
                    // Whoever asked may have gone away.
                    let _ = tell.send(Ok(alerts));
                }
            }
            Err(StoreError::Away(why)) => {
                for tell in tell {
                    let _ = tell.send(Err(StoreError::Away(why.clone())));
                }
            }
            // Nothing of it is stored: each by itself, so that one that fails leaves the others alone.
            Err(_) => {
                for (index, tell) in tell.into_iter().enumerate() {
                    let _ = tell.send(stored(&writers, &frames, index..index + 1).await);
                }
            }
        }
    }
}

/// Stores some of `frames` in a transaction.
async fn stored(
    writers: &Arc<Pool>,
    frames: &Arc<Vec<Sent>>,
    which: std::ops::Range<usize>,
) -> Told {
    let frames = frames.clone();
    let store = move |pool: &Pool| {
        pool.write(Way::Beside, |connection| {
            events::store(connection, frames.get(which).unwrap_or_default(), now())
        })
    };
    writers.run(store).await
}
