//! What every source of this tier stands on: the policy tables, the rings, the counters; and the way of
//! an operation through them, which is that of the kernel programs (`ebpf/src/{run,emit}.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_actors::ring::{Records, Time, Weight};
use holdfast_policy::decision::Decision;
use holdfast_policy::lookup::{Known, Lookup};
use holdfast_policy::snapshot::Tables;
use holdfast_policy::table::{HookTable, hook_flags};
use holdfast_wire::control::{Tier, Verdict};
use holdfast_wire::encode::encode;
use holdfast_wire::record::{Header, NO_CPU, flags};
use holdfast_wire::{ABI_VERSION, Domain, Kind};

use super::Options;
use super::account::{Account, count};
use super::attempts::Attempts;
use super::caps::Caps;
use super::life::Life;
use super::proc::{Facts, Proc};
use super::programs::Programs;

/// See the module.
#[derive(Debug)]
pub(crate) struct Base {
    /// The host's processes.
    pub(crate) proc: Proc,
    /// The counters.
    pub(crate) account: Account,
    /// Execs that have begun.
    pub(crate) attempts: Attempts,
    /// The most events of a cgroup.
    pub(crate) caps: Caps,
    /// How far the life of processes has been told.
    pub(crate) life: Arc<Life>,
    /// Whether records of an exec carry the environment.
    pub(crate) environment: bool,
    rings: [Arc<Records>; Domain::ALL.len()],
    // Held for as long as it takes to clone it: whoever answers permission events waits for it.
    tables: Mutex<Arc<Lookup>>,
    programs: Mutex<Programs>,
    sequence: AtomicU64,
}

/// What was decided on an operation.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) kind: Kind,
    pub(crate) decision: Decision,
    tables: Arc<Lookup>,
}

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a> {
    /// When it happened.
    pub(crate) time: Time,
    /// The thread.
    pub(crate) tid: u32,
    /// Its process.
    pub(crate) facts: &'a Facts,
    /// [`Header::exec_id`]
    pub(crate) program: u32,
    /// Of `record::flags`, beside those of the verdict.
    pub(crate) flags: u32,
    /// The fixed part of the kind.
    pub(crate) fixed: &'a [u8],
    /// Its strings.
    pub(crate) strings: &'a [&'a [u8]],
}

impl Base {
    /// Empty rings, and tables that ask for nothing.
    ///
    /// # Errors
    /// When there is no `/proc`, or no descriptor for a ring.
    pub(crate) fn new(options: &Options) -> std::io::Result<Self> {
        let mut rings = Vec::new();
        for bytes in options.ring_bytes {
            rings.push(Arc::new(Records::new(bytes)?));
        }
        let rings = rings.try_into();
        Ok(Self {
            proc: Proc::open(&options.host)?,
            account: Account::default(),
            attempts: Attempts::default(),
            caps: Caps::new(options.cap),
            life: Arc::default(),
            environment: options.environment,
            rings: rings.map_err(|_| std::io::Error::other("a ring for each domain"))?,
            tables: Mutex::new(Arc::new(Lookup::new(&Tables::default()))),
            programs: Mutex::default(),
            sequence: AtomicU64::new(0),
        })
    }

    /// The ring of a domain.
    pub(crate) fn ring(&self, domain: Domain) -> &Arc<Records> {
        &self.rings[domain as usize]
    }

    /// Puts tables into force, from the next operation on.
    pub(crate) fn install(&self, tables: &Tables) {
        let tables = Arc::new(Lookup::new(tables));
        let old = std::mem::replace(&mut *lock(&self.tables), tables);
        // Freeing them takes a while, and the lock is free meanwhile.
        drop(old);
    }

    /// The number of the program with this layout.
    pub(crate) fn program(&self, layout: u64) -> u32 {
        lock(&self.programs).number(layout)
    }

    /// The number of a program of which nothing could be read.
    pub(crate) fn unread_program(&self) -> u32 {
        lock(&self.programs).fresh()
    }

    /// Decides on an operation. Counts nothing.
    pub(crate) fn judge(&self, kind: Kind, known: &impl Known) -> Judged {
        let tables = lock(&self.tables).clone();
        Judged {
            kind,
            decision: tables.decide(kind, known),
            tables,
        }
    }

    /// An operation that nobody asks for.
    pub(crate) fn filter(&self, kind: Kind) {
        let counts = self.account.of(kind);
        count(&counts.seen, 1);
        count(&counts.filtered, 1);
    }

    /// Records an operation that is wanted, unless its cgroup has had too many that only a subscription
    /// asks for.
    pub(crate) fn submit(&self, judged: &Judged, draft: &Draft<'_>) {
        let cgroup = draft.facts.cgroup_id;
        if judged.may_be_capped() && !self.caps.admit(cgroup, judged.kind.domain()) {
            self.filter(judged.kind);
            count(&self.account.of(judged.kind).capped, 1);
            return;
        }
        self.hand_over(judged, draft);
    }

    /// Hands the record of an operation to its ring, and counts what becomes of it.
    fn hand_over(&self, judged: &Judged, draft: &Draft<'_>) {
        const CUT: u32 = flags::PATH_TRUNCATED | flags::ARGUMENTS_TRUNCATED;
        let Judged { kind, decision, .. } = judged;
        let header = self.header(judged, draft);
        let cut = header.flags & CUT != 0;
        let matters = decision.undecided || decision.verdict > Verdict::Audit;
        let may_prevent = judged.hook().flags & hook_flags::USER_MAY_PREVENT != 0;
        let weight = Weight {
            matters,
            urgent: matters && may_prevent || decision.verdict.acts(),
        };
        let record = encode(header, draft.fixed, draft.strings);
        let counts = self.account.of(*kind);
        count(&counts.seen, 1);
        if !self.ring(kind.domain()).push(record, draft.time, weight) {
            count(&counts.ring_full, 1);
            return;
        }
        count(&counts.submitted, 1);
        if cut {
            count(&counts.truncated, 1);
        }
    }

    fn header(&self, judged: &Judged, draft: &Draft<'_>) -> Header {
        let (hook, decision, facts) = (judged.hook(), judged.decision, draft.facts);
        let flag = |condition: bool, flag: u32| if condition { flag } else { 0 };
        Header {
            version: ABI_VERSION,
            kind: judged.kind as u16,
            length: 0,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            boottime: 0,
            start_boottime: facts.start,
            cgroup_id: facts.cgroup_id,
            effective_capabilities: facts.capabilities,
            exec_id: draft.program,
            tgid: facts.tgid,
            tid: draft.tid,
            ppid: facts.ppid,
            uid: facts.uid,
            gid: facts.gid,
            euid: facts.euid,
            loginuid: facts.loginuid,
            mount_namespace: facts.mount_namespace,
            pid_namespace: facts.pid_namespace,
            network_namespace: facts.network_namespace,
            flags: draft.flags
                | flag(!facts.are_known, flags::NO_TASK_FIELDS)
                | flag(decision.undecided, flags::UNDECIDED)
                | flag(hook.flags & hook_flags::REPORT != 0, flags::REPORTED),
            epoch: hook.epoch,
            rule: decision.rule,
            cpu: NO_CPU,
            comm: facts.name,
            tier: Tier::Fanotify as u8,
            verdict: decision.verdict as u8,
            reserved: 0,
            reserved_word: 0,
        }
    }
}

impl Judged {
    fn hook(&self) -> &HookTable {
        self.tables.hook(self.kind)
    }

    /// Whether user space is to see it.
    pub(crate) fn is_wanted(&self) -> bool {
        const WHATEVER: u32 = hook_flags::REPORT | hook_flags::TRACK;
        self.hook().flags & WHATEVER != 0 || self.speaks()
    }

    /// Whether nobody but a subscription asks for it.
    fn may_be_capped(&self) -> bool {
        self.hook().flags & hook_flags::TRACK == 0 && !self.speaks()
    }

    /// Whether a rule that says more than `allow` matched, or may have.
    fn speaks(&self) -> bool {
        self.decision.undecided || self.decision.verdict > Verdict::Allow
    }

    /// Whether the operation must not succeed.
    pub(crate) fn prevents(&self) -> bool {
        self.decision.verdict.prevents()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is done under these locks leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
