//! Frames as they come to the Team Server: any bytes are a frame that can be sent again, or a named
//! defect. The checksum is put right first, which a sensor with a token can do as well.
#![no_main]

use holdfast_wire::frame::{Compression, Frame};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Some((header, body)) = bytes.split_at_mut_checked(16) {
        header[12..16].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    }
    if let Ok(frame) = Frame::decode(&bytes) {
        let again = frame
            .encode(Compression::None)
            .expect("a frame that was taken");
        assert_eq!(Frame::decode(&again), Ok(frame));
    }
});
