//! Configuration files: any text is one, or is refused with the place; what is set in one by a command is set, and the
//! rest stays.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let number = bytes.first().copied().unwrap_or_default();
    holdfast::fuzzing::configuration(&String::from_utf8_lossy(bytes), number.into());
});
