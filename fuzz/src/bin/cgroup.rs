//! Paths of cgroups, which whoever may make one names: any path is a container's or none's.
#![no_main]

use holdfast_actors::runtime::container_of;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = String::from_utf8_lossy(bytes);
    if let Some(id) = container_of(&path) {
        assert!(!id.is_empty() && id.len() <= path.len());
    }
});
