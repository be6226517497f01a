//! What is lost without each capability, as the table in `docs/install/docker.md` has it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_wire::event::capability_names;
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, number};
use crate::place::Place;
use crate::sensor::Options;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "privilege-lost",
    about: "without each capability that the sensor uses exactly that is lost which the table says, and doctor says so",
    at: |place| *place == Place::Native || place.is_stock("5.10"),
    seconds: 60,
    run: lost,
}];

const PAGE: &str = include_str!("../../../docs/install/docker.md");
/// How the table says that nothing goes without it.
const NEVER: &str = "the sensor does not start:";
/// What depends on the kernel is tried in guests, too.
const DEPENDS: &str = "before kernel ";
/// The exit codes of a sensor that is not permitted to start, and of one that cannot.
const NOT_PERMITTED: i32 = 4;
const CANNOT_START: i32 = 5;
const NOBODY: u32 = 65_534;

fn lost(bench: &Bench) -> Result<()> {
    let table = table();
    ensure!(!table.is_empty(), "the page has no table");
    let all = capability_names(u64::MAX).join(",");
    let said = said(&bench.sensor().without_capabilities(&all))?;
    ensure!(said == table, "doctor says {said:?}, the page {table:?}");
    let lacking = self::said(&bench.sensor())?;
    let kernel = kernel()?;
    for (name, lost) in &table {
        let without = || bench.sensor().without_capabilities(name);
        let mut expected = lacking.clone();
        expected.insert(name.clone(), lost.clone());
        let said = self::said(&without())?;
        ensure!(said == expected, "without {name} doctor says {said:?}");
        if bench.setting.place.is_guest() && !lost.contains(DEPENDS) {
            continue;
        }
        match name.as_str() {
            _ if lost.starts_with(NEVER) => {
                let why = refused(&without(), NOT_PERMITTED)?;
                ensure!(why.contains(name), "without {name}: {why}");
            }
            "CAP_SYS_RESOURCE" if kernel < (5, 11) => {
                let sensor = without().start()?;
                let status = sensor.status()?;
                ensure!(
                    status["tier"] == "fanotify",
                    "{}: {}",
                    status["tier"],
                    status["degraded"]
                );
                sensor.stop()?;
            }
            "CAP_SYS_RESOURCE" => works(bench, without())?,
            "CAP_NET_ADMIN" => {
                let status = without()
                    .tier("fanotify")
                    .option("events", "*")
                    .start()?
                    .status()?;
                let tells = |action: &str| {
                    let mut hooks = status["hooks"].as_array().into_iter().flatten();
                    hooks.any(|hook| hook["action"] == action && hook["tier"] == "fanotify")
                };
                ensure!(tells("file.open"), "{}", status["hooks"]);
                for action in ["process.exit", "process.setuid"] {
                    ensure!(
                        tells(action) == (kernel >= (6, 6)),
                        "{action}: {}",
                        status["hooks"]
                    );
                }
                if !bench.setting.place.is_guest() {
                    works(bench, without())?;
                }
            }
            "CAP_DAC_OVERRIDE" => {
                works(bench, without())?;
                let others = bench.path("others");
                fs::create_dir(&others).context("make a directory")?;
                chown(&others, Some(NOBODY), Some(NOBODY)).context("give it away")?;
                let at = |key: &str, name: &str| format!("{key}={}", others.join(name).display());
                let sensor = without()
                    .option("set", at("control.socket", "control.sock"))
                    .option("set", at("state.dir", "state"))
                    .option("set", at("log.dir", "log"));
                refused(&sensor, CANNOT_START)?;
            }
            _ => bail!("nobody has tried what is lost without {name}"),
        }
    }
    Ok(())
}

/// The table by capability, as plain text.
fn table() -> BTreeMap<String, String> {
    let rows = PAGE.lines().filter_map(|line| {
        let row = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let (name, lost) = row.split_once("` | ")?;
        Some((format!("CAP_{name}"), lost.replace('`', "")))
    });
    rows.collect()
}

/// What `doctor` says is lost.
fn said(sensor: &Options<'_>) -> Result<BTreeMap<String, String>> {
    // Of the tier that is tried the quickest. Where something is missing it says so by its exit code, too.
    let words = [
        "doctor",
        "--json",
        "--config",
        "/dev/null",
        "--set",
        "tier=fanotify",
    ];
    let ended = sensor.deprived_command(&words).output_within(EVENT)?;
    let said: Value = serde_json::from_str(&ended.stdout)
        .with_context(|| format!("parse what doctor says, {}", ended.stderr))?;
    serde_json::from_value(said["permissions"]["lost"].clone()).context("read what is lost")
}

/// Why a sensor does not start.
fn refused(sensor: &Options<'_>, code: i32) -> Result<String> {
    let ended = sensor.run_command().output_within(EVENT)?;
    Ok(ended.with_code(code)?.stderr)
}

/// Whether a sensor tells of what is done, and keeps from it.
fn works(bench: &Bench, sensor: Options<'_>) -> Result<()> {
    let secret = bench.file("secret", "x")?.display().to_string();
    let rule = json!({"id": "secret", "on": ["file.open"], "action": "deny",
                      "when": format!("file.path == '{secret}'")});
    let policy = bench.policy("secret", &json!([rule]))?;
    let sensor = sensor.policy(&policy).enforce().start()?;
    let reader = bench.act(&["read", &secret]).output_within(EVENT)?;
    ensure!(reader.code() != Some(0), "the secret was read");
    let pid = i64::from(reader.pid);
    sensor
        .events
        .wait_for("the reader's exec", EVENT, |event| {
            action(event) == "process.exec" && number(event, "/process/pid") == Some(pid)
        })?;
    sensor.stop().map(drop)
}

/// The version of the kernel, as far as it matters.
fn kernel() -> Result<(u32, u32)> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|it: char| !it.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    next()
        .zip(next())
        .with_context(|| format!("read the release {release}"))
}
