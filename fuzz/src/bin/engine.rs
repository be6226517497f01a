//! What container engines answer, a user's Podman among them: any bytes say something of a container or nothing, and
//! what is kept of it is bounded.
#![no_main]

use holdfast_actors::runtime::engine::fuzzing::details;

/// More than is kept of any one text (`answer.rs` says how much of each kind).
const MOST: usize = 4096;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(details) = details(bytes) else {
        return;
    };
    let container = details.container;
    assert!(!container.id.is_empty());
    assert!(container.name.is_none_or(|name| name.len() <= MOST));
    assert!(container.labels.len() <= MOST);
    for (name, value) in &container.labels {
        assert!(name.len() + value.len() <= MOST);
    }
    let grants = details.grants;
    for kept in [
        grants.added_capabilities,
        grants.host_namespaces,
        grants.mounts,
    ] {
        assert!(kept.len() <= MOST && kept.iter().all(|text| text.len() <= MOST));
    }
});
