//! Events of sockets.

use std::net::{IpAddr, Ipv6Addr};

use holdfast_wire::Kind;
use holdfast_wire::event::{self, Event};
use holdfast_wire::record::network::Socket;

/// Adds what the record says of the socket.
pub(super) fn describe(event: &mut Event<'_>, kind: Kind, socket: &Socket) {
    let address = Ipv6Addr::from(socket.address);
    // Shown as what it was given as: AF_INET is 2.
    let mapped = (socket.family == 2)
        .then(|| address.to_ipv4_mapped())
        .flatten();
    let end = Some(event::Endpoint {
        ip: mapped.map_or(IpAddr::V6(address), IpAddr::V4),
        port: socket.port,
    });
    match kind {
        Kind::NetworkConnect => event.destination = end,
        _ => event.source = end,
    }
    event.network = Some(event::Network {
        transport: event::protocol_name(socket.protocol),
        family: if socket.family == 2 { "ipv4" } else { "ipv6" },
    });
}
