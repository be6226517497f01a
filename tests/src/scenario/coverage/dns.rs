//! Questions to a name server, and its answers.

use super::{Deed, deed, failing};

/// What asking for the name gives, whichever way.
const ANSWERED: &[(&str, &str)] = &[
    ("/dns/type", "answer"),
    ("/dns/question/name", "holdfast.example.org"),
    ("/dns/response_code", "NOERROR"),
    ("/dns/answers/0/name", "holdfast.example.org"),
    ("/dns/answers/0/data", "192.0.2.1"),
    ("/dns/answers/0/ttl", "60"),
    ("/dns/resolved_ip/0", "192.0.2.1"),
    ("/destination/port", "53"),
    ("/network/direction", "ingress"),
];

const fn answer(words: &'static [&'static str], unseen_by: &'static [&'static str]) -> Deed {
    Deed {
        unseen_by,
        ..deed("network.dns", words, ANSWERED)
    }
}

pub(super) const DEEDS: &[Deed] = &[
    deed(
        "network.dns",
        &["ask", "127.0.0.77:53"],
        &[
            ("/dns/type", "query"),
            ("/dns/id", "4660"),
            ("/dns/op_code", "QUERY"),
            ("/dns/question/name", "holdfast.example.org"),
            ("/dns/question/type", "A"),
            ("/dns/question/class", "IN"),
            ("/dns/response_code", ""),
            ("/destination/ip", "127.0.0.77"),
            ("/destination/port", "53"),
            ("/network/transport", "udp"),
            ("/network/direction", "egress"),
            ("/holdfast/truncated", ""),
        ],
    ),
    deed(
        "network.dns",
        &["ask-unconnected", "127.0.0.77:53"],
        &[
            ("/dns/type", "query"),
            ("/dns/question/name", "holdfast.example.org"),
            ("/destination/ip", "127.0.0.77"),
        ],
    ),
    deed(
        "network.dns",
        &["ask", "[::1]:53"],
        &[
            ("/dns/type", "query"),
            ("/dns/question/name", "holdfast.example.org"),
            ("/destination/ip", "::1"),
        ],
    ),
    deed(
        "network.dns",
        &["ask-stream", "127.0.0.77:53"],
        &[
            ("/dns/type", "query"),
            ("/dns/question/name", "holdfast.example.org"),
            ("/network/transport", "tcp"),
        ],
    ),
    // Nobody answers.
    deed(
        "network.dns",
        &["ask-nobody", "127.0.0.78:53"],
        &[
            ("/dns/type", "query"),
            ("/dns/question/name", "holdfast.example.org"),
            ("/destination/ip", "127.0.0.78"),
        ],
    ),
    // To everybody, which the socket has not asked for.
    failing(
        "EACCES",
        deed(
            "network.dns",
            &["ask-nobody", "127.255.255.255:53"],
            &[
                ("/dns/type", "query"),
                ("/destination/ip", "127.255.255.255"),
            ],
        ),
    ),
    answer(&["ask", "127.0.0.77:53"], &["tracepoint"]),
    answer(&["ask", "[::1]:53"], &["tracepoint"]),
    answer(
        &["ask-unconnected", "127.0.0.77:53"],
        &["kprobe", "tracepoint"],
    ),
    answer(&["ask-stream", "127.0.0.77:53"], &["kprobe", "tracepoint"]),
    Deed {
        unseen_by: &["tracepoint"],
        ..deed(
            "network.dns",
            &["ask-much", "127.0.0.77:53"],
            &[
                ("/dns/type", "answer"),
                ("/dns/resolved_ip/0", "192.0.2.1"),
                ("/holdfast/truncated/0", "dns"),
            ],
        )
    },
];
