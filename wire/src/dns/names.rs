//! Numbers of DNS → the names that people know them by (IANA, Domain Name System Parameters).

use std::borrow::Cow;

pub(super) const A: u16 = 1;
pub(super) const NS: u16 = 2;
pub(super) const CNAME: u16 = 5;
pub(super) const PTR: u16 = 12;
pub(super) const MX: u16 = 15;
pub(super) const TXT: u16 = 16;
pub(super) const AAAA: u16 = 28;

/// `AAAA` for 28; those without a name here as RFC 3597 shows them: `TYPE999`.
pub(super) fn record_type(number: u16) -> Cow<'static, str> {
    match number {
        A => "A".into(),
        NS => "NS".into(),
        CNAME => "CNAME".into(),
        6 => "SOA".into(),
        10 => "NULL".into(),
        PTR => "PTR".into(),
        13 => "HINFO".into(),
        MX => "MX".into(),
        TXT => "TXT".into(),
        AAAA => "AAAA".into(),
        33 => "SRV".into(),
        35 => "NAPTR".into(),
        39 => "DNAME".into(),
        41 => "OPT".into(),
        43 => "DS".into(),
        46 => "RRSIG".into(),
        47 => "NSEC".into(),
        48 => "DNSKEY".into(),
        52 => "TLSA".into(),
        64 => "SVCB".into(),
        65 => "HTTPS".into(),
        251 => "IXFR".into(),
        252 => "AXFR".into(),
        255 => "ANY".into(),
        257 => "CAA".into(),
        other => format!("TYPE{other}").into(),
    }
}

/// `IN` for 1; those without a name as RFC 3597 shows them: `CLASS9`.
pub(super) fn class(number: u16) -> Cow<'static, str> {
    match number {
        1 => "IN".into(),
        3 => "CH".into(),
        4 => "HS".into(),
        255 => "ANY".into(),
        other => format!("CLASS{other}").into(),
    }
}

/// `QUERY` for 0; those without a name as their number.
pub(super) fn op_code(number: u16) -> Cow<'static, str> {
    match number {
        0 => "QUERY".into(),
        1 => "IQUERY".into(),
        2 => "STATUS".into(),
        4 => "NOTIFY".into(),
        5 => "UPDATE".into(),
        other => other.to_string().into(),
    }
}

/// `NXDOMAIN` for 3; those without a name as their number.
pub(super) fn response_code(number: u16) -> Cow<'static, str> {
    match number {
        0 => "NOERROR".into(),
        1 => "FORMERR".into(),
        2 => "SERVFAIL".into(),
        3 => "NXDOMAIN".into(),
        4 => "NOTIMP".into(),
        5 => "REFUSED".into(),
        6 => "YXDOMAIN".into(),
        7 => "YXRRSET".into(),
        8 => "NXRRSET".into(),
        9 => "NOTAUTH".into(),
        10 => "NOTZONE".into(),
        other => other.to_string().into(),
    }
}
