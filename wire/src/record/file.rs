//! Fixed parts of file records: one shape for all that is done to files and names, one for mounts.

/// `file.*`, but for [`Mount`]'s. Strings: path, target.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct File {
    /// Inode number; 0 when unknown (a file that does not exist yet has none).
    pub inode: u64,
    /// Device of the file system, kernel encoding (`MKDEV`: major << 20 | minor); 0 when unknown.
    pub device: u32,
    /// `i_mode`, or the mode asked for where the file is being created or its mode changed; 0 when
    /// unknown.
    pub mode: u32,
    /// Open flags (`O_*` of `open(2)`), `u32::MAX` when unknown; of an extended attribute `XATTR_*` of
    /// `setxattr(2)` and [`XATTR_REMOVED`]; 0 for everything else.
    pub open_flags: u32,
    /// Owner, or the one asked for; `u32::MAX` when unknown.
    pub owner: u32,
    /// Group, or the one asked for; `u32::MAX` when unknown.
    pub group: u32,
    /// Directory descriptor the argument is relative to, with `PATH_IS_ARGUMENT`; else `AT_FDCWD`.
    pub directory: i32,
    /// The same for the target.
    pub target_directory: i32,
    /// Bytes of the path.
    pub path_length: u16,
    /// Bytes of the target: the new path of a rename or link, the content of a symbolic link, where
    /// `pivot_root(2)` puts the old root, the name of an extended attribute.
    pub target_length: u16,
    /// Inode number of the mount namespace that the path is in; 0 when unknown, or in none (a memfd).
    pub mount_namespace: u32,
    /// Id of the mount in it that the file is on, as in `/proc/PID/mountinfo`; 0 when unknown.
    pub mount_id: u32,
    /// How many bytes of the path are above the root directory of the process (`fs->root`): what it
    /// sees as `/` begins behind them. [`super::NOT_MET`] when it is not on the way.
    pub path_above_root: u16,
    /// The same of the target.
    pub target_above_root: u16,
    /// How many bytes at the end of the path are below the root of that mount.
    pub path_in_mount: u16,
    /// The same of the target, which is on the same mount.
    pub target_in_mount: u16,
    /// See [`file_flags`].
    pub flags: u32,
    /// Explicit padding, zero.
    pub reserved: u32,
}

/// Bits of [`File::flags`].
pub mod file_flags {
    /// The path is not a name of the file any more: it was removed, or the file never had one.
    pub const UNLINKED: u32 = 1 << 0;
    /// The beginning of the path is cut off.
    pub const PATH_CUT: u32 = 1 << 1;
    /// The beginning of the target is cut off.
    pub const TARGET_CUT: u32 = 1 << 2;
}

/// `file.mount`, `file.umount`. Strings: mount point, source, type of the file system.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Mount {
    /// `MS_*` of `mount(2)`; [`MS_MOVE`] where `move_mount(2)` moves what is mounted already; `MNT_*`
    /// of `umount2(2)`.
    pub flags: u64,
    /// Directory descriptor the mount point is relative to, with `PATH_IS_ARGUMENT`; else `AT_FDCWD`.
    pub directory: i32,
    /// The same for a source that is a path; [`NO_DIRECTORY`] where the source is a text.
    pub source_directory: i32,
    /// Bytes of the mount point's path.
    pub path_length: u16,
    /// Bytes of the source: a device or a path, as it was given to `mount(2)`; of what is moved the
    /// path, of what is mounted by `move_mount(2)` or unmounted the device.
    pub source_length: u16,
    /// Bytes of the type; none for what `mount(2)` does to mounts that are there.
    pub type_length: u16,
    /// Explicit padding, zero.
    pub reserved: u16,
}

/// The attribute is removed. Far from the flags that the kernel has.
pub const XATTR_REMOVED: u32 = 1 << 31;
/// `MS_MOVE` of `include/uapi/linux/mount.h`.
pub const MS_MOVE: u64 = 8192;
/// See [`Mount::source_directory`].
pub const NO_DIRECTORY: i32 = i32::MIN;

/// `AT_FDCWD` of `include/uapi/linux/fcntl.h`.
pub const AT_FDCWD: i32 = -100;

const _: () = {
    assert!(size_of::<File>() == 64);
    assert!(size_of::<Mount>() == 24);
};
