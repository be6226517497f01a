//! What a sensor holds of namespaces between two answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Started, is};
use crate::bench::Bench;
use crate::control::ask;
use crate::events::text;
use crate::scenario::ledger::number;

/// Processes that nothing happens to.
const OTHERS: usize = 60;

/// What happens between two answers is in the second, which looks at hardly anybody; where no event tells, it looks at the
/// namespaces of all.
pub(super) fn kept(bench: &Bench) -> Result<()> {
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        let sleeper = bench.busybox(&["sleep", "120"]).spawn();
        others.push(Started(sleeper.context("start a sleeper")?));
    }
    let sensor = bench.sensor().silent();
    let sensor = sensor
        .option("events", "process.setns,process.unshare")
        .start()?;
    let looked = changes(bench, |currency| {
        let looked = number(currency, "looked");
        ensure!(
            currency["events"] == true && looked < OTHERS as u64 / 2,
            "looked at too many: {currency}"
        );
        Ok(looked)
    })?;
    bench.note(format!("looked at {looked:?} of over {OTHERS} processes"));
    sensor.stop()?;

    let sensor = bench.sensor().silent().start()?;
    changes(bench, |currency| {
        let reason = text(currency, "/reason");
        ensure!(
            currency["events"] == false
                && reason.contains("process.setns: nothing asks for it")
                && number(currency, "looked") < OTHERS as u64 / 2
                && number(currency, "checked") >= OTHERS as u64,
            "not checked: {currency}"
        );
        Ok(())
    })?;
    sensor.stop()?;
    Ok(())
}

/// A process makes a namespace, leaves it and joins it again, and another one begins and ends in it: each time the answer
/// is asked for at once. Returns what `is_right` says of how each came about.
fn changes<T>(bench: &Bench, is_right: impl Fn(&Value) -> Result<T>) -> Result<Vec<T>> {
    let mut wanderer = Wanderer::start(bench)?;
    let first = answer(bench)?;
    let currency = &first["currency"];
    ensure!(
        number(currency, "looked") > OTHERS as u64,
        "the first look: {currency}"
    );
    let mut all = Vec::new();
    let mut see = |wanderer: &Wanderer, gone: &str| -> Result<()> {
        let answer = answer(bench)?;
        let Wanderer { pid, uts, .. } = wanderer;
        let process = &answer["processes"][pid.to_string()];
        ensure!(
            is(&process["namespaces"]["uts"], uts),
            "should be in {uts}: {process}"
        );
        ensure!(
            answer["namespaces"].get(gone).is_none(),
            "is still there: {gone}"
        );
        all.push(is_right(&answer["currency"])?);
        Ok(())
    };
    let home = wanderer.uts.clone();
    wanderer.go("make")?;
    ensure!(wanderer.uts != home, "made none");
    see(&wanderer, "")?;
    let made = wanderer.uts.clone();
    wanderer.go("leave")?;
    ensure!(wanderer.uts == home, "did not leave");
    see(&wanderer, &made)?;
    wanderer.go("make")?;
    see(&wanderer, "")?;
    let second = Wanderer::start(bench)?;
    see(&second, "")?;
    let (pid, its) = (wanderer.pid, wanderer.uts.clone());
    drop(wanderer);
    see(&second, &its)?;
    let last = answer(bench)?;
    ensure!(
        last["processes"].get(pid.to_string()).is_none(),
        "process {pid} has ended"
    );
    Ok(all)
}

fn answer(bench: &Bench) -> Result<Value> {
    let answer = ask(bench, "GET", "/v1/namespaces?mounts=no")?;
    serde_json::from_str(&answer).context("parse the answer")
}

/// A process that goes from one UTS namespace to another as it is told.
struct Wanderer {
    pid: u32,
    /// The one that it is in.
    uts: String,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    _process: Started,
}

impl Wanderer {
    fn start(bench: &Bench) -> Result<Self> {
        let mut act = bench.act(&["wander"]);
        let child = act.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.context("start a wanderer")?;
        let to = child.stdin.take().context("it does not listen")?;
        let from = child.stdout.take().context("it is mute")?;
        let mut new = Self {
            pid: child.id(),
            uts: String::new(),
            to,
            from: BufReader::new(from),
            _process: Started(child),
        };
        new.hear()?;
        Ok(new)
    }

    fn go(&mut self, step: &str) -> Result<()> {
        writeln!(self.to, "{step}").context("tell the wanderer")?;
        self.hear()
    }

    fn hear(&mut self) -> Result<()> {
        self.uts.clear();
        let read = self.from.read_line(&mut self.uts);
        read.context("listen to the wanderer")?;
        self.uts.truncate(self.uts.trim_end().len());
        ensure!(!self.uts.is_empty(), "the wanderer failed");
        Ok(())
    }
}
