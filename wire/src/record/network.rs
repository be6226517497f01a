//! Fixed part of network records: one shape for all operations on sockets.

/// `network.*`. Strings: the name of a Unix socket; at `network.dns` the message.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Socket {
    /// The socket's own address in network order, IPv4 as `::ffff:a.b.c.d`; see [`ends`].
    pub own: [u8; 16],
    /// The address of the other end, likewise.
    pub peer: [u8; 16],
    /// The own port, in host order.
    pub own_port: u16,
    /// The other end's port, in host order.
    pub peer_port: u16,
    /// `AF_*` (`include/linux/socket.h`), as the caller gave it.
    pub family: u16,
    /// `sk_protocol` (`IPPROTO_*`), or that asked for at `network.socket`; `u16::MAX` when unknown.
    pub protocol: u16,
    /// `sock->type` (`SOCK_*`); 0 when unknown.
    pub socket_type: u16,
    /// See [`ends`].
    pub ends: u16,
    /// Bytes of the name of a Unix socket: an absolute path where the kernel has resolved it, else as
    /// it stands in `struct sockaddr_un`, where an abstract name begins with a NUL. At `network.dns` the
    /// bytes of the message, by TCP with its length or without.
    pub path_length: u16,
    /// At `network.dns` [`QUESTION`] or [`ANSWER`]; else 0.
    pub direction: u16,
}

impl Socket {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        own: [0; 16],
        peer: [0; 16],
        own_port: 0,
        peer_port: 0,
        family: 0,
        protocol: u16::MAX,
        socket_type: 0,
        ends: 0,
        path_length: 0,
        direction: 0,
    };
}

/// [`Socket::direction`] of what is sent to a name server.
pub const QUESTION: u16 = 0;
/// [`Socket::direction`] of what comes from one.
pub const ANSWER: u16 = 1;
/// One more than the bytes that are read of each of the two pieces of a DNS message: questions are
/// short, and answers mostly. A power of two, for the kernel programs bound lengths by a mask.
pub const MESSAGE_BYTES: usize = 1024;

/// Bits of [`Socket::ends`]: which addresses and ports are known.
pub mod ends {
    /// `own` and `own_port`.
    pub const OWN: u16 = 1 << 0;
    /// `peer` and `peer_port`.
    pub const PEER: u16 = 1 << 1;
}

const _: () = assert!(size_of::<Socket>() == 48);
