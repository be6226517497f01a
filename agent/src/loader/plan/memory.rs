//! Memory that may be executed, memory with a name but no place, and that of others.

use holdfast_wire::control::Tier;

use super::{ARGUMENTS_CHANGE, OF_DESCRIPTOR, Part, Place, Way, call, calls, part, way};

const COMPAT: &str = "calls of 32-bit programs";

const MAPS: &[&str] = &[
    "task_personality",
    "file_path",
    "path_dentry",
    "dentry_parent",
    "mount_mnt",
];

pub(super) static MAP: &[Way] = security!(
    ["memory_map", "mmap_file", "security_mmap_file"],
    needs MAPS;
    calls(MAPPED, OF_DESCRIPTOR, "calls of 32-bit programs, and shared memory that is attached"),
    calls(MAPPED, &[], "calls of 32-bit programs, shared memory that is attached, and paths")
);

const MAPPED: &[Part] = &[part(
    "memory_map_enter",
    Place::Syscalls(&["sys_enter_mmap"]),
)];

const PROTECTS: &[&str] = &[
    "file_path",
    "path_dentry",
    "dentry_parent",
    "mount_mnt",
    "vma_start",
    "vma_end",
    "vma_flags",
    "vma_file",
    "vma_mm",
    "mm_start_brk",
    "mm_brk",
    "mm_start_stack",
];

pub(super) static PROTECT: &[Way] = security!(
    ["memory_protect", "file_mprotect", "security_file_mprotect"],
    needs PROTECTS;
    calls(
        &[part(
            "memory_protect_enter",
            Place::Syscalls(&["sys_enter_mprotect", "sys_enter_pkey_mprotect"])
        )],
        &[],
        "calls of 32-bit programs, and what memory it is and was"
    )
);

/// No security function is asked, so it is refused in the function of the system call itself.
pub(super) static MEMFD: &[Way] = &[
    call(
        &[part(
            "memory_memfd_fmod",
            Place::FmodRetCall("memfd_create"),
        )],
        &[],
        ARGUMENTS_CHANGE,
    ),
    calls(
        &[part(
            "memory_memfd_enter",
            Place::Syscalls(&["sys_enter_memfd_create"]),
        )],
        &[],
        ARGUMENTS_CHANGE,
    ),
];

/// The system call that a look into another process is a part of is noted, and forgotten.
const BEGIN: Part = part(
    "memory_write_begin",
    Place::Syscalls(&["sys_enter_process_vm_writev"]),
);
const END: Part = part(
    "memory_write_end",
    Place::Syscalls(&["sys_exit_process_vm_writev"]),
);

pub(super) static PROCESS_WRITE: &[Way] = &[
    write(
        Tier::Lsm,
        &[
            END,
            BEGIN,
            part("memory_write_lsm", Place::Lsm("ptrace_access_check")),
            part("memory_open_lsm", Place::Lsm("file_open")),
        ],
    ),
    write(
        Tier::FmodRet,
        &[
            END,
            BEGIN,
            part(
                "memory_write_fmod",
                Place::FmodRet("security_ptrace_access_check"),
            ),
            part("memory_open_fmod", Place::FmodRet("security_file_open")),
        ],
    ),
    write(
        Tier::Fentry,
        &[
            END,
            BEGIN,
            part(
                "memory_write_fentry",
                Place::Fentry("security_ptrace_access_check"),
            ),
            part("memory_open_fentry", Place::Fentry("security_file_open")),
        ],
    ),
    write(
        Tier::Kprobe,
        &[
            END,
            BEGIN,
            part(
                "memory_write_kprobe",
                Place::Kprobe("security_ptrace_access_check"),
            ),
            part("memory_open_kprobe", Place::Kprobe("security_file_open")),
        ],
    ),
    calls(
        &[part(
            "memory_write_enter",
            Place::Syscalls(&["sys_enter_process_vm_writev"]),
        )],
        &[],
        "calls of 32-bit programs, and /proc/PID/mem opened for writing, which file.open shows",
    ),
];

const fn write(tier: Tier, parts: &'static [Part]) -> Way {
    way(tier, parts).needs(WRITES).blind_to(COMPAT)
}

const WRITES: &[&str] = &[
    "task_tgid",
    "task_pid_links",
    "pid_tasks",
    "proc_inode_pid",
    "proc_inode_inode",
    "inode_super",
    "super_magic",
    "dentry_name",
    "file_mode",
    "file_path",
];
