//! Records as they come from the kernel: any bytes are a record or a named defect.
#![no_main]

use holdfast_wire::decode::{claimed_kind, decode};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = decode(bytes) {
        assert_eq!(claimed_kind(bytes), Some(record.kind));
        assert_eq!(record.header.length as usize, bytes.len());
    }
});
