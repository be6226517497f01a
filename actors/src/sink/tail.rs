//! Followers of the events: `holdfast events --follow` over the control socket.
//!
//! A follower that does not keep up loses lines, and is told how many; nobody waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Followers at one time: people and scripts at consoles; each costs a copy of nothing but a pointer.
pub const MAX_TAILS: usize = 16;

/// Lines that wait for one follower: a second of a busy host.
const TAIL_LINES: usize = 8192;

/// One follower's end.
#[derive(Debug)]
pub struct Tail {
    lines: flume::Receiver<Bytes>,
    lost: Arc<AtomicU64>,
}

impl Tail {
    /// The next line of JSON, newline included; `None` when the sensor has stopped and every line
    /// was taken. Nothing is lost when the future is dropped.
    pub async fn next(&self) -> Option<Bytes> {
        self.lines.recv_async().await.ok()
    }

    /// Lines lost so far since this follower was too slow.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// All followers.
#[derive(Debug, Default)]
pub struct Tails(Mutex<Vec<Follower>>);

#[derive(Debug)]
struct Follower {
    lines: flume::Sender<Bytes>,
    lost: Arc<AtomicU64>,
}

impl Tails {
    /// Adds a follower; `None` when there are [`MAX_TAILS`].
    pub fn subscribe(&self) -> Option<Tail> {
        let mut followers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| !follower.lines.is_disconnected());
        if followers.len() >= MAX_TAILS {
            return None;
        }
        let (sender, lines) = flume::bounded(TAIL_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        followers.push(Follower {
            lines: sender,
            lost: lost.clone(),
        });
        Some(Tail { lines, lost })
    }

    /// Hands whole lines to every follower.
    pub(crate) fn offer(&self, chunk: &Bytes) {
        let mut followers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| !follower.lines.is_disconnected());
        if followers.is_empty() {
            return;
        }
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            let line = chunk.slice_ref(line);
            for follower in followers.iter() {
                if follower.lines.try_send(line.clone()).is_err() {
                    follower.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Ends every follower once it took what waits for it.
    pub(crate) fn close(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn followers_get_lines_and_the_slow_one_loses_them() {
        let tails = Tails::default();
        let tail = tails.subscribe().unwrap();
        let other = tails.subscribe().unwrap();
        drop(other);
        tails.offer(&Bytes::from_static(b"{1}\n{2}\n"));
        assert_eq!(tail.next().await.unwrap(), "{1}\n");
        assert_eq!(tail.next().await.unwrap(), "{2}\n");
        for _ in 0..TAIL_LINES + 3 {
            tails.offer(&Bytes::from_static(b"x\n"));
        }
        assert_eq!(tail.lost(), 3);
        tails.close();
        for _ in 0..TAIL_LINES {
            assert!(tail.next().await.is_some());
        }
        assert!(tail.next().await.is_none());
    }

    #[test]
    fn their_number_is_bounded() {
        let tails = Tails::default();
        let held: Vec<_> = (0..MAX_TAILS).map(|_| tails.subscribe().unwrap()).collect();
        assert!(tails.subscribe().is_none());
        drop(held);
        assert!(tails.subscribe().is_some());
    }
}
