//! Segments of the uplink's spool, as a disk gives them back: any bytes are a head and some records, which written
//! again are the same bytes, and then an end. Some of the checksums are put right first.
#![no_main]

use holdfast_wire::spool::{self, HEAD_BYTES, Head, Next};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Some(head) = bytes.first_chunk_mut::<HEAD_BYTES>() {
        let crc = crc32fast::hash(&head[..36]);
        head[36..].copy_from_slice(&crc.to_le_bytes());
    }
    let Some(head) = Head::decode(&bytes) else {
        return;
    };
    let read = Head::decode(&head.encode()).expect("a head that was written");
    assert_eq!(read, head);
    let mut sequence = head.first;
    let mut at = HEAD_BYTES;
    loop {
        put_right(&mut bytes[at..], sequence);
        let Next::Record {
            content,
            bytes: long,
        } = spool::next(&bytes[at..], sequence)
        else {
            break;
        };
        let mut again = Vec::new();
        spool::push(sequence, content, &mut again);
        assert_eq!(again, bytes[at..at + long]);
        at += long;
        let Some(next) = sequence.checked_add(1) else {
            break;
        };
        sequence = next;
    }
});

/// The checksum of the record that `bytes` begin with, unless its length is odd: some are to stay wrong.
fn put_right(bytes: &mut [u8], sequence: u64) {
    let Some((length, rest)) = bytes.split_first_chunk_mut::<4>() else {
        return;
    };
    let length = u32::from_le_bytes(*length) as usize;
    let Some((crc, rest)) = rest.split_first_chunk_mut::<4>() else {
        return;
    };
    if let Some(content) = rest.get(..length).filter(|_| length % 2 == 0) {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&sequence.to_le_bytes());
        hasher.update(content);
        crc.copy_from_slice(&hasher.finalize().to_le_bytes());
    }
}
