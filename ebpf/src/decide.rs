//! The lookups behind `holdfast_policy::decision`, one per dimension.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_uid_gid};
use aya_ebpf::maps::lpm_trie::Key;
use holdfast_policy::table::{
    AddressKey, ContainerKey, Dimension, KEY_PATH_BYTES, KEY_SUFFIX_BYTES, NAME_WORDS, NumberKey,
    Tag, Vector, name_bucket,
};
use holdfast_wire::layout::ABSENT;

use crate::bound::mask;
use crate::lineage::{self, ANCESTORS_UNKNOWN, HELD_SHIFT, PARENT_ABSENT, PARENT_KNOWN};
use crate::maps::{ADDRESSES, CONTAINERS, NAMES, NUMBERS, PATHS, SCRATCH, SUFFIXES};
use crate::offset;
use crate::path::Path;
use crate::run::Run;

/// The key of a path trie, as aya spells it.
pub type PathTrieKey = Key<[u8; KEY_PATH_BYTES + 4]>;

/// Narrows by a path of the operation.
#[inline(always)]
pub fn by_path(run: &mut Run, dimension: Dimension, path: &Path) {
    if !path.is_certain() {
        run.candidates().unknown(run.hook, dimension);
        return;
    }
    let key = path.key(Tag::new(run.generation, run.kind, dimension));
    // SAFETY: `key` is a whole `PathKey`; `Key` is its packed equal.
    match PATHS.get(unsafe { &*key.cast::<PathTrieKey>() }) {
        Some(vector) => run.candidates().keep(vector),
        None => run.candidates().unlisted(run.hook, dimension),
    }
}

/// Whether the last name of the path, of so many bytes, rules out all that is left. Only where
/// [`Run::is_told_by_name`].
#[inline(always)]
pub fn is_ruled_out_by_name(run: &Run, name: u64, length: u32) -> bool {
    const BYTES: u64 = (NAME_WORDS * size_of::<u64>()) as u64;
    // SAFETY: a field of this run's slot, of which no more is written than there is.
    let words = unsafe {
        let words = &raw mut (*run.claimed.slot).name;
        (&raw mut (*words)[0]).write_volatile(0);
        (&raw mut (*words)[1]).write_volatile(0);
        (&raw mut (*words)[2]).write_volatile(0);
        let bytes = mask::<31>(u64::from(length).min(BYTES)).min(BYTES) as u32;
        if bpf_probe_read_kernel(words.cast(), bytes, name as *const _) != 0 {
            return false;
        }
        [(*words)[0], (*words)[1], (*words)[2]]
    };
    let bucket = NAMES.get(name_bucket(run.generation, words));
    bucket.is_some_and(|terms| !run.candidates().any_in(terms))
}

/// Narrows by how the path of the operation ends.
#[inline(always)]
pub fn by_suffix(run: &mut Run, path: &Path) {
    const DIMENSION: Dimension = Dimension::Suffix;
    if !path.is_certain() {
        run.candidates().unknown(run.hook, DIMENSION);
        return;
    }
    let key = path.suffix_key(Tag::new(run.generation, run.kind, DIMENSION));
    // SAFETY: `Key` is the packed equal of `SuffixKey`.
    match SUFFIXES.get(unsafe { &*key.cast::<Key<[u8; KEY_SUFFIX_BYTES + 4]>>() }) {
        Some(vector) => run.candidates().keep(vector),
        None => run.candidates().unlisted(run.hook, DIMENSION),
    }
}

/// Narrows by a number.
#[inline(always)]
fn by_number(run: &mut Run, dimension: Dimension, number: u32) {
    if keep_number(run.claimed.index(), tag(run, dimension), number) == 0 {
        run.candidates().unlisted(run.hook, dimension);
    }
}

/// Keeps the terms that a number does not rule out; 0 where no entry names it. `tag`: see [`tag`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn keep_number(index: u32, tag: u32, number: u32) -> u64 {
    let tag = tag_of(tag);
    // SAFETY: values of this map are replaced as a whole.
    keep(index, unsafe { NUMBERS.get(NumberKey { tag, number }) })
}

/// The tag of a dimension, as a number that can be given to a global function.
#[inline(always)]
fn tag(run: &Run, dimension: Dimension) -> u32 {
    u32::from(run.kind as u8) << 8 | u32::from(dimension as u8) << 16 | run.generation
}

#[inline(always)]
fn tag_of(number: u32) -> Tag {
    let [generation, hook, dimension, reserved] = number.to_le_bytes();
    Tag {
        generation,
        hook,
        dimension,
        reserved,
    }
}

/// Keeps the terms in what was found; 0 where nothing was.
#[inline(always)]
fn keep(index: u32, found: Option<&Vector>) -> u64 {
    let (Some(vector), Some(slot)) = (found, SCRATCH.get_ptr_mut(index)) else {
        return 0;
    };
    // SAFETY: a field of a map value, which is the run's alone.
    unsafe { (*slot).candidates.keep(vector) };
    1
}

/// Narrows by the real user of the current process.
#[inline(always)]
pub fn by_user(run: &mut Run) {
    // A record says so where the kernel tells of no tasks, and user space then does not go by its ids.
    if offset!(task_group_leader) == ABSENT {
        run.candidates().unknown(run.hook, Dimension::User);
    } else {
        by_number(run, Dimension::User, bpf_get_current_uid_gid() as u32);
    }
}

/// Narrows by the container of the current process.
#[inline(always)]
pub fn by_container(run: &mut Run) {
    const DIMENSION: Dimension = Dimension::Container;
    // SAFETY: no preconditions; a lookup by value.
    let held = unsafe {
        CONTAINERS.get(ContainerKey {
            cgroup: bpf_get_current_cgroup_id(),
            conditions: run.hook.container_digest,
        })
    };
    match held {
        Some(held) => by_number(run, DIMENSION, held & run.hook.container_conditions),
        None => run.candidates().unknown(run.hook, DIMENSION),
    }
}

/// Narrows by the executable of the current process.
#[inline(always)]
pub fn by_executable(run: &mut Run) {
    match lineage::own_class(run) {
        Some(class) => by_number(run, Dimension::Executable, class),
        None => run.candidates().unknown(run.hook, Dimension::Executable),
    }
}

/// Narrows by the executable of the process that the task `target` is of.
#[inline(always)]
pub fn by_target(run: &mut Run, target: u64) {
    match lineage::class_of_task(run, target) {
        Some(class) => by_number(run, Dimension::TargetExecutable, class),
        None => run
            .candidates()
            .unknown(run.hook, Dimension::TargetExecutable),
    }
}

/// Narrows by whom the current process descends from.
#[inline(always)]
pub fn by_lineage(run: &mut Run) {
    let lineage = lineage::walk(run);
    if run.asks(Dimension::Parent) {
        if lineage & PARENT_ABSENT != 0 {
            run.candidates().unlisted(run.hook, Dimension::Parent);
        } else if lineage & PARENT_KNOWN != 0 {
            by_number(run, Dimension::Parent, lineage::class_in(lineage));
        } else {
            run.candidates().unknown(run.hook, Dimension::Parent);
        }
    }
    if run.asks(Dimension::Ancestors) {
        if lineage & ANCESTORS_UNKNOWN != 0 {
            run.candidates().unknown(run.hook, Dimension::Ancestors);
        } else {
            let held = (lineage >> HELD_SHIFT) as u32 & run.hook.ancestor_conditions;
            by_number(run, Dimension::Ancestors, held);
        }
    }
}

/// Narrows by an address, in words of the machine.
#[inline(always)]
pub fn by_address(run: &mut Run, [first, second]: [u64; 2]) {
    const DIMENSION: Dimension = Dimension::Address;
    if !run.asks(DIMENSION) {
        return;
    }
    if keep_address(run.claimed.index(), tag(run, DIMENSION), first, second) == 0 {
        run.candidates().unlisted(run.hook, DIMENSION);
    }
}

/// Keeps the terms that an address, in words of the machine, does not rule out; 0 where no entry names it.
/// `tag`: see [`tag`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn keep_address(index: u32, tag: u32, first: u64, second: u64) -> u64 {
    let key = AddressKey {
        bits: 32 + 128,
        tag: tag_of(tag),
        // SAFETY: both are 16 bytes without padding.
        address: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>([first, second]) },
    };
    // SAFETY: `Key` is the packed equal of `AddressKey`.
    let found = ADDRESSES.get(unsafe { &*(&raw const key).cast::<Key<[u8; 20]>>() });
    keep(index, found)
}

/// Narrows by a port.
#[inline(always)]
pub fn by_port(run: &mut Run, port: u16) {
    if run.asks(Dimension::Port) {
        by_number(run, Dimension::Port, u32::from(port));
    }
}

/// Narrows by the access mode of an open, the lowest two of its flags, or by what stands for it.
#[inline(always)]
pub fn by_access(run: &mut Run, open_flags: u32) {
    if run.asks(Dimension::Access) {
        // Four comparisons and not an index: the verifier bounds neither after a spill (5.10).
        let vector = match open_flags & 3 {
            0 => &run.hook.access[0],
            1 => &run.hook.access[1],
            2 => &run.hook.access[2],
            _ => &run.hook.access[3],
        };
        run.candidates().keep(vector);
    }
}
