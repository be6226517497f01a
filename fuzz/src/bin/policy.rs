//! Policy files: any text is a policy or a list of problems with places in it, and what is a policy
//! compiles or says why not.
#![no_main]

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{Mode, Policy};
use holdfast_policy::field::Kinds;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    match Policy::parse("fuzz.json", text) {
        Ok(policy) => {
            let options = Options {
                epoch: 1,
                mode: Mode::Enforce,
                reported: Kinds::NONE,
            };
            if let Ok(snapshot) = compile(&[policy], &options) {
                let _ = snapshot.explain();
            }
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
