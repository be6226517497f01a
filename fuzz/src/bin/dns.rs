//! Messages of DNS, which anybody may send: any bytes are read as far as they go, in bounds.
#![no_main]

use holdfast_wire::dns;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for framed in [false, true] {
        if let Some(message) = dns::parse(bytes, framed) {
            assert!(message.answers.len() <= bytes.len());
            assert!(message.answers.iter().all(|answer| !answer.name.is_empty()));
        }
    }
});
