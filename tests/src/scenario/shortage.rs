//! What the sensor runs short of: a disk, something to write to that takes anything, memory, a clock that goes right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use holdfast_wire::event::unix_nanoseconds;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use rustix::process::Resource;
use serde_json::{Value, json};

use super::ledger::{number, settled};
use super::supervision::{degraded, none_failed};
use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::cgroup::Cgroup;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::load;
use crate::place::Place;
use crate::rlimit;
use crate::sensor::Sensor;
use crate::usage::peak_memory;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "disk-full",
        about: "the event file's disk is full: events wait, are counted where they are lost, alerts last; all goes on once there is room",
        at: |place| *place == Place::Native,
        seconds: 180,
        run: disk_full,
    },
    Scenario {
        name: "file-size-limited",
        about: "no file may grow for a while (ulimit -f): the sensor goes on, says so, and writes everything once they may",
        at: |place| *place == Place::Native,
        seconds: 90,
        run: file_size_limited,
    },
    Scenario {
        name: "no-descriptors",
        about: "the sensor can open nothing for a while: what its rules kill is killed once it can",
        at: |place| *place == Place::Native,
        seconds: 90,
        run: no_descriptors,
    },
    Scenario {
        name: "sink-hangs",
        about: "a write to the event file never ends: that is told, every other sink has everything, and the sensor stops in time",
        at: |place| *place == Place::Native,
        seconds: 120,
        run: sink_hangs,
    },
    Scenario {
        name: "clock-jumps",
        about: "the wall clock is set a day on and a week back: nothing is lost or restarted, and events have its time",
        at: |place| place.is_stock("6.12"),
        seconds: 60,
        run: clock_jumps,
    },
    Scenario {
        name: "memory-limited",
        about: "with MemoryMax of 128 MiB, arguments of 4 KiB and a storm of execs and opens: it is not killed, the ledger is exact",
        at: |place| place.is_stock("6.12"),
        seconds: 180,
        run: memory_limited,
    },
    Scenario {
        name: MANY,
        about: "100,000 processes, more than the sensor keeps: it starts, each exec is told of with its parent, memory is bounded",
        at: |place| *place == Place::Native,
        seconds: 600,
        run: many_processes,
    },
];

const MANY: &str = "many-processes";

/// Whether it is to be named to be run: it takes eight GiB of the machine's memory.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == MANY
}

/// What is degraded where events cannot be written.
const WRITE: &str = "sink.file.write";
/// Until what was withheld has been written.
const WRITTEN: Duration = Duration::from_secs(60);

fn disk_full(bench: &Bench) -> Result<()> {
    /// Each is two events of some KiB: several times what waits for a sink.
    const EXECS: u32 = 12_000;
    const ALERTS: u32 = 200;
    let disk = Disk::mount(bench.path("log.d"), "1m")?;
    let (tiny, offence) = (bench.path("tiny"), bench.path("offence"));
    load::write_tiny_program(&tiny)?;
    load::write_tiny_program(&offence)?;
    let path = offence.display().to_string();
    let rule = json!({"id": "offence", "on": ["process.exec"], "action": "alert",
                      "when": format!("process.executable == '{path}'")});
    let policy = bench.policy("offence", &json!([rule]))?;
    let is_alert = |event: &Value| text(event, "/event/kind") == "alert";
    let sensor = bench.sensor().policy(&policy);
    let sensor = sensor.tally(is_alert).start()?;
    load::execs(&tiny, EXECS)?;
    let fails =
        |status: &Value| degraded(status, WRITE).is_some_and(|it| it.contains("No space left"));
    sensor.status_when("the full disk is told", EVENT, fails)?;
    load::execs(&offence, ALERTS)?;
    // Other sinks do not wait for it.
    tallied(&sensor, ALERTS)?;
    settled(bench)?;
    let status = sensor.status()?;
    let file = sink(&status, "sink.file")?;
    ensure!(number(file, "dropped") > 0, "nothing was dropped: {file}");
    disk.resize("100m")?;
    let status = sensor.status_when("all is written", WRITTEN, |status| {
        degraded(status, WRITE).is_none()
            && sink(status, "sink.file").is_ok_and(|it| it["depth_bytes"] == 0)
    })?;
    let file = sink(&status, "sink.file")?.clone();
    sensor.stop()?;
    let log = fs::read_to_string(bench.path("log.d/events.jsonl")).context("read the events")?;
    let written: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("parse {line:?}")))
        .collect::<Result<_>>()?;
    let alerts = written.iter().filter(|event| is_alert(event)).count();
    ensure!(
        alerts == ALERTS as usize,
        "of {ALERTS} alerts {alerts} are in the file: {file}"
    );
    bench.note(format!(
        "{} events written, {} dropped",
        file["written"], file["dropped"]
    ));
    Ok(())
}

fn file_size_limited(bench: &Bench) -> Result<()> {
    /// Each time: before, meanwhile and after.
    const EXECS: u32 = 200;
    let tiny = bench.path("tiny");
    load::write_tiny_program(&tiny)?;
    let sensor = bench.sensor().start()?;
    load::execs(&tiny, EXECS)?;
    settled(bench)?;
    // Beyond it a write raises SIGXFSZ, which ends a program that has not provided for it: setrlimit(2).
    let before = rlimit::set(&sensor, Resource::Fsize, Some(0))?.context("the sensor has ended")?;
    load::execs(&tiny, EXECS)?;
    let fails =
        |status: &Value| degraded(status, WRITE).is_some_and(|it| it.contains("File too large"));
    sensor.status_when("the limit is told", EVENT, fails)?;
    rlimit::set(&sensor, Resource::Fsize, before.current)?;
    load::execs(&tiny, EXECS)?;
    sensor.status_when("all is written", WRITTEN, |status| {
        degraded(status, WRITE).is_none()
            && sink(status, "sink.file").is_ok_and(|it| it["depth_bytes"] == 0)
    })?;
    sensor.stop()?;
    let log = fs::read_to_string(bench.path("log.d/events.jsonl")).context("read the events")?;
    let told = log.lines().map(serde_json::from_str::<Value>);
    let told = told
        .collect::<Result<Vec<_>, _>>()
        .context("a line is torn")?;
    let tiny = tiny.display().to_string();
    let execs = told.iter().filter(|event| {
        action(event) == "process.exec" && text(event, "/process/executable") == tiny
    });
    let execs = execs.count();
    ensure!(execs == 3 * EXECS as usize, "{execs} execs are in the file");
    Ok(())
}

fn no_descriptors(bench: &Bench) -> Result<()> {
    const VICTIMS: usize = 5;
    /// Those that it has open by any means: the next is refused.
    const FEW: u64 = 3;
    // The kernel programs do not decide on arguments.
    let rule = json!([{"id": "victim", "on": ["process.exec"], "action": "kill",
                       "when": "process.args.exists(arg, arg == 'victim')"}]);
    let policy = bench.policy("victim", &rule)?;
    let program = bench.program("victim")?;
    let sensor = bench.sensor().policy(&policy).enforce().start()?;
    let before = rlimit::set(&sensor, Resource::Nofile, Some(FEW))?;
    let before = before.context("the sensor has ended")?;
    let begun = (0..VICTIMS).map(|_| {
        let mut victim = Command::new(&program);
        victim.args(["sh", "-c", "sleep 60; true", "victim"]);
        victim
            .stdin(Stdio::null())
            .spawn()
            .context("start a victim")
    });
    let mut victims: Vec<Child> = begun.collect::<Result<_>>()?;
    let mut enough = || -> Result<()> {
        sleep(Duration::from_secs(1));
        rlimit::set(&sensor, Resource::Nofile, before.current)?;
        let deadline = Instant::now() + EVENT;
        let mut alive = VICTIMS;
        while alive > 0 {
            let ended = victims.iter_mut().map(Child::try_wait);
            let ended = ended
                .collect::<Result<Vec<_>, _>>()
                .context("wait for a victim")?;
            alive = ended.iter().filter(|it| it.is_none()).count();
            ensure!(Instant::now() < deadline, "{alive} victims are alive");
            sleep(Duration::from_millis(10));
        }
        Ok(())
    };
    let result = enough();
    for mut victim in victims {
        // It has ended where all went well.
        let _ = victim.kill();
        let _ = victim.wait();
    }
    result?;
    none_failed(&sensor.status()?)?;
    sensor.stop().map(drop)
}

fn sink_hangs(bench: &Bench) -> Result<()> {
    const EXECS: u32 = 2_000;
    /// A stage of the end, of which each has ten seconds.
    const STOPPED: Duration = Duration::from_secs(25);
    let directory = bench.path("log.d");
    fs::create_dir_all(&directory).context("make the event file's directory")?;
    let pipe = directory.join("events.jsonl");
    // Which nobody reads, so that it takes 64 KiB and no more.
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).context("make a pipe")?;
    let tiny = bench.path("tiny");
    load::write_tiny_program(&tiny)?;
    let path = tiny.display().to_string();
    let is_ours = move |event: &Value| {
        action(event) == "process.exec" && text(event, "/process/executable") == path
    };
    let sensor = bench.sensor().tally(is_ours).start()?;
    load::execs(&tiny, EXECS)?;
    tallied(&sensor, EXECS)?;
    let hangs =
        |status: &Value| degraded(status, WRITE).is_some_and(|it| it.contains("does not end"));
    let status = sensor.status_when("that it hangs is told", EVENT, hangs)?;
    none_failed(&status)?;
    let begun = Instant::now();
    sensor.stop()?;
    let took = begun.elapsed();
    ensure!(took < STOPPED, "it took {took:?} to stop");
    Ok(())
}

fn clock_jumps(bench: &Bench) -> Result<()> {
    const DAY: i64 = 24 * 60 * 60;
    let program = bench.program("worker")?;
    let sensor = bench.sensor().start()?;
    for (number, jump) in [DAY, -8 * DAY, 7 * DAY].into_iter().enumerate() {
        let clock = ClockId::CLOCK_REALTIME;
        let now = clock_gettime(clock).context("read the clock")?;
        let then = TimeSpec::new(now.tv_sec() + jump, now.tv_nsec());
        clock_settime(clock, then).context("set the clock")?;
        let mark = format!("jump-{number}");
        let before = SystemTime::now();
        Command::new(&program)
            .args(["true", &mark])
            .output_within(EVENT)?
            .with_code(0)?;
        let event = sensor.events.wait_for("the exec", EVENT, |event| {
            action(event) == "process.exec" && text(event, "/process/args/2") == mark
        })?;
        let told = unix_nanoseconds(text(&event, "/@timestamp"));
        let told = told.with_context(|| format!("no time: {event}"))?;
        let before = before.duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let off = i128::from(told) - before as i128;
        ensure!(
            off.unsigned_abs() < EVENT.as_nanos(),
            "after a jump of {jump} s the event is {off} ns off"
        );
    }
    settled(bench)?;
    let status = sensor.status()?;
    none_failed(&status)?;
    ensure!(status["degraded"] == json!([]), "{}", status["degraded"]);
    sensor.stop().map(drop)
}

fn memory_limited(bench: &Bench) -> Result<()> {
    const LIMIT: u64 = 128 << 20;
    const EXECS: u32 = 2_000;
    const OPENS: u32 = 100_000;
    let cgroup = Cgroup::of_memory("limited", LIMIT)?;
    // The guest's disk is memory, of whoever writes there.
    bench.set("log.max_size=8MiB");
    bench.set("log.files=1");
    let sensor = bench
        .sensor()
        .silent()
        .option("events", "*")
        .within(&cgroup);
    let sensor = sensor.policy(&bench.setting.policies).start()?;
    let read = |name: &str| fs::read_to_string(cgroup.place(name)).context("read the cgroup");
    let started: u64 = read("memory.peak")?.trim().parse()?;
    let long = "x".repeat(4096 - 1);
    let tiny = bench.path("tiny");
    load::write_tiny_program(&tiny)?;
    for _ in 0..EXECS {
        let status = Command::new(&tiny).arg(&long).status().context("execute")?;
        ensure!(status.success(), "{} ended with {status}", tiny.display());
    }
    load::opens(&tiny, OPENS)?;
    settled(bench)?;
    let events = read("memory.events")?;
    ensure!(events.contains("oom_kill 0"), "out of memory: {events}");
    let status = sensor.status()?;
    none_failed(&status)?;
    let peak: u64 = read("memory.peak")?.trim().parse()?;
    bench.note(format!(
        "at most {} MiB to start, {} MiB after that",
        started >> 20,
        peak >> 20
    ));
    sensor.stop().map(drop)
}

fn many_processes(bench: &Bench) -> Result<()> {
    const PROCESSES: usize = 100_000;
    const PID_MAX: &str = "/proc/sys/kernel/pid_max";
    /// What is resident, with the mapped rings, which are counted twice.
    const MEMORY_KIB: u64 = 192 << 10;
    let waiting = bench.path("waiting");
    load::write_waiting_program(&waiting)?;
    let before = fs::read_to_string(PID_MAX).context("read pid_max")?;
    fs::write(PID_MAX, "400000").context("raise pid_max")?;
    let crowd = Crowd::start(&waiting, PROCESSES);
    let tried = crowd.and_then(|_crowd| {
        let program = bench.program("worker")?;
        let begun = Instant::now();
        let sensor = bench.sensor().start()?;
        let started = begun.elapsed();
        for number in 0..100 {
            let mark = format!("mark-{number}");
            Command::new(&program)
                .args(["true", &mark])
                .output_within(EVENT)?
                .with_code(0)?;
            let event = sensor.events.wait_for("the exec", WRITTEN, |event| {
                action(event) == "process.exec" && text(event, "/process/args/2") == mark
            })?;
            let parent = event["process"]["parent"]["pid"].as_u64();
            let own = u64::from(std::process::id());
            ensure!(parent == Some(own), "its parent is {parent:?}: {event}");
        }
        settled(bench)?;
        let memory = peak_memory(sensor.pid())?;
        ensure!(memory < MEMORY_KIB, "it had {memory} KiB");
        let status = sensor.status()?;
        none_failed(&status)?;
        bench.note(format!(
            "ready after {started:?}, {} processes kept, {} MiB",
            status["processes"]["known"],
            memory >> 10
        ));
        sensor.stop().map(drop)
    });
    fs::write(PID_MAX, before.trim()).context("give pid_max back")?;
    tried
}

/// Processes that wait; they end with it.
struct Crowd(Vec<Child>);

impl Crowd {
    fn start(program: &Path, processes: usize) -> Result<Self> {
        let mut crowd = Self(Vec::with_capacity(processes));
        for _ in 0..processes {
            // Inherited, so that std takes its shortest way: posix_spawn without a pipe.
            let child = Command::new(program).stdin(Stdio::inherit()).spawn();
            crowd.0.push(child.context("start one more process")?);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A small disk; unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, size: &str) -> Result<Self> {
        fs::create_dir_all(&at).context("make a directory")?;
        let size = format!("size={size}");
        let tmpfs = Some("tmpfs");
        mount(tmpfs, &at, tmpfs, MsFlags::empty(), Some(&*size)).context("mount a small disk")?;
        Ok(Self(at))
    }

    fn resize(&self, size: &str) -> Result<()> {
        let size = format!("size={size}");
        let none: Option<&str> = None;
        mount(none, &self.0, none, MsFlags::MS_REMOUNT, Some(&*size)).context("resize the disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has a file there keeps it.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Waits until so many of the events that are tallied have come by stdout.
fn tallied(sensor: &Sensor<'_>, count: u32) -> Result<()> {
    let deadline = Instant::now() + WRITTEN;
    loop {
        let came = sensor.events.tallied();
        if came >= count.into() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{came} of {count} came by stdout"
        );
        sleep(Duration::from_millis(50));
    }
}

fn sink<'s>(status: &'s Value, name: &str) -> Result<&'s Value> {
    let mut sinks = status["sinks"].as_array().into_iter().flatten();
    sinks
        .find(|it| it["name"] == name)
        .with_context(|| format!("no {name}"))
}
