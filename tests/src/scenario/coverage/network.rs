//! Sockets.

use super::{Deed, deed, failing};

pub(super) const DEEDS: &[Deed] = &[
    failing(
        "ECONNREFUSED",
        deed(
            "network.connect",
            &["connect", "127.0.0.1:1"],
            &[("/destination/ip", "127.0.0.1"), ("/destination/port", "1")],
        ),
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
];
