//! Capabilities, and what changes the kernel itself or looks into it.

use holdfast_wire::control::Tier;

use super::{ARGUMENTS_CHANGE, Place, Way, calls, nowhere, part, way};

const LOADS: &[&str] = &[
    "file_path",
    "path_dentry",
    "dentry_parent",
    "mount_mnt",
    "reading_module",
    "loading_module",
    "reading_kexec_image",
    "loading_kexec_image",
];
const FILE_OF_DESCRIPTOR: &str = "paths where the kernel's offsets are not known";

pub(super) static USE: &[Way] = security!(
    ["capability_use", "capable", "security_capable"],
    needs USES;
    calls(
        &[part(
            "capability_use_tracepoint",
            Place::RawTracepoint("cap_capable")
        )],
        USES,
        "whether a capability was used or only looked for"
    )
);

const USES: &[&str] = &[
    "task_cred",
    "cred_euid",
    "cred_cap_effective",
    "cred_user_ns",
    "user_namespace_inum",
    "user_namespace_level",
    "user_namespace_owner",
    "user_namespace_parent",
];

pub(super) static SET: &[Way] = security!(
    ["capability_set", "capset", "security_capset"],
    needs SETS;
    calls(
        &[part(
            "capability_set_enter",
            Place::Syscalls(&["sys_enter_capset"])
        )],
        &[],
        ARGUMENTS_CHANGE
    )
);

const SETS: &[&str] = &[
    "task_cred",
    "cred_cap_effective",
    "cred_cap_permitted",
    "cred_cap_inheritable",
];

pub(super) static MODULE: &[Way] = security!(
    ["kernel_module", "kernel_read_file", "security_kernel_read_file"],
    ["kernel_module_data", "kernel_load_data", "security_kernel_load_data"],
    needs LOADS;
    calls(
        &[
            part(
                "kernel_finit_module_enter",
                Place::Syscalls(&["sys_enter_finit_module"])
            ),
            part(
                "kernel_init_module_enter",
                Place::Syscalls(&["sys_enter_init_module"])
            )
        ],
        &[],
        FILE_OF_DESCRIPTOR
    ),
    nowhere(&[part("", Place::Nowhere(&["sys_enter_finit_module", "sys_enter_init_module"]))])
);

pub(super) static KEXEC: &[Way] = security!(
    ["kernel_kexec", "kernel_read_file", "security_kernel_read_file"],
    ["kernel_kexec_data", "kernel_load_data", "security_kernel_load_data"],
    needs LOADS;
    calls(
        &[
            part(
                "kernel_kexec_enter",
                Place::Syscalls(&["sys_enter_kexec_load"])
            ),
            part(
                "kernel_kexec_file_enter",
                Place::Syscalls(&["sys_enter_kexec_file_load"])
            )
        ],
        &[],
        FILE_OF_DESCRIPTOR
    ),
    nowhere(&[part("", Place::Nowhere(&["sys_enter_kexec_load", "sys_enter_kexec_file_load"]))])
);

pub(super) static BPF: &[Way] = security!(
    ["kernel_bpf", "bpf", "security_bpf"];
    calls(
        &[part("kernel_bpf_enter", Place::Syscalls(&["sys_enter_bpf"]))],
        &[],
        ARGUMENTS_CHANGE
    )
);

pub(super) static PERF: &[Way] = security!(
    ["kernel_perf", "perf_event_open", "security_perf_event_open"];
    calls(
        &[part(
            "kernel_perf_enter",
            Place::Syscalls(&["sys_enter_perf_event_open"])
        )],
        &[],
        "calls of 32-bit programs"
    )
);
