//! Extended attributes, access control lists among them.

use holdfast_wire::control::Tier;

use super::{OF_DESCRIPTOR, Part, Place, Way, calls, part, way};

/// What programs need that are given no mount.
const OF_DENTRY: &[&str] = &[
    "set_xattr_dentry",
    "remove_xattr_dentry",
    "dentry_super",
    "super_root",
    "super_mounts",
    "mount_ns",
    "mount_mnt",
    "dentry_parent",
];

const SET: Part = part(
    "file_setxattr_enter",
    Place::Syscalls(&["sys_enter_setxattr", "sys_enter_lsetxattr"]),
);
const REMOVE: Part = part(
    "file_removexattr_enter",
    Place::Syscalls(&["sys_enter_removexattr", "sys_enter_lremovexattr"]),
);
const SET_OF_DESCRIPTOR: Part = part(
    "file_fsetxattr_enter",
    Place::Syscalls(&["sys_enter_fsetxattr"]),
);
const REMOVE_OF_DESCRIPTOR: Part = part(
    "file_fremovexattr_enter",
    Place::Syscalls(&["sys_enter_fremovexattr"]),
);

/// Since 6.2 access control lists pass functions of their own, and since 6.13 there are system calls
/// that take a directory.
pub(super) static SETXATTR: &[Way] = &[
    security!(lsm
        ["file_setxattr", "inode_setxattr", "security_inode_setxattr"],
        ["file_removexattr", "inode_removexattr", "security_inode_removexattr"],
        ["file_set_acl", "inode_set_acl", "security_inode_set_acl"],
        ["file_remove_acl", "inode_remove_acl", "security_inode_remove_acl"]
    )
    .needs(OF_DENTRY),
    security!(lsm
        ["file_setxattr", "inode_setxattr", "security_inode_setxattr"],
        ["file_removexattr", "inode_removexattr", "security_inode_removexattr"]
    )
    .needs(OF_DENTRY),
    security!(fmod_ret
        ["file_setxattr", "inode_setxattr", "security_inode_setxattr"],
        ["file_removexattr", "inode_removexattr", "security_inode_removexattr"],
        ["file_set_acl", "inode_set_acl", "security_inode_set_acl"],
        ["file_remove_acl", "inode_remove_acl", "security_inode_remove_acl"]
    )
    .needs(OF_DENTRY),
    security!(fmod_ret
        ["file_setxattr", "inode_setxattr", "security_inode_setxattr"],
        ["file_removexattr", "inode_removexattr", "security_inode_removexattr"]
    )
    .needs(OF_DENTRY),
    security!(fentry
        ["file_setxattr", "inode_setxattr", "security_inode_setxattr"],
        ["file_removexattr", "inode_removexattr", "security_inode_removexattr"],
        ["file_set_acl", "inode_set_acl", "security_inode_set_acl"],
        ["file_remove_acl", "inode_remove_acl", "security_inode_remove_acl"]
    )
    .needs(OF_DENTRY),
    security!(fentry
        ["file_setxattr", "inode_setxattr", "security_inode_setxattr"],
        ["file_removexattr", "inode_removexattr", "security_inode_removexattr"]
    )
    .needs(OF_DENTRY),
    security!(kprobe
        ["file_setxattr", "inode_setxattr", "security_inode_setxattr"],
        ["file_removexattr", "inode_removexattr", "security_inode_removexattr"],
        ["file_set_acl", "inode_set_acl", "security_inode_set_acl"],
        ["file_remove_acl", "inode_remove_acl", "security_inode_remove_acl"]
    )
    .needs(OF_DENTRY),
    security!(kprobe
        ["file_setxattr", "inode_setxattr", "security_inode_setxattr"],
        ["file_removexattr", "inode_removexattr", "security_inode_removexattr"]
    )
    .needs(OF_DENTRY),
    calls(
        &[
            SET,
            REMOVE,
            SET_OF_DESCRIPTOR,
            REMOVE_OF_DESCRIPTOR,
            part(
                "file_setxattrat_enter",
                Place::Syscalls(&["sys_enter_setxattrat"]),
            ),
            part(
                "file_removexattrat_enter",
                Place::Syscalls(&["sys_enter_removexattrat"]),
            ),
        ],
        OF_DESCRIPTOR,
        "io_uring; the path that the kernel resolves, only the caller's argument",
    ),
    calls(
        &[SET, REMOVE, SET_OF_DESCRIPTOR, REMOVE_OF_DESCRIPTOR],
        OF_DESCRIPTOR,
        "io_uring; the path that the kernel resolves, only the caller's argument",
    ),
];
