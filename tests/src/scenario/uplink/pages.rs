//! The server's pages in a browser, from enrolling to a policy that is enforced.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::server::Team;
use super::{RULE, rule, start};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::scenario::EVENT;

/// What the scripts have in common.
const MODULES: [(&str, &str); 2] = [
    ("browser.mjs", include_str!("../../../browser/browser.mjs")),
    ("steps.mjs", include_str!("../../../browser/steps.mjs")),
];
/// One after the other.
const SCRIPTS: [(&str, &str); 2] = [
    ("pages.mjs", include_str!("../../../browser/pages.mjs")),
    ("access.mjs", include_str!("../../../browser/access.mjs")),
];
/// Where its pictures stay, beside the server.
const PICTURES: &str = "pages";
/// How long the browser may take for a script.
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
    let sensor = start(bench, &policy, &key, running.address())?;
    let run = |program: &Path, argument: &str| {
        let mut command = Command::new(program);
        command.args(["echo", argument]).output_within(EVENT)
    };
    for number in 0..ALERTS {
        run(&offender, &number.to_string())?.with_code(0)?;
    }
    running.stored(&token, ALERTS)?;
    ensure!(run(&victim, "")?.code() == Some(0), "nobody forbade it yet");

    for (name, text) in MODULES {
        bench.file(name, text)?;
    }
    let pictures = bench.setting.server.with_file_name(PICTURES);
    fs::create_dir_all(&pictures).with_context(|| format!("make {}", pictures.display()))?;
    for (name, text) in SCRIPTS {
        let seen = Command::new("node")
            .arg(bench.file(name, text)?)
            .arg(format!("http://{}", running.address()))
            .arg(team.password()?)
            .args([&offender, &victim])
            .arg(&pictures)
            .output_within(BROWSER)?;
        ensure!(seen.code() == Some(0), "{}{}", seen.stdout, seen.stderr);
    }
    sensor.status_when("the bundle is in force", HEARTBEAT, |status| {
        // The same content has a higher version since a roll-out of it was taken back.
        status["uplink"]["bundle"].as_u64() >= Some(1)
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
