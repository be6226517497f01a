//! Who a process descends from, and the classes of what they run.
//!
//! [`LINEAGE`] says who made whom, as user space has it: it does not change when a parent exits and the
//! process gets another. What an ancestor runs is asked of the ancestor while it lives; of one that has
//! exited it is what it, or who made it, noted last.

use holdfast_policy::table::{ANCESTORS, CLASSES, Tag, class_index, hook_flags};
use holdfast_wire::control::{Lineage, ProcessKey};
use holdfast_wire::layout::ABSENT;

use crate::decide::PathTrieKey;
use crate::maps::{
    ANCESTOR_CONDITIONS_BY_CLASS, CLASS_CACHE, CLASSES_BY_PATH, CachedClass, LINEAGE, SCRATCH,
};
use crate::offset;
use crate::path::Path;
use crate::run::Run;
use crate::scratch::{Place, Use};
use crate::task::{current_tgid, own, own_start, pointer, read};

/// How far back a walk to the ancestors is, and what it has found.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Descent {
    /// The process whose parent is next.
    key: ProcessKey,
    /// The `struct task_struct` of the last one that lives.
    leader: u64,
    /// The bits below.
    found: u64,
}

/// Bits of what is found. The lowest eight are a class.
const CLASS: u64 = CLASSES as u64 - 1;
/// There is a class.
const FOUND: u64 = 1 << 8;
/// There is nobody further back.
const NOBODY: u64 = 1 << 9;
/// Who is further back is not known.
const UNKNOWN: u64 = 1 << 10;
/// The process further back lives.
const LIVES: u64 = 1 << 11;
/// [`walk`]: the class is the parent's.
pub const PARENT_KNOWN: u64 = FOUND;
/// [`walk`]: there is no parent.
pub const PARENT_ABSENT: u64 = NOBODY;
/// [`walk`]: what an ancestor runs is not known.
pub const ANCESTORS_UNKNOWN: u64 = UNKNOWN;
/// [`walk`]: where a bit per condition on ancestors begins.
pub const HELD_SHIFT: u32 = 16;

/// The class in what was found.
#[inline(always)]
pub fn class_in(found: u64) -> u32 {
    (found & CLASS) as u32
}

/// The process that `leader` leads.
#[inline(always)]
fn key_of(leader: u64) -> ProcessKey {
    let tgid = read(leader, offset!(task_tgid));
    ProcessKey::new(tgid, read(leader, offset!(task_start_boottime)))
}

/// The leader of the process that is the parent now of the one that `leader` leads.
#[inline(always)]
fn real_parent(leader: u64) -> u64 {
    pointer(
        pointer(leader, offset!(task_real_parent)),
        offset!(task_group_leader),
    )
}

#[inline(always)]
fn own_key() -> ProcessKey {
    ProcessKey::new(current_tgid(), own_start())
}

// What follows is in several global functions, called one after the other from the programs themselves: the
// stack of a program and of all that is called within each other is 512 bytes.

/// The class of the current process's executable; `None` when its path is not known.
#[inline(always)]
pub fn own_class(run: &Run) -> Option<u32> {
    found_class(class_of(run, own(offset!(task_group_leader))))
}

/// The class of the executable of the process that `task` is of; `None` when its path is not known.
#[inline(always)]
pub fn class_of_task(run: &Run, task: u64) -> Option<u32> {
    let leader = pointer(task, offset!(task_group_leader));
    found_class(class_of(run, leader))
}

#[inline(always)]
fn found_class(found: u64) -> Option<u32> {
    (found & FOUND != 0).then_some(class_in(found))
}

/// The class of the executable of the process that `leader` leads, with [`FOUND`]; else 0.
#[inline(always)]
fn class_of(run: &Run, leader: u64) -> u64 {
    let classes = run.hook.class_digest;
    let known = cached_class(classes, leader);
    if known != 0 {
        return known;
    }
    let file = pointer(pointer(leader, offset!(task_mm)), offset!(mm_exe_file));
    let path = Path::of_file(run.claimed.path(Use::Executable), file);
    if !path.is_certain() {
        return 0;
    }
    let class = class_of_path(run.generation, &path);
    cache_class(classes, leader, class)
}

/// What [`cache_class`] has kept. Remembered per process, and valid as long as the process, its image and the
/// classes are the same: nothing needs to be kept up at fork or exec.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn cached_class(classes: u32, leader: u64) -> u64 {
    let tgid: u32 = read(leader, offset!(task_tgid));
    // SAFETY: values of this map are replaced as a whole.
    let Some(cached) = (unsafe { CLASS_CACHE.get(tgid) }) else {
        return 0;
    };
    let is_same = cached.start_boottime == read::<u64>(leader, offset!(task_start_boottime))
        && cached.exec_id == read::<u32>(leader, offset!(task_self_exec_id))
        && cached.classes == classes;
    if is_same {
        FOUND | u64::from(cached.class) & CLASS
    } else {
        0
    }
}

/// Keeps the class of the process that `leader` leads.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn cache_class(classes: u32, leader: u64, class: u32) -> u64 {
    let tgid: u32 = read(leader, offset!(task_tgid));
    let cached = CachedClass {
        start_boottime: read(leader, offset!(task_start_boottime)),
        exec_id: read(leader, offset!(task_self_exec_id)),
        classes,
        class,
        reserved: 0,
    };
    let _ = CLASS_CACHE.insert(tgid, cached, 0);
    FOUND | u64::from(class) & CLASS
}

/// The class of an executable whose path is certain.
#[inline(always)]
fn class_of_path(generation: u32, path: &Path) -> u32 {
    let key = path.key(Tag::executable_class(generation));
    // SAFETY: `key` is a whole `PathKey`; `Key` is its packed equal.
    let class = CLASSES_BY_PATH.get(unsafe { &*key.cast::<PathTrieKey>() });
    class.copied().unwrap_or(0)
}

/// Whom the current process descends from: the bits above.
#[inline(always)]
pub fn walk(run: &Run) -> u64 {
    let index = run.claimed.index();
    if begin(index) == 0 {
        return ANCESTORS_UNKNOWN;
    }
    let mut back = 0;
    while back <= ANCESTORS as u32 {
        let ancestor = step(index, run.hook.class_digest);
        let mut class = ancestor;
        if ancestor & LIVES != 0 {
            // SAFETY: a field of this run's slot.
            let leader = unsafe { (&raw const (*run.claimed.slot).descent.leader).read_volatile() };
            let of_image = class_of(run, leader);
            if of_image != 0 {
                class = of_image;
            }
        }
        if enter(index, run.generation, back, class) == 0 {
            break;
        }
        back += 1;
    }
    // SAFETY: a field of this run's slot.
    unsafe { (&raw const (*run.claimed.slot).descent.found).read_volatile() }
}

/// Begins a walk at the current process; 0 where the kernel does not tell of processes.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn begin(index: u32) -> u64 {
    let Some(slot) = SCRATCH.get_ptr_mut(index) else {
        return 0;
    };
    if offset!(task_group_leader) == ABSENT {
        return 0;
    }
    let leader = own(offset!(task_group_leader));
    // SAFETY: a field of a map value.
    unsafe {
        (*slot).descent = Descent {
            key: key_of(leader),
            leader,
            found: 0,
        };
    }
    1
}

/// Goes one step further back: to who made the process that the walk is at. [`NOBODY`], or [`UNKNOWN`], or
/// whether it [`LIVES`] and the class that was noted of it, with [`FOUND`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn step(index: u32, classes: u32) -> u64 {
    let Some(slot) = SCRATCH.get_ptr_mut(index) else {
        return UNKNOWN;
    };
    // SAFETY: a field of a map value.
    let Descent { key, leader, .. } = unsafe { (*slot).descent };
    // SAFETY: `parent` never changes.
    let Some(made) = (unsafe { LINEAGE.get(key) }) else {
        return UNKNOWN;
    };
    let parent = made.parent;
    if parent.tgid == 0 {
        return NOBODY;
    }
    // SAFETY: a field of a map value.
    unsafe { (*slot).descent.key = parent };
    // Where the one that made it is gone, its parent now is the first process or a reaper that this one made,
    // and these may be among the ancestors further back.
    let mut found = 0;
    let mut near = real_parent(leader);
    if key_of(near) != parent {
        near = real_parent(near);
    }
    if key_of(near) == parent {
        // SAFETY: a field of a map value.
        unsafe { (*slot).descent.leader = near };
        found = LIVES;
    }
    // SAFETY: as above; the class is read once.
    unsafe {
        if let Some(noted) = LINEAGE.get(parent) {
            let class = (&raw const noted.class).read_volatile();
            if class >> 32 == u64::from(classes) {
                found |= FOUND | class & CLASS;
            }
        }
    }
    found
}

/// Enters what was found of the process so many steps `back`; 0 when there is nothing more to find.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn enter(index: u32, generation: u32, back: u32, ancestor: u64) -> u64 {
    let Some(slot) = SCRATCH.get_ptr_mut(index) else {
        return 0;
    };
    // SAFETY: a field of a map value.
    let found = unsafe { &mut (*slot).descent.found };
    if back == 0 {
        *found = ancestor & (NOBODY | UNKNOWN | FOUND | CLASS);
        return u64::from(ancestor & (NOBODY | UNKNOWN) == 0);
    }
    if ancestor & NOBODY != 0 {
        return 0;
    }
    if ancestor & FOUND == 0 {
        *found |= ANCESTORS_UNKNOWN;
        return 0;
    }
    let class = class_index(generation, class_in(ancestor));
    if let Some(held) = ANCESTOR_CONDITIONS_BY_CLASS.get(class) {
        *found |= u64::from(*held) << HELD_SHIFT;
    }
    1
}

/// The current process is about to have another executable.
#[inline(always)]
pub fn forget_class() {
    note(0);
}

/// Notes what the current process runs from now on, for when it has exited and is asked for.
#[inline(always)]
pub fn note_class(run: &Run) {
    if run.hook.flags & hook_flags::LINEAGE != 0 {
        note_class_of_path(run.claimed.index(), run.generation, run.hook.class_digest);
    }
}

/// Notes that the current process runs what the path of the operation leads to.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn note_class_of_path(index: u32, generation: u32, classes: u32) -> u64 {
    let Some(slot) = SCRATCH.get_ptr_mut(index) else {
        return 0;
    };
    let path = Path::walked(Place::of(slot, index, Use::Path));
    if path.is_certain() {
        note(Lineage::class_of(classes, class_of_path(generation, &path)));
    }
    0
}

/// The same, before it makes another process, if it is not known yet among these classes.
#[inline(always)]
pub fn know_class(run: &Run) {
    if run.hook.flags & hook_flags::LINEAGE != 0
        && let Some(class) = own_class(run)
    {
        note(Lineage::class_of(run.hook.class_digest, class));
    }
}

#[inline(always)]
fn note(class: u64) {
    if let Some(own) = LINEAGE.get_ptr_mut(own_key()) {
        // SAFETY: a map value; nobody else writes this field.
        unsafe { (&raw mut (*own).class).write_volatile(class) };
    }
}

/// The current process has made one, which runs the same program.
#[inline(always)]
pub fn inherit(tgid: u32, start_boottime: u64) {
    let parent = own_key();
    // SAFETY: the class is read once, and nobody but this process writes it.
    let class = unsafe { LINEAGE.get(parent) }.map_or(0, |own| own.class);
    let _ = LINEAGE.insert(
        ProcessKey::new(tgid, start_boottime),
        Lineage { parent, class },
        0,
    );
}
