//! What hot paths are recorded to cost: a change that makes one dearer says why, where it is recorded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// Where that is, as seen from the repository's root.
const FILE: &str = "tests/src/cost/record.json";
const TEXT: &str = include_str!("record.json");
/// A path in the kernel may become dearer by so many percent unsaid,
const PERCENT: u64 = 3;
/// or by so many instructions, where a percentage is less: what one load more and its bounds take.
const FEW: u64 = 15;
/// What the agent does may by so many percent: it differs by two from run to run, as records fall into batches.
const PERCENT_OF_AGENT: u64 = 5;
/// What the names of those paths end in.
pub const AGENT: &str = ", agent";

/// What a path costs, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    instructions: u64,
    /// Why this much: what it buys, or the change that made it so.
    reason: String,
}

type Record = BTreeMap<String, Recorded>;

/// Compares what was found with what is recorded, by the path's name.
///
/// # Errors
/// When a path is dearer than recorded, or not recorded.
pub fn compare(found: &BTreeMap<String, u64>) -> Result<()> {
    let record: Record = serde_json::from_str(TEXT).with_context(|| format!("parse {FILE}"))?;
    let mut dearer = String::new();
    for (path, now) in found {
        // Writing to a String does not fail.
        let _ = match record.get(path) {
            None => write!(dearer, "; {path}: {now}, not recorded"),
            Some(Recorded {
                instructions,
                reason,
            }) if is_dearer(path, *instructions, *now) => {
                write!(
                    dearer,
                    "; {path}: {now}, recorded {instructions} ({reason})"
                )
            }
            Some(_) => Ok(()),
        };
    }
    if dearer.is_empty() {
        return Ok(());
    }
    bail!(
        "hot paths cost more instructions than {FILE} says, which a change is to update with its reason{dearer}"
    );
}

fn is_dearer(path: &str, was: u64, now: u64) -> bool {
    let percent = if path.ends_with(AGENT) {
        PERCENT_OF_AGENT
    } else {
        PERCENT
    };
    now > was + (was * percent / 100).max(FEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_gives_reasons() {
        let record: Record = serde_json::from_str(TEXT).unwrap();
        assert!(!record.is_empty() && record.values().all(|it| !it.reason.is_empty()));
    }

    #[test]
    fn what_is_dearer_by_more_than_three_percent_fails_and_so_does_what_is_not_recorded() {
        let is_dearer = |was, now| is_dearer("exec, in line", was, now);
        assert!(!is_dearer(1000, 1030) && is_dearer(1000, 1031));
        assert!(!is_dearer(100, 115) && is_dearer(100, 116) && !is_dearer(100, 10));
        assert!(!super::is_dearer("exec, agent", 1000, 1050));
        let found = BTreeMap::from([("nothing of this name".to_owned(), 1)]);
        let error = compare(&found).unwrap_err().to_string();
        assert!(
            error.contains("nothing of this name: 1, not recorded"),
            "{error}"
        );
    }
}
