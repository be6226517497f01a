//! Policy tests: recorded events, and the rule that must match each.
//!
//! A file `*.test.json` beside a policy:
//!
//! ```json
//! {"policy": "shadow-read.json",
//!  "tests": [
//!    {"name": "cat reads it",
//!     "event": {"event": {"action": "file.open"}, "file": {"path": "/etc/shadow"}},
//!     "expect": {"rule": "shadow-read", "action": "alert"}},
//!    {"name": "others are left alone",
//!     "event": {"event": {"action": "file.open"}, "file": {"path": "/etc/passwd"}},
//!     "expect": {"rule": null}}]}
//! ```
//!
//! `action` may be left out; it is the rule's own, whatever the mode. `before` has events that happened before
//! it, for rules on what comes after something else.

use serde_json::Value as Json;

use crate::compile::{Options, compile};
use crate::document::{self, Mode, Policy};
use crate::error::{Mistake, Problems};
use crate::field::{Kinds, Recorded, Unrecognised};
use crate::json::{Part, Source, Text};
use crate::replay::Retelling;
use crate::snapshot::Snapshot;

const KEYS: [&str; 2] = ["policy", "tests"];
const TEST_KEYS: [&str; 4] = ["name", "before", "event", "expect"];
const EXPECT_KEYS: [&str; 2] = ["rule", "action"];

/// A file of tests.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The policy's file, relative to the test file.
    pub policy: String,
    /// The tests, in order.
    pub cases: Vec<Case>,
}

/// One test.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Events that happened before it, in order.
    pub before: Vec<Json>,
    /// The recorded event.
    pub event: Json,
    /// The rule that must match; `None`: no rule may.
    pub rule: Option<String>,
    /// The action that this rule must have.
    pub action: Option<String>,
}

/// What a test gave.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Outcome<'s> {
    /// Name of the test.
    pub name: &'s str,
    /// Why it failed; `None` when it passed.
    pub failure: Option<String>,
}

impl Suite {
    /// Reads a file of tests. `file` is only for the errors.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, Problems> {
        let mut source = Source::open(file, text, document::MAX_BYTES)?;
        let root = source.root()?;
        let suite = read_suite(&mut source, root);
        source.finish()?;
        // What could not be read was noted as a problem.
        suite.ok_or_else(|| Problems(Vec::new()))
    }

    /// Runs the tests on a policy, as if it and the sensor were in mode `enforce`.
    ///
    /// # Errors
    /// When the policy cannot be compiled.
    pub fn run<'s>(&'s self, policy: &Policy) -> Result<Vec<Outcome<'s>>, Problems> {
        let policy = Policy {
            mode: Mode::Enforce,
            ..policy.clone()
        };
        let options = Options {
            epoch: 0,
            mode: Mode::Enforce,
            reported: Kinds::NONE,
        };
        let snapshot = compile(&[policy], &options)?;
        let outcome = |case: &'s Case| Outcome {
            name: &case.name,
            failure: failure(case, &snapshot),
        };
        Ok(self.cases.iter().map(outcome).collect())
    }
}

fn read_suite<'t>(source: &mut Source<'t>, root: Part<'t>) -> Option<Suite> {
    let known = source.known(root, "a test file", &KEYS)?;
    let policy = source
        .required(&known, "policy")
        .and_then(|part| source.string(part));
    let parts = source
        .required(&known, "tests")
        .and_then(|part| source.array(part))?;
    let mut cases = Vec::with_capacity(parts.len());
    for part in parts {
        cases.extend(read_case(source, part));
    }
    Some(Suite {
        policy: policy?.value.into_owned(),
        cases,
    })
}

fn read_case<'t>(source: &mut Source<'t>, part: Part<'t>) -> Option<Case> {
    let known = source.known(part, "a test", &TEST_KEYS)?;
    let name = source
        .required(&known, "name")
        .and_then(|part| source.string(part));
    let before = match known.get("before") {
        Some(part) => {
            let parts = source.array(part)?;
            parts
                .into_iter()
                .map(|part| read_event(source, part))
                .collect()
        }
        None => Some(Vec::new()),
    };
    let event = source.required(&known, "event");
    let event = event.and_then(|part| read_event(source, part));
    let expect = source.required(&known, "expect")?;
    let expect = source.known(expect, "`expect`", &EXPECT_KEYS)?;
    let rule = source.required(&expect, "rule")?;
    let rule = if Source::is_null(rule) {
        None
    } else {
        Some(source.string(rule)?)
    };
    let action = source.optional_string(&expect, "action");
    if rule.is_none() && action.is_some() {
        source.mistake(Mistake::new(known.at, "without a rule there is no action"));
    }
    let owned = |text: Text<'_>| text.value.into_owned();
    Some(Case {
        name: owned(name?),
        before: before?,
        event: event?,
        rule: rule.map(owned),
        action,
    })
}

fn read_event<'t>(source: &mut Source<'t>, part: Part<'t>) -> Option<Json> {
    let event = source.value(part)?;
    if let Err(error) = Recorded::new(&event) {
        source.mistake(Mistake::new(part.at, error.to_string()));
    }
    Some(event)
}

fn failure(case: &Case, snapshot: &Snapshot) -> Option<String> {
    let mut retelling = Retelling::default();
    let mut judge = |event: &Json| -> Result<_, Unrecognised> {
        Ok(retelling.judge(snapshot, &Recorded::new(event)?).rule)
    };
    let before = case
        .before
        .iter()
        .try_for_each(|event| judge(event).map(drop));
    let matched = match before.and_then(|()| judge(&case.event)) {
        Ok(rule) => rule.map(|(_, rule)| rule),
        Err(error) => return Some(error.to_string()),
    };
    match (&case.rule, matched) {
        (None, None) => None,
        (None, Some(rule)) => Some(format!("expected no rule to match, but `{}` did", rule.id)),
        (Some(expected), None) => Some(format!("expected `{expected}` to match, but no rule did")),
        (Some(expected), Some(rule)) if *expected != rule.id => Some(format!(
            "expected `{expected}` to match, but `{}` did",
            rule.id
        )),
        (Some(_), Some(rule)) => match &case.action {
            Some(action) if action != rule.action.name() => Some(format!(
                "`{}` has the action {}, not {action}",
                rule.id,
                rule.action.name()
            )),
            _ => None,
        },
    }
}
