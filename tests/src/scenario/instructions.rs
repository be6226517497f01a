//! What an open costs while Holdfast watches opens, in instructions: where the guest's clock counts them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{Mode, OFlags, open};
use serde_json::{Value, json};

use super::Scenario;
use crate::bench::Bench;
use crate::cost::{self, Operation};
use crate::noop::{self, Answer};
use crate::place::Variant;
use crate::sensor::Options;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "instructions",
    about: "1, 64 and 256 rules cost an open that none is about the same, and little",
    at: |place| place.is_variant(Variant::Counted),
    seconds: 150,
    run: instructions,
}];

/// Whether this is one of them: in a guest that counts, nothing else is tried.
pub fn counts(scenario: &Scenario) -> bool {
    SCENARIOS.iter().any(|it| it.name == scenario.name)
}

/// Numbers of rules that must cost the same.
const RULES: [usize; 3] = [1, 64, 256];
/// What they may differ by.
const PERCENT: u64 = 5;
/// What an open that no rule is about may cost beyond a program that does nothing, but where a rule is about
/// another file with that name.
const MOST: u64 = 700;
/// What is opened, and what is said of it.
const FILES: [(&str, &str); 4] = [
    ("2 names", "/etc/passwd"),
    ("4 names", "/srv/a/b/file"),
    ("8 names", "/srv/a/b/c/d/e/f/file"),
    (LIKE_A_RULE, "/srv/a/b/0"),
];
/// Its path has to be found out, since there is a rule about another file with this name.
const LIKE_A_RULE: &str = "4 names, the last as in a rule";

fn instructions(bench: &Bench) -> Result<()> {
    for (_, file) in FILES {
        let directory = Path::new(file).parent().context("every file is in one")?;
        std::fs::create_dir_all(directory).context("make directories")?;
        std::fs::write(file, "content").context("write a file")?;
    }
    let none = cost()?;
    let link = noop::attach("file_open", Answer::Allow)?;
    let noop = cost()?;
    drop(link);
    // Beyond a program that does nothing, by the number of rules; by file.
    let mut beyond: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut measure = |name: String, options: Options<'_>| -> Result<()> {
        // Nothing but what the rules are about, so that nothing else runs.
        let sensor = options.silent().option("events", "").start()?;
        let costs = cost()?.into_iter().zip(&noop);
        let costs = costs.map(|(cost, noop)| cost.saturating_sub(*noop));
        beyond.insert(name, costs.collect());
        sensor.stop().map(drop)
    };
    for count in RULES {
        let rules: Vec<Value> = (0..count)
            .map(|n| {
                let when = format!("file.path == '/srv/rules/{n}'");
                json!({"id": format!("r{n}"), "on": ["file.open"], "when": when, "action": "deny"})
            })
            .collect();
        let policy = bench.policy(&format!("rules-{count}"), &json!(rules))?;
        let sensor = bench.sensor().enforce().policy(&policy);
        measure(count.to_string(), sensor)?;
    }
    let shipped = bench.sensor().policy(&bench.setting.policies);
    measure("shipped".to_owned(), shipped)?;

    let names = FILES.map(|(name, _)| name);
    bench.note(
        json!({"files": names, "open": none, "noop": noop, "beyond_noop": beyond}).to_string(),
    );
    for (index, name) in names.iter().enumerate() {
        let costs = RULES.map(|count| beyond[&count.to_string()][index]);
        let (least, most) = (costs.iter().min(), costs.iter().max());
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        ensure!(
            (most - least) * 100 <= most * PERCENT,
            "{name}: {costs:?} instructions by the number of rules, {RULES:?}"
        );
        ensure!(
            most <= MOST || *name == LIKE_A_RULE,
            "{name}: {most} instructions beyond a program that does nothing"
        );
    }
    Ok(())
}

/// Instructions of an open and close of each file.
fn cost() -> Result<Vec<u64>> {
    FILES.iter().map(|(_, file)| cost_of(file)).collect()
}

fn cost_of(file: &str) -> Result<u64> {
    cost::least(Operation::Open.burst(), || {
        open(file, OFlags::RDONLY, Mode::empty())
            .map(drop)
            .context("open a file")
    })
}
