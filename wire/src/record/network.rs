//! Fixed part of network records: one shape for connect, bind and listen.

/// `network.connect`, `network.bind`, `network.listen`. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Socket {
    /// Address in network order, IPv4 as `::ffff:a.b.c.d`: the peer's of a connect, else the
    /// socket's own.
    pub address: [u8; 16],
    /// Port in host order, of the same end.
    pub port: u16,
    /// `AF_INET` (2) or `AF_INET6` (10), as the caller gave it.
    pub family: u16,
    /// `sk_protocol` (`IPPROTO_*`); `u16::MAX` when unknown.
    pub protocol: u16,
    /// `sock->type` (`SOCK_*`); 0 when unknown.
    pub socket_type: u16,
}

const _: () = assert!(size_of::<Socket>() == 24);
