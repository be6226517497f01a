//! Small values that the agent and the kernel programs share besides records.

use crate::Kind;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $number,)* }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name people see.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $text,)* } }

            /// The one with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The one with this name, if there is one.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

numbered! {
    /// How a hook is attached, from the most to the least capable.
    Tier {
        /// BPF LSM hook: refuses before the operation happens.
        Lsm = 0, "lsm";
        /// Modify-return on the `security_*` function: refuses before the operation happens.
        FmodRet = 1, "fmod_ret";
        /// fentry on the same function: kills from the kernel program.
        Fentry = 2, "fentry";
        /// kprobe on the same function: kills from the kernel program.
        Kprobe = 3, "kprobe";
        /// Raw and syscall tracepoints: kills from the kernel program.
        Tracepoint = 4, "tracepoint";
        /// No kernel program at all: permission events of fanotify refuse opens and execs; the process
        /// connector and sock_diag tell of some of the rest, afterwards.
        Fanotify = 5, "fanotify";
    }
}

numbered! {
    /// What is done about an operation, from the weakest to the strongest.
    Verdict {
        /// No rule matched.
        None = 0, "none";
        /// A rule allowed it, silently.
        Allow = 1, "allow";
        /// Recorded as an event that names the rule.
        Audit = 2, "audit";
        /// Reported as an alert.
        Alert = 3, "alert";
        /// The process is stopped (SIGSTOP) once the operation is done, to be looked at.
        Stop = 4, "stop";
        /// Refused where the tier can; else the process is killed.
        Deny = 5, "deny";
        /// Refused where the tier can, and the process is killed.
        Kill = 6, "kill";
        /// As kill, and all of its descendants.
        KillTree = 7, "kill_tree";
        /// As kill, and all processes of its container.
        KillContainer = 8, "kill_container";
    }
}

impl Tier {
    /// Whether `deny` refuses an operation of this kind before it happens, where it can be refused.
    #[must_use]
    pub const fn refuses(self, kind: Kind) -> bool {
        match self {
            Self::Lsm | Self::FmodRet => true,
            Self::Fanotify => matches!(kind, Kind::FileOpen | Kind::ProcessExec),
            Self::Fentry | Self::Kprobe | Self::Tracepoint => false,
        }
    }

    /// Whether operations of this kind can be seen at all. Programs can see every kind; which they do
    /// on a kernel is found by attaching them.
    #[must_use]
    pub const fn sees(self, kind: Kind) -> bool {
        !matches!(self, Self::Fanotify)
            || !kind.is_hooked()
            || matches!(
                kind,
                Kind::ProcessExec
                    | Kind::ProcessFork
                    | Kind::ProcessExit
                    | Kind::ProcessPtrace
                    | Kind::ProcessSetuid
                    | Kind::ProcessSetgid
                    | Kind::FileOpen
                    | Kind::NetworkConnect
                    | Kind::NetworkListen
                    | Kind::NetworkAccept
            )
    }
}

impl Verdict {
    /// Whether something is done to the operation or its process, which a policy that observes does not do.
    #[must_use]
    pub const fn acts(self) -> bool {
        matches!(self, Self::Stop) || self.prevents()
    }

    /// Whether the operation must not succeed.
    #[must_use]
    pub const fn prevents(self) -> bool {
        matches!(
            self,
            Self::Deny | Self::Kill | Self::KillTree | Self::KillContainer
        )
    }
}

/// What the agent tells the running programs; the one entry of the `CONTROL` map. Written only by
/// the agent, and read once per program run.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Control {
    /// Process id of the sensor in the initial pid namespace: its own activity is not reported.
    pub sensor_tgid: u32,
    /// When that process started, as [`ProcessKey::start`]: these tables may outlive it, and another process
    /// may get its number. 0: not known, the number alone counts.
    pub sensor_start: u32,
    /// Zero.
    pub reserved: u32,
    /// Which half of the policy tables is in force: 0 or 1.
    pub generation: u32,
    /// `CLOCK_BOOTTIME` minus `CLOCK_MONOTONIC`, nanoseconds: the time the machine was suspended for.
    /// Only used where the kernel lends programs no other clock (before 5.8).
    pub boottime_ahead: u64,
}

/// A process: key of the map `LINEAGE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ProcessKey {
    /// In the initial pid namespace.
    pub tgid: u32,
    /// When it started: `start_boottime` in ticks, see [`Self::TICK`].
    pub start: u32,
}

impl ProcessKey {
    /// Nanoseconds of a tick: what `/proc` counts in (`USER_HZ`, 100 a second on every architecture that is
    /// served), so that both sides name a process alike. They begin again from 0 after 497 days.
    pub const TICK: u64 = 10_000_000;
    /// Stands for a parent that is not known. None has this pid (`PID_MAX_LIMIT` is 2^22).
    pub const UNKNOWN: Self = Self {
        tgid: u32::MAX,
        start: 0,
    };

    /// `start_boottime`: nanoseconds.
    #[must_use]
    #[inline(always)]
    pub const fn new(tgid: u32, start_boottime: u64) -> Self {
        Self {
            tgid,
            start: (start_boottime / Self::TICK) as u32,
        }
    }
}

/// Who made a process, and what it runs: value of the map `LINEAGE`, which is there as long as a descendant
/// may ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Lineage {
    /// Who made it; tgid 0 for the first of all.
    pub parent: ProcessKey,
    /// In the upper half the digest of the classes (`HookTable::class_digest`) among which its executable was looked
    /// up last, in the lower half its class there. One number, so that nobody sees half of it. 0: never.
    pub class: u64,
}

impl Lineage {
    /// See [`Self::class`].
    #[must_use]
    #[inline(always)]
    pub const fn class_of(classes: u32, class: u32) -> u64 {
        (classes as u64) << 32 | class as u64
    }
}

/// Per-CPU counters of one kind, each counted where it happens and never derived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Operations that a program looked at (the sensor's own are not looked at).
    pub seen: u64,
    /// Operations that no rule and no subscription wanted, and those that were capped.
    pub filtered: u64,
    /// Records handed to the ring.
    pub submitted: u64,
    /// Records that found the ring full.
    pub ring_full: u64,
    /// Records submitted with a part cut (also counted in `submitted`).
    pub truncated: u64,
    /// Runs given up before anything was looked at, since no scratch slot was free.
    pub missed: u64,
    /// Of the filtered: those that a subscription wanted, of a cgroup that made too many.
    pub capped: u64,
}

/// Buckets there are room for: a crowded node has some thousand cgroups in a few domains, and the map
/// keeps some of its entries by CPU (`LOCAL_FREE_TARGET` of `kernel/bpf/bpf_lru_list.c`). 2 MiB.
pub const CAPPED_CGROUPS: u32 = 16_384;

/// Whose rate is capped by one bucket: a cgroup's, in each domain by itself, as each domain has a
/// ring by itself. A storm of its opens withholds none of its connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct CapKey {
    /// [`crate::record::Header::cgroup_id`].
    pub cgroup: u64,
    /// Number of a [`crate::Domain`].
    pub domain: u32,
    /// Zero.
    pub reserved: u32,
}

/// A token bucket, as the time at which it is full again: each record moves it by what it costs, and
/// there is a record to be had as long as that is not too far ahead. One number, so that CPUs need
/// no lock for it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Bucket {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub full_at: u64,
    /// Operations withheld since the bucket was made.
    pub capped: u64,
}

/// The most events of a cgroup that are reported only because a subscription asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// In the long run.
    pub events_per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

impl Cap {
    /// What the kernel programs are told: what a record costs and how far ahead a bucket may be, both
    /// in nanoseconds; zeros for no cap.
    #[must_use]
    pub const fn constants(cap: Option<Self>) -> [u64; 2] {
        const SECOND: u64 = 1_000_000_000;
        match cap {
            None => [0, 0],
            Some(cap) => {
                // At least one, so that it is told from none.
                let rate = if cap.events_per_second == 0 {
                    1
                } else {
                    cap.events_per_second as u64
                };
                let cost = if rate > SECOND { 1 } else { SECOND / rate };
                [cost, cost * cap.burst as u64]
            }
        }
    }
}

const _: () = {
    assert!(size_of::<Control>() == 24);
    assert!(size_of::<ProcessKey>() == 8);
    assert!(size_of::<Lineage>() == 16);
    assert!(size_of::<Counters>() == 56);
    assert!(size_of::<CapKey>() == 16);
    assert!(size_of::<Bucket>() == 16);
};

/// Scratch slots per CPU: for a task, and for three that preempt each other in the middle of a run.
pub const SCRATCH_SLOTS: u32 = 4;
