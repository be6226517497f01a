//! Names around memory, by number.

use crate::record::memory::{method, region};

/// Bits of `PROT_*` (`include/uapi/asm-generic/mman-common.h`).
const PROTECTIONS: [(u64, &str); 3] = [(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")];

/// `["PROT_READ", "PROT_EXEC"]` for 5, and `PROT_NONE` for none.
#[must_use]
pub fn protection_names(protection: u32) -> Vec<&'static str> {
    match protection {
        0 => vec!["PROT_NONE"],
        some => super::set_names(&PROTECTIONS, some.into()),
    }
}

/// Flags of `mmap(2)` by bit, behind the type in the lowest four, as on x86-64 and arm64
/// (`include/uapi/asm-generic/mman.h`).
const MAP_FLAGS: [(u64, &str); 13] = [
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x100, "MAP_GROWSDOWN"),
    (0x800, "MAP_DENYWRITE"),
    (0x1000, "MAP_EXECUTABLE"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x1_0000, "MAP_NONBLOCK"),
    (0x2_0000, "MAP_STACK"),
    (0x4_0000, "MAP_HUGETLB"),
    (0x8_0000, "MAP_SYNC"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];

/// The names of flags of `mmap(2)`: the type first.
#[must_use]
pub fn map_flag_names(flags: u32) -> Vec<&'static str> {
    let kind = match flags & 0xf {
        1 => Some("MAP_SHARED"),
        2 => Some("MAP_PRIVATE"),
        3 => Some("MAP_SHARED_VALIDATE"),
        8 => Some("MAP_DROPPABLE"),
        _ => None,
    };
    let others = super::set_names(&MAP_FLAGS, flags.into());
    kind.into_iter().chain(others).collect()
}

/// Flags of `memfd_create(2)` by bit (`include/uapi/linux/memfd.h`).
const MEMFD_FLAGS: [(u64, &str); 5] = [
    (1, "MFD_CLOEXEC"),
    (2, "MFD_ALLOW_SEALING"),
    (4, "MFD_HUGETLB"),
    (8, "MFD_NOEXEC_SEAL"),
    (16, "MFD_EXEC"),
];

/// The names of flags of `memfd_create(2)`.
#[must_use]
pub fn memfd_flag_names(flags: u32) -> Vec<&'static str> {
    super::set_names(&MEMFD_FLAGS, flags.into())
}

/// The name of a [`Mapping::region`](crate::record::memory::Mapping::region); `None` where it is not
/// known.
#[must_use]
pub const fn region_name(number: u32) -> Option<&'static str> {
    Some(match number {
        region::FILE => "file",
        region::ANONYMOUS => "anonymous",
        region::HEAP => "heap",
        region::STACK => "stack",
        _ => return None,
    })
}

/// The name of a [`ProcessWrite::method`](crate::record::memory::ProcessWrite::method).
#[must_use]
pub const fn write_method_name(number: u32) -> Option<&'static str> {
    Some(match number {
        method::PROCESS_VM_WRITEV => "process_vm_writev",
        method::PROC_MEM => "proc_mem",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        assert_eq!(protection_names(7).len(), 3);
        assert_eq!(protection_names(0), ["PROT_NONE"]);
        assert_eq!(map_flag_names(0x22), ["MAP_PRIVATE", "MAP_ANONYMOUS"]);
        assert_eq!(memfd_flag_names(3), ["MFD_CLOEXEC", "MFD_ALLOW_SEALING"]);
        assert_eq!(region_name(region::STACK), Some("stack"));
        assert_eq!(write_method_name(method::PROC_MEM), Some("proc_mem"));
    }
}
