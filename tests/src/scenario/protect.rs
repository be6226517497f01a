//! `self.protect`: what others may not do to the sensor, who may, and when.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::cgroup::Cgroup;
use crate::command::{Bounded as _, Ended};
use crate::events::{action, number, text};
use crate::place::{Place, Variant};
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "protect",
        about: "self.protect refuses signals, traces and changes of files and pins; not to managers, nor in a maintenance window",
        at: |place| place.is_guest() && !place.is_variant(Variant::NoBtf),
        seconds: 120,
        run: refused,
    },
    Scenario {
        name: "protect-tracepoint",
        about: "in the tier tracepoint self.protect kills who changes the sensor's files",
        at: |place| *place == Place::Native,
        seconds: 60,
        run: killed,
    },
];

const POLICY: &str = "self-protection";
/// Between rules of which one is the one that tells.
const OR: &str = " or ";

/// A sensor that is protected, and one who is not its manager.
struct Scene<'b> {
    bench: &'b Bench,
    sensor: Sensor<'b>,
    pid: String,
    other: PathBuf,
    manager: PathBuf,
}

impl<'b> Scene<'b> {
    fn new(bench: &'b Bench, tier: &str, on_exit: &str) -> Result<Self> {
        let config = bench.file("config.toml", "")?;
        // It makes it when it has something to keep.
        fs::create_dir(bench.path("state")).context("make the directory for its state")?;
        let manager = bench.program("manager")?;
        let sensor = bench
            .sensor()
            .config(&config)
            .tier(tier)
            .option("set", "self.protect=true")
            .option("set", format!("self.managers={}", manager.display()))
            .option("set", format!("kernel.on_exit={on_exit}"))
            .enforce()
            .start()?;
        Ok(Self {
            bench,
            pid: sensor.pid().to_string(),
            sensor,
            other: bench.program("other")?,
            manager,
        })
    }

    /// A path of the sensor's.
    fn own(&self, name: &str) -> String {
        self.bench.path(name).display().to_string()
    }

    /// An applet of busybox, run by who is not the manager.
    fn other(&self, words: &[&str]) -> Result<Ended> {
        Command::new(&self.other).args(words).output_within(EVENT)
    }

    /// A deed of the tests' own.
    fn act(&self, words: &[&str]) -> Result<Ended> {
        self.bench.act(words).output_within(EVENT)
    }

    /// It is told of by `rule` as refused.
    fn is_told(&self, rule: &str, ended: &Ended) -> Result<()> {
        let event = self.told(rule, ended)?;
        ensure!(
            text(&event, "/holdfast/outcome") == "blocked"
                && text(&event, "/event/kind") == "alert",
            "{rule} is to be blocked: {event}; {ended:?}"
        );
        Ok(())
    }

    fn told(&self, rule: &str, ended: &Ended) -> Result<Value> {
        let told = self.sensor.events.wait_for(rule, EVENT, |event| {
            text(event, "/rule/ruleset") == POLICY
                && rule.split(OR).any(|rule| text(event, "/rule/id") == rule)
                && number(event, "/process/pid") == Some(ended.pid.into())
        });
        told.with_context(|| {
            let last = self.sensor.events.matching(|_| true).pop();
            format!("{ended:?}; the last event: {last:?}")
        })
    }

    /// Who manages it ends it; what it leaves is protected until its own command takes that away.
    fn ended(mut self) -> Result<()> {
        Command::new(&self.manager)
            .args(["kill", "-TERM", &self.pid])
            .output_within(EVENT)?
            .with_code(0)?;
        let status = self.sensor.wait_for_end()?;
        ensure!(status.code() == Some(0), "the sensor ended with {status}");
        let unload = self.sensor.command(&["stop", "--unload"])?;
        ensure!(
            matches!(unload.code(), Some(0 | 3)) && !self.sensor.pin_dir().exists(),
            "something is left: {unload:?}"
        );
        Ok(())
    }

    fn is_refused(&self, rule: &str, ended: &Ended) -> Result<()> {
        ensure!(
            ended.code().is_some_and(|code| code != 0),
            "{rule} was not refused: {ended:?}"
        );
        self.is_told(rule, ended)
    }
}

fn refused(bench: &Bench) -> Result<()> {
    let scene = Scene::new(bench, "auto", "fail-closed")?;
    let pid = scene.pid.clone();
    for signal in ["-TERM", "-KILL", "-STOP", "-HUP"] {
        scene.is_refused("signal", &scene.other(&["kill", signal, &pid])?)?;
    }
    // A write asks the security function of traces: of its two programs the first that refuses is the last.
    for (rule, words) in [
        ("trace", ["trace-process", &pid]),
        ("memory-written or trace", ["write-to-process", &pid]),
        ("starved", ["limit-process", &pid]),
        ("starved", ["bind-process", &pid]),
    ] {
        let ended = scene.act(&words)?;
        ensure!(ended.stderr.trim() == "EPERM", "{words:?}: {ended:?}");
        scene.is_told(rule, &ended)?;
    }

    let binary = bench.setting.holdfast.display().to_string();
    let state = scene.own("state");
    let file = format!("{state}/file");
    let config = scene.own("config.toml");
    let pins = scene.sensor.pin_dir();
    let pins = pins.display().to_string();
    let moved = scene.own("moved");
    let linked = scene.own("linked");
    // An executable that runs is not opened to write in any case (ETXTBSY).
    let changes: [(&str, &[&str]); 12] = [
        ("file-opened", &["sh", "-c", &format!("echo x >> {config}")]),
        ("file-changed", &["touch", &file]),
        ("file-changed", &["chmod", "0777", &binary]),
        ("file-changed", &["rm", &config]),
        ("file-changed", &["rm", &scene.own("control.sock")]),
        ("file-changed", &["mkdir", &format!("{pins}/mine")]),
        ("mounted-over", &["mount", "-t", "tmpfs", "none", &state]),
        (
            "mounted-over",
            &["mount", "-t", "tmpfs", "none", "/sys/fs/bpf"],
        ),
        ("file-moved", &["mv", &state, &moved]),
        ("file-moved", &["mv", &linked, &config]),
        ("file-moved", &["ln", &config, &linked]),
        ("unmounted", &["umount", "-l", "/sys/fs/bpf"]),
    ];
    bench.file("linked", "x")?;
    for (rule, words) in changes {
        if words[0] == "ln" {
            fs::remove_file(&linked).context("take away what is in the way")?;
        }
        scene.is_refused(rule, &scene.other(words)?)?;
    }
    let cgroup = Cgroup::make("protected")?;
    fs::write(cgroup.place("cgroup.procs"), &pid).context("put the sensor into a cgroup")?;
    scene.sensor.command(&["policy", "reload"])?.with_code(0)?;
    let freeze = format!("echo 1 > {}", cgroup.place("cgroup.freeze").display());
    scene.is_refused("file-opened", &scene.other(&["sh", "-c", &freeze])?)?;
    // Whose programs these are nobody can tell: the sensor says so, and refuses nothing.
    let by_number = scene.act(&["map-by-number"])?;
    let event = scene.told("maps-opened", &by_number)?;
    ensure!(
        by_number.stderr.trim() != "EPERM" && text(&event, "/event/kind") == "alert",
        "{by_number:?}: {event}"
    );

    // Others are as they were, and so is who reads.
    let others = bench.file("others", "x")?.display().to_string();
    for words in [
        vec![
            "sh",
            "-c",
            &format!("echo x >> {others}; cat {config} /proc/{pid}/status"),
        ],
        vec!["rm", &others],
        vec!["kill", "-0", &pid],
    ] {
        scene.other(&words)?.with_code(0)?;
    }
    let mut process = bench
        .busybox(&["sleep", "60"])
        .spawn()
        .context("start a process")?;
    scene
        .other(&["kill", &process.id().to_string()])?
        .with_code(0)?;
    process.wait().context("wait for it")?;

    // Its own command line, and a window.
    let set = ["config", "set", "log.level", "debug", "--config", &config];
    scene.sensor.command(&set)?.with_code(0)?;
    in_window(&scene, &file)?;

    scene.ended()
}

fn in_window(scene: &Scene<'_>, file: &str) -> Result<()> {
    // By its events: while hooks come and go, an emulated sensor takes its time to answer.
    let told = |what: &str, reason: &str| {
        scene.sensor.events.wait_for(what, EVENT, |event| {
            action(event) == what && text(event, "/event/reason").starts_with(reason)
        })
    };
    let sensor = &scene.sensor;
    let opened = sensor.command(&["maintenance", "--minutes", "10", "--json"])?;
    let answer: Value = serde_json::from_str(&opened.with_code(0)?.stdout)?;
    ensure!(answer["until"].is_string(), "no end: {answer}");
    told(
        "sensor.degraded",
        &format!("{POLICY}: a maintenance window until"),
    )?;
    scene.other(&["touch", file])?.with_code(0)?;
    sensor.command(&["maintenance", "--end"])?.with_code(0)?;
    told("sensor.recovered", POLICY)?;
    scene.is_refused("file-changed", &scene.other(&["rm", file])?)
}

fn killed(bench: &Bench) -> Result<()> {
    let scene = Scene::new(bench, "tracepoint", "fail-open")?;
    let config = scene.own("config.toml");
    ensure!(Path::new(&config).exists(), "there is no {config}");
    let ended = scene.other(&["sh", "-c", &format!("echo x >> {config}; sleep 5")])?;
    ensure!(ended.code().is_none(), "it lives: {ended:?}");
    scene.told("file-opened", &ended)?;
    in_window_lives(&scene, &config)?;
    scene.ended()
}

/// Nobody is killed for what is done in a window.
fn in_window_lives(scene: &Scene<'_>, config: &str) -> Result<()> {
    let sensor = &scene.sensor;
    sensor.command(&["maintenance"])?.with_code(0)?;
    scene
        .other(&["sh", "-c", &format!("echo '#' >> {config}; sleep 1")])?
        .with_code(0)?;
    sensor.command(&["maintenance", "--end"])?.with_code(0)?;
    Ok(())
}
