//! Fixed part of file records: one shape for all.

/// `file.*`. Strings: path, target.
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
    /// Open flags (`O_*` of `open(2)`); 0 for what is not an open, `u32::MAX` when unknown.
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
    /// Bytes of the target: the new path of a rename or link, the content of a symbolic link.
    pub target_length: u16,
}

/// `AT_FDCWD` of `include/uapi/linux/fcntl.h`.
pub const AT_FDCWD: i32 = -100;

const _: () = assert!(size_of::<File>() == 40);
