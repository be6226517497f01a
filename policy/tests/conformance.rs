//! The CEL specification's conformance vectors, as far as they concern what is supported: an expression
//! that is accepted has the value that the specification says. One that is not says so by name.
//!
//! `tools/cel-vectors` writes the vectors, which `make unit` sees to.

use std::collections::BTreeMap;

use holdfast_policy::expression::Filter;
use serde_json::{Value as Json, json};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/cel-vectors.json");

/// How many vectors of a suite are accepted, and give what they must. The others are about types and
/// functions that are refused.
const ACCEPTED: [(&str, usize); 10] = [
    ("basic", 18),
    ("comparisons", 60),
    ("integer_math", 14),
    ("lists", 6),
    ("logic", 12),
    ("macros", 7),
    ("parse", 84),
    ("plumbing", 1),
    ("string", 45),
    ("timestamps", 50),
];

#[test]
fn what_is_accepted_is_as_specified() {
    let text = std::fs::read(VECTORS)
        .expect("no vectors: run `tools/cel-vectors target/cel-vectors.json`");
    let suites: Json = serde_json::from_slice(&text).unwrap();
    let mut accepted: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for suite in suites["suites"].as_array().unwrap() {
        let suite_name = suite["name"].as_str().unwrap();
        for vector in vectors(suite) {
            let expression = vector["expr"].as_str().unwrap();
            match judge(vector, expression) {
                Some(true) => *accepted.entry(suite_name.to_owned()).or_default() += 1,
                Some(false) => {
                    wrong.push(format!("{suite_name}: {expression} → {}", vector["value"]))
                }
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{accepted:?}", wrong.join("\n"));
    let expected = ACCEPTED.map(|(suite, count)| (suite.to_owned(), count));
    assert_eq!(accepted, BTreeMap::from(expected));
}

/// The vectors below a suite.
fn vectors(suite: &Json) -> Vec<&Json> {
    let list = |key: &str| suite[key].as_array().into_iter().flatten();
    let own = list("tests").map(|test| &test["original"]);
    own.chain(list("suites").flat_map(vectors)).collect()
}

/// Whether an expression has the value that it must; `None` where it is not accepted, or is about variables,
/// of which there are none but the fields of events.
fn judge(vector: &Json, expression: &str) -> Option<bool> {
    if ["bindings", "typeEnv", "container", "checkOnly"]
        .iter()
        .any(|key| !vector[key].is_null())
    {
        return None;
    }
    let value = &vector["value"];
    let (condition, must_hold) = if let Some(truth) = value["boolValue"].as_bool() {
        (expression.to_owned(), truth)
    } else if let Some(number) = value["int64Value"].as_str() {
        (format!("({expression}) == {number}"), true)
    } else if let Some(text) = value["stringValue"].as_str() {
        (format!("({expression}) == {}", json!(text)), true)
    } else if !vector["evalError"].is_null() {
        // What has no value equals nothing, itself included.
        (format!("({expression}) == ({expression})"), false)
    } else {
        return None;
    };
    let filter = Filter::parse(&condition).ok()?;
    Some(filter.matches(&json!({})) == must_hold)
}
