//! Sockets.

use super::{Deed, deed, failing, untold};

pub(super) const DEEDS: &[Deed] = &[
    failing(
        "ECONNREFUSED",
        deed(
            "network.connect",
            &["connect", "127.0.0.1:1"],
            &[
                ("/destination/ip", "127.0.0.1"),
                ("/destination/port", "1"),
                ("/source", ""),
                ("/network/type", "ipv4"),
                ("/network/transport", "tcp"),
                ("/network/direction", "egress"),
                ("/holdfast/socket/family", "AF_INET"),
                ("/holdfast/socket/type", "SOCK_STREAM"),
            ],
        ),
    ),
    failing(
        "ECONNREFUSED",
        deed(
            "network.connect",
            &["connect-from", "127.0.0.3:4321", "127.0.0.1:1"],
            &[
                ("/destination/ip", "127.0.0.1"),
                ("/source/ip", "127.0.0.3"),
                ("/source/port", "4321"),
            ],
        ),
    ),
    // By another path than the socket has: what the kernel looked up, and not the argument, is shown.
    Deed {
        resolved: &[("/holdfast/socket/path", "{dir}/socket")],
        ..deed(
            "network.connect",
            &["connect-unix", "{dir}/socket", "{dir}/../{tier}/socket"],
            &[
                ("/holdfast/socket/family", "AF_UNIX"),
                ("/holdfast/socket/type", "SOCK_STREAM"),
            ],
        )
    },
    deed(
        "network.connect",
        &["connect-unix", "@holdfast-{tier}", "@holdfast-{tier}"],
        &[("/holdfast/socket/path", "@holdfast-{tier}")],
    ),
    // Nobody is there.
    failing(
        "ENOENT",
        deed(
            "network.connect",
            &["connect-datagram", "{dir}/nobody"],
            &[
                ("/holdfast/socket/path", "{dir}/nobody"),
                ("/holdfast/socket/type", "SOCK_DGRAM"),
            ],
        ),
    ),
    deed(
        "network.connect",
        &["connect-netlink"],
        &[("/holdfast/socket/family", "AF_NETLINK")],
    ),
    deed(
        "network.bind",
        &["listen", "127.0.0.2:0"],
        &[("/source/ip", "127.0.0.2"), ("/source/port", "0")],
    ),
    deed(
        "network.bind",
        &["listen", "[::1]:0"],
        &[("/source/ip", "::1")],
    ),
    // There is no such directory.
    failing(
        "ENOENT",
        deed(
            "network.bind",
            &["listen-unix", "{dir}/nowhere/socket"],
            &[("/holdfast/socket/path", "{dir}/nowhere/socket")],
        ),
    ),
    deed(
        "network.listen",
        &["listen", "127.0.0.2:0"],
        &[("/source/ip", "127.0.0.2")],
    ),
    deed(
        "network.listen",
        &["listen", "[::1]:0"],
        &[("/source/ip", "::1")],
    ),
    deed(
        "network.listen",
        &["listen-unix", "{dir}/socket"],
        &[("/holdfast/socket/path", "{dir}/socket")],
    ),
    failing(
        "EOPNOTSUPP",
        deed(
            "network.listen",
            &["listen-datagram", "127.0.0.5:0"],
            &[
                ("/source/ip", "127.0.0.5"),
                ("/holdfast/socket/type", "SOCK_DGRAM"),
            ],
        ),
    ),
    untold(
        "EAGAIN",
        deed("network.accept", &["accept-nobody", "127.0.0.5:0"], &[]),
    ),
    deed(
        "network.accept",
        &["accept", "127.0.0.4:4322"],
        &[
            ("/source/ip", "127.0.0.1"),
            ("/destination/ip", "127.0.0.4"),
            ("/destination/port", "4322"),
            ("/network/direction", "ingress"),
            ("/event/outcome", "success"),
        ],
    ),
    deed(
        "network.accept",
        &["accept", "[::1]:4322"],
        &[
            ("/source/ip", "::1"),
            ("/destination/ip", "::1"),
            ("/destination/port", "4322"),
        ],
    ),
    deed(
        "network.accept",
        &["accept-unix", "{dir}/socket"],
        &[
            ("/holdfast/socket/path", "{dir}/socket"),
            ("/holdfast/socket/type", "SOCK_STREAM"),
        ],
    ),
    deed(
        "network.send",
        &["send", "127.0.0.1:9"],
        &[
            ("/destination/ip", "127.0.0.1"),
            ("/destination/port", "9"),
            ("/network/transport", "udp"),
            ("/holdfast/socket/type", "SOCK_DGRAM"),
        ],
    ),
    deed(
        "network.send",
        &["send-message", "[::1]:9"],
        &[("/destination/ip", "::1"), ("/destination/port", "9")],
    ),
    // Nobody is there.
    failing(
        "ENOENT",
        deed(
            "network.send",
            &["send-unix", "{dir}/nobody"],
            &[("/holdfast/socket/path", "{dir}/nobody")],
        ),
    ),
    deed(
        "network.socket",
        &["raw-socket"],
        &[
            ("/holdfast/socket/family", "AF_INET"),
            ("/holdfast/socket/type", "SOCK_RAW"),
            ("/network/transport", "icmp"),
        ],
    ),
    deed(
        "network.socket",
        &["packet-socket"],
        &[
            ("/holdfast/socket/family", "AF_PACKET"),
            ("/holdfast/socket/type", "SOCK_RAW"),
        ],
    ),
    // A stream has no such protocol.
    failing(
        "EPROTONOSUPPORT",
        deed(
            "network.socket",
            &["wrong-socket"],
            &[
                ("/holdfast/socket/type", "SOCK_STREAM"),
                ("/network/transport", "udp"),
            ],
        ),
    ),
    deed(
        "network.connect",
        &["hold", "127.0.0.3:0"],
        &[("/destination/ip", "127.0.0.3")],
    ),
    deed(
        "network.listen",
        &["hold", "127.0.0.3:0"],
        &[("/source/ip", "127.0.0.3")],
    ),
    deed(
        "network.accept",
        &["hold", "127.0.0.3:0"],
        &[
            ("/source/ip", "127.0.0.1"),
            ("/destination/ip", "127.0.0.3"),
        ],
    ),
];
