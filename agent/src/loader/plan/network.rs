//! Sockets.

use holdfast_wire::control::Tier;

use super::{Place, Way, calls, part, way};

/// What programs by tracepoint need to find the socket behind a descriptor.
const OF_SOCKET: &[&str] = &["task_files", "fdtable_fd", "socket_sk", "sock_port"];

pub(super) static SOCKET: &[Way] = security!(
    ["network_socket", "socket_create", "security_socket_create"];
    calls(
        &[part(
            "network_socket_enter",
            Place::Syscalls(&["sys_enter_socket", "sys_enter_socketpair"])
        )],
        &[],
        "io_uring"
    )
);

pub(super) static CONNECT: &[Way] = security!(
    "connections to Unix sockets that are not there or do not listen";
    ["network_connect", "socket_connect", "security_socket_connect"],
    ["network_connect_unix", "unix_stream_connect", "security_unix_stream_connect"],
    ["network_fast_open", "socket_sendmsg", "security_socket_sendmsg"];
    calls(
        &[
            part(
                "network_connect_enter",
                Place::Syscalls(&["sys_enter_connect"])
            ),
            part(
                "network_fast_open_sendto_enter",
                Place::Syscalls(&["sys_enter_sendto"])
            ),
            part(
                "network_fast_open_sendmsg_enter",
                Place::Syscalls(&["sys_enter_sendmsg"])
            ),
            part(
                "network_fast_open_sendmmsg_enter",
                Place::Syscalls(&["sys_enter_sendmmsg"])
            )
        ],
        &[],
        "io_uring; the address that the kernel uses, only the caller's argument"
    )
);

pub(super) static BIND: &[Way] = security!(
    "netlink sockets";
    ["network_bind", "socket_bind", "security_socket_bind"];
    calls(
        &[part(
            "network_bind_enter",
            Place::Syscalls(&["sys_enter_bind"])
        )],
        &[],
        "netlink sockets; io_uring; the address that the kernel uses, only the caller's argument"
    )
);

pub(super) static LISTEN: &[Way] = security!(
    ["network_listen", "socket_listen", "security_socket_listen"];
    calls(
        &[part(
            "network_listen_enter",
            Place::Syscalls(&["sys_enter_listen"])
        )],
        OF_SOCKET,
        "io_uring"
    )
);

/// `security_socket_accept` is asked before it is known who connects; `security_sock_graft` is told
/// afterwards, and cannot refuse.
pub(super) static ACCEPT: &[Way] = &[
    security!(fentry ["network_accept", "", "security_sock_graft"]),
    security!(kprobe ["network_accept", "", "security_sock_graft"]),
    calls(
        &[part(
            "network_accept_exit",
            Place::Syscalls(&["sys_exit_accept4", "sys_exit_accept"]),
        )],
        OF_SOCKET,
        "io_uring",
    ),
];

pub(super) static SEND: &[Way] = security!(
    "other families than IPv4, IPv6 and Unix; in one sendmmsg, all but the first to one address";
    ["network_send", "socket_sendmsg", "security_socket_sendmsg"];
    calls(
        &[
            part(
                "network_sendto_enter",
                Place::Syscalls(&["sys_enter_sendto"])
            ),
            part(
                "network_sendmsg_enter",
                Place::Syscalls(&["sys_enter_sendmsg", "sys_enter_sendmmsg"])
            )
        ],
        &[],
        "other families than IPv4, IPv6 and Unix; in one sendmmsg, all but the first; io_uring; the \
         address that the kernel uses, only the caller's argument"
    )
);
