//! Netlink messages (`include/uapi/linux/netlink.h`).

use super::{Malformed, short, word};

/// `struct nlmsghdr`
const HEADER_BYTES: usize = 16;

/// `NLMSG_ERROR`: the payload begins with a negative error number, or 0.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`: a message of several parts ends.
pub const DONE: u16 = 3;
/// `NLM_F_REQUEST`
pub const REQUEST: u16 = 1;
/// `NLM_F_DUMP`: all of them.
pub const DUMP: u16 = 0x300;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_seq`: that of the request which it answers.
    pub sequence: u32,
    /// What is behind the header.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// The error number of a message of kind [`ERROR`]; 0 for none.
    #[must_use]
    pub fn error(&self) -> Option<i32> {
        let is_error = self.kind == ERROR;
        let code = word(self.payload, 0).filter(|_| is_error)?;
        Some(code.cast_signed().wrapping_neg())
    }
}

/// Takes the first message off `bytes`; `None` where there are no more.
pub fn next<'a>(bytes: &mut &'a [u8]) -> Option<Result<Message<'a>, Malformed>> {
    if bytes.is_empty() {
        return None;
    }
    let parsed = parse(bytes);
    *bytes = match &parsed {
        // Messages begin at multiples of four (`NLMSG_ALIGN`).
        Some((_, length)) => bytes.get(length.next_multiple_of(4)..).unwrap_or_default(),
        None => &[],
    };
    let message = parsed.map(|(message, _)| message);
    Some(message.ok_or(Malformed("netlink message")))
}

fn parse(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let length = word(bytes, 0)? as usize;
    let message = Message {
        kind: short(bytes, 4)?,
        sequence: word(bytes, 8)?,
        payload: bytes.get(HEADER_BYTES..length)?,
    };
    Some((message, length))
}

/// A message to the kernel.
#[must_use]
pub fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + payload.len();
    let mut bytes = Vec::with_capacity(length);
    // Requests are some dozen bytes long.
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // The sender's port: the kernel knows it.
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_follow_each_other_aligned() {
        let mut bytes = message(20, REQUEST, 1, b"abcde");
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(message(ERROR, 0, 2, &(-13i32).to_ne_bytes()));
        let mut rest = &bytes[..];
        let first = next(&mut rest).unwrap().unwrap();
        assert_eq!((first.kind, first.payload), (20, &b"abcde"[..]));
        assert_eq!(first.error(), None);
        let second = next(&mut rest).unwrap().unwrap();
        assert_eq!((second.sequence, second.error()), (2, Some(13)));
        assert!(next(&mut rest).is_none());
    }

    #[test]
    fn a_length_beyond_the_bytes_or_below_the_header_is_refused() {
        for length in [0u32, 15, 40, u32::MAX] {
            let mut bytes = message(20, 0, 1, b"abcd");
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(next(&mut &bytes[..]).unwrap().is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            let mut count = 0;
            while let Some(message) = next(&mut rest) {
                count += 1;
                let _ = message.map(|message| message.error());
            }
            prop_assert!(count <= 1 + bytes.len() / HEADER_BYTES);
        }
    }
}
