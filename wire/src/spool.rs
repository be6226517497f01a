//! Segments of the uplink's spool: what one sensor process writes to disk and a later one reads.
//!
//! A head of 40 bytes, then records; integers are little-endian.
//!
//! | bytes | of the head |
//! | --- | --- |
//! | 0..4 | `HFSP` |
//! | 4 | [`VERSION`] |
//! | 5 | the priority, as in frames |
//! | 6..8 | 0 |
//! | 8..16 | sequence of the first record |
//! | 16..24 | sequence of the last record before this segment; 0: there was none |
//! | 24..32 | when it was begun, seconds since 1970 |
//! | 32..36 | 0 |
//! | 36..40 | CRC-32 of what is before it |
//!
//! A record is its length (4 bytes), a CRC-32 (4 bytes) of its sequence (8 bytes, not written) and its
//! bytes, and the bytes. Sequences of a segment increase by one, so that a record in the wrong place
//! is none. Reading is total: any bytes are some records and then an end or a break.

use crate::frame::{MAX_EVENT_BYTES, Priority};

/// Version of segments.
pub const VERSION: u8 = 1;
/// Bytes of a segment before its first record.
pub const HEAD_BYTES: usize = 40;
/// Bytes of a record before its content.
pub const RECORD_HEAD_BYTES: usize = 8;
/// Most bytes of a record's content: what a frame takes.
pub const MAX_CONTENT_BYTES: usize = MAX_EVENT_BYTES;

const MAGIC: [u8; 4] = *b"HFSP";

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of all its records.
    pub priority: Priority,
    /// Sequence of its first record.
    pub first: u64,
    /// Sequence of the last record of the segment before; 0: there was none. By it the records of a
    /// segment can be counted without being read.
    pub previous: u64,
    /// When it was begun, seconds since 1970. No record before it is younger.
    pub created: u64,
}

impl Head {
    /// As it is written.
    #[must_use]
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.priority.number();
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.previous.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.created.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head that `bytes` begin with; `None`: they do not begin with one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD_BYTES>()?;
        let number = |at: usize| {
            let eight = head[at..].first_chunk::<8>();
            eight.map_or(0, |eight| u64::from_le_bytes(*eight))
        };
        let is_whole = crc32fast::hash(&head[..36]).to_le_bytes() == head[36..];
        if head[..4] != MAGIC || head[4] != VERSION || !is_whole {
            return None;
        }
        let (first, previous) = (number(8), number(16));
        let priority = Priority::from_number(head[5])?;
        (previous < first).then_some(Self {
            priority,
            first,
            previous,
            created: number(24),
        })
    }
}

/// Appends the record `sequence` to `bytes`. Content beyond [`MAX_CONTENT_BYTES`] would not be read.
pub fn push(sequence: u64, content: &[u8], bytes: &mut Vec<u8>) {
    // A record is far below what 32 bits can count.
    bytes.extend((content.len() as u32).to_le_bytes());
    bytes.extend(checksum(sequence, content).to_le_bytes());
    bytes.extend(content);
}

/// What stands where a record may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// The record, in so many bytes.
    Record {
        /// What was pushed.
        content: &'a [u8],
        /// Bytes until the next.
        bytes: usize,
    },
    /// Nothing.
    End,
    /// The beginning of a record.
    Cut,
    /// Something else.
    Corrupt,
}

/// What `bytes` begin with, where the record `sequence` should be.
#[must_use]
pub fn next(bytes: &[u8], sequence: u64) -> Next<'_> {
    if bytes.is_empty() {
        return Next::End;
    }
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Next::Cut;
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_CONTENT_BYTES {
        return Next::Corrupt;
    }
    let Some((crc, rest)) = rest.split_first_chunk::<4>() else {
        return Next::Cut;
    };
    let Some(content) = rest.get(..length) else {
        return Next::Cut;
    };
    if u32::from_le_bytes(*crc) != checksum(sequence, content) {
        return Next::Corrupt;
    }
    Next::Record {
        content,
        bytes: RECORD_HEAD_BYTES + length,
    }
}

fn checksum(sequence: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const HEAD: Head = Head {
        priority: Priority::Event,
        first: 7,
        previous: 6,
        created: 1_800_000_000,
    };

    #[test]
    fn a_head_with_any_bit_turned_is_none() {
        let bytes = HEAD.encode();
        assert_eq!(Head::decode(&bytes), Some(HEAD));
        for bit in 0..8 * HEAD_BYTES {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&other), None, "bit {bit}");
        }
        assert_eq!(Head::decode(&bytes[..HEAD_BYTES - 1]), None);
    }

    #[test]
    fn a_record_is_one_in_its_place_only() {
        let mut bytes = Vec::new();
        push(5, b"five", &mut bytes);
        assert!(matches!(
            next(&bytes, 5),
            Next::Record {
                content: b"five",
                bytes: 12
            }
        ));
        assert_eq!(next(&bytes, 6), Next::Corrupt);
        assert_eq!(next(&bytes[..3], 5), Next::Cut);
        assert_eq!(next(&bytes[..11], 5), Next::Cut);
        assert_eq!(next(&[], 5), Next::End);
        assert_eq!(next(&[255; 12], 5), Next::Corrupt);
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_read_up_to_any_cut(
            contents in vec(vec(any::<u8>(), 0..40), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for (sequence, content) in (1..).zip(&contents) {
                push(sequence, content, &mut bytes);
                ends.push(bytes.len());
            }
            let cut = cut.index(bytes.len() + 1);
            let mut rest = &bytes[..cut];
            let mut read = 0;
            while let Next::Record { content, bytes } = next(rest, read + 1) {
                prop_assert_eq!(content, &contents[read as usize][..]);
                rest = &rest[bytes..];
                read += 1;
            }
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            prop_assert_eq!(read as usize, whole);
            let end = next(rest, read + 1);
            prop_assert_eq!(end, if rest.is_empty() { Next::End } else { Next::Cut });
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in vec(any::<u8>(), 0..200), first in 1u64..9) {
            let (mut rest, mut sequence) = (&bytes[..], first);
            while let Next::Record { bytes, .. } = next(rest, sequence) {
                rest = &rest[bytes..];
                sequence += 1;
            }
            let _ = Head::decode(&bytes);
        }
    }
}
