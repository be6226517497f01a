//! Actors that fail: each in turn, while the machine works, and nobody else notices.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::control;
use crate::events::{action, text};
use crate::place::Place;
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "panic-each-actor",
        about: "each actor panics in turn: it is back within a second, no other stops, no event is missing",
        at: |place| *place == Place::Native || place.is_stock("6.12"),
        seconds: 180,
        run: |bench| while_working(bench, PACE, panic_each_actor),
    },
    Scenario {
        name: "stall-each-actor",
        about: "every actor waits for something that never comes: each is ended and back, no event is missing",
        at: |place| *place == Place::Native,
        seconds: 180,
        run: |bench| while_working(bench, SLOW, stall_each_actor),
    },
    Scenario {
        name: PARKED,
        about: "an actor that keeps failing is parked, which is told, and tried again after a minute; what waited for it is not lost",
        at: |place| *place == Place::Native,
        seconds: 180,
        run: |bench| while_working(bench, SLOW, actor_parked),
    },
];

const PARKED: &str = "actor-parked";

/// Whether it is to be named to be run: most of it is waiting.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == PARKED
}

/// Within this an actor must be back.
const BACK: Duration = Duration::from_secs(1);
/// Between two commands of the work that goes on meanwhile.
const PACE: Duration = Duration::from_millis(5);
/// The same where what is told of them waits for a minute, for which there is room.
const SLOW: Duration = Duration::from_millis(100);

/// An actor that does not get on is ended after twenty seconds, by one that looks every five.
const ENDED: Duration = Duration::from_secs(30);
/// A parked actor is tried again after a minute.
const RESTED: Duration = Duration::from_secs(75);

/// Does it to the actors of these names while commands run, of each of which everything has to be told once.
fn while_working(
    bench: &Bench,
    pace: Duration,
    act: fn(&Bench, &Sensor<'_>, &[String]) -> Result<()>,
) -> Result<()> {
    let program = bench.program("worker")?;
    // What else happens on the machine may be much, and is not to take the room of what is waited for.
    let when = format!("process.executable == '{}'", program.display());
    let rule = json!({"id": "worker", "on": ["process.exec", "process.exit"], "when": when, "action": "audit"});
    let policy = bench.policy("worker", &json!([rule]))?;
    let sensor = bench.sensor().with_faults().policy(&policy);
    let sensor = sensor.option("events", "sensor.*");
    let sensor = sensor.option("set", "kernel.process_ring=16MiB");
    let sensor = sensor.start()?;
    let actors = leaves(&sensor.status()?);
    ensure!(!actors.is_empty(), "status shows no actors");
    bench.note(format!("{} actors", actors.len()));

    let (working, done) = (AtomicBool::new(true), AtomicU32::new(0));
    let result = thread::scope(|scope| {
        let work = scope.spawn(|| -> Result<()> {
            while working.load(Ordering::Relaxed) {
                let mark = format!("mark-{}", done.load(Ordering::Relaxed));
                Command::new(&program)
                    .args(["true", &mark])
                    .output_within(EVENT)?
                    .with_code(0)?;
                done.fetch_add(1, Ordering::Relaxed);
                sleep(pace);
            }
            Ok(())
        });
        let result = act(bench, &sensor, &actors);
        working.store(false, Ordering::Relaxed);
        result.and(
            work.join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the work panicked"))),
        )
    });
    result?;

    let done = done.into_inner();
    bench.note(format!("{done} commands meanwhile"));
    let last = format!("mark-{}", done.saturating_sub(1));
    let ours = |event: &Value, what: &str, mark: &str| {
        action(event) == what
            && text(event, "/process/executable") == program.as_os_str()
            && text(event, "/process/args/2") == mark
    };
    sensor.events.wait_for("the last command", EVENT, |event| {
        ours(event, "process.exit", &last)
    })?;
    let events = sensor.stop()?;
    let kept = events.matching(|event| text(event, "/process/executable") == program.as_os_str());
    let mut times: HashMap<(&str, &str), usize> = HashMap::new();
    for event in &kept {
        let key = (action(event), text(event, "/process/args/2"));
        *times.entry(key).or_default() += 1;
    }
    for n in 0..done {
        let mark = format!("mark-{n}");
        for what in ["process.exec", "process.exit"] {
            let times = times
                .get(&(what, mark.as_str()))
                .copied()
                .unwrap_or_default();
            ensure!(
                times == 1,
                "{what} of command {n} of {done} came {times} times"
            );
        }
    }
    Ok(())
}

fn panic_each_actor(bench: &Bench, sensor: &Sensor<'_>, actors: &[String]) -> Result<()> {
    actors.iter().try_for_each(|actor| {
        panic_one(bench, sensor, actor).with_context(|| format!("panic in {actor}"))
    })
}

fn stall_each_actor(bench: &Bench, sensor: &Sensor<'_>, actors: &[String]) -> Result<()> {
    // A probe is given minutes, since a kernel may take them to load its program.
    let stalled: Vec<&String> = actors
        .iter()
        .filter(|actor| !actor.starts_with("probe."))
        .collect();
    let before = sensor.status()?;
    for actor in &stalled {
        fail(bench, "stall", actor)?;
    }
    let are_back = |status: &Value| {
        stalled.iter().all(|actor| {
            find(status, actor).is_some_and(|it| it["state"] == "running")
                && restarts(status, actor) > restarts(&before, actor)
        })
    };
    let after = sensor.status_when("all are back", ENDED, are_back)?;
    for actor in stalled {
        let error = find(&after, actor).map(|it| it["last_error"].clone());
        let error = error.unwrap_or_default();
        ensure!(
            error == "did not get on for 20s",
            "the last error of {actor}: {error}"
        );
    }
    Ok(())
}

fn actor_parked(bench: &Bench, sensor: &Sensor<'_>, _: &[String]) -> Result<()> {
    const SINK: &str = "sink.stdout";
    let state = |status: &Value| find(status, SINK).map(|it| it["state"].clone());
    let is = |wanted: &'static str| move |status: &Value| state(status) == Some(wanted.into());
    for _ in 0..=10 {
        sensor.status_when("it runs", ENDED, is("running"))?;
        fail(bench, "panic", SINK)?;
        sensor.status_when("it has failed", EVENT, |status| !is("running")(status))?;
    }
    let status = sensor.status_when("it is parked", EVENT, is("parked"))?;
    let degraded = status["degraded"].as_array().context("degraded")?;
    ensure!(
        degraded.iter().any(|it| it["what"] == SINK),
        "status does not tell of it: {degraded:?}"
    );
    let status = sensor.status_when("it is tried again", RESTED, is("running"))?;
    ensure!(status["degraded"] == json!([]), "{}", status["degraded"]);
    Ok(())
}

/// Has an actor fail in this way.
fn fail(bench: &Bench, fault: &str, actor: &str) -> Result<()> {
    // This path is for tests, and no command knows it.
    let path = format!("/v1/debug/fail?fault={fault}&actor={actor}");
    control::ask(bench, "POST", &path).map(drop)
}

fn panic_one(bench: &Bench, sensor: &Sensor<'_>, actor: &str) -> Result<()> {
    let before = sensor.status()?;
    let restarts = restarts(&before, actor).context("status does not show it")?;
    let begun = Instant::now();
    fail(bench, "panic", actor)?;
    // Looked at for longer than allowed, so that a slow return is told from none.
    let after = sensor.status_when("it is back", BACK * 10, |status| {
        find(status, actor).is_some_and(|found| {
            found["restarts"].as_u64() > Some(restarts) && found["state"] == "running"
        })
    })?;
    let took = begun.elapsed();
    // In an emulated guest asking for the status alone takes most of a second.
    let allowed = if bench.setting.place.is_guest() {
        BACK * 4
    } else {
        BACK
    };
    ensure!(took <= allowed, "it was back after {took:?}");
    let error = find(&after, actor)
        .map(|found| found["last_error"].clone())
        .unwrap_or_default();
    ensure!(
        error.as_str().is_some_and(|error| !error.is_empty()),
        "no last_error: {error}"
    );
    for other in leaves(&before).iter().filter(|other| *other != actor) {
        let (was, is) = (
            self::restarts(&before, other),
            self::restarts(&after, other),
        );
        ensure!(was == is, "{other} was restarted too ({was:?}, now {is:?})");
    }
    Ok(())
}

/// The names of the actors without children: those that do the work.
pub fn leaves(status: &Value) -> Vec<String> {
    fn walk(node: &Value, names: &mut Vec<String>) {
        let children = node["children"].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(name) = node["name"].as_str().filter(|_| children.is_empty()) {
            names.push(name.to_owned());
        }
        children.iter().for_each(|child| walk(child, names));
    }
    let mut names = Vec::new();
    roots(status).for_each(|root| walk(root, &mut names));
    names
}

fn roots(status: &Value) -> impl Iterator<Item = &Value> {
    let actors = &status["actors"];
    actors
        .as_array()
        .map_or(std::slice::from_ref(actors), Vec::as_slice)
        .iter()
}

/// An actor by its name.
pub fn find<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    fn walk<'a>(node: &'a Value, name: &str) -> Option<&'a Value> {
        if node["name"] == name {
            return Some(node);
        }
        node["children"]
            .as_array()?
            .iter()
            .find_map(|child| walk(child, name))
    }
    roots(status).find_map(|root| walk(root, name))
}

/// Why this does not work as it should, if it does not.
pub fn degraded<'a>(status: &'a Value, what: &str) -> Option<&'a str> {
    let list = status["degraded"].as_array()?;
    let one = list.iter().find(|one| one["what"] == what)?;
    one["reason"].as_str()
}

/// No actor was restarted.
pub fn none_failed(status: &Value) -> Result<()> {
    let failed: Vec<String> = leaves(status)
        .into_iter()
        .filter(|actor| restarts(status, actor) != Some(0))
        .collect();
    ensure!(failed.is_empty(), "actors failed: {}", failed.join(", "));
    Ok(())
}

/// How often an actor was restarted.
pub fn restarts(status: &Value, name: &str) -> Option<u64> {
    find(status, name)?["restarts"].as_u64()
}
