//! What events tell of processes that are held: when last something happened to one that changes its namespaces, its name
//! or whose process it is.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use holdfast_wire::Kind;
use holdfast_wire::decode::{Body, Record};

/// The events that tell.
pub(super) const KINDS: [Kind; 5] = [
    Kind::ProcessFork,
    Kind::ProcessExec,
    Kind::ProcessExit,
    Kind::ProcessSetns,
    Kind::ProcessUnshare,
];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By process id: when it was, nanoseconds of boot time; 0: not since it is followed.
    last: Mutex<HashMap<u32, u64>>,
    heard: AtomicU64,
}

impl Told {
    /// Follows these processes, and no others.
    pub(super) fn follow(&self, pids: &[u32]) {
        let mut last = self.lock();
        let listed: HashSet<u32> = pids.iter().copied().collect();
        last.retain(|pid, _| listed.contains(pid));
        for pid in listed {
            last.entry(pid).or_insert(0);
        }
        // Of those of a time when there were more.
        last.shrink_to_fit();
    }

    /// A record is being handled.
    pub(crate) fn tell(&self, record: &Record<'_>) {
        let pid = match record.body {
            // A pid that is followed may be that of a process that is gone.
            Body::Fork(fork) => fork.child_tgid,
            _ if KINDS.contains(&record.kind) => record.header.tgid,
            _ => return,
        };
        if let Some(last) = self.lock().get_mut(&pid) {
            *last = (*last).max(record.header.boottime);
        }
    }

    /// Everything before this time was told.
    pub(crate) fn hear(&self, until: u64) {
        self.heard.fetch_max(until, Ordering::AcqRel);
    }

    /// See [`Self::hear`].
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Acquire)
    }

    /// Of all that are followed: see the field.
    pub(super) fn last(&self) -> HashMap<u32, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, u64>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::testing;
    use holdfast_wire::decode::decode;

    #[test]
    fn only_who_is_followed_is_told_of() {
        let told = Told::default();
        let tell = |kind, pid| {
            let header = testing::header(kind, pid);
            let record = testing::exit(header, 0);
            told.tell(&decode(&record).unwrap());
            header.boottime
        };
        tell(Kind::ProcessExit, 7);
        assert_eq!(told.last(), HashMap::new());
        told.follow(&[7, 8]);
        let time = tell(Kind::ProcessExit, 7);
        tell(Kind::ProcessExit, 9);
        assert_eq!(told.last(), HashMap::from([(7, time), (8, 0)]));
        told.follow(&[8]);
        assert_eq!(told.last(), HashMap::from([(8, 0)]));
    }
}
