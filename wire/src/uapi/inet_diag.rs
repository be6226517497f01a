//! Sockets as `sock_diag(7)` lists them (`include/uapi/linux/inet_diag.h`).

use std::net::Ipv6Addr;

use super::{Malformed, netlink, word};

/// `SOCK_DIAG_BY_FAMILY`, the type of requests and answers.
pub const BY_FAMILY: u16 = 20;
/// `AF_INET`
pub const INET: u8 = 2;
/// `AF_INET6`
pub const INET6: u8 = 10;

/// `IPPROTO_TCP`
const TCP: u8 = 6;
/// `struct inet_diag_sockid`
const ID_BYTES: usize = 48;

/// States of TCP (`include/net/tcp_states.h`) as bits.
const ESTABLISHED: u32 = 1 << 1;
const SYN_SENT: u32 = 1 << 2;
const FIN_WAIT1: u32 = 1 << 4;
const FIN_WAIT2: u32 = 1 << 5;
const CLOSE_WAIT: u32 = 1 << 8;
const LAST_ACK: u32 = 1 << 9;
const LISTEN: u8 = 10;
const CLOSING: u32 = 1 << 11;

/// Every state of a socket that a process holds, or did until a moment ago: not those whose inode is
/// gone (TIME_WAIT), nor those that nobody has accepted (SYN_RECV).
const STATES: u32 =
    ESTABLISHED | SYN_SENT | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT | LAST_ACK | 1 << LISTEN | CLOSING;

/// One end: address in network order, IPv4 as `::ffff:a.b.c.d`, and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The address.
    pub address: [u8; 16],
    /// The port, host order.
    pub port: u16,
}

impl End {
    /// Whether it stands for every address of its family.
    #[must_use]
    pub fn is_any(&self) -> bool {
        let address = Ipv6Addr::from(self.address);
        let mapped = address.to_ipv4_mapped();
        address.is_unspecified() || mapped.is_some_and(|address| address.is_unspecified())
    }
}

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// [`INET`] or [`INET6`].
    pub family: u8,
    /// It listens.
    pub listens: bool,
    /// Its own end.
    pub local: End,
    /// The other end.
    pub remote: End,
    /// Unique among the sockets of a boot.
    pub cookie: u64,
    /// Inode of the descriptor; 0: no process has one any more.
    pub inode: u32,
}

/// The request for all TCP sockets of a family in the network namespace of the asker.
#[must_use]
pub fn dump(family: u8, sequence: u32) -> Vec<u8> {
    // `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, which socket.
    let mut payload = vec![family, TCP, 0, 0];
    payload.extend(STATES.to_ne_bytes());
    payload.extend([0; ID_BYTES]);
    let flags = netlink::REQUEST | netlink::DUMP;
    netlink::message(BY_FAMILY, flags, sequence, &payload)
}

/// Reads an answer of kind [`BY_FAMILY`].
///
/// # Errors
/// [`Malformed`], when it is shorter than a socket, or of another family.
pub fn parse(payload: &[u8]) -> Result<Socket, Malformed> {
    parse_socket(payload).ok_or(Malformed("socket"))
}

fn parse_socket(bytes: &[u8]) -> Option<Socket> {
    let (family, state) = (*bytes.first()?, *bytes.get(1)?);
    let end = |port: usize, address: usize| {
        let port = u16::from_be_bytes(*bytes.get(port..)?.first_chunk()?);
        let address: [u8; 16] = *bytes.get(address..)?.first_chunk()?;
        let address = match family {
            INET => {
                let [a, b, c, d, ..] = address;
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
            }
            INET6 => address,
            _ => return None,
        };
        Some(End { address, port })
    };
    Some(Socket {
        family,
        listens: state == LISTEN,
        local: end(4, 8)?,
        remote: end(6, 24)?,
        // Two words, the lower first.
        cookie: u64::from(word(bytes, 44)?) | u64::from(word(bytes, 48)?) << 32,
        inode: word(bytes, 68)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn socket(family: u8, state: u8) -> Vec<u8> {
        let mut bytes = vec![family, state, 0, 0];
        bytes.extend(443u16.to_be_bytes());
        bytes.extend(51_000u16.to_be_bytes());
        bytes.extend([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        for word in [0u32, 5, 1, 0, 0, 0, 1000, 4711] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn both_families_are_read() {
        let four = parse(&socket(INET, LISTEN)).unwrap();
        assert!(four.listens);
        assert_eq!((four.local.port, four.remote.port), (443, 51_000));
        let address = Ipv6Addr::from(four.remote.address).to_ipv4_mapped();
        assert_eq!(address.unwrap().octets(), [10, 0, 0, 7]);
        assert_eq!((four.cookie, four.inode), (1 << 32 | 5, 4711));
        let six = parse(&socket(INET6, 1)).unwrap();
        assert!(!six.listens && !six.local.is_any());
        assert_eq!(six.remote.address[15], 9);
    }

    #[test]
    fn any_address_is_known_in_both_families() {
        let mut bytes = socket(INET, LISTEN);
        bytes[8..12].fill(0);
        assert!(parse(&bytes).unwrap().local.is_any());
        bytes[0] = INET6;
        assert!(parse(&bytes).unwrap().local.is_any());
        bytes[0] = 1;
        assert!(parse(&bytes).is_err());
    }

    #[test]
    fn the_request_has_the_kernels_size() {
        let bytes = dump(INET6, 3);
        let request = netlink::next(&mut &bytes[..]).unwrap().unwrap();
        // `sizeof(struct inet_diag_req_v2)`
        assert_eq!((request.payload.len(), request.sequence), (56, 3));
    }

    proptest! {
        #[test]
        fn what_is_cut_is_refused(family in prop_oneof![Just(INET), Just(INET6)], length in 0usize..72) {
            prop_assert!(parse(&socket(family, 1)[..length]).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
