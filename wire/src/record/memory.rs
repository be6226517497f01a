//! Fixed parts of records about memory.

use super::file::File;

/// `memory.map`, `memory.protect`. Strings: path of the mapped file.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Mapping {
    /// The mapped file; all unknown where there is none.
    pub file: File,
    /// Where it begins, at `memory.protect` the mapping of which a part is changed; 0 when unknown, as it
    /// is while the kernel has not chosen it.
    pub address: u64,
    /// Bytes; 0 when unknown.
    pub size: u64,
    /// What is allowed afterwards: [`protection`] bits.
    pub protection: u32,
    /// What was allowed before; [`NOT_KNOWN`] at `memory.map`, and where it is not known.
    pub previous: u32,
    /// `MAP_*` of `mmap(2)`; 0 at `memory.protect`.
    pub flags: u32,
    /// One of [`region`].
    pub region: u32,
}

/// See [`Mapping::previous`].
pub const NOT_KNOWN: u32 = u32::MAX;

/// Bits of what may be done with memory (`include/uapi/asm-generic/mman-common.h`). Those of
/// `vm_flags` are the same (`include/linux/mm.h`).
pub mod protection {
    /// `PROT_READ`
    pub const READ: u32 = 1;
    /// `PROT_WRITE`
    pub const WRITE: u32 = 2;
    /// `PROT_EXEC`
    pub const EXEC: u32 = 4;
    /// All of them.
    pub const ALL: u32 = READ | WRITE | EXEC;
}

/// Values of [`Mapping::region`].
pub mod region {
    /// Not known.
    pub const UNKNOWN: u32 = 0;
    /// Mapped from a file, be it one without a name in any directory.
    pub const FILE: u32 = 1;
    /// Of no file, and none of the following.
    pub const ANONYMOUS: u32 = 2;
    /// What `brk(2)` moves the end of.
    pub const HEAP: u32 = 3;
    /// That of the first thread; those of others are anonymous memory as any.
    pub const STACK: u32 = 4;
}

/// `memory.memfd`. Strings: name, as the caller gave it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Memfd {
    /// `MFD_*` of `memfd_create(2)`.
    pub flags: u32,
    /// Bytes of the name.
    pub name_length: u16,
    /// Explicit padding, zero.
    pub reserved: u16,
}

/// `memory.process_write`. The header describes the writer. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ProcessWrite {
    /// `start_boottime` of the target process; 0 when unknown.
    pub target_start_boottime: u64,
    /// Where the first piece of what is written goes; 0 when unknown.
    pub address: u64,
    /// Bytes of that piece; 0 when unknown.
    pub size: u64,
    /// Process id of the target in the initial pid namespace; as the caller gave it with
    /// [`super::flags::PATH_IS_ARGUMENT`].
    pub target_tgid: i32,
    /// One of [`method`].
    pub method: u32,
}

/// Values of [`ProcessWrite::method`].
pub mod method {
    /// `process_vm_writev(2)`
    pub const PROCESS_VM_WRITEV: u32 = 0;
    /// `/proc/PID/mem` is opened for writing.
    pub const PROC_MEM: u32 = 1;
}

const _: () = {
    assert!(size_of::<Mapping>() == 96);
    assert!(size_of::<Memfd>() == 8);
    assert!(size_of::<ProcessWrite>() == 32);
};
