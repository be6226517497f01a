//! Recorded events give the same verdicts again, and others by other policies.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::text;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "replay",
    about: "what the event log has gives the same verdicts again, and others by other policies",
    at: |place| *place == Place::Native,
    seconds: 60,
    run: replay,
}];

fn replay(bench: &Bench) -> Result<()> {
    let policies = bench.setting.policies.clone();
    let sensor = bench
        .sensor()
        .policy(&policies)
        .option("events", "process.*,file.open")
        .start()?;
    // Whoever runs the tests can read it: it is what the shipped policies alert on that matters.
    bench
        .act(&["read", "/etc/shadow"])
        .output_within(EVENT)?
        .with_code(0)?;
    sensor.events.wait_for("the alert", EVENT, |event| {
        text(event, "/rule/id") == "shadow-read"
    })?;
    sensor.stop()?;

    let log = bench
        .sensor()
        .command(&["events", "--since", "1h", "--json"])
        .output_within(EVENT)?
        .with_code(0)?
        .stdout;
    let file = bench.file("recorded.json", &log)?.display().to_string();
    let replay = |policy: &str, more: &str| {
        let words = ["replay", &file, "--policy", policy, "--check", more];
        bench.sensor().command(&words).output_within(EVENT)
    };
    let same = replay(&policies.display().to_string(), "--json")?.with_code(0)?;
    let summary = last(&same.stdout)?;
    let counted = |key: &str| summary["summary"][key].as_u64().unwrap_or(0);
    ensure!(
        counted("events") > 1 && counted("matched") > 0 && counted("changed") == 0,
        "the same policies say something else: {summary}"
    );

    let rule = json!([{"id": "other", "on": ["file.open"], "when": "file.path == '/etc/shadow'",
                       "action": "deny", "message": "{{process.name}} reads {{file.path}}"}]);
    let other = bench.policy("other", &rule)?.display().to_string();
    let changed = replay(&other, "--json")?.with_code(1)?;
    let is_it = |line: &&Value| {
        line["now"]["id"] == "other"
            && line["now"]["action"] == "deny"
            && line["recorded"]["id"] == "shadow-read"
            && line["changed"] == true
    };
    let lines = lines(&changed.stdout)?;
    ensure!(
        lines.iter().any(|line| is_it(&line)),
        "the other policy's verdict is not among {lines:?}"
    );

    let nothing = bench.file("nothing.json", "this is no event\n")?;
    let words = ["replay", &nothing.display().to_string()];
    let refused = bench.sensor().command(&words).output_within(EVENT)?;
    let refused = refused.with_code(1)?;
    ensure!(
        refused.stderr.contains("line 1 is no event") && refused.stderr.contains("has no events"),
        "a file without events is refused with {:?}",
        refused.stderr
    );
    bench.note(summary.to_string());
    Ok(())
}

fn lines(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("parse '{line}'")))
        .collect()
}

fn last(text: &str) -> Result<Value> {
    lines(text)?.pop().context("nothing was printed")
}
