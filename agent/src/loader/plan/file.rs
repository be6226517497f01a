//! Operations on files and names.

use holdfast_wire::control::Tier;

use super::{ARGUMENTS, OF_DESCRIPTOR, Place, Way, calls, part, way};

const OPENS: &[&str] = &[
    "sys_exit_openat",
    "sys_exit_open",
    "sys_exit_openat2",
    "sys_exit_creat",
];

pub(super) static OPEN: &[Way] = security!(
    ["file_open", "file_open", "security_file_open"];
    calls(
        &[part("file_open_exit", Place::Syscalls(OPENS))],
        OF_DESCRIPTOR,
        "io_uring and handles"
    ),
    calls(
        &[
            part(
                "file_openat_enter",
                Place::Syscalls(&["sys_enter_openat", "sys_enter_openat2"])
            ),
            part(
                "file_open_enter",
                Place::Syscalls(&["sys_enter_open", "sys_enter_creat"])
            )
        ],
        &[],
        ARGUMENTS
    )
);

pub(super) static CREATE: &[Way] = security!(
    ["file_create", "path_mknod", "security_path_mknod"];
    calls(
        &[part("file_create_exit", Place::Syscalls(OPENS))],
        &[
            "task_files",
            "fdtable_fd",
            "file_path",
            "mount_mnt",
            "file_mode"
        ],
        "io_uring, and files made by mknod"
    )
);

pub(super) static DELETE: &[Way] = security!(
    ["file_delete", "path_unlink", "security_path_unlink"];
    calls(
        &[
            part(
                "file_unlinkat_enter",
                Place::Syscalls(&["sys_enter_unlinkat"])
            ),
            part("file_unlink_enter", Place::Syscalls(&["sys_enter_unlink"]))
        ],
        &[],
        ARGUMENTS
    )
);

pub(super) static RENAME: &[Way] = security!(
    ["file_rename", "path_rename", "security_path_rename"];
    calls(
        &[
            part(
                "file_renameat_enter",
                Place::Syscalls(&["sys_enter_renameat2", "sys_enter_renameat"])
            ),
            part("file_rename_enter", Place::Syscalls(&["sys_enter_rename"]))
        ],
        &[],
        ARGUMENTS
    )
);

pub(super) static LINK: &[Way] = security!(
    ["file_link", "path_link", "security_path_link"];
    calls(
        &[
            part("file_linkat_enter", Place::Syscalls(&["sys_enter_linkat"])),
            part("file_link_enter", Place::Syscalls(&["sys_enter_link"]))
        ],
        &[],
        ARGUMENTS
    )
);

pub(super) static SYMLINK: &[Way] = security!(
    ["file_symlink", "path_symlink", "security_path_symlink"];
    calls(
        &[
            part(
                "file_symlinkat_enter",
                Place::Syscalls(&["sys_enter_symlinkat"])
            ),
            part(
                "file_symlink_enter",
                Place::Syscalls(&["sys_enter_symlink"])
            )
        ],
        &[],
        ARGUMENTS
    )
);

pub(super) static MKDIR: &[Way] = security!(
    ["file_mkdir", "path_mkdir", "security_path_mkdir"];
    calls(
        &[
            part(
                "file_mkdirat_enter",
                Place::Syscalls(&["sys_enter_mkdirat"])
            ),
            part("file_mkdir_enter", Place::Syscalls(&["sys_enter_mkdir"]))
        ],
        &[],
        ARGUMENTS
    )
);

pub(super) static RMDIR: &[Way] = security!(
    ["file_rmdir", "path_rmdir", "security_path_rmdir"];
    calls(
        &[
            part(
                "file_rmdirat_enter",
                Place::Syscalls(&["sys_enter_unlinkat"])
            ),
            part("file_rmdir_enter", Place::Syscalls(&["sys_enter_rmdir"]))
        ],
        &[],
        ARGUMENTS
    )
);

pub(super) static CHMOD: &[Way] = security!(
    ["file_chmod", "path_chmod", "security_path_chmod"];
    calls(
        &[
            part(
                "file_fchmodat_enter",
                Place::Syscalls(&["sys_enter_fchmodat", "sys_enter_fchmodat2"])
            ),
            part("file_chmod_enter", Place::Syscalls(&["sys_enter_chmod"])),
            part("file_fchmod_enter", Place::Syscalls(&["sys_enter_fchmod"]))
        ],
        OF_DESCRIPTOR,
        "the path that the kernel resolves, only the caller's argument"
    )
);

pub(super) static CHOWN: &[Way] = security!(
    ["file_chown", "path_chown", "security_path_chown"];
    calls(
        &[
            part(
                "file_fchownat_enter",
                Place::Syscalls(&["sys_enter_fchownat"])
            ),
            part(
                "file_chown_enter",
                Place::Syscalls(&["sys_enter_chown", "sys_enter_lchown"])
            ),
            part("file_fchown_enter", Place::Syscalls(&["sys_enter_fchown"]))
        ],
        OF_DESCRIPTOR,
        "the path that the kernel resolves, only the caller's argument"
    )
);

/// Since 6.2 a truncation by descriptor passes a function of its own.
pub(super) static TRUNCATE: &[Way] = &[
    security!(lsm
        ["file_truncate", "path_truncate", "security_path_truncate"],
        ["file_ftruncate", "file_truncate", "security_file_truncate"]
    ),
    security!(lsm ["file_truncate", "path_truncate", "security_path_truncate"]),
    security!(fmod_ret
        ["file_truncate", "path_truncate", "security_path_truncate"],
        ["file_ftruncate", "file_truncate", "security_file_truncate"]
    ),
    security!(fmod_ret ["file_truncate", "path_truncate", "security_path_truncate"]),
    security!(fentry
        ["file_truncate", "path_truncate", "security_path_truncate"],
        ["file_ftruncate", "file_truncate", "security_file_truncate"]
    ),
    security!(fentry ["file_truncate", "path_truncate", "security_path_truncate"]),
    security!(kprobe
        ["file_truncate", "path_truncate", "security_path_truncate"],
        ["file_ftruncate", "file_truncate", "security_file_truncate"]
    ),
    security!(kprobe ["file_truncate", "path_truncate", "security_path_truncate"]),
    calls(
        &[
            part(
                "file_truncate_enter",
                Place::Syscalls(&["sys_enter_truncate"]),
            ),
            part(
                "file_ftruncate_enter",
                Place::Syscalls(&["sys_enter_ftruncate"]),
            ),
        ],
        OF_DESCRIPTOR,
        "files cut by open; the path that the kernel resolves, only the caller's argument",
    ),
];
