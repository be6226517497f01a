//! The policies in force, and those that were of late: a record names a rule by its index in the
//! tables that judged it, and these may have been replaced while it was under way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_policy::snapshot::Snapshot;

/// Snapshots kept besides the one in force: records are under way for seconds at most, and nobody
/// reloads often.
const KEEP: usize = 4;

/// Owned by the root.
#[derive(Debug)]
pub(crate) struct Policies(Mutex<State>);

#[derive(Debug)]
struct State {
    current: Arc<Snapshot>,
    others: VecDeque<Arc<Snapshot>>,
    installing: bool,
}

impl Policies {
    pub(crate) fn new(first: Arc<Snapshot>) -> Self {
        Self(Mutex::new(State {
            current: first,
            others: VecDeque::new(),
            installing: false,
        }))
    }

    /// What is in force.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.lock().current.clone()
    }

    /// What judged a record of this epoch; what is in force where that is no longer known.
    pub(crate) fn of_epoch(&self, epoch: u32) -> Arc<Snapshot> {
        let state = self.lock();
        let known = state
            .others
            .iter()
            .find(|snapshot| snapshot.epoch() == epoch);
        known.unwrap_or(&state.current).clone()
    }

    /// `next` is being installed: records that it judged may come before it is in force here.
    pub(crate) fn prepare(&self, next: Arc<Snapshot>) {
        let mut state = self.lock();
        state.installing = true;
        state.others.push_front(next);
        state.others.truncate(KEEP);
    }

    /// `next` was installed.
    pub(crate) fn switch(&self, next: Arc<Snapshot>) {
        let mut state = self.lock();
        state.installing = false;
        state
            .others
            .retain(|snapshot| snapshot.epoch() != next.epoch());
        let before = std::mem::replace(&mut state.current, next);
        state.others.push_front(before);
        state.others.truncate(KEEP);
    }

    /// What was being installed was not, and what is in force stays so.
    pub(crate) fn settle(&self) {
        self.lock().installing = false;
    }

    /// Whether it is not known which tables the kernel has: whoever was installing has died.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.lock().installing
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_policy::compile::{Options, compile};
    use holdfast_policy::{document::Mode, field::Kinds};

    fn snapshot(epoch: u32) -> Arc<Snapshot> {
        let options = Options {
            epoch,
            mode: Mode::Observe,
            reported: Kinds::NONE,
        };
        Arc::new(compile(&[], &options).unwrap())
    }

    #[test]
    fn late_and_early_records_find_their_snapshot() {
        let policies = Policies::new(snapshot(1));
        policies.prepare(snapshot(2));
        assert!(policies.is_unsettled());
        assert_eq!(
            (policies.current().epoch(), policies.of_epoch(2).epoch()),
            (1, 2)
        );
        policies.switch(snapshot(2));
        assert!(!policies.is_unsettled());
        assert_eq!(
            (policies.current().epoch(), policies.of_epoch(1).epoch()),
            (2, 1)
        );
        for epoch in 3..20 {
            policies.prepare(snapshot(epoch));
            policies.switch(snapshot(epoch));
        }
        assert_eq!(policies.of_epoch(18).epoch(), 18);
        assert_eq!(policies.of_epoch(2).epoch(), 19);
        assert_eq!(policies.lock().others.len(), KEEP);
    }
}
