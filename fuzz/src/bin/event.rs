//! Recorded events: any JSON is judged or refused by one rule of each kind of condition, found by the index
//! or by trying all, by what came before it too, and can be explained, replayed and made a policy of.
#![no_main]

use std::sync::LazyLock;

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::derive::{self, KINDS, Workload};
use holdfast_policy::document::{Mode, Policy};
use holdfast_policy::field::{Kinds, Recorded};
use holdfast_policy::replay::Retelling;
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

const DERIVED: derive::Options<'_> = derive::Options {
    name: "derived",
    scope: None,
    action: "deny",
};

// Made before the first input, so that a policy which is wrong shows whatever the inputs are.
libfuzzer_sys::fuzz_target!(init: LazyLock::force(&SNAPSHOT), |text: &[u8]| {
    let Ok(event) = serde_json::from_slice(text) else {
        return;
    };
    let mut workload = Workload::default();
    workload.add(&event, KINDS);
    if let Some(policy) = workload.policy(&DERIVED) {
        // A path may be longer than an expression.
        let _ = Policy::parse("derived.json", policy.to_string().as_bytes());
    }
    let Ok(recorded) = Recorded::new(&event) else {
        return;
    };
    let found = SNAPSHOT.judge(recorded.kind(), &recorded).verdict;
    let by_all = SNAPSHOT.judge_by_all(recorded.kind(), &recorded).verdict;
    assert_eq!(found, by_all, "the index loses no rule");
    // Twice, since the second time something has come before.
    let (mut judged, mut explained) = (Retelling::default(), Retelling::default());
    for _ in 0..2 {
        let verdict = judged.judge(&SNAPSHOT, &recorded).verdict;
        let explained = SNAPSHOT.explain_event(&event, &mut explained);
        assert_eq!(explained.map(|it| it.verdict), Ok(verdict.name()));
    }
    let replayed = SNAPSHOT.replay(&event, &mut judged);
    assert!(replayed.is_ok(), "it was recognised");
});
