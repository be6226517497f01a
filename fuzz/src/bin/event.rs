//! Recorded events: any JSON is judged or refused by one rule of each kind of condition.
#![no_main]

use std::sync::LazyLock;

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{Mode, Policy};
use holdfast_policy::field::{Kinds, Recorded};
use holdfast_policy::snapshot::Snapshot;

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let text = include_bytes!("../../policy.json");
    let policy =
        Policy::parse("policy.json", text).expect("the policy beside the targets is right");
    let options = Options {
        epoch: 1,
        mode: Mode::Enforce,
        reported: Kinds::NONE,
    };
    compile(&[policy], &options).expect("it compiles")
});

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let Ok(event) = serde_json::from_slice(text) else {
        return;
    };
    if let Ok(recorded) = Recorded::new(&event) {
        let _ = SNAPSHOT.judge(recorded.kind(), &recorded);
    }
});
