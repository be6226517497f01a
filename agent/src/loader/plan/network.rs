//! Sockets.

use holdfast_wire::control::Tier;

use super::{Place, Way, calls, part, way};

pub(super) static CONNECT: &[Way] = security!(
    ["network_connect", "socket_connect", "security_socket_connect"];
    calls(
        &[part(
            "network_connect_enter",
            Place::Syscalls(&["sys_enter_connect"])
        )],
        &[],
        "io_uring; the address that the kernel uses, only the caller's argument"
    )
);

pub(super) static BIND: &[Way] = security!(
    ["network_bind", "socket_bind", "security_socket_bind"];
    calls(
        &[part(
            "network_bind_enter",
            Place::Syscalls(&["sys_enter_bind"])
        )],
        &[],
        "io_uring; the address that the kernel uses, only the caller's argument"
    )
);

pub(super) static LISTEN: &[Way] = security!(
    ["network_listen", "socket_listen", "security_socket_listen"];
    calls(
        &[part(
            "network_listen_enter",
            Place::Syscalls(&["sys_enter_listen"])
        )],
        &["task_files", "fdtable_fd", "socket_sk", "sock_port"],
        "io_uring"
    )
);
