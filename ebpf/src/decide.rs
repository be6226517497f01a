//! The lookups behind `holdfast_policy::decision`, one per dimension.

use aya_ebpf::maps::lpm_trie::Key;
use holdfast_policy::table::{
    AddressKey, CLASSES, Dimension, KEY_PATH_BYTES, PortKey, Tag, executable_vector_index,
};

use crate::maps::{
    ADDRESSES, CLASS_CACHE, CLASSES_BY_PATH, CachedClass, EXECUTABLE_VECTORS, PATHS, PORTS,
};
use crate::offset;
use crate::path::Path;
use crate::run::Run;
use crate::scratch::Use;
use crate::task::{pointer, process_start, read};

/// The key of a path trie, as aya spells it.
type PathTrieKey = Key<[u8; KEY_PATH_BYTES + 4]>;

/// Narrows by a path of the operation.
#[inline(always)]
pub fn by_path(run: &mut Run, dimension: Dimension, path: &Path) {
    if !path.is_certain() {
        run.candidates.unknown(run.hook, dimension);
        return;
    }
    let key = path.key(Tag::new(run.generation, run.kind, dimension));
    // SAFETY: `key` is a whole `PathKey`; `Key` is its packed equal.
    match PATHS.get(unsafe { &*key.cast::<PathTrieKey>() }) {
        Some(vector) => run.candidates.keep(vector),
        None => run.candidates.unlisted(run.hook, dimension),
    }
}

/// Narrows by the executable of the current process.
#[inline(always)]
pub fn by_executable(run: &mut Run) {
    match executable_class(run) {
        Some(class) => {
            let index = executable_vector_index(run.generation, run.kind as u32, class);
            if let Some(vector) = EXECUTABLE_VECTORS.get(index) {
                run.candidates.keep(vector);
            }
        }
        None => run.candidates.unknown(run.hook, Dimension::Executable),
    }
}

/// The class of the current process's executable; `None` when its path is not known.
///
/// Remembered per process, and valid as long as the process, its image and the policy are the same:
/// nothing needs to be kept up at fork or exec.
#[inline(always)]
fn executable_class(run: &Run) -> Option<u32> {
    let tgid = crate::task::current_tgid();
    let start_boottime = process_start(run.task);
    let exec_id: u32 = read(run.task, offset!(task_self_exec_id));
    // SAFETY: values of this map are replaced as a whole.
    if let Some(cached) = unsafe { CLASS_CACHE.get(tgid) }
        && cached.start_boottime == start_boottime
        && cached.exec_id == exec_id
        && cached.epoch == run.hook.epoch
    {
        return Some(cached.class);
    }
    let mm = pointer(run.task, offset!(task_mm));
    let path = Path::of_file(
        run.claimed.path(Use::Executable),
        pointer(mm, offset!(mm_exe_file)),
    );
    if !path.is_certain() {
        return None;
    }
    let key = path.key(Tag::executable_class(run.generation));
    // SAFETY: as in `by_path`.
    let class = CLASSES_BY_PATH
        .get(unsafe { &*key.cast::<PathTrieKey>() })
        .copied()
        .unwrap_or(0);
    let class = class & (CLASSES as u32 - 1);
    let cached = CachedClass {
        start_boottime,
        exec_id,
        epoch: run.hook.epoch,
        class,
        reserved: 0,
    };
    let _ = CLASS_CACHE.insert(tgid, cached, 0);
    Some(class)
}

/// Narrows by an address.
#[inline(always)]
pub fn by_address(run: &mut Run, address: [u8; 16]) {
    if !run.asks(Dimension::Address) {
        return;
    }
    let key = AddressKey {
        bits: 32 + 128,
        tag: Tag::new(run.generation, run.kind, Dimension::Address),
        address,
    };
    // SAFETY: `Key` is the packed equal of `AddressKey`.
    match ADDRESSES.get(unsafe { &*(&raw const key).cast::<Key<[u8; 20]>>() }) {
        Some(vector) => run.candidates.keep(vector),
        None => run.candidates.unlisted(run.hook, Dimension::Address),
    }
}

/// Narrows by a port.
#[inline(always)]
pub fn by_port(run: &mut Run, port: u16) {
    if !run.asks(Dimension::Port) {
        return;
    }
    let tag = Tag::new(run.generation, run.kind, Dimension::Port);
    // SAFETY: values of this map are replaced as a whole.
    match unsafe {
        PORTS.get(PortKey {
            tag,
            port: u32::from(port),
        })
    } {
        Some(vector) => run.candidates.keep(vector),
        None => run.candidates.unlisted(run.hook, Dimension::Port),
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
        run.candidates.keep(vector);
    }
}
