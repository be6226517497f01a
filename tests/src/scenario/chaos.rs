//! Everything fails at random, under load: no attempt at what is denied succeeds, no event is lost or told twice.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::outlive::{self, Load};
use super::supervision::{find, leaves};
use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::control;
use crate::place::Place;
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "chaos",
        about: "a hundred faults at random, under load: actors that panic, fail and hang, no memory, no descriptors, kills; nothing succeeds, nothing is lost",
        at: |place| *place == Place::Native,
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
const LAST: usize = 20;
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
    /// No system call that makes a descriptor succeeds.
    NoDescriptors,
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
            70..92 => Self::Hang,
            92..97 => Self::NoDescriptors,
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
            Self::NoDescriptors | Self::NoMemory | Self::Kill => None,
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
    let start = || {
        bench
            .sensor()
            .with_faults()
            .policy(&policy)
            .enforce()
            .start()
    };
    let mut random = Random::new()?;
    bench.note(format!("CHAOS_SEED={}", random.0));
    let mut done: BTreeMap<Fault, usize> = BTreeMap::new();
    let mut order = Vec::new();
    let mut by_actor: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    let mut strikes: BTreeMap<String, usize> = BTreeMap::new();
    let mut sensor = start()?;
    let sensor = load.during(|| {
        while done.values().sum::<usize>() < faults {
            let fault = Fault::of(random.next());
            let mut struck = String::new();
            let was_done = if let Some(order) = fault.ordered() {
                // Of those that were struck least often, so that each is.
                let actors = leaves(&sensor.status()?);
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
                if strike(&mut sensor, fault)? {
                    by_actor.clear();
                    sensor = start()?;
                }
                true
            };
            if was_done {
                order.push(format!("{} {fault:?} {struck}", outlive::now()));
                *done.entry(fault).or_default() += 1;
            }
            thread::sleep(PACE);
        }
        // All are back.
        sensor.status_when("all run again", EVENT, |status| {
            leaves(status)
                .iter()
                .all(|actor| find(status, actor).is_some_and(|it| it["state"] == "running"))
        })?;
        Ok(sensor)
    })?;
    bench.note(format!("{done:?}, at {} actors", strikes.len()));
    load.check(bench, &sensor).with_context(|| {
        let last = order.len().saturating_sub(LAST);
        format!("the last faults: {:#?}", &order[last..])
    })?;
    sensor.stop().map(drop)
}

/// Does it to the whole process; whether that has ended by it.
fn strike(sensor: &mut Sensor<'_>, fault: Fault) -> Result<bool> {
    match fault {
        Fault::NoDescriptors => without(sensor, Resource::Nofile, FEW),
        Fault::NoMemory => {
            let statm = fs::read_to_string(format!("/proc/{}/statm", sensor.pid()))?;
            let pages: u64 = statm.split(' ').next().unwrap_or_default().parse()?;
            let all = pages * rustix::param::page_size() as u64;
            without(sensor, Resource::As, all)
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
    let before = limit(sensor, resource, Some(soft))?;
    thread::sleep(MISSING);
    limit(sensor, resource, before.and_then(|it| it.current))?;
    sensor.has_ended()
}

/// Changes a soft limit of the sensor; what it was. `None`: it has ended.
fn limit(sensor: &Sensor<'_>, resource: Resource, soft: Option<u64>) -> Result<Option<Rlimit>> {
    let pid = Pid::from_raw(sensor.pid().cast_signed());
    // The hard limit is the tests' own: the sensor was started by them.
    let new = Rlimit {
        current: soft,
        ..getrlimit(resource)
    };
    match prlimit(pid, resource, new) {
        Ok(before) => Ok(Some(before)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("change the limit {resource:?}")),
    }
}
