//! The policies in force, and those that were of late: a record names a rule by its index in the
//! tables that judged it, and these may have been replaced while it was under way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_policy::snapshot::Snapshot;

use crate::kernel::Predecessor;

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
    /// What judged the records of a sensor before this one, which come first.
    earlier: Option<Earlier>,
}

#[derive(Debug)]
struct Earlier {
    /// The first epoch of this sensor.
    before: u32,
    policies: Arc<Snapshot>,
}

impl Policies {
    pub(crate) fn new(first: Arc<Snapshot>, predecessor: Option<Predecessor>) -> Self {
        let earlier = predecessor.map(|predecessor| {
            let is_same = predecessor.rules == first.tables().rules;
            Earlier {
                before: first.epoch(),
                policies: if is_same {
                    first.clone()
                } else {
                    Arc::new(Snapshot::without_rules(predecessor.epoch))
                },
            }
        });
        Self(Mutex::new(State {
            current: first,
            others: VecDeque::new(),
            installing: false,
            earlier,
        }))
    }

    /// What is in force.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.lock().current.clone()
    }

    /// What judged a record of this epoch; what is in force where that is no longer known.
    pub(crate) fn of_epoch(&self, epoch: u32) -> Arc<Snapshot> {
        let state = self.lock();
        if let Some(earlier) = state.earlier.as_ref().filter(|it| epoch < it.before) {
            return earlier.policies.clone();
        }
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
        let policies = Policies::new(snapshot(1), None);
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

    #[test]
    fn records_of_a_sensor_before_are_told_with_its_rules_or_none() {
        let first = snapshot(8);
        let mut predecessor = Predecessor {
            epoch: 7,
            rules: first.tables().rules,
            adopted: true,
            unread_since: None,
            unfinished: [0; holdfast_wire::kind::KINDS],
        };
        let policies = Policies::new(first.clone(), Some(predecessor));
        assert_eq!(policies.of_epoch(7).epoch(), 8);
        predecessor.rules += 1;
        let policies = Policies::new(first, Some(predecessor));
        assert_eq!(policies.of_epoch(7).epoch(), 7);
        assert_eq!(policies.of_epoch(8).epoch(), 8);
    }
}
