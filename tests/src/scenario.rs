//! All scenarios: one file per theme, one entry here or there per claim about the sensor.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bench::Bench;
use crate::place::{Place, Variant};

pub mod buffer;
pub mod cap;
pub mod capability;
pub mod chaos;
pub mod container;
pub mod cost;
pub mod count;
pub mod coverage;
pub mod deny;
pub mod derive;
pub mod doctor;
pub mod engine;
pub mod evade;
pub mod exec;
pub mod fanotify;
pub mod harness;
pub mod hooks;
pub mod input;
pub mod instructions;
pub mod ledger;
pub mod metrics;
pub mod missed;
pub mod namespace;
pub mod outlive;
pub mod package;
pub mod path;
pub mod peers;
pub mod pod;
pub mod predicate;
pub mod privilege;
pub mod process;
pub mod protect;
pub mod rate;
pub mod refuse;
pub mod reload;
pub mod replay;
pub mod restart;
pub mod sequence;
pub mod shortage;
pub mod soak;
pub mod storm;
pub mod supervision;
pub mod tiers;
pub mod uplink;
pub mod verifier;

/// Emulated guests are slower than the machine by about this much; limits grow with it.
const GUEST_SLOWNESS: u32 = 4;

/// How long a command may take to end, or its event to come: far more than either needs.
const EVENT: Duration = Duration::from_secs(20);

/// A claim about the sensor and how it is tried.
#[derive(Debug)]
pub struct Scenario {
    /// What it is called on command lines and in tables.
    pub name: &'static str,
    /// The claim, in one line.
    pub about: &'static str,
    /// Where it is tried.
    pub at: fn(&Place) -> bool,
    /// How long it may take natively.
    pub seconds: u64,
    /// Tries it.
    pub run: fn(&Bench) -> Result<()>,
}

impl Scenario {
    /// Whether it is tried at this place.
    pub fn applies(&self, place: &Place) -> bool {
        // Where instructions are counted, everything else takes long and says nothing new.
        let counted = place.is_variant(Variant::Counted) || place.is_variant(Variant::Peers);
        // And a whole system is there for what is installed into one.
        let system = place.is_system();
        let arm64 = place.is_variant(Variant::Arm64);
        (self.at)(place)
            && (!counted || instructions::counts(self) || cost::counts(self) || peers::counts(self))
            && (!system || package::tries(self) || engine::takes_system(self))
            && (!arm64 || ARM64.contains(&self.name))
    }

    /// How long it may take at this place.
    pub fn limit(&self, place: &Place) -> Duration {
        Duration::from_secs(self.seconds) * if place.is_guest() { GUEST_SLOWNESS } else { 1 }
    }
}

/// What is tried on arm64, which is slow to emulate: what depends on the machine.
const ARM64: [&str; 5] = [
    "harness",
    "hooks",
    "kill-on-exec",
    "deny-best-tier",
    "deny-kprobe",
];

/// Every scenario, in the order they run.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    [
        harness::SCENARIOS,
        hooks::SCENARIOS,
        verifier::SCENARIOS,
        process::SCENARIOS,
        protect::SCENARIOS,
        coverage::SCENARIOS,
        chaos::SCENARIOS,
        container::SCENARIOS,
        deny::SCENARIOS,
        evade::SCENARIOS,
        derive::SCENARIOS,
        doctor::SCENARIOS,
        refuse::SCENARIOS,
        predicate::SCENARIOS,
        fanotify::SCENARIOS,
        supervision::SCENARIOS,
        input::SCENARIOS,
        instructions::SCENARIOS,
        reload::SCENARIOS,
        replay::SCENARIOS,
        sequence::SCENARIOS,
        restart::SCENARIOS,
        cost::SCENARIOS,
        peers::SCENARIOS,
        count::SCENARIOS,
        path::SCENARIOS,
        pod::SCENARIOS,
        exec::SCENARIOS,
        engine::SCENARIOS,
        ledger::SCENARIOS,
        tiers::SCENARIOS,
        uplink::SCENARIOS,
        shortage::SCENARIOS,
        soak::SCENARIOS,
        storm::SCENARIOS,
        rate::SCENARIOS,
        buffer::SCENARIOS,
        cap::SCENARIOS,
        capability::SCENARIOS,
        metrics::SCENARIOS,
        missed::SCENARIOS,
        package::SCENARIOS,
        namespace::SCENARIOS,
        outlive::SCENARIOS,
        privilege::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}

/// The scenario of this name.
pub fn find(name: &str) -> Result<&'static Scenario> {
    all()
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("no scenario '{name}'"))
}

/// The scenarios that apply at a place and match: an empty pattern matches all, otherwise one of its
/// comma-separated parts must occur in the name, or, where it is the whole name of one, be it. Those that
/// fail on purpose or take long must be named in full.
pub fn matching(pattern: &str, place: &Place) -> Vec<&'static Scenario> {
    let parts: Vec<&str> = pattern.split(',').filter(|part| !part.is_empty()).collect();
    let wanted = |scenario: &Scenario| {
        let by_name = harness::on_purpose(scenario)
            || engine::takes_long(scenario)
            || ledger::takes_long(scenario)
            || rate::takes_long(scenario)
            || reload::takes_long(scenario)
            || outlive::takes_long(scenario)
            || chaos::takes_long(scenario)
            || shortage::takes_long(scenario)
            || soak::takes_long(scenario)
            || supervision::takes_long(scenario)
            || uplink::takes_long(scenario);
        if by_name {
            return parts.contains(&scenario.name);
        }
        let is_meant = |part: &&str| {
            let is_a_name = || all().any(|other| other.name == *part);
            scenario.name == *part || scenario.name.contains(part) && !is_a_name()
        };
        parts.is_empty() || parts.iter().any(is_meant)
    };
    all()
        .filter(|scenario| scenario.applies(place) && wanted(scenario))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_tried_on_arm64_is_a_scenario_that_applies_there() {
        let place: Place = "6.12+arm64".parse().unwrap();
        assert_eq!(matching("", &place).len(), ARM64.len());
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<_> = all().map(|scenario| scenario.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn each_promise_of_the_threat_model_names_who_keeps_it() {
        let path = crate::page::root().join("docs/threat-model.md");
        let page = std::fs::read_to_string(path).unwrap();
        let promises = page.split("\n## Promised\n").nth(1).unwrap();
        let rows = promises.lines().filter(|line| line.starts_with("| "));
        let mut kept = 0;
        for row in rows {
            let by = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
            for name in by.split(',').map(str::trim) {
                // Heads and rules between rows have none.
                let Some(name) = name.strip_prefix('`').and_then(|it| it.strip_suffix('`')) else {
                    continue;
                };
                assert!(name == "make fuzz" || find(name).is_ok(), "{name}: {row}");
                kept += 1;
            }
        }
        assert!(kept > 40, "{kept} names");
    }

    #[test]
    fn failures_on_purpose_must_be_named() {
        let native = Place::Native;
        assert!(
            matching("", &native)
                .iter()
                .all(|scenario| !harness::on_purpose(scenario))
        );
        assert_eq!(matching("harness-fail", &native).len(), 1);
    }

    #[test]
    fn a_name_means_no_other() {
        let names = |pattern| -> Vec<_> {
            let matching = matching(pattern, &Place::Native);
            matching.into_iter().map(|scenario| scenario.name).collect()
        };
        assert_eq!(names("derive"), ["derive"]);
        assert!(names("deriv").len() > 1);
    }
}
