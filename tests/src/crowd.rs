//! What a look at the namespaces of many processes takes, beside lsns(8) on the same ones; and a sensor that looks at them
//! a second time.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::control::ask;
use crate::scenario::cost::memory;

const PROCESSES: usize = 10_000;
const NAMESPACES: usize = 1_000;
/// Looks of each, of which the quickest counts.
const ROUNDS: usize = 3;
/// How long one may take.
const LOOK: Duration = Duration::from_secs(120);

/// All of it.
pub fn figures(bench: &Bench) -> Result<Value> {
    let _crowd = Crowd::start(bench)?;
    let binary = bench.setting.holdfast.display().to_string();
    let nowhere = format!("control.socket={}", bench.path("nobody.sock").display());
    let looks: [(&str, &[&str]); 2] = [
        (
            "holdfast",
            &[&binary, "namespaces", "--json", "--set", &nowhere],
        ),
        ("lsns", &["lsns", "--json"]),
    ];
    let mut all = json!({"processes": PROCESSES, "namespaces": NAMESPACES});
    for (who, words) in looks {
        let mut best: Option<Value> = None;
        for _ in 0..ROUNDS {
            let next = look(bench, words).with_context(|| format!("measure {who}"))?;
            let time = |it: &Value| it["cpu_milliseconds"].as_u64();
            if best.as_ref().is_none_or(|best| time(&next) < time(best)) {
                best = Some(next);
            }
        }
        all[who] = best.unwrap_or_default();
    }
    all["sensor"] = sensor(bench)?;
    Ok(all)
}

/// What one look of a program takes, which has to find all namespaces.
fn look(bench: &Bench, words: &[&str]) -> Result<Value> {
    let deed = [&["used"], words].concat();
    let ended = bench.act(&deed).output_within(LOOK)?.with_code(0)?;
    let found: Value = serde_json::from_str(&ended.stdout).context("parse what it found")?;
    let count = count(&found["namespaces"]);
    ensure!(count > NAMESPACES, "found {count} namespaces");
    // The program may have said something itself before.
    let told = ended.stderr.lines().last().unwrap_or_default();
    serde_json::from_str(told).context("parse what it used")
}

/// How many namespaces there are: by their ids, or as lsns has them, those of a namespace below it.
fn count(found: &Value) -> usize {
    match found {
        Value::Object(all) => all.len(),
        Value::Array(all) => all.iter().map(|it| 1 + count(&it["children"])).sum(),
        _ => 0,
    }
}

/// What a sensor's second answer takes, and what it holds for it.
fn sensor(bench: &Bench) -> Result<Value> {
    let sensor = bench.sensor().silent().policy(&bench.setting.policies);
    let sensor = sensor.start()?;
    let own = || -> Result<u64> { memory(&sensor)?["own"].as_u64().context("no memory") };
    let before = own()?;
    let answer = || -> Result<(u64, Value)> {
        let begun = Instant::now();
        let answer = ask(bench, "GET", "/v1/namespaces?mounts=no")?;
        let took = begun.elapsed().as_millis() as u64;
        let answer: Value = serde_json::from_str(&answer).context("parse the answer")?;
        Ok((took, answer["currency"].clone()))
    };
    let (first, _) = answer()?;
    let (next, currency) = answer()?;
    let held = own()?.saturating_sub(before);
    ensure!(currency["events"] == true, "no events told: {currency}");
    sensor.stop()?;
    Ok(
        json!({"first_milliseconds": first, "next_milliseconds": next, "next_looked": currency["looked"],
        "held_kib": held}),
    )
}

/// Runs a program, and tells as the last line of stderr how much CPU time and memory it took.
pub(crate) fn used(program: &str, args: &[&str]) -> io::Result<()> {
    let begun = Instant::now();
    let status = Command::new(program).args(args).status()?;
    let took = begun.elapsed();
    if !status.success() {
        return Err(io::Error::other(format!("{program} ended with {status}")));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    eprintln!(
        "{}",
        json!({"cpu_milliseconds": cpu.num_milliseconds(), "milliseconds": took.as_millis() as u64,
            "peak_kib": usage.max_rss()})
    );
    Ok(())
}

/// The processes; they end with it.
struct Crowd(Child);

impl Crowd {
    fn start(bench: &Bench) -> Result<Self> {
        let (processes, namespaces) = (PROCESSES.to_string(), NAMESPACES.to_string());
        let mut act = bench.act(&["crowd", &processes, &namespaces]);
        let child = act.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut crowd = Self(child.context("start a crowd")?);
        let said = crowd.0.stdout.take().context("the crowd is mute")?;
        let mut line = String::new();
        let read = BufReader::new(said).read_line(&mut line);
        read.context("listen to the crowd")?;
        ensure!(line == "ready\n", "the crowd failed");
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Who listens ends when nobody is there to be listened to.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_below_others_count() {
        let lsns = json!([{"ns": 1}, {"ns": 2, "children": [{"ns": 3, "children": [{"ns": 4}]}]}]);
        assert_eq!(count(&lsns), 4);
        assert_eq!(count(&json!({"1": {}, "2": {}})), 2);
        assert_eq!(count(&Value::Null), 0);
    }
}
