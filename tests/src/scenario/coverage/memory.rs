//! Memory that may be executed, memory with a name but no place, and that of others.

use super::{Deed, deed, failing};

/// A file that the deeds on files have made.
const FILE: &str = "{dir}/made";

pub(super) const DEEDS: &[Deed] = &[
    deed(
        "memory.map",
        &["map"],
        &[
            ("/holdfast/memory/protection/1", "PROT_WRITE"),
            ("/holdfast/memory/protection/2", "PROT_EXEC"),
            ("/holdfast/memory/anonymous", "true"),
            ("/holdfast/memory/region", "anonymous"),
            ("/holdfast/flags/1", "MAP_ANONYMOUS"),
            ("/file/path", ""),
        ],
    ),
    deed(
        "memory.map",
        &["map-file", FILE],
        &[
            ("/holdfast/memory/protection/1", "PROT_EXEC"),
            ("/holdfast/memory/anonymous", "false"),
            ("/holdfast/memory/region", "file"),
            ("/holdfast/flags/0", "MAP_PRIVATE"),
            ("/file/path", FILE),
        ],
    ),
    failing(
        "EACCES",
        deed(
            "memory.map",
            &["map-unreadable", FILE],
            &[("/file/path", FILE)],
        ),
    ),
    Deed {
        resolved: &[
            ("/holdfast/memory/previous/0", "PROT_READ"),
            ("/holdfast/memory/previous/1", "PROT_WRITE"),
            ("/holdfast/memory/anonymous", "true"),
            ("/holdfast/memory/region", "anonymous"),
        ],
        ..deed(
            "memory.protect",
            &["protect"],
            &[("/holdfast/memory/protection/1", "PROT_EXEC")],
        )
    },
    failing(
        "ENOMEM",
        deed(
            "memory.protect",
            &["protect-with-hole"],
            &[("/holdfast/memory/protection/1", "PROT_EXEC")],
        ),
    ),
    Deed {
        resolved: &[("/holdfast/memory/region", "stack")],
        ..deed(
            "memory.protect",
            &["protect-part", "[stack]"],
            &[("/holdfast/memory/protection/2", "PROT_EXEC")],
        )
    },
    Deed {
        resolved: &[("/holdfast/memory/region", "heap")],
        ..deed(
            "memory.protect",
            &["protect-part", "[heap]"],
            &[("/holdfast/memory/protection/2", "PROT_EXEC")],
        )
    },
    deed(
        "memory.memfd",
        &["memfd", "payload", "1"],
        &[
            ("/holdfast/memory/name", "payload"),
            ("/holdfast/flags/0", "MFD_CLOEXEC"),
            ("/holdfast/path_source", "argument"),
        ],
    ),
    // A flag that there is not.
    failing(
        "EINVAL",
        deed(
            "memory.memfd",
            &["memfd", "refused", "256"],
            &[("/holdfast/memory/name", "refused")],
        ),
    ),
    deed(
        "memory.process_write",
        &["write-to-child"],
        &[
            ("/holdfast/memory/method", "process_vm_writev"),
            ("/holdfast/memory/size", "1"),
            ("/holdfast/target/args/2", "pause"),
        ],
    ),
    failing(
        "EFAULT",
        deed(
            "memory.process_write",
            &["write-to-nowhere"],
            &[
                ("/holdfast/memory/method", "process_vm_writev"),
                ("/holdfast/memory/address", "0x1000"),
            ],
        ),
    ),
    Deed {
        // No system call of its own shows it.
        unseen_by: &["tracepoint"],
        ..deed(
            "memory.process_write",
            &["open-memory"],
            &[
                ("/holdfast/memory/method", "proc_mem"),
                ("/holdfast/target/args/2", "pause"),
            ],
        )
    },
];
