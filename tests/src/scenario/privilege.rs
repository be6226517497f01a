//! What is lost without each capability, as the table in `docs/install/docker.md` has it; and what a sensor has given up
//! once it runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_wire::event::capability_names;
use serde_json::{Value, json};

use super::{EVENT, Scenario, namespace};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::control::ask;
use crate::events::{action, number, text};
use crate::place::Place;
use crate::sensor::{Options, Sensor};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "privilege-lost",
        about: "without each capability that the sensor uses exactly that is lost which the table says, and doctor says so",
        at: |place| *place == Place::Native || place.is_stock("5.10"),
        seconds: 60,
        run: lost,
    },
    Scenario {
        name: "privilege-dropped",
        about: "every thread of a sensor has only the capabilities that it says it keeps, gains none by an exec and has the \
                filter of system calls; a reload attaches new hooks all the same",
        at: |place| {
            let stock = ["5.10", "6.1", "6.12", "7"];
            *place == Place::Native || stock.iter().any(|kernel| place.is_stock(kernel))
        },
        seconds: 60,
        run: dropped,
    },
];

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
            "CAP_SYS_CHROOT" => {
                works(bench, without())?;
                // One of its mount namespaces has nobody in it.
                let (_zoo, _) = namespace::zoo(&bench.path("zoo"), bench)?;
                let words = ["namespaces", "--mounts", "--json"];
                let ended = without().deprived_command(&words).output_within(EVENT)?;
                let stderr = ended.with_code(0)?.stderr;
                ensure!(
                    stderr.contains("mount namespaces could not be looked into"),
                    "without {name}: {stderr:?}"
                );
            }
            _ => bail!("nobody has tried what is lost without {name}"),
        }
    }
    Ok(())
}

fn dropped(bench: &Bench) -> Result<()> {
    let policy = bench.policy("given-up", &json!([]))?;
    let sensor = bench.sensor().policy(&policy).enforce().start()?;
    let status = sensor.status()?;
    let confinement = &status["confinement"];
    let kept = confinement["capabilities"]["kept"]
        .as_object()
        .context("the status does not say what is kept")?;
    let kept: Vec<&str> = kept.keys().map(String::as_str).collect();
    let used = table();
    let limits = fs::read_to_string(format!("/proc/{}/limits", sensor.pid()))?;
    let is_lifted = limits.lines().any(|line| {
        line.strip_prefix("Max locked memory")
            .is_some_and(|limit| limit.trim().starts_with("unlimited"))
    });
    let is_used = |name: &str| {
        used.contains_key(name) && name != "CAP_SYS_RESOURCE"
            || name == "CAP_IPC_LOCK" && !is_lifted
    };
    ensure!(kept.iter().all(|name| is_used(name)), "{kept:?} are kept");
    ensure!(
        confinement["capabilities"]["left_in_bounding_set"] == json!([])
            && confinement["no_new_privs"] == true
            && confinement["seccomp"]["refused"]["run programs"] == json!(["execve", "execveat"]),
        "{confinement}"
    );
    let degraded = status["degraded"].as_array().context("no degradations")?;
    ensure!(
        degraded.iter().all(|it| it["what"] != "confinement"),
        "{degraded:?}"
    );
    confined(&sensor, &kept)?;

    // It does all the same what it does later than at its start.
    let secret = bench.file("secret", "x")?.display().to_string();
    let rule = json!([{"id": "secret", "on": ["file.open"], "action": "deny",
                       "when": format!("file.path == '{secret}'")}]);
    bench.policy("given-up", &rule)?;
    sensor.command(&["policy", "reload"])?.with_code(0)?;
    sensor.status_when("the hook that the rule asks for", EVENT, |status| {
        let mut hooks = status["hooks"].as_array().into_iter().flatten();
        hooks.any(|hook| hook["action"] == "file.open" && hook["tier"].is_string())
    })?;
    let reader = bench.act(&["read", &secret]).output_within(EVENT)?;
    ensure!(reader.code() != Some(0), "the secret was read");
    sensor.events.wait_for("the alert", EVENT, |event| {
        text(event, "/rule/id") == "secret"
    })?;
    let map = ask(bench, "GET", "/v1/namespaces")?;
    let map: Value = serde_json::from_str(&map).context("parse the namespaces")?;
    ensure!(map["mounts"].is_object(), "nothing is mounted");
    confined(&sensor, &kept)?;

    let said = sensor.command(&["status"])?.with_code(0)?.stdout;
    ensure!(said.contains("capabilities given up"), "{said}");
    let doctor = sensor.command(&["doctor"])?.with_code(0)?.stdout;
    for name in &kept {
        ensure!(doctor.contains(&format!("keeps {name}: ")), "{doctor}");
    }
    ensure!(doctor.contains("cannot run programs"), "{doctor}");
    sensor.stop().map(drop)
}

/// Whether all threads of a sensor have these capabilities and no others, and what else confines them (proc(5)).
fn confined(sensor: &Sensor<'_>, kept: &[&str]) -> Result<()> {
    let tasks = format!("/proc/{}/task", sensor.pid());
    for task in fs::read_dir(&tasks).context("list the sensor's threads")? {
        let task = task.context("list the sensor's threads")?.path();
        let Ok(status) = fs::read_to_string(task.join("status")) else {
            // It has ended.
            continue;
        };
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapInh:", "CapAmb:"] {
            let value = field(set).with_context(|| format!("no {set}"))?;
            let value = u64::from_str_radix(&value, 16).context("read a set")?;
            let mut names = capability_names(value);
            names.sort_unstable();
            let expected = match set {
                "CapInh:" | "CapAmb:" => &[],
                _ => kept,
            };
            ensure!(names == expected, "{}: {set} {names:?}", task.display());
        }
        for (name, value) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
            ensure!(
                field(name).as_deref() == Some(value),
                "{}: not {name} {value}: {status}",
                task.display()
            );
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
