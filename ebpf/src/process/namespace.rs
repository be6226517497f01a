//! Changes of namespaces.

use holdfast_wire::Kind;
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::process::{NAMESPACES, Namespaces};

use crate::attach::{Arguments, Via};
use crate::run::Run;
use crate::syscall::file_of_descriptor;
use crate::task::{pointer, read};
use crate::{call, hook, offset};

// setns(int fd, int nstype)
call!(process_setns_fmod process_setns_enter, "setns", setns);
// unshare(unsigned long unshare_flags)
call!(process_unshare_fmod process_unshare_enter, "unshare", unshare);
// int ksys_unshare(unsigned long unshare_flags)
hook!(@watch process_unshare_fentry process_unshare_kprobe, "ksys_unshare", unshare);

/// `NSFS_MAGIC` of `include/uapi/linux/magic.h`: the file system of namespaces.
const NSFS_MAGIC: u64 = 0x6e73_6673;

#[inline(always)]
fn setns(arguments: &impl Arguments, via: Via) -> i32 {
    let asked = arguments.argument(1) as u32;
    let file = file_of_descriptor(u64::from(arguments.argument(0) as u32));
    let inode = pointer(file, offset!(file_inode));
    let superblock = pointer(inode, offset!(inode_super));
    // Else it is a process, whose namespaces are joined as far as they are asked for.
    let is_one = read::<u64>(superblock, offset!(super_magic)) == NSFS_MAGIC;
    let number: u64 = if is_one {
        read(inode, offset!(inode_number))
    } else {
        0
    };
    let flags = if asked == 0 && is_one {
        type_of(pointer(inode, offset!(inode_private)))
    } else {
        asked
    };
    let joined = number as u32;
    Run::tell(Kind::ProcessSetns, via, 0, Namespaces { flags, joined })
}

/// The `CLONE_NEW*` bit of a `struct ns_common`, which has it itself since 6.18.
#[inline(always)]
fn type_of(namespace: u64) -> u32 {
    if offset!(ns_type) == ABSENT {
        read(
            pointer(namespace, offset!(ns_operations)),
            offset!(ns_operations_type),
        )
    } else {
        read(namespace, offset!(ns_type))
    }
}

#[inline(always)]
fn unshare(arguments: &impl Arguments, via: Via) -> i32 {
    let flags = arguments.argument(0) as u32;
    // Threads part with their descriptors or their directory all the time.
    if flags & NAMESPACES == 0 {
        return 0;
    }
    Run::tell(
        Kind::ProcessUnshare,
        via,
        0,
        Namespaces { flags, joined: 0 },
    )
}
