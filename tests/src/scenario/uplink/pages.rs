//! The server's pages in a browser, from enrolling to a policy that is enforced.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::server::Team;
use super::{RULE, rule};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::scenario::EVENT;

/// Where the script is, and where its pictures stay: scenarios that run here are started in the repository.
const SCRIPT: &str = "tests/browser/pages.mjs";
const PICTURES: &str = "target/pages";
/// How long the browser may take for all pages.
const BROWSER: Duration = Duration::from_secs(180);
/// More than the page of the fleet shows.
const ALERTS: usize = 10;

pub(super) fn pages(bench: &Bench) -> Result<()> {
    let team = Team::new(bench)?;
    let running = team.start()?;
    let key = bench.file("installation.key", team.command(&["key", "create"])?)?;
    let token = team.command(&["token", "create", "scenario"])?;
    let (offender, victim) = (bench.program("offender")?, bench.program("victim")?);
    let policy = bench.policy("alerting", &json!([rule(RULE, &offender, "alert")]))?;
    let sensor = bench
        .sensor()
        .tier("tracepoint")
        .enforce()
        .policy(&policy)
        .option("set", format!("uplink.url=http://{}", running.address()))
        .option("set", format!("uplink.key_file={}", key.display()))
        .start()?;
    let run = |program: &Path, argument: &str| {
        let mut command = Command::new(program);
        command.args(["echo", argument]).output_within(EVENT)
    };
    for number in 0..ALERTS {
        run(&offender, &number.to_string())?.with_code(0)?;
    }
    running.stored(&token, ALERTS)?;
    ensure!(run(&victim, "")?.code() == Some(0), "nobody forbade it yet");

    fs::create_dir_all(PICTURES).with_context(|| format!("make {PICTURES}"))?;
    let seen = Command::new("node")
        .arg(SCRIPT)
        .arg(format!("http://{}", running.address()))
        .arg(team.password()?)
        .args([&offender, &victim])
        .arg(PICTURES)
        .output_within(BROWSER)?;
    ensure!(seen.code() == Some(0), "{}{}", seen.stdout, seen.stderr);
    sensor.status_when("the bundle is in force", HEARTBEAT, |status| {
        status["uplink"]["bundle"] == 1
    })?;
    ensure!(
        run(&victim, "")?.code().is_none(),
        "what was written in the browser is not enforced"
    );
    sensor.stop()?;
    Ok(())
}

/// A sensor asks every half minute what it should do.
const HEARTBEAT: Duration = Duration::from_secs(45);
