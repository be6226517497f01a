//! Capabilities, and what changes the kernel itself.

use super::{Deed, deed, failing, untold};

pub(super) const DEEDS: &[Deed] = &[
    deed(
        "capability.use",
        &["chroot"],
        &[
            ("/holdfast/capability", "CAP_SYS_CHROOT"),
            ("/holdfast/suppressed", "0"),
            ("/holdfast/user_namespace", "4026531837"),
        ],
    ),
    failing(
        "ENOEXEC",
        deed(
            "capability.use",
            &["load-module-data"],
            &[("/holdfast/capability", "CAP_SYS_MODULE")],
        ),
    ),
    // What one does not have one does not use.
    untold(
        "EPERM",
        deed(
            "capability.use",
            &["as", "65534", "chroot"],
            &[("/holdfast/capability", "CAP_SYS_CHROOT")],
        ),
    ),
    // Refused by the capabilities' own security module, which is asked before BPF.
    Deed {
        unseen_by: &["lsm"],
        ..failing(
            "EPERM",
            deed(
                "capability.set",
                &["as", "65534", "drop-capabilities"],
                &[("/holdfast/capabilities/effective/0", "CAP_CHOWN")],
            ),
        )
    },
    deed(
        "capability.set",
        &["drop-capabilities"],
        &[
            ("/holdfast/capabilities/effective/0", "CAP_CHOWN"),
            ("/holdfast/capabilities/effective/1", ""),
            ("/holdfast/capabilities/permitted/1", "CAP_KILL"),
            ("/holdfast/capabilities/inheritable/0", ""),
        ],
    ),
    failing(
        "ENOEXEC",
        deed(
            "kernel.module",
            &["load-module", "{dir}/made"],
            &[
                ("/file/path", "{dir}/made"),
                ("/holdfast/flags/0", "READING_MODULE"),
            ],
        ),
    ),
    failing(
        "ENOEXEC",
        deed(
            "kernel.module",
            &["load-module-data"],
            &[("/file/path", ""), ("/holdfast/flags/0", "LOADING_MODULE")],
        ),
    ),
    failing(
        "ENOEXEC",
        deed(
            "kernel.kexec",
            &["load-kernel", "{dir}/made"],
            &[
                ("/file/path", "{dir}/made"),
                ("/holdfast/flags/0", "READING_KEXEC_IMAGE"),
            ],
        ),
    ),
    deed(
        "kernel.kexec",
        &["load-kernel-data"],
        &[("/holdfast/flags/0", "LOADING_KEXEC_IMAGE")],
    ),
    deed(
        "kernel.bpf",
        &["load-program"],
        &[
            ("/holdfast/bpf/command", "BPF_PROG_LOAD"),
            ("/holdfast/bpf/program_type", "BPF_PROG_TYPE_SOCKET_FILTER"),
            ("/holdfast/bpf/name", "deed"),
        ],
    ),
    failing(
        "EINVAL",
        deed(
            "kernel.bpf",
            &["load-wrong-program"],
            &[
                ("/holdfast/bpf/command", "BPF_PROG_LOAD"),
                ("/holdfast/bpf/name", "deed"),
            ],
        ),
    ),
    failing("ENOENT", deed("kernel.perf", &["count-wrong"], &[])),
    deed("kernel.perf", &["count"], &[("/process/args/2", "count")]),
];
