//! A sensor and its Team Server, both real, and what may happen between them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::supervision::degraded;
use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::text;
use crate::place::Place;
use crate::sensor::Sensor;

mod between;
mod pages;
mod readme;
mod server;
mod trouble;

use between::Between;
use server::Team;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "uplink",
        about: "a server hangs, it and the sensor are killed, answers are lost: each alert is stored once; a bundle is enforced, a tampered one refused",
        at: |place| *place == Place::Native,
        seconds: 90,
        run: uplink,
    },
    Scenario {
        name: "uplink-trouble",
        about: "a server is slow, never answers, answers nonsense, has no room on its disk: each alert is stored once and none is lost",
        at: |place| *place == Place::Native,
        seconds: 420,
        run: trouble::trouble,
    },
    Scenario {
        name: "uplink-readme",
        about: "what README says of a fleet: a command that serves, two more, and a sensor's alerts are live",
        at: |place| *place == Place::Native,
        seconds: 60,
        run: readme::readme,
    },
    Scenario {
        name: PAGES,
        about: "the server's pages in a browser: alerts as they come, a policy that is written, assigned and enforced",
        at: |place| *place == Place::Native,
        seconds: 300,
        run: pages::pages,
    },
];

const PAGES: &str = "pages";

/// Whether it is to be named to be run: it takes a browser.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == PAGES
}

/// The rule whose alerts are counted.
const RULE: &str = "offence";
/// How long what waits may take to be with the server: a sensor tries again after a minute at most.
const ANSWERED: Duration = Duration::from_secs(90);
/// Between two looks at the server.
const POLL: Duration = Duration::from_millis(50);

fn uplink(bench: &Bench) -> Result<()> {
    let team = Team::new(bench)?;
    let running = team.start()?;
    let key = bench.file("installation.key", team.command(&["key", "create"])?)?;
    let token = team.command(&["token", "create", "scenario", "--role", "admin"])?;
    let between = Between::start(running.address())?;
    let offender = bench.program("offender")?;
    let victim = bench.program("victim")?;
    let policy = bench.policy("alerting", &json!([rule(RULE, &offender, "alert")]))?;
    let start = || start(bench, &policy, &key, between.address());
    let offend = |numbers| offend(&offender, numbers);
    let runs = || -> Result<Option<i32>> {
        let mut command = Command::new(&victim);
        Ok(command.args(["sleep", "0.2"]).output_within(EVENT)?.code())
    };

    // All is well.
    let mut sensor = start()?;
    offend(0..20)?;
    running.stored(&token, 20)?;
    let status = sensor.status()?;
    let id = status["uplink"]["sensor_id"].as_str().map(str::to_owned);
    let id = id.context("it is not enrolled")?;
    ensure!(
        !status.to_string().contains(&team.key_of(&key)?),
        "the key is in the status"
    );

    // The server has them, and the sensor does not learn of it.
    between.swallow();
    offend(20..30)?;
    between.swallowed(1)?;
    between.pass();
    running.stored(&token, 30)?;

    // It hangs: what happens meanwhile is in the spool, and goes once it does not.
    between.hang();
    offend(30..40)?;
    spooled(&sensor, 40)?;
    between.pass();
    running.stored(&token, 40)?;

    // The server is gone, and then the sensor.
    running.kill()?;
    offend(40..50)?;
    spooled(&sensor, 50)?;
    sensor.status_when("it says that the server is gone", EVENT, |status| {
        degraded(status, "uplink").is_some()
    })?;
    sensor.end_with(Signal::KILL)?;
    drop(sensor);

    // Both are back; a bundle is assigned, and tampered with on its way.
    let running = team.start()?;
    between.lead_to(running.address());
    between.tamper();
    let bundle = json!({
        "apiVersion": "holdfast/v1", "kind": "Policy", "name": "from-the-server", "mode": "enforce",
        "rules": [rule("no-victim", &victim, "kill")],
    });
    let drafts =
        json!({"name": "first", "policies": [{"file": "victim.json", "text": bundle.to_string()}]});
    let made = running.ask("POST", "/api/v1/bundles", &token, &drafts)?;
    let version = made["version"].as_u64().context("no version")?;
    let assignment = json!({"target": "all", "version": version});
    running.ask("PUT", "/api/v1/assignments", &token, &assignment)?;
    let sensor = start()?;
    offend(50..60)?;
    running.stored(&token, 60)?;
    let status = sensor.status_when("a tampered bundle is refused", EVENT, |status| {
        degraded(status, "uplink.bundle").is_some_and(|reason| reason.contains("signature"))
    })?;
    ensure!(
        status["uplink"]["sensor_id"] == id.as_str() && status["uplink"]["bundle"].is_null(),
        "another sensor, or a tampered bundle in force: {status}"
    );
    ensure!(runs()? == Some(0), "a tampered bundle is enforced");
    running.when("the server is told", |running| {
        let sensors = running.ask("GET", "/api/v1/sensors", &token, &Value::Null)?;
        Ok(sensors.to_string().contains("signature"))
    })?;
    nothing_lost(&sensor.status()?)?;
    sensor.stop()?;

    // Nobody tampers with it: it is enforced, and after a start without the server, too.
    between.pass();
    let mut sensor = start()?;
    sensor.status_when("the bundle is in force", EVENT, |status| {
        status["uplink"]["bundle"] == version && degraded(status, "uplink.bundle").is_none()
    })?;
    ensure!(runs()?.is_none(), "the bundle is not enforced");
    let listed = sensor.command(&["policy", "list"])?.with_code(0)?.stdout;
    ensure!(
        listed.contains("from-the-server"),
        "policy list has no bundle: {listed}"
    );
    running.kill()?;
    sensor.end_with(Signal::KILL)?;
    drop(sensor);
    let sensor = start()?;
    ensure!(
        runs()?.is_none(),
        "the last good bundle is not enforced without the server"
    );
    sensor.stop()?;
    bench.note(format!(
        "60 alerts once each, {} answers lost",
        between.lost()
    ));
    Ok(())
}

/// A sensor whose server is at this address.
fn start<'b>(bench: &'b Bench, policy: &Path, key: &Path, address: &str) -> Result<Sensor<'b>> {
    bench
        .sensor()
        .tier("tracepoint")
        .enforce()
        .policy(policy)
        .option("set", format!("uplink.url=http://{address}"))
        .option("set", format!("uplink.key_file={}", key.display()))
        .start()
}

/// Makes an alert of each number.
fn offend(offender: &Path, numbers: Range<u32>) -> Result<()> {
    for number in numbers {
        let mut command = Command::new(offender);
        command
            .args(["echo", &number.to_string()])
            .output_within(EVENT)?
            .with_code(0)?;
    }
    Ok(())
}

fn rule(id: &str, executable: &Path, action: &str) -> Value {
    let when = format!("process.executable == '{}'", executable.display());
    json!({"id": id, "on": ["process.exec"], "when": when, "action": action, "severity": "high"})
}

/// Waits until so many alerts were made and the spool has whatever of them it is to have.
fn spooled(sensor: &Sensor<'_>, alerts: usize) -> Result<()> {
    let deadline = Instant::now() + EVENT;
    while sensor
        .events
        .matching(|event| text(event, "/rule/id") == RULE)
        .len()
        < alerts
    {
        ensure!(Instant::now() < deadline, "there are no {alerts} alerts");
        std::thread::sleep(POLL);
    }
    sensor.status_when("the spool has what it is to have", EVENT, |status| {
        let sinks = status["sinks"].as_array().map_or(&[][..], Vec::as_slice);
        let uplink = sinks.iter().find(|sink| sink["name"] == "sink.uplink");
        uplink.is_some_and(|sink| sink["offered"] == sink["written"] && sink["dropped"] == 0)
    })?;
    Ok(())
}

fn nothing_lost(status: &Value) -> Result<()> {
    let lost = &status["uplink"]["lost"];
    ensure!(
        *lost == json!({"alert": {}, "event": {}}),
        "something is counted as lost: {lost}"
    );
    Ok(())
}

/// The alerts that the server has, each once: how many.
fn once_each(alerts: &Value) -> Result<usize> {
    let mut numbers = BTreeMap::<String, u32>::new();
    for alert in alerts["events"].as_array().context("no list of alerts")? {
        let number = alert["event"]["process"]["args"][2].as_str();
        let number = number.with_context(|| format!("no number: {alert}"))?;
        *numbers.entry(number.to_owned()).or_default() += 1;
    }
    if let Some((number, count)) = numbers.iter().find(|(_, count)| **count > 1) {
        bail!("alert {number} is stored {count} times");
    }
    Ok(numbers.len())
}
