//! Sigma rules: any text gives rules that are a policy, and reasons for those that are none.
#![no_main]

use holdfast_policy::document::Policy;
use holdfast_policy::sigma::Import;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let mut import = Import::default();
    import.add("fuzz.yml", text);
    if let Some(policy) = import.policy("fuzz") {
        let policy = policy.to_string();
        if policy.len() <= holdfast_policy::document::MAX_BYTES {
            let read = Policy::parse("fuzz.json", policy.as_bytes());
            assert_eq!(read.expect("a policy").rules.len(), import.count());
        }
    }
});
