//! A ring after those that programs of another version write into, which are still attached.
//!
//! As long as both are there, both see an operation. A hook's records count from the old ring up to the moment
//! at which the new programs were attached there, and from the new ring since then; what either has beyond that
//! is passed over.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use holdfast_actors::kernel::Ring;
use holdfast_wire::Kind;
use holdfast_wire::decode::{claimed_kind, claimed_time};
use holdfast_wire::kind::KINDS;

use super::{Choice, KernelRing};
use crate::loader::account::Account;

/// How far new programs have taken the place of old ones.
#[derive(Debug)]
pub(crate) struct Takeover {
    /// When the new ones were attached, nanoseconds of boot time; 0: not yet.
    attached: [AtomicU64; KINDS],
    /// Records that were taken from the old rings, less those of the new that were passed over.
    inherited: [AtomicU64; KINDS],
    /// Whether all were attached that are going to be, and the old are detached.
    over: AtomicBool,
    /// Old rings in which something is left.
    old: AtomicUsize,
}

impl Takeover {
    /// Of nothing so far.
    pub(crate) fn new() -> Self {
        Self {
            attached: std::array::from_fn(|_| AtomicU64::new(0)),
            inherited: std::array::from_fn(|_| AtomicU64::new(0)),
            over: AtomicBool::new(false),
            old: AtomicUsize::new(0),
        }
    }

    /// The new programs of `kind` are attached.
    pub(crate) fn attached(&self, kind: Kind, now: u64) {
        // Only the first time: a hook may be attached again later.
        let at = &self.attached[kind.index()];
        let _ = at.compare_exchange(0, now, Ordering::Release, Ordering::Relaxed);
    }

    /// The old programs are detached.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// What is to be added to what the new programs say that they submitted, so that it is what the readers
    /// are handed.
    pub(crate) fn inherited(&self, kind: Kind) -> u64 {
        self.inherited[kind.index()].load(Ordering::Relaxed)
    }

    /// Whether nothing is left in the old rings that this process, or one after it, has to read.
    pub(crate) fn is_done(&self) -> bool {
        self.is_over() && self.old.load(Ordering::Acquire) == 0
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn since(&self, kind: Kind) -> Option<u64> {
        let at = self.attached[kind.index()].load(Ordering::Acquire);
        (at != 0).then_some(at)
    }

    /// What is done with a record of an old ring, by when its own hook and that of the next programs was attached.
    fn choose_old(&self, record: &[u8], own: u64, next: Option<u64>) -> Choice {
        let time = claimed_time(record);
        if time < own || next.is_some_and(|next| time >= next) {
            return Choice::Pass;
        }
        self.count(record, 1);
        Choice::Take
    }

    /// What is done with one of the new ring: it stays until its hook is attached.
    fn choose_new(&self, record: &[u8]) -> Choice {
        let Some(kind) = claimed_kind(record) else {
            return Choice::Take;
        };
        match self.since(kind) {
            Some(since) if claimed_time(record) < since => {
                // It wraps where it is negative: it is only added to what is larger.
                self.count(record, u64::MAX);
                Choice::Pass
            }
            Some(_) => Choice::Take,
            None if self.is_over() => Choice::Take,
            None => Choice::Leave,
        }
    }

    fn count(&self, record: &[u8], more: u64) {
        if let Some(kind) = claimed_kind(record) {
            self.inherited[kind.index()].fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// A ring of earlier programs.
struct Old {
    ring: KernelRing,
    account: Arc<Account>,
    /// Of the programs that took their place, one after the other, as far as they did.
    later: Vec<Arc<Account>>,
}

/// See the module.
pub(super) struct Succession {
    /// The oldest first.
    old: Vec<Old>,
    new: KernelRing,
    takeover: Arc<Takeover>,
}

impl Succession {
    /// `old`: the rings of earlier programs and what became of their records, the oldest first.
    pub(super) fn new(
        old: Vec<(KernelRing, Arc<Account>)>,
        new: KernelRing,
        takeover: Arc<Takeover>,
    ) -> Self {
        takeover.old.fetch_add(old.len(), Ordering::Release);
        let accounts: Vec<_> = old.iter().map(|(_, account)| account.clone()).collect();
        let old = old
            .into_iter()
            .enumerate()
            .map(|(index, (ring, account))| Old {
                ring,
                account,
                later: accounts[index + 1..].to_vec(),
            });
        Self {
            old: old.collect(),
            new,
            takeover,
        }
    }
}

impl Ring for Succession {
    fn fd(&self) -> BorrowedFd<'_> {
        self.new.fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        let Self { old, new, takeover } = self;
        let mut next = |ring: &mut KernelRing, choose: &dyn Fn(&[u8]) -> Choice| loop {
            match ring.next_as(choose, take) {
                Some(Choice::Take) => return true,
                Some(Choice::Pass | Choice::Leave) => {}
                None => return false,
            }
        };
        for Old {
            ring,
            account,
            later,
        } in old
        {
            let choose = |record: &[u8]| {
                let Some(kind) = claimed_kind(record) else {
                    return Choice::Take;
                };
                let later = later.iter().map(|later| later.attached(kind));
                let next = later.filter(|at| *at != 0).min();
                let next = next.or_else(|| takeover.since(kind));
                takeover.choose_old(record, account.attached(kind), next)
            };
            if next(ring, &choose) {
                return true;
            }
        }
        next(new, &|record| takeover.choose_new(record))
    }

    fn give_up(&mut self) {
        self.old.iter_mut().for_each(|old| old.ring.give_up());
        self.new.give_up();
    }

    fn release(&mut self, until: u64) {
        // Before they are looked at: what is detached writes nothing after that.
        let is_over = self.takeover.is_over();
        let before = self.old.len();
        self.old.retain_mut(|old| {
            old.ring.release(until);
            !(is_over && old.ring.is_done())
        });
        let done = before - self.old.len();
        self.takeover.old.fetch_sub(done, Ordering::Release);
        self.new.release(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::record::Header;
    use std::mem::offset_of;

    fn record(kind: Kind, time: u64) -> Vec<u8> {
        let mut record = vec![0; size_of::<Header>()];
        let number = (kind as u16).to_ne_bytes();
        record[offset_of!(Header, kind)..][..2].copy_from_slice(&number);
        record[offset_of!(Header, boottime)..][..8].copy_from_slice(&time.to_ne_bytes());
        record
    }

    #[test]
    fn each_record_comes_from_one_of_the_two() {
        let takeover = Takeover::new();
        let old = |time| {
            let next = takeover.since(Kind::FileOpen);
            takeover.choose_old(&record(Kind::FileOpen, time), 1, next) == Choice::Take
        };
        let new = |time| takeover.choose_new(&record(Kind::FileOpen, time));
        assert!(old(1) && new(1) == Choice::Leave);
        takeover.attached(Kind::FileOpen, 10);
        assert!(old(9) && !old(10) && !old(11));
        assert_eq!(
            [9, 10, 11].map(new),
            [Choice::Pass, Choice::Take, Choice::Take]
        );
        // Of another kind nothing is known before the end: it may be that it cannot be attached.
        let other = |time| takeover.choose_new(&record(Kind::ProcessExec, time));
        assert_eq!(other(1), Choice::Leave);
        takeover.end();
        assert_eq!(other(1), Choice::Take);
    }
}
