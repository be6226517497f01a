//! Fixed part of network records: one shape for all operations on sockets.

/// `network.*`. Strings: the name of a Unix socket.
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
    /// it stands in `struct sockaddr_un`, where an abstract name begins with a NUL.
    pub path_length: u16,
    /// Explicit padding, zero.
    pub reserved: u16,
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
        reserved: 0,
    };
}

/// Bits of [`Socket::ends`]: which addresses and ports are known.
pub mod ends {
    /// `own` and `own_port`.
    pub const OWN: u16 = 1 << 0;
    /// `peer` and `peer_port`.
    pub const PEER: u16 = 1 << 1;
}

const _: () = assert!(size_of::<Socket>() == 48);
