//! What goes on in the kernel when the sensor ends, and with the next one: every attempt is refused, every exec is
//! told of once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use holdfast_wire::event::rfc3339;
use rustix::process::Signal;
use serde_json::Value;

mod followed;
mod known;
mod load;
mod overload;

pub(super) use load::Load;

use super::{EVENT, Scenario, ledger};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::control;
use crate::events::{action, text};
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "outlive-kill",
        about: "killed again and again under load: what is denied never succeeds, and each exec is told of once",
        at: with_pins,
        seconds: 240,
        run: |bench| closed(bench, |load| killed(bench, ROUNDS, load)),
    },
    Scenario {
        name: "outlive-a-hundred-kills",
        about: "the same, a hundred times",
        at: with_pins,
        seconds: 1800,
        run: |bench| closed(bench, |load| killed(bench, 100, load)),
    },
    Scenario {
        name: "outlive-hanging",
        about: "killed while its evaluator hangs, and records wait that were read: each exec is told of once",
        at: |place| *place == Place::Native,
        seconds: 60,
        run: |bench| closed(bench, |load| hanging(bench, load)),
    },
    Scenario {
        name: "outlive-replaced",
        about: "another object takes the place of the programs in force under load, and nothing succeeds meanwhile",
        at: |place| *place == Place::Native || place.is_stock("6.12"),
        seconds: 180,
        run: |bench| closed(bench, |load| replaced(bench, load)),
    },
    Scenario {
        name: "outlive-another-version",
        about: "records that a sensor of another version has left cannot be read: it is told how many, and nothing succeeds meanwhile",
        at: |place| *place == Place::Native || place.is_stock("6.12"),
        seconds: 120,
        run: |bench| closed(bench, |load| followed::by_another_version(bench, load)),
    },
    Scenario {
        name: "outlive-failing-start",
        about: "a start that fails for want of descriptors, and a look by doctor, give up nothing of what goes on",
        at: |place| *place == Place::Native,
        seconds: 60,
        run: |bench| closed(bench, |load| followed::by_a_failing_start(bench, load)),
    },
    Scenario {
        name: "outlive-fail-open",
        about: "with kernel.on_exit=fail-open a killed sensor leaves nothing attached",
        at: |place| *place == Place::Native || place.is_stock("6.12"),
        seconds: 90,
        run: fail_open,
    },
    Scenario {
        name: "outlive-overload",
        about: "killed in overload, with records that it had read: each open is told of once, or counted as lost",
        at: |place| *place == Place::Native,
        seconds: 120,
        run: |bench| closed(bench, |_| overload::killed(bench)),
    },
    Scenario {
        name: "outlive-containers",
        about: "what is denied in a container stays so while policies change what they ask of containers, and sensors are killed and replaced",
        // Ids of cgroups stand for containers where v2 is alone.
        at: |place| place.is_stock("6.12"),
        seconds: 120,
        run: |bench| closed(bench, |_| known::of_containers(bench)),
    },
    Scenario {
        name: "outlive-ancestors",
        about: "what is denied to those who descend from a program that has exited stays so while sensors are killed and replaced",
        at: |place| place.is_stock("6.12"),
        seconds: 120,
        run: |bench| closed(bench, |_| known::of_ancestors(bench)),
    },
];

/// Whether it is to be named to be run.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == "outlive-a-hundred-kills"
}

/// Here, and in each kernel as it is shipped: links of all the hooks that are asked for can be pinned there.
fn with_pins(place: &Place) -> bool {
    let stock = ["5.10", "6.1", "6.12", "7"];
    *place == Place::Native || stock.iter().any(|kernel| place.is_stock(kernel))
}

/// How often it is killed.
const ROUNDS: usize = 4;
/// How long it is away each time.
const AWAY: Duration = Duration::from_millis(300);
/// How long it works before it is killed, by turns: killed as soon as it is ready it would only ever begin, and
/// killed later it is in the middle of writing.
const WORKS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(70),
    Duration::from_millis(400),
    Duration::from_millis(1100),
];
/// An emulated guest runs at a twentieth of the speed: more of it would be overload, in which a sensor that is killed loses
/// what it had read (`docs/restart.md`).
const SLOWER_IN_GUEST: u32 = 5;
/// How long the last one may take for what others have left to it.
const CAUGHT_UP: Duration = Duration::from_secs(120);
/// What is to be refused is attempted this often, and so often a command is run.
const PACE: Duration = Duration::from_millis(20);
const SECRET: &str = "the-secret";

/// By how much everything is slower here.
fn slower(bench: &Bench) -> u32 {
    if bench.setting.place.is_guest() {
        SLOWER_IN_GUEST
    } else {
        1
    }
}

/// As the sensor's log says it.
pub(super) fn now() -> String {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    rfc3339(since.as_nanos() as u64).to_string()
}

/// Each event file with its lines and the numbers of the first and the last command in it.
type Files = BTreeMap<String, (usize, Option<(u32, u32)>)>;

/// How often each command stands in the event files.
fn told(bench: &Bench) -> Result<(BTreeMap<u32, u32>, Files)> {
    let (mut told, mut files) = (BTreeMap::new(), Files::new());
    for file in fs::read_dir(bench.path("log.d")).context("list the event files")? {
        let file = file.context("list the event files")?;
        let content = fs::read_to_string(file.path()).context("read an event file")?;
        let (lines, first_and_last) = files
            .entry(file.file_name().to_string_lossy().into_owned())
            .or_default();
        for line in content.lines() {
            *lines += 1;
            // A kill may have torn one.
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let mark = text(&event, "/process/args/2").strip_prefix("mark-");
            let Some(number) = mark.and_then(|number| number.parse().ok()) else {
                continue;
            };
            if action(&event) == "process.exec" {
                *told.entry(number).or_default() += 1;
                first_and_last.get_or_insert((number, number)).1 = number;
            }
        }
    }
    Ok((told, files))
}

/// Of events in this directory that have this text: when, what, with which outcome and why.
pub(super) fn brief(log: &Path, with: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in fs::read_dir(log).context("list the event files")? {
        let file = file.context("list the event files")?;
        let content = fs::read_to_string(file.path()).context("read an event file")?;
        for line in content.lines().filter(|line| line.contains(with)) {
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let parts = [
                "/@timestamp",
                "/event/action",
                "/event/outcome",
                "/event/reason",
            ];
            found.push(parts.map(|part| text(&event, part)).join(" "));
        }
    }
    Ok(found)
}

/// The ledger's equations hold, and nothing was lost.
fn balanced(bench: &Bench) -> Result<()> {
    let kinds = ledger::settled(bench)?;
    let kinds = kinds.as_object().context("no ledger")?;
    let losing: Vec<_> = kinds
        .iter()
        .filter(|(_, kind)| ledger::number(kind, "ring_full") + ledger::number(kind, "dropped") > 0)
        .collect();
    ensure!(losing.is_empty(), "lost: {losing:?}");
    Ok(())
}

/// Has sensors leave their programs, and takes them away in the end, whatever came of it: they would judge what comes
/// after.
pub(super) fn closed(bench: &Bench, run: impl FnOnce(&Load) -> Result<()>) -> Result<()> {
    bench.set("kernel.on_exit=fail-closed");
    let load = Load::new(bench)?;
    let result = run(&load);
    let unloaded = unload(bench, &load);
    result.and(unloaded)
}

/// What sensors have left in the kernel is taken away, and nothing is refused any more.
fn unload(bench: &Bench, load: &Load) -> Result<()> {
    let sensor = bench.sensor();
    let ended = sensor.command(&["stop", "--unload"]).output_within(EVENT)?;
    // 3: there was nothing any more.
    ensure!(
        matches!(ended.code(), Some(0 | 3)),
        "stop --unload ended with {ended:?}"
    );
    let pins = sensor.pin_dir();
    ensure!(!pins.exists(), "{} is left behind", pins.display());
    readable(load)
}

fn readable(load: &Load) -> Result<()> {
    let deadline = Instant::now() + EVENT;
    // The kernel detaches what was let go of a moment later.
    while !load.attempt()? {
        ensure!(Instant::now() < deadline, "something refuses still");
        thread::sleep(PACE);
    }
    Ok(())
}

fn killed(bench: &Bench, rounds: usize, load: &Load) -> Result<()> {
    let policy = load.policy(bench)?;
    let start = || bench.sensor().policy(&policy).enforce().start();
    let mut sensor = start()?;
    let status = sensor.status()?;
    let hooks = status["hooks"].as_array().context("no hooks")?;
    let ending: Vec<&str> = hooks
        .iter()
        .filter(|hook| hook["tier"].is_string() && hook["outlives_sensor"] != true)
        .filter_map(|hook| hook["action"].as_str())
        .collect();
    let needed = ["file.open", "process.exec", "process.exit"];
    ensure!(
        needed.iter().all(|action| !ending.contains(action)),
        "these end with the sensor: {ending:?}"
    );
    bench.note(format!("these end with the sensor: {ending:?}"));
    let sensor = load.during(|| {
        for works in WORKS.into_iter().cycle().take(rounds) {
            thread::sleep(works * slower(bench));
            sensor.end_with(Signal::KILL)?;
            thread::sleep(AWAY);
            sensor = start()?;
        }
        Ok(sensor)
    })?;
    load.check(bench, &sensor)?;
    sensor
        .events
        .wait_for("an alert of the last sensor", EVENT, |event| {
            text(event, "/rule/id") == "secret"
        })?;

    // It goes on without a sensor, which commands say.
    sensor.stop()?;
    ensure!(!load.attempt()?, "a clean stop let the secret be read");
    let status = bench.sensor().command(&["status"]).output_within(EVENT)?;
    ensure!(
        status.code() == Some(3) && status.stderr.contains("go on deciding"),
        "status says {status:?}"
    );
    Ok(())
}

fn hanging(bench: &Bench, load: &Load) -> Result<()> {
    /// Almost as long as it hangs. What is refused wakes the readers each time, which then have as many batches as wait for
    /// an evaluator at most.
    const HANGS: Duration = Duration::from_millis(900);
    let policy = load.policy(bench)?;
    let start = || {
        bench
            .sensor()
            .with_faults()
            .policy(&policy)
            .enforce()
            .start()
    };
    let mut sensor = start()?;
    let sensor = load.during(|| {
        thread::sleep(AWAY);
        control::ask(bench, "POST", "/v1/debug/fail?fault=hang&actor=evaluator")?;
        let began = Instant::now();
        while began.elapsed() < HANGS {
            ensure!(!load.attempt()?, "the secret was read");
        }
        sensor.end_with(Signal::KILL)?;
        start()
    })?;
    load.check(bench, &sensor)?;
    sensor.stop().map(drop)
}

fn replaced(bench: &Bench, load: &Load) -> Result<()> {
    let policy = load.policy(bench)?;
    let sensor = |ring: &str| {
        let sensor = bench.sensor().policy(&policy).enforce();
        sensor.option("set", format!("kernel.file_ring={ring}"))
    };
    let mut running = sensor("1MiB").start()?;
    let sensor = load.during(|| {
        running.end_with(Signal::TERM)?;
        thread::sleep(AWAY);
        running = sensor("2MiB").start()?;
        running.end_with(Signal::KILL)?;
        // Killed in the middle of taking the place of others.
        for pause in [AWAY, 3 * AWAY] {
            let mut command = sensor("4MiB").run_command();
            let mut interrupted = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("start a sensor")?;
            thread::sleep(pause);
            interrupted.kill().context("kill a sensor")?;
            interrupted.wait().context("wait for a sensor")?;
        }
        sensor("1MiB").start()
    })?;
    load.check(bench, &sensor)?;
    ensure!(
        sensor.log().contains("are replaced"),
        "nothing was replaced: {}",
        sensor.log()
    );
    // Of a sensor that runs.
    unload(bench, load)
}

fn fail_open(bench: &Bench) -> Result<()> {
    let load = Load::new(bench)?;
    let policy = load.policy(bench)?;
    let mut sensor = bench.sensor().policy(&policy).enforce().start()?;
    ensure!(!load.attempt()?, "the secret was read");
    sensor.end_with(Signal::KILL)?;
    readable(&load)?;
    let pins = bench.sensor().pin_dir();
    ensure!(!pins.exists(), "{} is left behind", pins.display());
    Ok(())
}
