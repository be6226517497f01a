//! Mounts.

use holdfast_wire::control::Tier;

use super::{Place, Way, calls, part, way};

pub(super) static MOUNT: &[Way] = security!(
    "what open_tree and fsmount make before move_mount mounts it, and mount_setattr";
    ["file_mount", "sb_mount", "security_sb_mount"],
    ["file_move_mount", "move_mount", "security_move_mount"];
    calls(
        &[
            part("file_mount_enter", Place::Syscalls(&["sys_enter_mount"])),
            part(
                "file_move_mount_enter",
                Place::Syscalls(&["sys_enter_move_mount"])
            )
        ],
        &[],
        "what open_tree and fsmount make before move_mount mounts it, and mount_setattr; the path \
         that the kernel resolves, only the caller's argument; of move_mount the type"
    )
);

pub(super) static UMOUNT: &[Way] = security!(
    "mounts that go with their namespace";
    ["file_umount", "sb_umount", "security_sb_umount"];
    calls(
        &[part(
            "file_umount_enter",
            Place::Syscalls(&["sys_enter_umount"])
        )],
        &[],
        "mounts that go with their namespace; the path that the kernel resolves, only the caller's \
         argument; source and type"
    )
);

pub(super) static PIVOT_ROOT: &[Way] = security!(
    ["file_pivot_root", "sb_pivotroot", "security_sb_pivotroot"];
    calls(
        &[part(
            "file_pivot_root_enter",
            Place::Syscalls(&["sys_enter_pivot_root"])
        )],
        &[],
        "the path that the kernel resolves, only the caller's argument"
    )
);
