//! Which sockets are new since the last list, and what their process did to have them. Pure.

use std::collections::HashSet;

use holdfast_wire::Kind;
use holdfast_wire::uapi::inet_diag::{End, INET, Socket};

/// The sockets of the last list.
#[derive(Debug, Default)]
pub(crate) struct Differ {
    /// By cookie, and whether they listened; `None`: there was no list.
    known: Option<HashSet<(u64, bool)>>,
}

impl Differ {
    /// Takes a list, and returns what is new in it and of what kind it is. In the first everything
    /// was there before.
    pub(crate) fn new_ones(&mut self, sockets: Vec<Socket>) -> Vec<(Kind, Socket)> {
        let listeners: Vec<(u8, End)> = sockets
            .iter()
            .filter(|socket| socket.listens)
            .map(|socket| (socket.family, socket.local))
            .collect();
        let known = sockets
            .iter()
            .map(|socket| (socket.cookie, socket.listens))
            .collect();
        let Some(before) = self.known.replace(known) else {
            return Vec::new();
        };
        // Without an inode nobody has it open any more.
        let is_new = |socket: &Socket| {
            socket.inode != 0 && !before.contains(&(socket.cookie, socket.listens))
        };
        let kind = |socket: Socket| {
            let accepted = listeners
                .iter()
                .any(|(family, end)| accepts(*family, end, &socket));
            let kind = match (socket.listens, accepted) {
                (true, _) => Kind::NetworkListen,
                (false, true) => Kind::NetworkAccept,
                (false, false) => Kind::NetworkConnect,
            };
            (kind, socket)
        };
        sockets.into_iter().filter(is_new).map(kind).collect()
    }
}

/// Whether a connection came in at this listener: it has its port and, unless the listener has all
/// addresses, its address. One of IPv6 can have connections of IPv4.
fn accepts(family: u8, listener: &End, socket: &Socket) -> bool {
    let served = family == socket.family || family != INET;
    served
        && listener.port == socket.local.port
        && (listener.is_any() || listener.address == socket.local.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::uapi::inet_diag::INET6;

    fn end(last: u8, port: u16) -> End {
        let mut address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, last];
        if last == 0 {
            address[12] = 0;
        }
        End { address, port }
    }

    fn socket(cookie: u64, listens: bool, local: End, remote: End) -> Socket {
        Socket {
            family: INET,
            listens,
            local,
            remote,
            cookie,
            inode: 1,
        }
    }

    fn kinds(new: &[(Kind, Socket)]) -> Vec<(Kind, u64)> {
        new.iter().map(|(kind, it)| (*kind, it.cookie)).collect()
    }

    #[test]
    fn what_was_there_before_is_not_new() {
        let mut differ = Differ::default();
        let listener = socket(1, true, end(1, 80), end(0, 0));
        assert!(differ.new_ones(vec![listener]).is_empty());
        let connection = socket(2, false, end(1, 5000), end(9, 443));
        let new = differ.new_ones(vec![listener, connection]);
        assert_eq!(kinds(&new), [(Kind::NetworkConnect, 2)]);
        assert!(differ.new_ones(vec![listener, connection]).is_empty());
        let other = socket(3, true, end(1, 81), end(0, 0));
        assert_eq!(
            kinds(&differ.new_ones(vec![listener, other])),
            [(Kind::NetworkListen, 3)]
        );
    }

    #[test]
    fn both_ends_of_a_connection_on_this_machine_are_told_apart() {
        for listener in [end(1, 80), end(0, 80)] {
            let listener = socket(1, true, listener, end(0, 0));
            let made = socket(2, false, end(1, 5000), end(1, 80));
            let accepted = socket(3, false, end(1, 80), end(1, 5000));
            let mut differ = Differ {
                known: Some(HashSet::from([(1, true)])),
            };
            let new = differ.new_ones(vec![listener, made, accepted]);
            let expected = [(Kind::NetworkConnect, 2), (Kind::NetworkAccept, 3)];
            assert_eq!(kinds(&new), expected);
        }
    }

    #[test]
    fn an_ipv6_listener_has_connections_of_ipv4_and_not_the_reverse() {
        let (any6, any4) = (
            End {
                address: [0; 16],
                port: 80,
            },
            end(0, 80),
        );
        let four = socket(2, false, end(1, 80), end(1, 5000));
        let six = Socket {
            family: INET6,
            ..four
        };
        assert!(accepts(INET6, &any6, &four) && accepts(INET6, &any6, &six));
        assert!(accepts(INET, &any4, &four) && !accepts(INET, &any4, &six));
    }

    #[test]
    fn a_socket_that_begins_to_listen_is_new_and_one_that_nobody_has_is_not() {
        let mut differ = Differ::default();
        let before = socket(1, false, end(1, 80), end(9, 9));
        differ.new_ones(vec![before]);
        let listens = Socket {
            listens: true,
            ..before
        };
        assert_eq!(
            kinds(&differ.new_ones(vec![listens])),
            [(Kind::NetworkListen, 1)]
        );
        let nobodys = Socket {
            cookie: 2,
            inode: 0,
            ..before
        };
        assert!(differ.new_ones(vec![nobodys]).is_empty());
    }
}
