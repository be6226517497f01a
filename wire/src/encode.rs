//! Records → bytes, as the kernel programs write them: for what is written in user space.
#![allow(unsafe_code)] // `bytes_of` shows the bytes of plain-old-data types.

use crate::decode::Plain;
use crate::record::{HEADER_BYTES, Header};

/// The bytes of a header or of the fixed part of a record.
#[must_use]
pub fn bytes_of<T: Plain>(part: &T) -> &[u8] {
    // SAFETY: `part` is `size_of::<T>()` readable bytes, all of them initialised, since T is `Plain`
    // and has no padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(part).cast(), size_of::<T>()) }
}

/// A whole record: `header` with its length set, the fixed part of its kind, and that part's strings.
#[must_use]
pub fn encode(mut header: Header, fixed: &[u8], strings: &[&[u8]]) -> Vec<u8> {
    let strings_length: usize = strings.iter().map(|string| string.len()).sum();
    let length = HEADER_BYTES + fixed.len() + strings_length;
    // Strings are paths and arguments, bounded far below 4 GiB.
    header.length = length as u32;
    let mut record = Vec::with_capacity(length);
    record.extend_from_slice(bytes_of(&header));
    record.extend_from_slice(fixed);
    for string in strings {
        record.extend_from_slice(string);
    }
    record
}
