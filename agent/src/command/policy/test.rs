//! `holdfast policy test`: recorded events, and the verdict that each must get.

use std::path::{Path, PathBuf};

use holdfast_policy::document::MAX_BYTES;
use holdfast_policy::test::Suite;
use serde_json::{Value, json};

use crate::cli::Show;
use crate::failure::Failure;
use crate::output;
use crate::policies::{self, PolicyError, given_or_configured, refused};

pub(super) fn test(paths: &[PathBuf], show: &Show) -> Result<(), Failure> {
    let config = show.settings.inputs().load()?;
    let paths = given_or_configured(paths, &config);
    let files = policies::find_all(&paths, policies::is_test).map_err(|error| refused(&[error]))?;
    let (mut passed, mut failures, mut suites) = (0, Vec::new(), Vec::new());
    for file in &files {
        let outcomes = run(file).map_err(|errors| refused(&errors))?;
        for outcome in &outcomes {
            match outcome["failure"].as_str() {
                None => passed += 1,
                Some(why) => {
                    let name = outcome["name"].as_str().unwrap_or_default();
                    failures.push(format!("{}: {name}: {why}", file.display()));
                }
            }
        }
        suites.push(json!({"file": file.display().to_string(), "tests": outcomes}));
    }
    if show.json {
        output::json(&json!({"ok": failures.is_empty(), "files": suites}))?;
    } else {
        for failure in &failures {
            output::text(&format!("{failure}\n"))?;
        }
        output::text(&format!(
            "{} files, {passed} tests passed, {} failed\n",
            files.len(),
            failures.len()
        ))?;
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::Refused(failures))
    }
}

/// Runs one file of tests on the policy beside it.
fn run(file: &Path) -> Result<Vec<Value>, Vec<PolicyError>> {
    let text = policies::read_bounded(file, MAX_BYTES).map_err(|error| vec![error])?;
    let suite = Suite::parse(&file.display().to_string(), &text).map_err(policies::all)?;
    let policy = policies::read_one(&file.with_file_name(&suite.policy))?;
    let outcomes = suite.run(&policy).map_err(policies::all)?;
    Ok(outcomes
        .iter()
        .map(|outcome| json!({"name": outcome.name, "failure": outcome.failure}))
        .collect())
}
