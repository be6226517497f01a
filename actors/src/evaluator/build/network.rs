//! Events of sockets.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use holdfast_wire::Kind;
use holdfast_wire::dns;
use holdfast_wire::event::{self, Event};
use holdfast_wire::record::network::{ANSWER, Socket, ends};
use holdfast_wire::text;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;

/// Adds what the record says of the socket. Of a name server's answer the source is the socket's own end
/// all the same: who asked is the client of the whole exchange.
pub(super) fn describe<'a>(event: &mut Event<'a>, kind: Kind, socket: &Socket, path: &'a [u8]) {
    let known = |bit: u16| socket.ends & bit != 0;
    let own = known(ends::OWN).then(|| end(socket, socket.own, socket.own_port));
    let peer = known(ends::PEER).then(|| end(socket, socket.peer, socket.peer_port));
    let is_answer = socket.direction == ANSWER;
    let direction = match kind {
        Kind::NetworkAccept => Some("ingress"),
        Kind::NetworkDns if is_answer => Some("ingress"),
        Kind::NetworkConnect | Kind::NetworkSend | Kind::NetworkDns => Some("egress"),
        _ => None,
    };
    (event.source, event.destination) = match kind {
        Kind::NetworkAccept => (peer, own),
        _ => (own, peer),
    };
    let family = match socket.family {
        AF_INET => Some("ipv4"),
        AF_INET6 => Some("ipv6"),
        _ => None,
    };
    // Each family numbers its protocols for itself; where a socket is made, 0 is the type's usual one.
    let has_transport = family.is_some() && (socket.protocol != 0 || kind != Kind::NetworkSocket);
    event.network = Some(event::Network {
        transport: has_transport
            .then(|| event::protocol_name(socket.protocol))
            .flatten(),
        family,
        direction,
    });
    if kind == Kind::NetworkDns {
        let message = dns::parse(path, socket.protocol == IPPROTO_TCP);
        event.dns = Some(event::Dns::new(is_answer, message));
    }
    event.holdfast.socket = Some(event::Socket {
        family: event::socket_family_name(socket.family),
        socket_type: (socket.socket_type != 0).then(|| event::socket_type_name(socket.socket_type)),
        path: (socket.family == AF_UNIX).then(|| name(path)).flatten(),
    });
}

fn end(socket: &Socket, address: [u8; 16], port: u16) -> event::Endpoint {
    let address = Ipv6Addr::from(address);
    // Shown as what it was given as.
    let mapped = (socket.family == AF_INET)
        .then(|| address.to_ipv4_mapped())
        .flatten();
    event::Endpoint {
        ip: mapped.map_or(IpAddr::V6(address), IpAddr::V4),
        port,
    }
}

/// The name of a Unix socket as unix(7) has it: a path ends at its first NUL; an abstract name is all
/// of its bytes, of which ss(8) shows the NULs as `@`. A socket that was not bound has none.
fn name(bytes: &[u8]) -> Option<Cow<'_, str>> {
    match bytes {
        [] | [0] => None,
        [0, ..] => Some(text::path(bytes).replace('\0', "@").into()),
        _ => super::path_text(bytes.split(|byte| *byte == 0).next()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_unix_sockets() {
        assert_eq!(name(b"/run/x\0rest").as_deref(), Some("/run/x"));
        assert_eq!(name(b"\0a\0b").as_deref(), Some("@a@b"));
        assert_eq!(name(b"relative").as_deref(), Some("relative"));
        assert_eq!(name(b""), None);
        assert_eq!(name(b"\0"), None);
    }
}
