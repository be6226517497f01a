//! Shared memory and message queues.

use super::{Deed, deed, failing};

/// The key 0x5eed, as text.
const KEY: &str = "24301";
const SHOWN: (&str, &str) = ("/holdfast/ipc/key", "0x00005eed");

const fn mapped(words: &'static [&'static str]) -> Deed {
    Deed {
        resolved: &[
            SHOWN,
            ("/holdfast/ipc/owner", "0"),
            ("/holdfast/ipc/mode", "0600"),
        ],
        ..deed(
            "ipc.shm",
            words,
            &[
                ("/holdfast/ipc/operation", "shmat"),
                ("/holdfast/flags/0", "SHM_RDONLY"),
            ],
        )
    }
}

pub(super) const DEEDS: &[Deed] = &[
    deed(
        "ipc.shm",
        &["share-memory", KEY],
        &[
            ("/holdfast/ipc/operation", "shmget"),
            ("/holdfast/flags/0", "IPC_CREAT"),
            SHOWN,
        ],
    ),
    mapped(&["share-memory", KEY]),
    failing("EINVAL", mapped(&["share-memory-over", KEY])),
    deed(
        "ipc.mq",
        &["make-queue", "holdfast-deed"],
        &[
            ("/holdfast/ipc/operation", "mq_open"),
            ("/holdfast/ipc/name", "/holdfast-deed"),
            ("/holdfast/flags/0", "O_RDWR"),
            ("/holdfast/flags/1", "O_CREAT"),
        ],
    ),
    failing(
        "ENOENT",
        deed(
            "ipc.mq",
            &["open-queue", "holdfast-none"],
            &[("/holdfast/ipc/name", "/holdfast-none")],
        ),
    ),
];
