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
use crate::task::{current, embedded, nested, read};

/// Names and mount points that one part of a walk goes through: what most paths have. The verifier
/// walks every step of it, in every program that has a path.
const STEPS: u32 = 16;
/// Parts at most: a path of 4,095 bytes has at most 2,047 names, and there is room for 129 mount
/// points besides.
const PARTS: u32 = 136;
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
    /// Fields that were read at once.
    fields: [u64; 3],
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
        fields: [0; 3],
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

/// Reads fields of one struct to [`Position::fields`]: at once where they follow each other, as on every kernel so
/// far, for each read costs eighty instructions.
#[inline(always)]
fn load_fields<const COUNT: usize>(buffer: *mut PathBuffer, base: u64, offsets: [u32; COUNT]) {
    let first = offsets[0];
    let mut follow = first != ABSENT;
    let mut field = 1;
    while field < COUNT {
        follow &= offsets[field] == first.wrapping_add((field * size_of::<u64>()) as u32);
        field += 1;
    }
    // SAFETY: a field of a map value, of no fewer; the helper checks the address, and writes all of it in any
    // case.
    unsafe {
        let to = (&raw mut (*buffer).position.fields).cast::<u64>();
        if follow {
            let from = base.wrapping_add(u64::from(first)) as *const _;
            bpf_probe_read_kernel(to.cast(), (COUNT * size_of::<u64>()) as u32, from);
        } else {
            field = 0;
            while field < COUNT {
                to.add(field).write_volatile(0);
                if offsets[field] != ABSENT {
                    let from = base.wrapping_add(u64::from(offsets[field])) as *const _;
                    bpf_probe_read_kernel(to.add(field).cast(), size_of::<u64>() as u32, from);
                }
                field += 1;
            }
        }
    }
}

/// A field that is a pointer, read to [`Position::fields`]: the stack has no room for it.
#[inline(always)]
fn load(buffer: *mut PathBuffer, base: u64, offset: u32) -> u64 {
    load_fields(buffer, base, [offset]);
    found(buffer, 0)
}

/// One of the fields that were read.
#[inline(always)]
fn found(buffer: *mut PathBuffer, field: usize) -> u64 {
    // SAFETY: a field of a map value.
    unsafe { (&raw const (*buffer).position.fields[field]).read_volatile() }
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
    let fs = load(buffer, current(), offset!(task_fs));
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
        (*buffer).position.mount_root = load(buffer, vfsmount, offset!(vfsmount_root));
        // The two members of a `struct path` at once.
        load_fields(buffer, root, [offset!(path_mnt), offset!(path_dentry)]);
        (*buffer).position.root_vfsmount = found(buffer, 0);
        (*buffer).position.root_dentry = found(buffer, 1);
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
    // SAFETY: a field of a map value, as all that follow.
    let position = unsafe { &raw mut (*buffer).position };
    // Where the walk stands is kept there, not on the stack, which has no room for it. Volatile: to the compiler
    // the stack is memory like any other.
    macro_rules! get {
        ($field:ident) => {
            // SAFETY: as above.
            unsafe { (&raw const (*position).$field).read_volatile() }
        };
    }
    macro_rules! put {
        ($field:ident, $value:expr) => {
            // SAFETY: as above.
            unsafe { (&raw mut (*position).$field).write_volatile($value) }
        };
    }
    let mut dentry = get!(dentry);
    // SAFETY: as above.
    let mut start = mask::<POSITION_MASK>(unsafe { (*buffer).start });
    let mut step = 0;
    while step < STEPS {
        step += 1;
        if dentry == get!(root_dentry) && get!(vfsmount) == get!(root_vfsmount) {
            put!(root_start, start);
        }
        if dentry == get!(mount_root) {
            let mount = get!(vfsmount).wrapping_sub(u64::from(offset!(mount_mnt)));
            if get!(mount_start) > END {
                put!(mount_start, start);
            }
            let parent = load(buffer, mount, offset!(mount_parent));
            if parent == mount || parent == 0 {
                return finish(buffer, start);
            }
            dentry = load(buffer, mount, offset!(mount_mountpoint));
            let vfsmount = embedded(parent, offset!(mount_mnt));
            put!(vfsmount, vfsmount);
            put!(mount_root, load(buffer, vfsmount, offset!(vfsmount_root)));
            continue;
        }
        // The parent and, behind it, `struct qstr`: hash and length, then the pointer to the name.
        let (names, name) = (offset!(dentry_name), nested(offset!(dentry_name), 8));
        load_fields(buffer, dentry, [offset!(dentry_parent), names, name]);
        // Each is loaded where it is needed: the stack has no room to keep them.
        let parent = found(buffer, 0);
        if parent == 0 {
            return cut(buffer, start);
        }
        let length = mask::<NAME_MASK>(found(buffer, 1) >> 32);
        if length + 1 > start {
            return cut(buffer, start);
        }
        // A pseudo file (memfd, pipe) is its own parent and has a name; a root has the name "/".
        let is_root = parent == dentry && read::<u8>(found(buffer, 2), 0) == b'/';
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
                let name = found(buffer, 2) as *const _;
                if bpf_probe_read_kernel(to.cast(), bytes, name) != 0 {
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
