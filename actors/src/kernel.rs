//! What the actors need of the kernel side. `agent` implements it twice, with eBPF (its loader) and
//! without; the traits keep the actors free of both, and let their tests drive them with rings of
//! their own.

use std::fmt::Debug;
use std::os::fd::BorrowedFd;

use holdfast_policy::snapshot::Tables;
use holdfast_policy::table::ContainerKey;
use holdfast_wire::control::{Counters, Tier};
use holdfast_wire::kind::KINDS;
use holdfast_wire::{Domain, Kind};
use serde::Serialize;

/// One domain's records, in the order in which they were made as far as a process can tell: what one
/// process did comes in its order, whichever CPUs it ran on. The ring is the durable mailbox of its reader: one
/// that dies and comes back goes on where it was.
pub trait Ring: Send {
    /// Becomes readable when the programs wake the reader.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Hands the next record to `take`, and moves the consumer position past it once `take` has
    /// returned. `false`: the ring is empty, `take` was not called.
    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool;

    /// What was made before `until` and taken since is done with. A ring that outlives this process keeps what
    /// was taken until then, so that the next one finds it again.
    fn release(&mut self, until: u64) {
        let _ = until;
    }

    /// Nothing more can be taken for now. Where the ring has little room for what comes meanwhile, what was taken and is not
    /// done with is kept no longer, and noted as lost for the case that this process is killed before it is.
    fn give_up(&mut self) {}

    /// Up to which time every record is in the ring, as far as can be said at `now`; both are
    /// nanoseconds of `CLOCK_BOOTTIME`. What writes records a while after their time says so here.
    fn complete_until(&self, now: u64) -> u64 {
        now
    }
}

/// A part of the kernel side beside the hooks, and why it does not work as it should; `None`: it does.
pub type Condition = (&'static str, Option<String>);

/// How a hook is attached, and why not better: what `doctor` and `status` show.
#[derive(Clone, Debug, Serialize)]
pub struct HookReport {
    /// The `event.action` it serves.
    pub action: &'static str,
    /// The tier in force; `None` when nothing could be attached.
    pub tier: Option<&'static str>,
    /// Why no better tier, or why none: one line. Empty when the best tier is in force.
    pub reason: String,
    /// What the tier in force cannot see, in words that follow "does not see"; empty when nothing.
    pub blind_to: &'static str,
    /// Every tier that was tried before the one in force, and what the kernel said.
    pub tried: Vec<Attempt>,
    /// Whether it goes on deciding when the sensor has ended, however that happened.
    pub outlives_sensor: bool,
}

/// A tier that could not be had.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Its name.
    pub tier: &'static str,
    /// What failed, in one line.
    pub error: String,
}

/// What carries records from the kernel programs to the readers.
#[derive(Clone, Debug, Serialize)]
pub struct BufferReport {
    /// `ring` or `perf`.
    pub kind: &'static str,
    /// Why not the better one; empty when it is that.
    pub reason: String,
}

/// What the cap has withheld of one cgroup in one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capped {
    /// The cgroup's id.
    pub cgroup: u64,
    /// Where.
    pub domain: Domain,
    /// How many, since the kernel began to count for it; begins anew when it was forgotten.
    pub events: u64,
}

/// A sensor that ran before this one, and whose programs are still attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Of the policies that it put into force last; 0: not known. Those of this sensor have greater ones.
    pub epoch: u32,
    /// [`Tables::rules`] of these.
    pub rules: u64,
    /// Whether this sensor goes on with its programs; else they are replaced.
    pub adopted: bool,
    /// When the first of the records was made, nanoseconds of boot time, that it has left in the rings.
    pub unread_since: Option<u64>,
    /// Of each kind, how many records it had taken out of the rings for want of room there, and may not have written
    /// before it was killed.
    pub unfinished: [u64; KINDS],
}

/// What [`Kernel::counters`] said of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// The kind.
    pub kind: Kind,
    /// The programs' counters.
    pub counters: Counters,
    /// Runs that the kernel skipped.
    pub skipped: u64,
    /// Records that were read and are lost, as the ledger has them.
    pub dropped: u64,
}

/// Why a hook or the tables could not be brought into the wanted state.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}: {reason}")]
pub struct KernelError {
    /// What was attempted.
    pub attempted: String,
    /// What the kernel said.
    pub reason: String,
}

/// The programs, maps and links of the running sensor. Shared by the actors; owned by what outlives
/// them, so that nothing is detached when an actor dies.
pub trait Kernel: Send + Sync + Debug {
    /// Attaches the hook of `kind` in the best tier that works. Does nothing when it is attached.
    ///
    /// # Errors
    /// When no tier can be had; the report says what was tried.
    fn attach(&self, kind: Kind) -> Result<Tier, KernelError>;

    /// Detaches the hook of `kind`. Does nothing when it is not attached.
    fn detach(&self, kind: Kind);

    /// How the hook of `kind` stands.
    fn report(&self, kind: Kind) -> HookReport;

    /// The kernel's counters of `kind`, summed over CPUs, and the runs that the kernel itself skipped.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn counters(&self, kind: Kind) -> Result<(Counters, u64), KernelError>;

    /// What the cap has withheld, by cgroup.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn capped(&self) -> Result<Vec<Capped>, KernelError>;

    /// What carries records.
    fn buffer(&self) -> BufferReport;

    /// Puts `tables` into force: fills the generation that is not in force, then switches.
    ///
    /// # Errors
    /// When a map cannot be written; the tables in force then stay in force.
    fn install(&self, tables: &Tables) -> Result<(), KernelError>;

    /// Tells the programs which of the conditions on containers ([`Tables::container_conditions`]) the container of
    /// a cgroup meets, a bit each. Until they are told, it is not known to them, and user space decides.
    ///
    /// # Errors
    /// When the map cannot be written.
    fn set_container(&self, key: ContainerKey, held: u32) -> Result<(), KernelError>;

    /// What they were told of it is no longer so.
    ///
    /// # Errors
    /// When the map cannot be written.
    fn forget_container(&self, key: ContainerKey) -> Result<(), KernelError>;

    /// Replaces the list of processes that the kernel programs never kill.
    ///
    /// # Errors
    /// When the map cannot be written.
    fn set_never_kill(&self, tgids: &[u32]) -> Result<(), KernelError>;

    /// So many records that were read are lost, of which nothing is told yet.
    fn dropped(&self, kind: Kind, records: u64) {
        let _ = (kind, records);
    }

    /// These of its counters are told of, in an event on its way to the sinks: when that is written, who comes next need
    /// not tell of them. With none: what was told before may be written now.
    fn told(&self, counted: &[Counted]) {
        let _ = counted;
    }

    /// Who ran before, and left its programs attached.
    fn predecessor(&self) -> Option<Predecessor> {
        None
    }

    /// Every hook that is wanted was attached, or it is known why not: what is left of a predecessor beyond these
    /// is detached. Returns how many records of it cannot be read, since another version of its programs made them: they are
    /// lost.
    fn settle(&self) -> u64 {
        0
    }

    /// Whether hooks, rings and tables stay when this process ends: they are then not detached, and what is
    /// in the rings is left to the next.
    fn outlives(&self) -> bool {
        false
    }

    /// From now on nothing does.
    fn end_with_sensor(&self) {}

    /// How the parts beside the hooks stand, each named every time: what is wrong is a degradation.
    fn conditions(&self) -> Vec<Condition> {
        Vec::new()
    }
}
