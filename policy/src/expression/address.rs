//! Addresses and networks. An IPv4-mapped IPv6 address is the IPv4 address.

use std::net::{IpAddr, Ipv6Addr};

/// Bits of an IPv6 address before the IPv4 address that is mapped into it.
const MAPPED_BITS: u8 = 96;
/// `::ffff:0:0/96`, where IPv4 lives.
pub(crate) const MAPPED: Cidr = Cidr {
    network: 0xffff_0000_0000,
    bits: MAPPED_BITS,
};

/// A network, as 128 bits: IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cidr {
    /// The address; bits behind the prefix are zero.
    pub(crate) network: u128,
    /// Length of the prefix.
    pub(crate) bits: u8,
}

/// The 128 bits of an address.
pub(crate) const fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Cidr {
    /// The network of just this address.
    pub(crate) const fn host(address: IpAddr) -> Self {
        Self {
            network: address_bits(address),
            bits: 128,
        }
    }

    /// The address that it is the network of, canonical; `None` where it holds others.
    pub(crate) fn host_address(self) -> Option<IpAddr> {
        let address = IpAddr::V6(Ipv6Addr::from_bits(self.network)).to_canonical();
        (self.bits == 128).then_some(address)
    }

    /// Reads `10.0.0.0/8` or `fe80::/10`; host bits must be zero.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let bits: u8 = bits.parse().ok()?;
        let (most, offset) = if address.is_ipv4() {
            (32, MAPPED_BITS)
        } else {
            (128, 0)
        };
        let cidr = Self {
            network: address_bits(address),
            bits: bits.checked_add(offset)?,
        };
        (bits <= most && cidr.network & cidr.mask() == cidr.network).then_some(cidr)
    }

    /// Whether all addresses of `other` lie in this one. IPv6 networks hold no IPv4 addresses.
    pub(crate) const fn contains(self, other: Self) -> bool {
        self.covers(other) && (self.is_mapped() || !other.is_mapped())
    }

    /// Whether the bits of `other` begin with these: what a lookup by prefix goes by.
    pub(crate) const fn covers(self, other: Self) -> bool {
        self.bits <= other.bits && other.network & self.mask() == self.network
    }

    /// Whether it is a network of IPv4.
    const fn is_mapped(self) -> bool {
        self.bits >= MAPPED.bits && self.network & MAPPED.mask() == MAPPED.network
    }

    const fn mask(self) -> u128 {
        match u128::MAX.checked_shl(128 - self.bits as u32) {
            Some(mask) => mask,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let host = |text: &str| Cidr::host(text.parse().unwrap());
        let ten = Cidr::parse("10.0.0.0/8").unwrap();
        assert!(ten.contains(host("10.255.0.1")) && ten.contains(host("::ffff:10.0.0.1")));
        assert!(!ten.contains(host("11.0.0.1")) && !ten.contains(host("a00::")));
        let all = Cidr::parse("::/0").unwrap();
        assert!(all.contains(host("fe80::1")) && !all.contains(host("1.2.3.4")));
        assert!(Cidr::parse("0.0.0.0/0").unwrap().contains(host("1.2.3.4")));
        for wrong in [
            "10.0.0.0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "::/129",
            "x/8",
            "10.0.0.0/",
            "::/+1",
        ] {
            assert_eq!(Cidr::parse(wrong), None, "{wrong}");
        }
    }
}
