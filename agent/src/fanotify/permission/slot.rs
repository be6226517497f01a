//! What an answering thread has in hand, so that somebody else can answer for it when it does not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One answering thread's hand.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    hand: Hand,
    /// It took too long once: another thread has its place.
    replaced: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Hand {
    /// Nothing: it waits for events, or what it held was answered.
    #[default]
    Empty,
    /// It reads an event, for which the kernel opens the file.
    Reading(Instant),
    /// It works on the event with this descriptor.
    Holding(i32, Instant),
}

impl Slot {
    /// It begins to read.
    pub(crate) fn read(&self) {
        self.lock().hand = Hand::Reading(Instant::now());
    }

    /// It works on an event.
    pub(crate) fn hold(&self, fd: i32) {
        self.lock().hand = Hand::Holding(fd, Instant::now());
    }

    /// It found nothing to read.
    pub(crate) fn rest(&self) {
        self.lock().hand = Hand::Empty;
    }

    /// Answers what it holds, by `answer`, unless somebody else has. `false`: it was replaced.
    pub(crate) fn settle(&self, answer: impl FnOnce(i32)) -> bool {
        let mut state = self.lock();
        if let Hand::Holding(fd, _) = state.hand {
            answer(fd);
        }
        state.hand = Hand::Empty;
        !state.replaced
    }

    /// Answers by `answer` what it has held for longer than `limit`. `true`: it is to be replaced,
    /// which is said once.
    ///
    /// The lock is held meanwhile: the descriptor's number is not used for another event until then.
    pub(crate) fn look(&self, now: Instant, limit: Duration, answer: impl FnOnce(i32)) -> bool {
        let mut state = self.lock();
        let (fd, since) = match state.hand {
            Hand::Holding(fd, since) => (Some(fd), since),
            Hand::Reading(since) => (None, since),
            Hand::Empty => return false,
        };
        if now.saturating_duration_since(since) <= limit {
            return false;
        }
        if let Some(fd) = fd {
            answer(fd);
            state.hand = Hand::Empty;
        }
        !std::mem::replace(&mut state.replaced, true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Two values that are right by themselves.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn later() -> Instant {
        Instant::now() + 2 * LIMIT
    }

    #[test]
    fn what_is_held_too_long_is_answered_once_by_another() {
        let slot = Slot::default();
        assert!(!slot.look(later(), LIMIT, |_| panic!("nothing is held")));
        slot.hold(7);
        assert!(!slot.look(Instant::now(), LIMIT, |_| panic!("not yet")));
        let mut answered = None;
        assert!(slot.look(later(), LIMIT, |fd| answered = Some(fd)));
        assert_eq!(answered, Some(7));
        assert!(!slot.look(later(), LIMIT, |_| panic!("once")));
        assert!(!slot.settle(|_| panic!("answered already")));
    }

    #[test]
    fn an_event_that_was_read_after_too_long_is_still_answered() {
        let slot = Slot::default();
        slot.read();
        assert!(slot.look(later(), LIMIT, |_| panic!("there is none yet")));
        assert!(!slot.look(later(), LIMIT, |_| panic!("nor now")));
        slot.hold(7);
        let mut answered = None;
        assert!(!slot.settle(|fd| answered = Some(fd)), "it was replaced");
        assert_eq!(answered, Some(7));
    }

    #[test]
    fn what_is_answered_in_time_is_left_alone() {
        let slot = Slot::default();
        slot.read();
        slot.hold(7);
        let mut answered = None;
        assert!(slot.settle(|fd| answered = Some(fd)));
        assert_eq!(answered, Some(7));
        assert!(!slot.look(later(), LIMIT, |_| panic!("answered")));
    }
}
