//! What the programs know of containers and ancestors goes on while policies and sensors change: rules that ask
//! about it refuse without a gap.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::EVENT;
use super::super::container::Cgroup;
use crate::bench::Bench;
use crate::command::Bounded as _;

/// Far longer than all that is done meanwhile.
const ATTEMPTING: Duration = Duration::from_secs(240);
/// Between two things that are done: time for some attempts.
const BETWEEN: Duration = Duration::from_millis(700);

/// Whose the container is that an attempt is made in.
pub(super) fn of_containers(bench: &Bench) -> Result<()> {
    let cgroup = Cgroup::docker()?;
    let enter = format!("echo $$ > {}/cgroup.procs", cgroup.path().display());
    let attempts = |script: &str| {
        let script = format!("{enter}; {script}");
        Ok(bench.busybox(&["sh", "-c", &script]))
    };
    // With a second condition the bit of the first is among others.
    let conditions = [
        "container.runtime == 'docker'",
        "container.id.startsWith('0')",
    ];
    goes_on(bench, &conditions.map(String::from), true, attempts)
}

/// What an ancestor ran that has exited.
pub(super) fn of_ancestors(bench: &Bench) -> Result<()> {
    let ancestor = bench.program("ancestor")?;
    let attempts = |script: &str| {
        let script = bench.file("attempts", script)?;
        let mut command = Command::new(&ancestor);
        command.args(["sh", "-c", "/bin/busybox sh $0 & exit 0"]);
        command.arg(script);
        Ok(command)
    };
    let runs = |path: &Path| {
        let path = path.display();
        format!("process.ancestors.exists(a, a.executable == '{path}')")
    };
    let conditions = [&ancestor, &bench.path("other")].map(|path| runs(path));
    goes_on(bench, &conditions, false, attempts)
}

/// Has what the first condition is about refused, and goes on attempting it while policies come and go that ask about
/// the second one as well, and sensors are killed and replaced. `across_policies`: also while those others come.
fn goes_on(
    bench: &Bench,
    [kept, other]: &[String; 2],
    across_policies: bool,
    attempts: impl Fn(&str) -> Result<Command>,
) -> Result<()> {
    let secret = bench.file("kept", "secret")?;
    let rule = |id: &str, condition: &str, file: &Path| {
        let when = format!("{condition} && file.path == '{}'", file.display());
        json!({"id": id, "on": ["file.open"], "action": "deny", "when": when})
    };
    let kept = rule("kept", kept, &secret);
    let other = rule("other", other, &bench.path("other"));
    let write = |rules: &[&Value]| bench.policy("kept", &json!(rules));
    let policy = write(&[&kept])?;
    let start = |ring: &str| {
        let sensor = bench.sensor().policy(&policy).enforce();
        sensor
            .option("set", format!("kernel.file_ring={ring}"))
            .start()
    };

    let mut sensor = start("1MiB")?;
    let deadline = Instant::now() + EVENT;
    while attempted(attempts(&until(&secret, "[ $tried = 1 ]"))?)?.0 > 0 {
        ensure!(Instant::now() < deadline, "it is never refused");
    }
    let end = bench.path("ended");
    let going = attempts(&until(&secret, &format!("[ -e {} ]", end.display())))?;
    let (opened, of) = thread::scope(|scope| {
        let attempting = scope.spawn(move || attempted(going));
        let mut act = || -> Result<()> {
            thread::sleep(BETWEEN);
            if across_policies {
                write(&[&other, &kept])?;
                sensor.command(&["policy", "reload"])?.with_code(0)?;
                thread::sleep(BETWEEN);
                write(&[&kept])?;
            }
            sensor.command(&["policy", "reload"])?.with_code(0)?;
            thread::sleep(BETWEEN);
            sensor.end_with(Signal::KILL)?;
            thread::sleep(BETWEEN);
            sensor = start("1MiB")?;
            thread::sleep(BETWEEN);
            // Other programs, with maps of their own.
            sensor.end_with(Signal::KILL)?;
            sensor = start("2MiB")?;
            ensure!(
                sensor.log().contains("are replaced"),
                "nothing was replaced"
            );
            thread::sleep(BETWEEN);
            Ok(())
        };
        let acted = act();
        fs::write(&end, "").context("end the attempts")?;
        let attempted = attempting.join();
        acted?;
        attempted.map_err(|_| anyhow!("the attempts panicked"))?
    })?;
    ensure!(of > 10, "only {of} attempts were made");
    ensure!(opened == 0, "{opened} of {of} attempts read it");
    bench.note(format!("{of} attempts refused"));
    Ok(())
}

/// A script that attempts to read the file, each time by a process of its own, and then says how often it could and
/// how often it tried.
fn until(secret: &Path, ended: &str) -> String {
    format!(
        "tried=0; opened=0
         until {ended}; do
             [ -n \"$(cat {} 2>/dev/null)\" ] && opened=$((opened + 1))
             tried=$((tried + 1))
         done
         echo $opened $tried",
        secret.display()
    )
}

/// How many succeeded, and how many there were.
fn attempted(mut attempts: Command) -> Result<(u32, u32)> {
    let ended = attempts.output_within(ATTEMPTING)?.with_code(0)?;
    let said = ended.stdout.trim().split_once(' ');
    let (opened, tried) = said.context("the attempts say nothing")?;
    Ok((opened.parse()?, tried.parse()?))
}
