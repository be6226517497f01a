//! System V shared memory and POSIX message queues.

use super::{Place, Way, call, calls, nowhere, part, way};
use holdfast_wire::control::Tier;

const SEGMENT: &[&str] = &["ipc_key", "ipc_id", "ipc_mode", "ipc_owner"];

pub(super) static SHM: &[Way] = security!(
    ["ipc_shm", "shm_alloc_security", "security_shm_alloc"],
    ["ipc_shm_get", "shm_associate", "security_shm_associate"],
    ["ipc_shm_attach", "shm_shmat", "security_shm_shmat"],
    needs SEGMENT;
    calls(
        &[
            part("ipc_shmget_enter", Place::Syscalls(&["sys_enter_shmget"])),
            part("ipc_shmat_enter", Place::Syscalls(&["sys_enter_shmat"]))
        ],
        &[],
        "calls of 32-bit programs; of a segment more than what the call names"
    ),
    nowhere(&[part("", Place::Nowhere(&["sys_enter_shmget", "sys_enter_shmat"]))])
);

/// No security function knows a queue by its name.
const UNSEEN: &str =
    "calls of 32-bit programs, and opens in a mounted mqueue file system (file.open)";

pub(super) static MQ: &[Way] = &[
    call(
        &[part("ipc_mq_fmod", Place::FmodRetCall("mq_open"))],
        &[],
        UNSEEN,
    ),
    calls(
        &[part(
            "ipc_mq_enter",
            Place::Syscalls(&["sys_enter_mq_open"]),
        )],
        &[],
        UNSEEN,
    ),
    nowhere(&[part("", Place::Nowhere(&["sys_enter_mq_open"]))]),
];
