//! Everything fails at random, under load: no attempt at what is denied succeeds, no event is lost or told twice.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::{Resource, Signal};
use serde_json::json;

use super::outlive::{self, Load};
use super::supervision::{find, leaves};
use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::control;
use crate::place::Place;
use crate::rlimit;
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "chaos",
        about: "a hundred faults at random, under load: actors that panic, fail, hang and leak, no memory, no descriptors, no writes, kills; nothing succeeds, nothing is lost, what user space kills is killed",
        at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("6.12"),
        seconds: 180,
        run: |bench| outlive::closed(bench, |load| chaos(bench, load, 100)),
    },
    Scenario {
        name: LONG,
        about: "the same, a thousand",
        at: |place| *place == Place::Native,
        seconds: 1800,
        run: |bench| outlive::closed(bench, |load| chaos(bench, load, 1000)),
    },
];

const LONG: &str = "chaos-a-thousand";

/// Whether it is to be named to be run.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == LONG
}

/// Between two faults: most actors are back before the next.
const PACE: Duration = Duration::from_millis(60);
/// As long as something is missing that is given back.
const MISSING: Duration = Duration::from_millis(200);
/// An actor is parked at its eleventh failure in a minute, and what it does is then not done for a minute.
const MOST: usize = 8;
const MINUTE: Duration = Duration::from_secs(60);
/// Faults that are told of when something went wrong.
const LAST: usize = 50;
/// What an actor leaks, and how long it may take to come to it.
const LEAKED: u64 = 32 << 20;
const LEAKING: Duration = Duration::from_secs(3);
/// From when it fails to allocate memory until it has ended.
const DYING: Duration = Duration::from_secs(2);
/// What a sensor may map beyond what it has when it is ready.
const MEMORY: u64 = LEAKED * 3 / 2;
/// As long as a process lives that user space ought to have killed.
const SURVIVED: Duration = Duration::from_secs(12);
/// Descriptors that any process has open.
const FEW: u64 = 3;

/// What is done to the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// An actor panics.
    Panic,
    /// An actor's handler gives an error.
    Error,
    /// An actor does nothing for a second.
    Hang,
    /// An actor keeps memory for ever: the second of these in one life takes more than there is.
    Leak,
    /// No system call that makes a descriptor succeeds.
    NoDescriptors,
    /// No write to a file succeeds.
    NoWrites,
    /// No allocation succeeds, which ends a program.
    NoMemory,
    /// It is killed.
    Kill,
}

impl Fault {
    /// Of a hundred.
    fn of(number: u64) -> Self {
        match number % 100 {
            0..40 => Self::Panic,
            40..70 => Self::Error,
            70..87 => Self::Hang,
            87..91 => Self::Leak,
            91..94 => Self::NoDescriptors,
            94..97 => Self::NoWrites,
            97 => Self::NoMemory,
            _ => Self::Kill,
        }
    }

    /// How the sensor is told to have it, where an actor has it.
    fn ordered(self) -> Option<&'static str> {
        match self {
            Self::Panic => Some("panic"),
            Self::Error => Some("error"),
            Self::Hang => Some("hang"),
            Self::Leak => Some("leak"),
            Self::NoDescriptors | Self::NoWrites | Self::NoMemory | Self::Kill => None,
        }
    }
}

/// Numbers of which nothing depends but what happens when: xorshift.
struct Random(u64);

impl Random {
    /// `CHAOS_SEED` repeats an order.
    fn new() -> Result<Self> {
        let seed = match env::var("CHAOS_SEED") {
            Ok(text) => text.parse().context("CHAOS_SEED is a number")?,
            Err(_) => SystemTime::UNIX_EPOCH.elapsed()?.as_secs(),
        };
        Ok(Self(seed | 1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn chaos(bench: &Bench, load: &Load, faults: usize) -> Result<()> {
    let policy = load.policy(bench)?;
    let victims = Victims::new(bench)?;
    let start = || -> Result<Sensor<'_>> {
        let sensor = bench.sensor().with_faults().policy(&policy);
        let sensor = sensor.policy(&victims.policy).enforce().start()?;
        let most = address_space(&sensor)? + MEMORY;
        rlimit::set(&sensor, Resource::As, Some(most))?;
        Ok(sensor)
    };
    let mut random = Random::new()?;
    bench.note(format!("CHAOS_SEED={}", random.0));
    let mut done: BTreeMap<Fault, usize> = BTreeMap::new();
    let mut order = Vec::new();
    let mut by_actor: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    let mut strikes: BTreeMap<String, usize> = BTreeMap::new();
    let mut lives = 1;
    let mut sensor = start()?;
    let mut has_ended = false;
    let struck = || {
        while done.values().sum::<usize>() < faults {
            ensure!(
                !victims.have_ended(),
                "the last faults: {:#?}",
                last(&order)
            );
            if has_ended {
                by_actor.clear();
                sensor = start()?;
                lives += 1;
            }
            let fault = Fault::of(random.next());
            let mut struck = String::new();
            let was_done = if let Some(order) = fault.ordered() {
                let status = match sensor.status() {
                    Ok(status) => status,
                    // With what has leaked there is too little for what it does.
                    Err(error) => {
                        has_ended = has_died(&mut sensor)?;
                        ensure!(has_ended, error);
                        continue;
                    }
                };
                // Of those that were struck least often, so that each is.
                let actors = leaves(&status);
                let times = |actor: &String| strikes.get(actor).copied().unwrap_or_default();
                let least = actors.iter().map(times).min().unwrap_or_default();
                let least: Vec<&String> = actors.iter().filter(|it| times(it) == least).collect();
                let actor = least[random.next() as usize % least.len()];
                let before = by_actor.entry(actor.clone()).or_default();
                before.retain(|then| then.elapsed() < MINUTE);
                // One that is about to come back has none to give the order to.
                let given = before.len() < MOST && {
                    let path = format!("/v1/debug/fail?fault={order}&actor={actor}");
                    control::ask(bench, "POST", &path).is_ok()
                };
                if given {
                    before.push(Instant::now());
                    *strikes.entry(actor.clone()).or_default() += 1;
                    struck.clone_from(actor);
                }
                given
            } else {
                true
            };
            has_ended = match fault {
                Fault::Leak => was_done && has_leaked(&mut sensor)?,
                _ if fault.ordered().is_some() => false,
                _ => strike(&mut sensor, fault)?,
            };
            if was_done {
                order.push(format!("{} {fault:?} {struck}", outlive::now()));
                *done.entry(fault).or_default() += 1;
            }
            thread::sleep(PACE);
        }
        rlimit::set(&sensor, Resource::As, None)?;
        if has_ended || has_died(&mut sensor)? {
            sensor = start()?;
        }
        // All are back.
        sensor.status_when("all run again", EVENT, |status| {
            leaves(status)
                .iter()
                .all(|actor| find(status, actor).is_some_and(|it| it["state"] == "running"))
        })?;
        Ok(sensor)
    };
    let sensor = load.during(|| victims.during(struck))?;
    let killed = victims.killed();
    bench.note(format!(
        "{done:?}, at {} actors, in {lives} lives; {killed} processes killed by user space's verdict",
        strikes.len()
    ));
    load.check(bench, &sensor)
        .with_context(|| format!("the last faults: {:#?}", last(&order)))?;
    sensor.stop().map(drop)
}

fn last(order: &[String]) -> &[String] {
    &order[order.len().saturating_sub(LAST)..]
}

/// Processes that user space has killed, one after the other: the kernel does not decide on arguments.
struct Victims {
    policy: PathBuf,
    program: PathBuf,
    /// The directory of the event files.
    log: PathBuf,
    ended: AtomicBool,
    killed: AtomicU32,
}

impl Victims {
    fn new(bench: &Bench) -> Result<Self> {
        let rule = json!([{"id": "victim", "on": ["process.exec"], "action": "kill",
                           "when": "process.args.exists(arg, arg.startsWith('victim-'))"}]);
        Ok(Self {
            policy: bench.policy("victim", &rule)?,
            program: bench.program("victim")?,
            log: bench.path("log.d"),
            ended: AtomicBool::new(false),
            killed: AtomicU32::new(0),
        })
    }

    /// Does something while each of them is killed.
    fn during<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        thread::scope(|scope| {
            let going = scope.spawn(|| {
                let gone = self.go();
                self.ended.store(true, Ordering::Relaxed);
                gone
            });
            let result = act();
            self.ended.store(true, Ordering::Relaxed);
            let gone = going.join().map_err(|_| anyhow!("the victims panicked"))?;
            match (result, gone) {
                (Err(acting), Err(surviving)) => Err(acting.context(surviving)),
                (result, gone) => gone.and(result),
            }
        })
    }

    fn go(&self) -> Result<()> {
        while !self.ended.load(Ordering::Relaxed) {
            let number = self.killed.load(Ordering::Relaxed);
            let script = format!("exec sleep {}", SURVIVED.as_secs());
            let (name, began) = (format!("victim-{number}"), outlive::now());
            let ended = Command::new(&self.program)
                .args(["sh", "-c", &script, &name])
                .output_within(2 * SURVIVED)?;
            ensure!(
                ended.signal() == Some(Signal::KILL.as_raw()),
                "{name} was not killed, which began at {began}: {ended:?}; told of it: {:?}",
                outlive::brief(&self.log, &format!("\"{name}\""))?
            );
            self.killed.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PACE);
        }
        Ok(())
    }

    fn have_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn killed(&self) -> u32 {
        self.killed.load(Ordering::Relaxed)
    }
}

/// Waits until an actor has leaked what it was ordered to; whether the sensor has ended by that. One that failed before it came
/// to the order does not leak.
fn has_leaked(sensor: &mut Sensor<'_>) -> Result<bool> {
    let before = address_space(sensor)?;
    let deadline = Instant::now() + LEAKING;
    while Instant::now() < deadline {
        if sensor.has_ended()? {
            return Ok(true);
        }
        if address_space(sensor)? >= before + LEAKED {
            return Ok(false);
        }
        thread::sleep(PACE);
    }
    Ok(false)
}

/// Whether it has come to an end, or does so within a moment.
fn has_died(sensor: &mut Sensor<'_>) -> Result<bool> {
    let deadline = Instant::now() + DYING;
    while Instant::now() < deadline {
        if sensor.has_ended()? {
            return Ok(true);
        }
        thread::sleep(PACE);
    }
    Ok(false)
}

/// Does it to the whole process; whether that has ended by it.
fn strike(sensor: &mut Sensor<'_>, fault: Fault) -> Result<bool> {
    match fault {
        Fault::NoDescriptors => without(sensor, Resource::Nofile, FEW),
        Fault::NoWrites => without(sensor, Resource::Fsize, 0),
        Fault::NoMemory => {
            let taken = address_space(sensor)?;
            without(sensor, Resource::As, taken)
        }
        _ => {
            let status = sensor.end_with(Signal::KILL)?;
            ensure!(status.code().is_none(), "killed, it ended with {status}");
            Ok(true)
        }
    }
}

/// Gives it no more than so much for a while; whether it has ended by that. It may have had enough for what it did.
fn without(sensor: &mut Sensor<'_>, resource: Resource, soft: u64) -> Result<bool> {
    let before = rlimit::set(sensor, resource, Some(soft))?;
    thread::sleep(MISSING);
    rlimit::set(sensor, resource, before.and_then(|it| it.current))?;
    sensor.has_ended()
}

/// Bytes that it has mapped.
fn address_space(sensor: &Sensor<'_>) -> Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{}/statm", sensor.pid()))?;
    let pages: u64 = statm.split(' ').next().unwrap_or_default().parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
