//! Absolute paths, by walking from a dentry to the root of its mount namespace.
//!
//! `bpf_d_path` is not to be had in kprobes, nor in LSM programs before 5.11, so there is one way for
//! all. The walk goes from the last name to the first, so the path is built from the end of a buffer.

use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user_str,
};
use holdfast_policy::table::{KEY_PATH_BYTES, Tag};
use holdfast_wire::record::{PATH_BYTES, flags};

use crate::bound::mask;
use crate::maps::SCRATCH;
use crate::offset;
use crate::scratch::Place;
use crate::task::{embedded, pointer, read};

/// Names and mount points that a walk goes through at most. A path of 4,096 bytes can have 2,048
/// names, but the verifier walks every step of this loop; deeper paths are flagged as cut.
const STEPS: u32 = 96;
/// `NAME_MAX` of `include/uapi/linux/limits.h`.
const NAME_MASK: i32 = 255;
/// The path's NUL stands here.
const END: u64 = PATH_BYTES as u64 - 1;
const POSITION_MASK: i32 = PATH_BYTES as i32 - 1;
/// The key of a trie lookup stands right before the path: its number of bits and its tag.
const KEY_HEAD: usize = 8;

/// A path that ends at a fixed place, with room for a lookup key before and behind it.
#[repr(C, align(8))]
pub struct PathBuffer {
    /// Where the path begins, and whether it is cut: what `walk_path` found.
    start: u64,
    truncated: u64,
    bytes: [u8; KEY_HEAD + PATH_BYTES + KEY_PATH_BYTES + 4],
}

/// A path in a [`PathBuffer`], or the lack of one.
#[derive(Clone, Copy)]
pub struct Path {
    place: Place,
    source: Source,
}

/// Where a [`Path`] comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The kernel's own structures. It stands at the end of the buffer, the others at its start.
    Walk,
    /// An argument of the system call, not resolved.
    Argument,
    /// The content of a symbolic link, which is no path before it is followed.
    Content,
}

impl Place {
    /// Where a text is read to.
    #[inline(always)]
    fn text(self) -> *mut core::ffi::c_void {
        // SAFETY: a field of a map value.
        unsafe {
            (&raw mut (*self.buffer).bytes)
                .cast::<u8>()
                .add(KEY_HEAD)
                .cast()
        }
    }
}

impl Path {
    /// No path.
    #[inline(always)]
    pub fn none(place: Place) -> Self {
        let none = Self {
            place,
            source: Source::Walk,
        };
        none.set(END, 0);
        none
    }

    /// The path of `dentry` on the mount `vfsmount` (a `struct path`'s two members).
    #[inline(always)]
    pub fn walk(place: Place, vfsmount: u64, dentry: u64) -> Self {
        walk_path(place.index, place.what as u32, vfsmount, dentry);
        Self {
            place,
            source: Source::Walk,
        }
    }

    // What was found stands in memory, and is loaded where it is needed: a number that is used as a
    // length is traced back by the verifier, and before 6.4 a trace that comes to a call of another
    // function makes every number in the program matter, so that no two of its states are alike.
    #[inline(always)]
    fn set(&self, start: u64, truncated: u64) {
        // SAFETY: fields of a map value.
        unsafe {
            (&raw mut (*self.place.buffer).start).write_volatile(start);
            (&raw mut (*self.place.buffer).truncated).write_volatile(truncated);
        }
    }

    #[inline(always)]
    fn start(&self) -> u64 {
        // SAFETY: a field of a map value.
        mask::<POSITION_MASK>(unsafe { (&raw const (*self.place.buffer).start).read_volatile() })
    }

    /// 1 when the walk did not come to the root, else 0.
    #[inline(always)]
    fn truncated(&self) -> u64 {
        // SAFETY: a field of a map value.
        unsafe { (&raw const (*self.place.buffer).truncated).read_volatile() & 1 }
    }

    /// The path of a `struct path` in the kernel.
    #[inline(always)]
    pub fn of(place: Place, path: u64) -> Self {
        Self::walk(
            place,
            pointer(path, offset!(path_mnt)),
            pointer(path, offset!(path_dentry)),
        )
    }

    /// The path of a `struct file`.
    #[inline(always)]
    pub fn of_file(place: Place, file: u64) -> Self {
        Self::of(place, embedded(file, offset!(file_path)))
    }

    /// A path that is an argument of the current system call.
    #[inline(always)]
    pub fn argument(place: Place, user: u64) -> Self {
        // SAFETY: the helper writes at most PATH_BYTES to a buffer that has them.
        let read =
            unsafe { bpf_probe_read_user_str(place.text(), PATH_BYTES as u32, user as *const _) };
        Self::as_given(place, Source::Argument, read)
    }

    /// The content of a symbolic link, given by the caller.
    #[inline(always)]
    pub fn content_argument(place: Place, user: u64) -> Self {
        Self {
            source: Source::Content,
            ..Self::argument(place, user)
        }
    }

    /// The content of a symbolic link, as the kernel has copied it.
    #[inline(always)]
    pub fn content(place: Place, kernel: u64) -> Self {
        // SAFETY: the helper writes at most PATH_BYTES to a buffer that has them.
        let read = unsafe {
            bpf_probe_read_kernel_str(place.text(), PATH_BYTES as u32, kernel as *const _)
        };
        Self::as_given(place, Source::Content, read)
    }

    /// `read`: bytes at the start of the buffer, NUL included, or an error.
    #[inline(always)]
    fn as_given(place: Place, source: Source, read: i64) -> Self {
        let path = Self { place, source };
        // It stands at the start of the buffer, not at the end; `start` is where it would begin if it
        // stood at the end, so that the length is the same arithmetic.
        path.set(
            if read <= 1 {
                END
            } else {
                END - (read as u64 - 1)
            },
            0,
        );
        path
    }

    /// Bytes of the path.
    #[inline(always)]
    pub fn length(&self) -> u64 {
        END - self.start()
    }

    /// Whether the whole path is known and is what the kernel resolved.
    #[inline(always)]
    pub fn is_certain(&self) -> bool {
        self.source == Source::Walk && self.truncated() == 0 && self.start() != END
    }

    /// What the record's header is to say of it.
    #[inline(always)]
    pub fn flags(&self) -> u32 {
        let argument = if self.source == Source::Argument {
            flags::PATH_IS_ARGUMENT
        } else {
            0
        };
        (self.truncated() as u32 * flags::PATH_TRUNCATED) | argument
    }

    /// Where the first byte stands in the kernel's memory.
    #[inline(always)]
    fn address(&self) -> u64 {
        let start = if self.source == Source::Walk {
            self.start()
        } else {
            0
        };
        // SAFETY: a field of a map value.
        let bytes = unsafe { &raw const (*self.place.buffer).bytes };
        bytes as u64 + KEY_HEAD as u64 + start
    }

    /// Copies the path to `to`, which has room for [`PATH_BYTES`] - 1; the number of bytes copied.
    #[inline(always)]
    pub fn copy_to(&self, to: *mut u8) -> u64 {
        let length = mask::<POSITION_MASK>(self.length());
        // SAFETY: source and target are map values with this many bytes, so it cannot fail either.
        unsafe { bpf_probe_read_kernel(to.cast(), length as u32, self.address() as *const _) };
        length
    }

    /// The path as the key of a longest-prefix lookup, its NUL included: see
    /// `holdfast_policy::table::PathKey`. Only for a path that [`Self::is_certain`].
    #[inline(always)]
    pub fn key(&self, tag: Tag) -> *const u8 {
        let start = self.start();
        let bytes = (END - start + 1).min(KEY_PATH_BYTES as u64);
        let bits = 32 + 8 * bytes as u32;
        // SAFETY: `start` is below PATH_BYTES, and the buffer goes on for a whole key behind that.
        unsafe {
            let key = (&raw mut (*self.place.buffer).bytes)
                .cast::<u8>()
                .add(start as usize);
            key.cast::<u32>().write_unaligned(bits);
            key.add(4).cast::<Tag>().write_unaligned(tag);
            key
        }
    }
}

/// Walks, and writes to the buffer where the path begins and whether it is cut.
///
/// A global function, which the verifier looks at once and by itself, not again at every call; such
/// a function takes no pointers to map values on 5.10, so it finds the buffer by numbers.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_path(index: u32, what: u32, vfsmount: u64, dentry: u64) -> u64 {
    let Some(slot) = SCRATCH.get_ptr_mut(index) else {
        return 0;
    };
    // SAFETY: a field of a map value; the index is bounded to the four that there are.
    let buffer = unsafe {
        (&raw mut (*slot).paths)
            .cast::<PathBuffer>()
            .add(mask::<3>(u64::from(what)) as usize)
    };
    let walked = walk(buffer, vfsmount, dentry);
    // SAFETY: fields of a map value.
    unsafe {
        (*buffer).start = walked & POSITION_MASK as u64;
        (*buffer).truncated = walked / PATH_BYTES as u64;
    }
    0
}

/// Where the path begins, plus `PATH_BYTES` when it is cut.
#[inline(always)]
fn walk(buffer: *mut PathBuffer, mut vfsmount: u64, mut dentry: u64) -> u64 {
    const CUT: u64 = PATH_BYTES as u64;
    let mut start = END;
    // SAFETY: the fixed last byte of a path in a map value.
    unsafe {
        (&raw mut (*buffer).bytes)
            .cast::<u8>()
            .add(KEY_HEAD + END as usize)
            .write(0)
    };
    if dentry == 0 || vfsmount == 0 {
        return END;
    }
    let mut mount_root = pointer(vfsmount, offset!(vfsmount_root));
    for _ in 0..STEPS {
        if dentry == mount_root {
            let mount = vfsmount.wrapping_sub(u64::from(offset!(mount_mnt)));
            let parent = pointer(mount, offset!(mount_parent));
            if parent == mount || parent == 0 {
                return finish(buffer, start);
            }
            dentry = pointer(mount, offset!(mount_mountpoint));
            vfsmount = embedded(parent, offset!(mount_mnt));
            mount_root = pointer(vfsmount, offset!(vfsmount_root));
            continue;
        }
        let parent = pointer(dentry, offset!(dentry_parent));
        if parent == 0 {
            return start | CUT;
        }
        // `struct qstr` at once: hash and length, then the pointer to the name.
        let [hash_and_length, name]: [u64; 2] = read(dentry, offset!(dentry_name));
        let length = mask::<NAME_MASK>(hash_and_length >> 32);
        if length + 1 > start {
            return start | CUT;
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
                    return start | CUT;
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
    start | CUT
}

/// The root itself has no name of its own: its path is "/".
#[inline(always)]
fn finish(buffer: *mut PathBuffer, start: u64) -> u64 {
    if start != END {
        return start;
    }
    let at = END - 1;
    // SAFETY: a fixed place in a map value.
    unsafe {
        (&raw mut (*buffer).bytes)
            .cast::<u8>()
            .add(KEY_HEAD + at as usize)
            .write(b'/')
    };
    at
}
