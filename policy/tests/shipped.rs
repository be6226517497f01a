//! The shipped policies: each is valid, observes, says what it is about, and passes its tests.
#![allow(clippy::unwrap_used)] // Also in helpers: a test that cannot go on fails.

use std::path::{Path, PathBuf};

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{Mode, Policy};
use holdfast_policy::explain::Decided;
use holdfast_policy::field::Kinds;
use holdfast_policy::test::Suite;
use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

/// The files with this ending, in order.
fn files(ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    files.sort();
    files
}

fn policies() -> Vec<Policy> {
    let files = files(".json").into_iter();
    files
        .filter(|path| !path.to_str().unwrap().ends_with(".test.json"))
        .map(load)
        .collect()
}

fn load(path: PathBuf) -> Policy {
    let name = path.file_name().unwrap().to_str().unwrap();
    Policy::parse(name, &std::fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_policy_passes_its_tests() {
    let policies = policies();
    let suites = files(".test.json");
    assert_eq!(policies.len(), suites.len());
    for path in suites {
        let name = path.file_name().unwrap().to_str().unwrap();
        let suite = Suite::parse(name, &std::fs::read(&path).unwrap());
        let suite = suite.unwrap_or_else(|e| panic!("{e}"));
        let policy = load(directory().join(&suite.policy));
        for outcome in suite.run(&policy).unwrap() {
            assert_eq!(outcome.failure, None, "{name}: {}", outcome.name);
        }
        let silent = |id: &Option<String>| {
            let rule = policy
                .rules
                .iter()
                .find(|rule| Some(&rule.id) == id.as_ref());
            rule.is_none_or(|rule| rule.action == Verdict::Allow)
        };
        assert!(
            suite.cases.iter().any(|case| silent(&case.rule)),
            "{name}: nothing is left alone"
        );
        for rule in &policy.rules {
            let tested = suite
                .cases
                .iter()
                .any(|case| case.rule.as_ref() == Some(&rule.id));
            assert!(
                tested,
                "{name}: the rule {} has no event that matches",
                rule.id
            );
        }
    }
}

#[test]
fn every_policy_says_what_it_is_about_and_only_observes() {
    for policy in policies() {
        assert_eq!(policy.mode, Mode::Observe, "{}", policy.name);
        assert_eq!(policy.file, format!("{}.json", policy.name));
        assert!(policy.description.is_some(), "{}", policy.name);
        for rule in policy
            .rules
            .iter()
            .filter(|rule| rule.action != Verdict::Allow)
        {
            let complete = !rule.techniques.is_empty()
                && rule.message.is_some()
                && rule.false_positives.is_some();
            assert!(complete, "{}: {}", policy.name, rule.id);
        }
    }
}

#[test]
fn every_rule_that_speaks_is_in_the_list_of_the_documentation() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy-library.md");
    let list = std::fs::read_to_string(list).unwrap();
    for policy in policies() {
        let speaking = policy.rules.iter().filter(|it| it.action != Verdict::Allow);
        for rule in speaking {
            let row = format!(
                "`{}`](../policies/{}.json) | `{}`",
                policy.name, policy.name, rule.id
            );
            assert!(
                list.contains(&row),
                "{row} is missing in docs/policy-library.md"
            );
        }
    }
}

#[test]
fn all_are_in_force_together_and_prevent_nothing() {
    let options = Options {
        epoch: 1,
        mode: Mode::Enforce,
        reported: Kinds::NONE,
    };
    let snapshot = compile(&policies(), &options).unwrap();
    assert!(snapshot.wants(Kind::FileOpen) && !snapshot.wants(Kind::ProcessFork));
    for (kind, hook) in &snapshot.tables().hooks {
        let terms = &hook.term[..hook.terms as usize];
        let prevents = |number| Verdict::from_number(number).unwrap().acts();
        assert!(
            !terms.iter().any(|term| prevents(term.verdict)),
            "{}",
            kind.action()
        );
    }
    // Opens are the most frequent of all: no rule may ask for every one of them in user space.
    for rule in snapshot.explain().rules {
        for hook in rule
            .hooks
            .iter()
            .filter(|hook| hook.action == Kind::FileOpen.action())
        {
            assert_ne!(hook.decided, Decided::User, "{}/{}", rule.policy, rule.id);
        }
    }
}
