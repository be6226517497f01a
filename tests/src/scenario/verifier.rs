//! Every kernel program is verified, whatever tier it is for, and how much work that is gets known.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Scenario;
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: VERIFIER,
    about: "every program of the object is verified, those of tiers that are not used too",
    at: Place::is_as_shipped,
    seconds: 150,
    run: verifier,
}];

/// The scenario whose note is a [`Found`] in JSON.
pub const VERIFIER: &str = "verifier";

/// By program, what became of it.
pub type Found = BTreeMap<String, Became>;

/// What became of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Became {
    /// The verifier went through so many instructions and took it.
    Verified(u64),
    /// The kernel does not load it.
    Refused(Refused),
}

/// Why a program is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// There is no such function in this kernel.
    Missing,
    /// The kernel says no.
    Refused,
}

/// How long the verifier may take for all of them; it is slow in an emulated guest.
const LIMIT: Duration = Duration::from_secs(500);

fn verifier(bench: &Bench) -> Result<()> {
    let text = bench
        .sensor()
        .command(&["doctor", "--programs", "--json"])
        // With all that settings can add to the programs.
        .args(["--set", "events.environment=PATH"])
        .args(["--set", "limits.cgroup_events_per_second=1000"])
        .output_within(LIMIT)?
        .with_code(0)?
        .stdout;
    let report: Value = serde_json::from_str(&text).context("parse what doctor says")?;
    let programs = report["programs"].as_array();
    let found: Found = programs
        .into_iter()
        .flatten()
        .map(|program| {
            (
                program["program"].as_str().unwrap_or_default().to_owned(),
                became(program),
            )
        })
        .collect();
    ensure!(!found.is_empty(), "doctor names no programs: {text}");
    bench.note(serde_json::to_string(&found).context("write what was found")?);
    Ok(())
}

fn became(program: &Value) -> Became {
    if let Some(count) = program["instructions"].as_u64() {
        return Became::Verified(count);
    }
    let error = program["error"].as_str().unwrap_or_default();
    eprintln!("{}: {error}", program["program"]);
    Became::Refused(if error.contains("has no function") {
        Refused::Missing
    } else {
        Refused::Refused
    })
}
