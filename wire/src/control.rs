//! Small values that the agent and the kernel programs share besides records.

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
        /// Refused where the tier can; else the process is killed.
        Deny = 4, "deny";
        /// Refused where the tier can, and the process is killed.
        Kill = 5, "kill";
        /// As kill, and all of its descendants.
        KillTree = 6, "kill_tree";
    }
}

impl Tier {
    /// Whether `deny` refuses the operation before it happens.
    #[must_use]
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Lsm | Self::FmodRet)
    }
}

impl Verdict {
    /// Whether the operation must not succeed.
    #[must_use]
    pub const fn prevents(self) -> bool {
        matches!(self, Self::Deny | Self::Kill | Self::KillTree)
    }
}

/// What the agent tells the running programs; the one entry of the `CONTROL` map. Written only by
/// the agent, and read once per program run.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Control {
    /// Process id of the sensor in the initial pid namespace: its own activity is not reported.
    pub sensor_tgid: u32,
    /// Which half of the policy tables is in force: 0 or 1.
    pub generation: u32,
}

/// Per-CPU counters of one kind, each counted where it happens and never derived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Operations that a program looked at (the sensor's own are not looked at).
    pub seen: u64,
    /// Operations that no rule and no subscription wanted.
    pub filtered: u64,
    /// Records handed to the ring.
    pub submitted: u64,
    /// Records that found the ring full.
    pub ring_full: u64,
    /// Records submitted with a part cut (also counted in `submitted`).
    pub truncated: u64,
    /// Runs given up before anything was looked at, since no scratch slot was free.
    pub missed: u64,
}

const _: () = {
    assert!(size_of::<Control>() == 8);
    assert!(size_of::<Counters>() == 48);
};

/// Scratch slots per CPU: for a task, and for three that preempt each other in the middle of a run.
pub const SCRATCH_SLOTS: u32 = 4;
