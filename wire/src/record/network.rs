//! Fixed part of network records.

/// `network.connect`. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Connect {
    /// Destination address in network order; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// Destination port in host order.
    pub port: u16,
    /// `AF_INET` (2) or `AF_INET6` (10), as the caller gave it.
    pub family: u16,
    /// `sk_protocol` (`IPPROTO_*`); `u16::MAX` when unknown.
    pub protocol: u16,
    /// `sock->type` (`SOCK_*`); 0 when unknown.
    pub socket_type: u16,
}

const _: () = assert!(size_of::<Connect>() == 24);
