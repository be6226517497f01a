//! Keys and values of the policy tables: what the compiler writes and the kernel programs look up.
//!
//! Expressions are brought into disjunctive form; each conjunction is a *term* with one bit in a
//! [`Vector`] of its hook, in the order in which rules are tried. For every dimension of an event (its
//! path, the executable of its process, its address, …) a lookup by the event's value yields the
//! vector of terms that this value does not rule out. The AND over all dimensions is what matches.
//!
//! The tables exist twice, by *generation*: a reload fills the half that is not in force and then
//! switches [`holdfast_wire::control::Control::generation`], so no event is judged by both.

use holdfast_wire::Kind;

/// Terms there is room for in the kernel, per hook.
pub const TERMS: usize = 256;
/// 64-bit words of a [`Vector`].
pub const WORDS: usize = TERMS / 64;
/// One bit per term.
pub type Vector = [u64; WORDS];
/// Generations of the tables.
pub const GENERATIONS: usize = 2;
/// Hooks (kinds) there is room for; a kind's slot is its number.
pub const HOOKS: usize = holdfast_wire::kind::KINDS;
/// Classes of executables there is room for. Class 0 is "none that any rule names".
pub const CLASSES: usize = 256;
/// Path entries there is room for in each generation: some megabytes of kernel memory.
pub const PATH_ENTRIES: usize = 16_384;
/// Entries for executables there is room for in each generation.
pub const CLASS_ENTRIES: usize = 4_096;
/// Address entries there is room for in each generation.
pub const ADDRESS_ENTRIES: usize = 16_384;
/// Entries for numbers there is room for in each generation: ports, users, classes of executables.
pub const NUMBER_ENTRIES: usize = 8_192;
/// Entries for ends of paths there is room for in each generation.
pub const SUFFIX_ENTRIES: usize = 4_096;
/// Cgroups of which the programs know the container at one time.
pub const CONTAINER_ENTRIES: usize = 16_384;
/// Path bytes that a key holds. `LPM_DATA_SIZE_MAX` of `kernel/bpf/lpm_trie.c` is 256, of which four
/// are the tag. A longer prefix is entered by its head, and its terms are then uncertain.
pub const KEY_PATH_BYTES: usize = 252;

/// Buckets for the last names of paths in each generation; a few hundred names seldom share one.
pub const NAME_BUCKETS: usize = 8_192;
/// Bytes of a name that count, in words; of a longer one the beginning does.
pub const NAME_WORDS: usize = 3;

/// Bytes of a path's end that a key holds; eight of them are one step of the kernel programs.
pub const KEY_SUFFIX_BYTES: usize = 64;
/// Different conditions on ancestors there is room for, over all policies: each has a bit in what
/// [`Dimension::Ancestors`] is looked up by.
pub const ANCESTOR_CONDITIONS: usize = 8;
/// The same of conditions on the container, which [`Dimension::Container`] is looked up by. Policies' scopes
/// are such.
pub const CONTAINER_CONDITIONS: usize = 8;
/// Ancestors in an event, the parent's parent and so on: enough for container runtimes' chains; each costs
/// 200 bytes of JSON.
pub const ANCESTORS: usize = 6;

/// Numbers of [`holdfast_wire::control::Verdict`], from 0.
pub const VERDICTS: usize = 9;

/// What an event is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dimension {
    /// `file.path`; for `process.exec` the executable that is about to run (`process.executable`); for
    /// `network.*` the path of a Unix socket (`holdfast.socket.path`).
    Path = 0,
    /// `file.target_path` of a rename.
    TargetPath = 1,
    /// `process.executable` of the acting process (not for `process.exec`).
    Executable = 2,
    /// `destination.ip`; at bind and listen, where it is the own end's, and at accept, where it is the
    /// peer's, `source.ip`.
    Address = 3,
    /// `destination.port`; at bind and listen `source.port`; of `capability.use` the number of
    /// `holdfast.capability`.
    Port = 4,
    /// The access mode among `holdfast.flags`: `O_RDONLY`, `O_WRONLY` or `O_RDWR`; at `network.dns`
    /// `dns.type`: 0 for a query, 1 for an answer; of memory that may be executed [`memory_access`].
    Access = 5,
    /// How [`Self::Path`] ends.
    Suffix = 6,
    /// `process.user.id`, but where it is the user that changes.
    User = 7,
    /// `process.parent.executable`
    Parent = 8,
    /// Which conditions on `process.ancestors` hold for any of them; a bit each.
    Ancestors = 9,
    /// The last name of [`Self::Path`], looked up before the path is. No rule asks about it: what it rules out
    /// follows from what terms ask about the path.
    Name = 10,
    /// Which conditions on the container hold; a bit each. Evaluated once for each cgroup, in user space.
    Container = 11,
    /// `holdfast.target.executable`, of the process acted upon.
    TargetExecutable = 12,
}

impl Dimension {
    /// Of which dimension's value this is a part: without the one there is not the other.
    #[must_use]
    pub const fn is_about(self) -> Self {
        match self {
            Self::Suffix | Self::Name => Self::Path,
            whole => whole,
        }
    }
}

/// What [`Dimension::Access`] is of executable memory: whether it is of no file, and whether it may be
/// written too.
#[must_use]
#[inline(always)]
pub const fn memory_access(anonymous: bool, writable: bool) -> u32 {
    anonymous as u32 | (writable as u32) << 1
}

/// Number of [`Dimension`]s.
pub const DIMENSIONS: usize = 13;

/// First part of every key: which generation, hook and dimension it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Tag {
    /// 0 or 1.
    pub generation: u8,
    /// Number of the hook's kind; for the class table of executables [`Tag::ANY_HOOK`].
    pub hook: u8,
    /// Number of the [`Dimension`].
    pub dimension: u8,
    /// Zero.
    pub reserved: u8,
}

impl Tag {
    /// The hook of an entry that serves all hooks.
    pub const ANY_HOOK: u8 = u8::MAX;

    /// The tag of `dimension` at the hook of `kind`.
    #[must_use]
    pub const fn new(generation: u32, kind: Kind, dimension: Dimension) -> Self {
        Self {
            generation: generation as u8,
            hook: kind as u8,
            dimension: dimension as u8,
            reserved: 0,
        }
    }

    /// The tag of the table that turns an executable's path into its class.
    #[must_use]
    pub const fn executable_class(generation: u32) -> Self {
        Self {
            generation: generation as u8,
            hook: Self::ANY_HOOK,
            dimension: Dimension::Executable as u8,
            reserved: 0,
        }
    }
}

/// Key of the path tries (`PATHS`: tag → [`Vector`]; `CLASSES`: tag → class number `u32`).
///
/// An exact path is entered with its terminating NUL, a prefix without, so that one
/// longest-prefix lookup of `path NUL` finds whichever is the most specific. The value of an entry
/// says all that is known about a path whose longest entry it is; the compiler works that out.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PathKey {
    /// Significant bits of what follows: 32 for the tag, and 8 per byte of the path.
    pub bits: u32,
    /// What the entry is for.
    pub tag: Tag,
    /// The path, NUL-padded.
    pub path: [u8; KEY_PATH_BYTES],
}

/// Key of the address trie (`ADDRESSES` → [`Vector`]).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct AddressKey {
    /// Significant bits of what follows: 32 for the tag, and up to 128.
    pub bits: u32,
    /// What the entry is for.
    pub tag: Tag,
    /// Network order; IPv4 as `::ffff:a.b.c.d`, so a /8 of IPv4 has 96 + 8 bits.
    pub address: [u8; 16],
}

/// Key of the trie of paths' ends (`SUFFIXES` → [`Vector`]).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SuffixKey {
    /// Significant bits of what follows: 32 for the tag, and 8 per byte of the path.
    pub bits: u32,
    /// What the entry is for.
    pub tag: Tag,
    /// The path from its last byte to its first.
    pub reversed: [u8; KEY_SUFFIX_BYTES],
}

/// Index into the `NAMES` array: the bucket of a name, which is padded with NULs. Different names may share
/// one, so a bucket says of a name only what it may be. A few multiplications: the kernel's own hash takes 120
/// instructions.
#[must_use]
#[inline(always)]
pub const fn name_bucket(generation: u32, name: [u64; NAME_WORDS]) -> u32 {
    // Odd numbers without a pattern (the fractional parts of golden ratio, pi and e).
    const FACTORS: [u64; NAME_WORDS] = [
        0x9e37_79b9_7f4a_7c15,
        0x243f_6a88_85a3_08d3,
        0xb7e1_5162_8aed_2a6b,
    ];
    let mixed = name[0].wrapping_mul(FACTORS[0])
        ^ name[1].wrapping_mul(FACTORS[1])
        ^ name[2].wrapping_mul(FACTORS[2]);
    let bucket = (mixed >> 32) as u32 % NAME_BUCKETS as u32;
    generation * NAME_BUCKETS as u32 + bucket
}

/// The last name of a path, for [`name_bucket`].
#[must_use]
#[cfg(feature = "std")]
pub fn name_of(path: &[u8]) -> [u64; NAME_WORDS] {
    let from = path.iter().rposition(|byte| *byte == b'/');
    let name = &path[from.map_or(0, |at| at + 1)..];
    let mut words = [0; NAME_WORDS];
    for (word, bytes) in words.iter_mut().zip(name.chunks(size_of::<u64>())) {
        let mut padded = [0; size_of::<u64>()];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(padded);
    }
    words
}

/// Key of the table of numbers (`NUMBERS` → [`Vector`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct NumberKey {
    /// What the entry is for.
    pub tag: Tag,
    /// A port in host order, a user id, a class of executables, or a bit per condition on ancestors or on the
    /// container.
    pub number: u32,
}

/// What a term does when it is the first of its policy that matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Term {
    /// Which policy: terms of one policy follow each other.
    pub policy: u16,
    /// Which rule of the snapshot (its index over all policies), for the event.
    pub rule: u16,
    /// Number of a [`holdfast_wire::control::Verdict`], capped by the mode: nothing that prevents in
    /// a policy that observes.
    pub verdict: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Bits of [`HookTable::flags`].
pub mod hook_flags {
    /// A subscription asks for every event of this hook.
    pub const REPORT: u32 = 1 << 0;
    /// User space may have to kill on a record of this hook: wake it at once for such a record.
    pub const USER_MAY_PREVENT: u32 = 1 << 1;
    /// Every record is submitted, whether or not it is to become an event: the agent keeps the table
    /// of processes by it.
    pub const TRACK: u32 = 1 << 2;
    /// Some hook asks who processes descend from: an exec and a fork note the class of the executable.
    pub const LINEAGE: u32 = 1 << 3;
    /// Every record is submitted, unless the cgroup makes too many: the agent knows by it in which namespaces processes
    /// are.
    pub const FOLLOW: u32 = 1 << 4;
}

/// Everything about one hook in one generation that is not a lookup by value. The `HOOKS` array
/// holds `GENERATIONS * HOOKS` of them, at `generation * HOOKS + kind`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct HookTable {
    /// Epoch of the policy set; increases by one with every reload.
    pub epoch: u32,
    /// See [`hook_flags`].
    pub flags: u32,
    /// Bit per [`Dimension`] that any term has a condition on: the others need no lookup.
    pub dimensions: u32,
    /// Number of terms in use.
    pub terms: u32,
    /// Bit per condition on ancestors that any term has; they are looked up by these.
    pub ancestor_conditions: u32,
    /// The same of conditions on the container.
    pub container_conditions: u32,
    /// Which executables the classes stand for, and not 0: what was noted of a class is so as long as this is the same.
    pub class_digest: u32,
    /// Zero.
    pub reserved: u32,
    /// Which conditions on containers the bits of [`Self::container_conditions`] stand for: second part of [`ContainerKey`].
    pub container_digest: u64,
    /// The terms in use.
    pub all: Vector,
    /// Terms with a condition that the kernel programs cannot evaluate: if they seem to match, it is
    /// uncertain whether they do.
    pub uncertain: Vector,
    /// Per dimension: the terms not ruled out by a value that no table entry names.
    pub unlisted: [Vector; DIMENSIONS],
    /// Per dimension: the terms with a condition on it, uncertain where the value is not known.
    pub conditioned: [Vector; DIMENSIONS],
    /// The lookup of [`Dimension::Access`], by `open_flags & O_ACCMODE` or [`memory_access`].
    pub access: [Vector; 4],
    /// The first term of each policy; see [`Self::seal`].
    pub starts: Vector,
    /// The last term of each policy.
    pub ends: Vector,
    /// The terms by their verdict's number.
    pub of_verdict: [Vector; VERDICTS],
    /// What each term does.
    pub term: [Term; TERMS],
}

impl HookTable {
    /// A hook that nothing asks about.
    pub const EMPTY: Self = Self {
        epoch: 0,
        flags: 0,
        dimensions: 0,
        terms: 0,
        ancestor_conditions: 0,
        container_conditions: 0,
        class_digest: 0,
        reserved: 0,
        container_digest: 0,
        all: [0; WORDS],
        uncertain: [0; WORDS],
        unlisted: [[0; WORDS]; DIMENSIONS],
        conditioned: [[0; WORDS]; DIMENSIONS],
        access: [[0; WORDS]; 4],
        starts: [0; WORDS],
        ends: [0; WORDS],
        of_verdict: [[0; WORDS]; VERDICTS],
        term: [Term {
            policy: 0,
            rule: 0,
            verdict: 0,
            reserved: [0; 3],
        }; TERMS],
    };
}

impl HookTable {
    /// Works out from the terms what the decision needs of them; to be called when they are entered.
    pub fn seal(&mut self) {
        self.starts = [0; WORDS];
        self.ends = [0; WORDS];
        self.of_verdict = [[0; WORDS]; VERDICTS];
        let terms = (self.terms as usize).min(TERMS);
        for index in 0..terms {
            let (word, bit) = (index / 64, 1 << (index % 64));
            let term = self.term[index];
            self.of_verdict[term.verdict as usize % VERDICTS][word] |= bit;
            if index == 0 || self.term[index - 1].policy != term.policy {
                self.starts[word] |= bit;
            }
            if index + 1 == terms || self.term[index + 1].policy != term.policy {
                self.ends[word] |= bit;
            }
        }
    }
}

/// Index into the `ANCESTOR_CONDITIONS_BY_CLASS` array: which conditions on ancestors an executable of
/// `class` meets.
#[must_use]
pub const fn class_index(generation: u32, class: u32) -> u32 {
    generation * CLASSES as u32 + class
}

/// Key of the `CONTAINERS` map, whose values have a bit for each condition that the container of the cgroup meets.
/// By conditions rather than by epoch: policies with the same ones go on with what the map says, also those of the next
/// sensor; and what others ask about can be entered before they come into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct ContainerKey {
    /// Id of the cgroup, which no other gets before the next boot.
    pub cgroup: u64,
    /// Digest of the conditions, in the order of their bits.
    pub conditions: u64,
}

const _: () = {
    assert!(size_of::<PathKey>() == 260);
    assert!(size_of::<AddressKey>() == 24);
    assert!(size_of::<NumberKey>() == 8);
    assert!(size_of::<ContainerKey>() == 16);
    assert!(NAME_BUCKETS.is_power_of_two());
    assert!(size_of::<SuffixKey>() == 8 + KEY_SUFFIX_BYTES);
    assert!(KEY_SUFFIX_BYTES.is_multiple_of(8) && ANCESTOR_CONDITIONS <= 8);
    assert!(CONTAINER_CONDITIONS <= 8);
    assert!(size_of::<Term>() == 8);
    assert!(
        size_of::<HookTable>() == 40 + 32 * (2 + 2 * DIMENSIONS + 4 + 2 + VERDICTS) + 8 * TERMS
    );
};
