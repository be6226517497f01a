//! Followers of the events: `holdfast events --follow` over the control socket.
//!
//! A follower that does not keep up loses lines, and is told how many; nobody waits for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Followers at one time: people and scripts at consoles.
pub const MAX_TAILS: usize = 16;

/// Lines that wait for one follower, a second of a busy host, and their bytes.
const TAIL_LINES: usize = 8192;
const TAIL_BYTES: usize = 4 << 20;

/// One follower's end.
#[derive(Debug)]
pub struct Tail {
    lines: flume::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl Tail {
    /// The next line of JSON, newline included; `None` when the sensor has stopped and every line
    /// was taken. Nothing is lost when the future is dropped.
    pub async fn next(&self) -> Option<Bytes> {
        let line = self.lines.recv_async().await.ok()?;
        self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
        Some(line)
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
    /// Bytes of the lines that wait.
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl Follower {
    fn offer(&self, line: &Bytes) {
        let waiting = self.waiting.fetch_add(line.len(), Ordering::Relaxed);
        let has_room = waiting + line.len() <= TAIL_BYTES;
        if !has_room || self.lines.try_send(line.clone()).is_err() {
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
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
        let (waiting, lost) = (Arc::default(), Arc::default());
        followers.push(Follower {
            lines: sender,
            waiting: Arc::clone(&waiting),
            lost: Arc::clone(&lost),
        });
        Some(Tail {
            lines,
            waiting,
            lost,
        })
    }

    /// Hands whole lines to every follower.
    pub(crate) fn offer(&self, chunk: &Bytes) {
        let mut followers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| !follower.lines.is_disconnected());
        if followers.is_empty() {
            return;
        }
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            // Of its own: one that waits would hold all that came with it.
            let line = Bytes::copy_from_slice(line);
            followers.iter().for_each(|follower| follower.offer(&line));
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

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_holds_nothing_else() {
        let tails = Tails::default();
        let tail = tails.subscribe().unwrap();
        let line = [vec![b'x'; TAIL_BYTES / 4 - 1], vec![b'\n']].concat();
        let chunk = Bytes::from([&line[..], b"y\n"].concat());
        for _ in 0..5 {
            tails.offer(&chunk);
        }
        // Three with their shorter ones; a fourth does not fit, those that follow it do.
        assert_eq!(tail.lost(), 2);
        assert!(chunk.is_unique());
        assert_eq!(tail.next().await.unwrap().len(), line.len());
        tails.offer(&chunk);
        assert_eq!(tail.lost(), 2);
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
