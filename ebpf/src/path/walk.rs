//! The walk from a dentry to the root of its mount namespace.
//!
//! Global functions, which the verifier looks at once and by themselves, not again at every call. Such
//! a function takes no pointers to map values on 5.10, so it finds the buffer by numbers; and where a
//! walk stands is in the buffer, so that it can be taken up again: a loop as long as the longest path
//! has names would be more than old verifiers walk through, but short ones can be chained.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::{NOT_MET, PATH_BYTES};

use super::{END, KEY_HEAD, POSITION_MASK, PathBuffer};
use crate::bound::mask;
use crate::maps::SCRATCH;
use crate::offset;
use crate::scratch::Place;
use crate::task::{current, embedded, read};

/// Names and mount points that one part of a walk goes through: what most paths have. The verifier
/// walks every step of it.
const STEPS: u32 = 32;
/// Parts at most: a path of 4,095 bytes has at most 2,047 names, and there is room for 129 mount
/// points besides.
const PARTS: u32 = 68;
/// `NAME_MAX` of `include/uapi/linux/limits.h`.
const NAME_MASK: i32 = 255;

/// Where a walk stands.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Position {
    vfsmount: u64,
    mount_root: u64,
    dentry: u64,
    /// `fs->root` of the process.
    root_vfsmount: u64,
    root_dentry: u64,
    /// Where the path begins that leads from there; [`END`] + 1 until the walk has come by.
    root_start: u64,
    /// The same of the path that leads from the root of the file's mount.
    mount_start: u64,
}

impl Position {
    const NOWHERE: Self = Self {
        vfsmount: 0,
        mount_root: 0,
        dentry: 0,
        root_vfsmount: 0,
        root_dentry: 0,
        root_start: END + 1,
        mount_start: END + 1,
    };
}

#[inline(always)]
fn buffer_of(place: u32) -> Option<*mut PathBuffer> {
    let slot = SCRATCH.get_ptr_mut(place / BUFFERS)?;
    // SAFETY: a field of a map value; the index is bounded to the four that there are.
    Some(unsafe {
        (&raw mut (*slot).paths)
            .cast::<PathBuffer>()
            .add(mask::<3>(u64::from(place)) as usize)
    })
}

impl Place {
    /// How a global function finds it.
    #[inline(always)]
    pub(super) fn number(self) -> u32 {
        self.index * BUFFERS + self.what as u32
    }
}

/// Path buffers of a slot.
const BUFFERS: u32 = 4;

/// A field that is a pointer, read by way of `word`: of all that is read one after the other, each would
/// have its own place on the stack.
#[inline(always)]
fn load(word: &mut u64, base: u64, offset: u32) -> u64 {
    if offset == ABSENT {
        return 0;
    }
    // SAFETY: the helper checks the address, and writes all of the word in any case.
    unsafe {
        let from = base.wrapping_add(u64::from(offset)) as *const _;
        bpf_probe_read_kernel((&raw mut *word).cast(), size_of::<u64>() as u32, from);
    }
    *word
}

/// Walks, and writes to the buffer what was found. `place`: [`Place::number`].
///
/// Few arguments, and few values that are kept: its stack is a part of the 512 bytes that a program has with
/// all that is called within each other.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_path(place: u32, vfsmount: u64, dentry: u64) -> u64 {
    let Some(buffer) = buffer_of(place) else {
        return 0;
    };
    let mut word = 0;
    let fs = load(&mut word, current(), offset!(task_fs));
    let root = embedded(fs, offset!(fs_root));
    // SAFETY: fields of a map value, and the fixed last byte of its path.
    unsafe {
        (*buffer).mount = vfsmount.wrapping_sub(u64::from(offset!(mount_mnt)));
        (*buffer).start = END;
        (*buffer).truncated = 0;
        (*buffer).above_root = u64::from(NOT_MET);
        (*buffer).in_mount = 0;
        (*buffer).position = Position::NOWHERE;
        (*buffer).position.vfsmount = vfsmount;
        (*buffer).position.dentry = dentry;
        (*buffer).position.mount_root = load(&mut word, vfsmount, offset!(vfsmount_root));
        (*buffer).position.root_vfsmount = load(&mut word, root, offset!(path_mnt));
        (*buffer).position.root_dentry = load(&mut word, root, offset!(path_dentry));
        (&raw mut (*buffer).bytes)
            .cast::<u8>()
            .add(KEY_HEAD + END as usize)
            .write(0);
    }
    if dentry == 0 || vfsmount == 0 {
        return 0;
    }
    let mut goes_on = GOES_ON;
    let mut part = 0;
    while part < PARTS && goes_on == GOES_ON {
        goes_on = walk_part(place);
        part += 1;
    }
    // SAFETY: as above.
    unsafe {
        if goes_on == GOES_ON {
            (*buffer).truncated = 1;
        }
        let root_start = (*buffer).position.root_start;
        let mount_start = (*buffer).position.mount_start;
        if mount_start <= END {
            (*buffer).in_mount = END.wrapping_sub(mount_start);
        }
        if root_start <= END {
            (*buffer).above_root = root_start.wrapping_sub((*buffer).start);
        }
    }
    0
}

/// What [`walk_part`] returns while there is more to walk.
const GOES_ON: u64 = 1;

/// Takes a walk up where it stands. Not [`GOES_ON`]: the buffer has all that there is.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_part(place: u32) -> u64 {
    let Some(buffer) = buffer_of(place) else {
        return 0;
    };
    // SAFETY: fields of a map value.
    let Position {
        mut vfsmount,
        mut mount_root,
        mut dentry,
        root_vfsmount,
        root_dentry,
        ..
    } = unsafe { (*buffer).position };
    // SAFETY: as above.
    let mut start = mask::<POSITION_MASK>(unsafe { (*buffer).start });
    let mut word = 0;
    let mut step = 0;
    while step < STEPS {
        step += 1;
        if dentry == root_dentry && vfsmount == root_vfsmount {
            // SAFETY: a field of a map value.
            unsafe { (*buffer).position.root_start = start };
        }
        if dentry == mount_root {
            let mount = vfsmount.wrapping_sub(u64::from(offset!(mount_mnt)));
            // SAFETY: a field of a map value.
            unsafe {
                if (*buffer).position.mount_start > END {
                    (*buffer).position.mount_start = start;
                }
            }
            let parent = load(&mut word, mount, offset!(mount_parent));
            if parent == mount || parent == 0 {
                return finish(buffer, start);
            }
            dentry = load(&mut word, mount, offset!(mount_mountpoint));
            vfsmount = embedded(parent, offset!(mount_mnt));
            mount_root = load(&mut word, vfsmount, offset!(vfsmount_root));
            continue;
        }
        let parent = load(&mut word, dentry, offset!(dentry_parent));
        if parent == 0 {
            return cut(buffer, start);
        }
        // `struct qstr` at once: hash and length, then the pointer to the name.
        let [hash_and_length, name]: [u64; 2] = read(dentry, offset!(dentry_name));
        let length = mask::<NAME_MASK>(hash_and_length >> 32);
        if length + 1 > start {
            return cut(buffer, start);
        }
        // A pseudo file (memfd, pipe) is its own parent and has a name; a root has the name "/".
        let is_root = parent == dentry && read::<u8>(name, 0) == b'/';
        if !is_root {
            let at = mask::<POSITION_MASK>(start - length);
            // SAFETY: `at` is below PATH_BYTES and the buffer has 256 bytes behind that.
            unsafe {
                let to = (&raw mut (*buffer).bytes)
                    .cast::<u8>()
                    .add(KEY_HEAD + at as usize);
                // The byte behind the name is already written, and the read ends before it. Bounded once
                // more: 6.12 forgets the bounds of what `length + 1` was compared by above.
                let bytes = mask::<NAME_MASK>(length) as u32;
                if bpf_probe_read_kernel(to.cast(), bytes, name as *const _) != 0 {
                    return cut(buffer, start);
                }
            }
            let slash = mask::<POSITION_MASK>(at - 1);
            // SAFETY: as above.
            unsafe {
                let to = (&raw mut (*buffer).bytes)
                    .cast::<u8>()
                    .add(KEY_HEAD + slash as usize);
                to.write(b'/');
            }
            start = slash;
        }
        if parent == dentry {
            return finish(buffer, start);
        }
        dentry = parent;
    }
    // SAFETY: fields of a map value.
    unsafe {
        (*buffer).start = start;
        (*buffer).position.vfsmount = vfsmount;
        (*buffer).position.mount_root = mount_root;
        (*buffer).position.dentry = dentry;
    }
    GOES_ON
}

/// The walk cannot go on: what it has is the end of the path, in whole names.
#[inline(always)]
fn cut(buffer: *mut PathBuffer, start: u64) -> u64 {
    // SAFETY: fields of a map value.
    unsafe {
        (*buffer).start = start;
        (*buffer).truncated = 1;
    }
    0
}

/// The root itself has no name of its own: its path is "/".
#[inline(always)]
fn finish(buffer: *mut PathBuffer, start: u64) -> u64 {
    let at = if start == END {
        // SAFETY: a fixed place in a map value.
        unsafe {
            (&raw mut (*buffer).bytes)
                .cast::<u8>()
                .add(KEY_HEAD + END as usize - 1)
                .write(b'/')
        };
        END - 1
    } else {
        start
    };
    // SAFETY: a field of a map value.
    unsafe { (*buffer).start = at };
    0
}

const _: () = assert!(PATH_BYTES as u64 == END + 1);
