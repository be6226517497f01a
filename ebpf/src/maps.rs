//! Every map, its size and why. Sizes that a setting or the machine decides are set by the loader.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{
    Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerfEventByteArray, RingBuf,
};
use holdfast_policy::table::{
    ADDRESS_ENTRIES, CLASS_ENTRIES, CLASSES, CONTAINER_ENTRIES, ContainerKey, GENERATIONS,
    HOOKS as HOOK_SLOTS, HookTable, KEY_PATH_BYTES, KEY_SUFFIX_BYTES, NAME_BUCKETS, NUMBER_ENTRIES,
    NumberKey, PATH_ENTRIES, SUFFIX_ENTRIES, Vector,
};
use holdfast_wire::Domain;
use holdfast_wire::control::{
    Bucket, CAPPED_CGROUPS, CapKey, Control, Counters as KindCounters, Lineage, ProcessKey,
};
use holdfast_wire::kind::KINDS;
use holdfast_wire::layout::Layout;

use crate::scratch::Slot;

/// Offsets of the running kernel's struct fields. Written by the loader before verification; the
/// verifier sees constants, and what an absent field guards is dead code.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout::UNKNOWN;

/// Bytes of each domain's ring; the loader sizes the rings and tells here.
#[unsafe(no_mangle)]
pub static RING_BYTES: [u32; Domain::ALL.len()] = [4 << 20, 8 << 20, 2 << 20, 1 << 20, 1 << 20];

/// 1 where there are neither ring buffers nor the helper that tells `CLOCK_BOOTTIME`, which came with
/// the same release of the kernel (5.8): see [`crate::transport`].
#[unsafe(no_mangle)]
pub static PERF_BUFFERS: u32 = 0;

/// See `holdfast_wire::control::Cap::constants`.
#[unsafe(no_mangle)]
pub static CGROUP_CAP: [u64; 2] = [0, 0];

/// 1 when records of an exec are to carry the environment, else 0: `events.environment` names
/// variables. Where it is 0, what it guards is dead code.
#[unsafe(no_mangle)]
pub static ENVIRONMENT: u32 = 0;

/// Reads one of those above.
#[inline(always)]
pub fn constant<T: Copy>(field: *const T) -> T {
    // SAFETY: a field of a static; volatile since the loader changes it before loading.
    unsafe { field.read_volatile() }
}

/// What the agent tells the running programs.
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Per-CPU counters by kind.
#[map]
pub static COUNTERS: PerCpuArray<KindCounters> = PerCpuArray::with_max_entries(KINDS as u32, 0);

/// Working memory: `scratch::SLOTS` per CPU; the loader multiplies by the number of possible CPUs.
#[map]
pub static SCRATCH: Array<Slot> = Array::with_max_entries(crate::scratch::SLOTS, 0);

// Where there are no ring buffers the loader makes these arrays of perf buffers.

/// 4 MiB: some 8,000 execs between two looks of the reader.
#[map]
pub static PROCESS_RING: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// 8 MiB: some 30,000 opens between two looks of the reader.
#[map]
pub static FILE_RING: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// 2 MiB: some 13,000 connects between two looks of the reader.
#[map]
pub static NETWORK_RING: RingBuf = RingBuf::with_byte_size(2 << 20, 0);

/// 1 MiB: some 4,000 mappings between two looks of the reader.
#[map]
pub static MEMORY_RING: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// 1 MiB: some 7,000 uses of capabilities between two looks of the reader.
#[map]
pub static CAPABILITY_RING: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

// The perf buffers for records on which a kill depends. Beside rings they stay empty.

/// See [`PROCESS_RING`].
#[map]
pub static PROCESS_URGENT: PerfEventByteArray = PerfEventByteArray::new(0);

/// See [`FILE_RING`].
#[map]
pub static FILE_URGENT: PerfEventByteArray = PerfEventByteArray::new(0);

/// See [`NETWORK_RING`].
#[map]
pub static NETWORK_URGENT: PerfEventByteArray = PerfEventByteArray::new(0);

/// See [`MEMORY_RING`].
#[map]
pub static MEMORY_URGENT: PerfEventByteArray = PerfEventByteArray::new(0);

/// See [`CAPABILITY_RING`].
#[map]
pub static CAPABILITY_URGENT: PerfEventByteArray = PerfEventByteArray::new(0);

/// What each cgroup has left of its cap. The loader leaves it empty where there is no cap. A bucket
/// that is evicted is full when it comes back.
#[map]
pub static BUCKETS: LruHashMap<CapKey, Bucket> = LruHashMap::with_max_entries(CAPPED_CGROUPS, 0);

/// Per generation and kind, what is asked of it.
#[map]
pub static HOOKS: Array<HookTable> = Array::with_max_entries((GENERATIONS * HOOK_SLOTS) as u32, 0);

/// Paths → terms (`table::PathKey` → `Vector`). Entries are allocated as they are entered; the bound
/// is what a policy set may use in both generations.
#[map]
pub static PATHS: LpmTrie<[u8; KEY_PATH_BYTES + 4], Vector> =
    LpmTrie::with_max_entries((GENERATIONS * PATH_ENTRIES) as u32, BPF_F_NO_PREALLOC);

/// Paths of executables → class (`table::PathKey` → number below `table::CLASSES`).
#[map]
pub static CLASSES_BY_PATH: LpmTrie<[u8; KEY_PATH_BYTES + 4], u32> =
    LpmTrie::with_max_entries((GENERATIONS * CLASS_ENTRIES) as u32, BPF_F_NO_PREALLOC);

/// Ends of paths → terms (`table::SuffixKey` → `Vector`).
#[map]
pub static SUFFIXES: LpmTrie<[u8; KEY_SUFFIX_BYTES + 4], Vector> =
    LpmTrie::with_max_entries((GENERATIONS * SUFFIX_ENTRIES) as u32, BPF_F_NO_PREALLOC);

/// Last names of paths → terms, by generation and bucket: see `table::name_bucket`.
#[map]
pub static NAMES: Array<Vector> = Array::with_max_entries((GENERATIONS * NAME_BUCKETS) as u32, 0);

/// Conditions on ancestors by generation and class: see `table::class_index`.
#[map]
pub static ANCESTOR_CONDITIONS_BY_CLASS: Array<u32> =
    Array::with_max_entries((GENERATIONS * CLASSES) as u32, 0);

/// Cgroups → which conditions their containers meet. An id stands for a container where cgroup v2 is alone;
/// elsewhere nothing is entered. What has no room is not known: user space decides then.
#[map]
pub static CONTAINERS: LruHashMap<ContainerKey, u32> =
    LruHashMap::with_max_entries(CONTAINER_ENTRIES as u32, 0);

/// Addresses → terms (`table::AddressKey` → `Vector`).
#[map]
pub static ADDRESSES: LpmTrie<[u8; 20], Vector> =
    LpmTrie::with_max_entries((GENERATIONS * ADDRESS_ENTRIES) as u32, BPF_F_NO_PREALLOC);

/// Ports, users, classes of executables and conditions on ancestors → terms (`table::NumberKey` → `Vector`).
#[map]
pub static NUMBERS: HashMap<NumberKey, Vector> =
    HashMap::with_max_entries((GENERATIONS * NUMBER_ENTRIES) as u32, BPF_F_NO_PREALLOC);

/// Who made which process, also when that one is gone. Those that ran before the programs are entered by
/// the loader. What is evicted is not known: then user space decides. As many as the default `pid_max`.
#[map]
pub static LINEAGE: LruHashMap<ProcessKey, Lineage> = LruHashMap::with_max_entries(32_768, 0);

/// The class of the executable of processes that met a rule about executables. A cache: what is
/// evicted or stale is worked out again from `mm->exe_file`.
#[map]
pub static CLASS_CACHE: LruHashMap<u32, CachedClass> = LruHashMap::with_max_entries(16_384, 0);

/// Processes that are never sent SIGKILL, by tgid: pid 1, the sensor, container engines, what the
/// user adds.
#[map]
pub static NEVER_KILL: HashMap<u32, u32> = HashMap::with_max_entries(4_096, BPF_F_NO_PREALLOC);

/// Calls of `process_vm_writev(2)` that are under way, by thread: where the first piece goes. As many as
/// threads can be in one at a time on a large machine; one that finds no room is counted as missed.
#[map]
pub static WRITES: HashMap<u64, Piece> = HashMap::with_max_entries(4_096, 0);

/// Effective capabilities that processes have while they exec, before they have those of the new
/// program, by tgid. What is evicted is not told; only an exec that fails behind the point of no return
/// leaves its entry, since the process dies.
#[map]
pub static EXECS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(4_096, 0);

/// Uses of capabilities that were told of, so that the next need not be. What is evicted is told of
/// again. 1 MiB: some hundred processes each use some dozen capabilities.
#[map]
pub static USES: LruHashMap<UseKey, LastUse> = LruHashMap::with_max_entries(8_192, 0);

/// Key of [`USES`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct UseKey {
    /// The `struct user_namespace` in which it is asked for.
    pub user_namespace: u64,
    /// The process.
    pub tgid: u32,
    /// The capability's number.
    pub capability: u32,
}

/// Value of [`USES`]; valid only for this image of this process under this policy.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastUse {
    /// `task->group_leader->start_boottime`.
    pub start_boottime: u64,
    /// When one was told of, `CLOCK_MONOTONIC` in nanoseconds.
    pub told_at: u64,
    /// How many were not, since.
    pub suppressed: u64,
    /// `task->self_exec_id`.
    pub exec_id: u32,
    /// Epoch of the policy tables.
    pub epoch: u32,
}

/// A piece of memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Piece {
    /// Where it begins; as in `struct iovec`, which this is.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

/// Calls that change how a thread is scheduled and are under way, by thread. As many as [`WRITES`].
#[map]
pub static SCHEDULINGS: HashMap<u64, Scheduling> = HashMap::with_max_entries(4_096, 0);

/// What such a call asks for: see `holdfast_wire::record::process::Setscheduler`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Scheduling {
    /// Which call it is.
    pub call: u32,
    /// The policy.
    pub policy: u32,
    /// The priority.
    pub priority: i32,
    /// Zero.
    pub reserved: u32,
}

/// Tries must not be preallocated (`trie_alloc`), and hashes that are mostly empty need not be.
const BPF_F_NO_PREALLOC: u32 = 1;

/// Value of [`CLASS_CACHE`]; valid only for this image of this process among these classes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CachedClass {
    /// `task->group_leader->start_boottime`.
    pub start_boottime: u64,
    /// `task->self_exec_id`.
    pub exec_id: u32,
    /// `HookTable::class_digest`.
    pub classes: u32,
    /// The class.
    pub class: u32,
    /// Zero.
    pub reserved: u32,
}
