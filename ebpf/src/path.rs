//! Absolute paths, by walking from a dentry to the root of its mount namespace.
//!
//! `bpf_d_path` is not to be had in kprobes, nor in LSM programs before 5.11, so there is one way for
//! all. The walk goes from the last name to the first, so the path is built from the end of a buffer.

use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user_str,
};
use holdfast_policy::table::{KEY_PATH_BYTES, KEY_SUFFIX_BYTES, SuffixKey, Tag};
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::{NOT_MET, PATH_BYTES, flags};

use crate::bound::mask;
use crate::offset;
use crate::scratch::Place;
use crate::task::{embedded, pointer, read};

mod walk;

use walk::{Position, walk_path};

/// The path's NUL stands here.
const END: u64 = PATH_BYTES as u64 - 1;
const POSITION_MASK: i32 = PATH_BYTES as i32 - 1;
/// The key of a trie lookup stands right before the path: its number of bits and its tag.
const KEY_HEAD: usize = 8;

/// A path that ends at a fixed place, with room for a lookup key before and behind it.
#[repr(C, align(8))]
pub struct PathBuffer {
    /// Where the path begins.
    start: u64,
    /// 1 when its beginning is not there, else 0.
    truncated: u64,
    /// The `struct mount` of the file; nonsense that cannot be read when there is none.
    mount: u64,
    /// See `record::file::File::path_above_root`.
    above_root: u64,
    /// See `record::file::File::path_in_mount`.
    in_mount: u64,
    position: Position,
    suffix: SuffixKey,
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

/// Whether a dentry is the name of its file no more (`d_unlinked`): 1 for an open file that was
/// removed, and for one that never had a name (`O_TMPFILE`).
#[inline(always)]
pub fn is_unlinked(dentry: u64) -> u64 {
    if offset!(dentry_hash_link) == ABSENT {
        return 0;
    }
    // Pseudo files such as pipes and memfds are roots, which are not hashed either. Without branches,
    // each of which would be one more path for the verifier.
    let parent = pointer(dentry, offset!(dentry_parent));
    let hashed_at = pointer(dentry, offset!(dentry_hash_link));
    u64::from(hashed_at == 0) & u64::from(parent != dentry)
}

impl Path {
    /// No path.
    #[inline(always)]
    pub fn none(place: Place) -> Self {
        let none = Self {
            place,
            source: Source::Walk,
        };
        none.set(END);
        none
    }

    /// The path of `dentry` on the mount `vfsmount` (a `struct path`'s two members), on the way to
    /// which the root of the process is looked out for.
    #[inline(always)]
    pub fn walk(place: Place, vfsmount: u64, dentry: u64) -> Self {
        walk_path(place.number(), vfsmount, dentry);
        Self::walked(place)
    }

    /// What a walk has left in a buffer.
    #[inline(always)]
    pub fn walked(place: Place) -> Self {
        Self {
            place,
            source: Source::Walk,
        }
    }

    // What was found stands in memory, and is loaded where it is needed: a number that is used as a
    // length is traced back by the verifier, and before 6.4 a trace that comes to a call of another
    // function makes every number in the program matter, so that no two of its states are alike.
    #[inline(always)]
    fn set(&self, start: u64) {
        // SAFETY: fields of a map value.
        unsafe {
            (&raw mut (*self.place.buffer).start).write_volatile(start);
            (&raw mut (*self.place.buffer).truncated).write_volatile(0);
            (&raw mut (*self.place.buffer).mount).write_volatile(0);
            (&raw mut (*self.place.buffer).above_root).write_volatile(u64::from(NOT_MET));
            (&raw mut (*self.place.buffer).in_mount).write_volatile(0);
        }
    }

    #[inline(always)]
    fn start(&self) -> u64 {
        // SAFETY: a field of a map value.
        mask::<POSITION_MASK>(unsafe { (&raw const (*self.place.buffer).start).read_volatile() })
    }

    /// 1 when the walk did not come to the root, else 0.
    #[inline(always)]
    pub fn truncated(&self) -> u64 {
        // SAFETY: a field of a map value.
        unsafe { (&raw const (*self.place.buffer).truncated).read_volatile() & 1 }
    }

    /// See `record::file::File::path_above_root`.
    #[inline(always)]
    pub fn above_root(&self) -> u16 {
        // SAFETY: a field of a map value.
        unsafe { (&raw const (*self.place.buffer).above_root).read_volatile() as u16 }
    }

    /// See `record::file::File::path_in_mount`.
    #[inline(always)]
    pub fn in_mount(&self) -> u16 {
        // SAFETY: a field of a map value.
        unsafe { (&raw const (*self.place.buffer).in_mount).read_volatile() as u16 }
    }

    /// The mount namespace that the path is in, and the mount in it that the file is on: `ns.inum` and
    /// `mnt_id`. 0 where there is none: the path is an argument, or the file is in no namespace.
    #[inline(always)]
    pub fn mount(&self) -> (u32, u32) {
        // SAFETY: a field of a map value.
        let mount = unsafe { (&raw const (*self.place.buffer).mount).read_volatile() };
        let namespace = pointer(mount, offset!(mount_ns));
        (
            read(namespace, offset!(mnt_namespace_inum)),
            read(mount, offset!(mount_id)),
        )
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
        path.set(if read <= 1 {
            END
        } else {
            END - (read as u64 - 1)
        });
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

    /// The path's end as the key of a longest-prefix lookup: see `holdfast_policy::table::SuffixKey`. Only
    /// for a path that [`Self::is_certain`].
    ///
    /// It ends at a fixed place, so that eight bytes at once are turned round there; what stands before the
    /// path is turned, too, and does not count.
    #[inline(always)]
    pub fn suffix_key(&self, tag: Tag) -> *const SuffixKey {
        const STEP: usize = size_of::<u64>();
        let bits = 32 + 8 * self.length().min(KEY_SUFFIX_BYTES as u64) as u32;
        // SAFETY: fields of a map value, and fixed places in them.
        unsafe {
            let key = &raw mut (*self.place.buffer).suffix;
            (*key).bits = bits;
            (*key).tag = tag;
            let end = (&raw const (*self.place.buffer).bytes)
                .cast::<u8>()
                .add(KEY_HEAD + END as usize);
            let reversed = (&raw mut (*key).reversed).cast::<u8>();
            let mut at = 0;
            while at < KEY_SUFFIX_BYTES {
                let bytes = end.sub(at + STEP).cast::<u64>().read_unaligned();
                reversed
                    .add(at)
                    .cast::<u64>()
                    .write_unaligned(bytes.swap_bytes());
                at += STEP;
            }
            key
        }
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
