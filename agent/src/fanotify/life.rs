//! How far the life of processes has been told, for whoever tells of something else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use holdfast_actors::clock;
use holdfast_actors::ring::Completeness;

/// How long an open waits for what its process did before to be told. The connector is behind by some
/// tens of microseconds, unless the machine is overloaded.
const PATIENCE: u64 = 5_000_000;
/// How long nobody waits after somebody did in vain: in a storm of forks opens must not be held up.
const RESPITE: u64 = 100_000_000;
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(50);

/// The source of it, once there is one.
#[derive(Debug, Default)]
pub(crate) struct Life {
    source: Mutex<Option<Arc<dyn Completeness>>>,
    waited_in_vain: AtomicU64,
}

impl Life {
    /// From now on it is this.
    pub(crate) fn comes_from(&self, source: Arc<dyn Completeness>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// Waits until all is told that has happened so far, within bounds.
    pub(crate) fn catch_up(&self) {
        let begun = clock::boottime();
        if begun.saturating_sub(self.waited_in_vain.load(Ordering::Relaxed)) < RESPITE {
            return;
        }
        while self.complete_until(begun) < begun {
            if clock::boottime() - begun > PATIENCE {
                self.waited_in_vain.store(begun, Ordering::Relaxed);
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Completeness for Life {
    fn complete_until(&self, now: u64) -> u64 {
        let source = self
            .source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        source.map_or(now, |source| source.complete_until(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Until(AtomicU64);

    impl Completeness for Until {
        fn complete_until(&self, _now: u64) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn nobody_waits_without_a_source_or_for_long_or_soon_again() {
        let life = Life::default();
        let took = || {
            let begun = clock::boottime();
            life.catch_up();
            clock::boottime() - begun
        };
        assert!(took() < PATIENCE);
        let until = Arc::new(Until(AtomicU64::new(0)));
        life.comes_from(until.clone());
        assert!((PATIENCE..RESPITE).contains(&took()));
        assert!(took() < PATIENCE, "it has just waited in vain");
        until.0.store(u64::MAX, Ordering::Relaxed);
        life.waited_in_vain.store(0, Ordering::Relaxed);
        assert!(took() < PATIENCE);
    }
}
