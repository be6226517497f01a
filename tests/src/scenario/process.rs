//! The life of processes: what ran, with what arguments, under whom, and how it ended.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, number, text};
use crate::place::{Place, Variant};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "commands-in-order",
        about: "a script's commands appear completely and in order, with their exit codes",
        at: |place| !place.is_variant(Variant::Preempt) && !place.is_variant(Variant::NoBtf),
        seconds: 30,
        run: |bench| commands_in_order(bench, "auto"),
    },
    Scenario {
        name: "commands-tracepoint",
        about: "the same from tracepoints alone",
        at: |place| !place.is_variant(Variant::NoBtf),
        seconds: 30,
        run: |bench| commands_in_order(bench, "tracepoint"),
    },
    Scenario {
        name: "commands-fanotify",
        about: "the same without eBPF, from the process connector",
        at: |_| true,
        seconds: 30,
        run: |bench| commands_in_order(bench, "fanotify"),
    },
    Scenario {
        name: "kill-on-exec",
        about: "a rule `kill` ends a process before its first output",
        at: |place| !place.is_variant(Variant::NoBtf),
        seconds: 30,
        run: |bench| kill_on_exec(bench, "auto"),
    },
    Scenario {
        name: "kill-on-exec-tracepoint",
        about: "the same from tracepoints alone",
        at: |place| !place.is_variant(Variant::NoBtf),
        seconds: 30,
        run: |bench| kill_on_exec(bench, "tracepoint"),
    },
    Scenario {
        name: "earlier-processes",
        about: "a process that ran before the sensor is known as a parent",
        at: |place| *place == Place::Native || place.is_stock("6.1"),
        seconds: 30,
        run: earlier_processes,
    },
];

/// Commands of the script; each ends with its number as exit code.
const COMMANDS: i64 = 12;

/// What each command does before it ends. Without eBPF arguments are read while it runs, so there it
/// counts for a while.
fn work(tier: &str) -> &'static str {
    match tier {
        "fanotify" => "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; ",
        _ => "",
    }
}

/// A script in which `program` runs a dozen commands, each with a mark of its own.
fn script(program: &Path, work: &str) -> String {
    let program = program.display();
    (1..=COMMANDS)
        .map(|n| format!("{program} sh -c '{work}exit {n}' mark-{n}\n"))
        .collect()
}

/// Runs a script in a tier, and looks whether its commands come completely and in order.
pub fn commands_in_order(bench: &Bench, tier: &str) -> Result<()> {
    let program = bench.program("shell")?;
    let work = work(tier);
    let script = bench.file("script", script(&program, work))?;
    let sensor = bench.sensor().tier(tier).start()?;
    let shell = Command::new(&program)
        .arg("sh")
        .arg(&script)
        .output_within(EVENT)?;
    let last = format!("mark-{COMMANDS}");
    let is_ours = |event: &Value| text(event, "/process/executable") == program.as_os_str();
    let mark = |event: &Value| {
        let args = event.pointer("/process/args").and_then(Value::as_array)?;
        Some(args.last()?.as_str()?.to_owned())
    };
    sensor
        .events
        .wait_for("the end of the last command", EVENT, |event| {
            action(event) == "process.exit" && is_ours(event) && mark(event).as_ref() == Some(&last)
        })?;
    let events = sensor.stop()?;

    let expected: Vec<(&str, String)> = (1..=COMMANDS)
        .flat_map(|n| ["process.exec", "process.exit"].map(|action| (action, format!("mark-{n}"))))
        .collect();
    let mut ours = events.matching(|event| {
        is_ours(event)
            && ["process.exec", "process.exit"].contains(&action(event))
            && mark(event).is_some_and(|mark| mark.starts_with("mark-"))
    });
    if tier == "fanotify" {
        // `do_exit` of kernel/exit.c wakes the parent before it tells the process connector, so the parent's
        // next command may be told first. What one process does is in order all the same.
        let number = |event: &Value| mark(event)?.strip_prefix("mark-")?.parse::<u32>().ok();
        ours.sort_by_key(number);
    }
    let seen: Vec<_> = ours
        .iter()
        .filter_map(|event| Some((action(event), mark(event)?)))
        .collect();
    ensure!(seen == expected, "the commands appeared as {seen:?}");
    for (index, pair) in ours.chunks(2).enumerate() {
        let n = i64::try_from(index)? + 1;
        let [exec, exit] = pair else { continue };
        for event in pair {
            check_process(event, &program, work, n, shell.pid)?;
        }
        ensure!(
            number(exit, "/process/exit_code") == Some(n),
            "command {n} ended with {n}, the event says {:?}",
            exit.pointer("/process/exit_code"),
        );
        ensure!(
            text(exec, "/process/entity_id") == text(exit, "/process/entity_id"),
            "exec and exit of command {n} name different processes"
        );
    }
    Ok(())
}

/// What is true of each command of the script.
fn check_process(event: &Value, program: &Path, work: &str, n: i64, shell: u32) -> Result<()> {
    let process = &event["process"];
    let args = json!([
        program,
        "sh",
        "-c",
        format!("{work}exit {n}"),
        format!("mark-{n}")
    ]);
    ensure!(
        process["args"] == args,
        "command {n}: its arguments are {}",
        process["args"]
    );
    ensure!(
        number(event, "/process/parent/pid") == Some(i64::from(shell)),
        "command {n}: its parent is {}, not the script's shell {shell}",
        process["parent"]
    );
    let user = &process["user"];
    ensure!(
        *user == json!({"id": "0", "name": "root"}),
        "command {n}: its user is {user}"
    );
    ensure!(
        !text(event, "/@timestamp").is_empty(),
        "command {n}: no time: {event}"
    );
    Ok(())
}

/// Runs a program that a rule kills in a tier, and one that none does.
pub fn kill_on_exec(bench: &Bench, tier: &str) -> Result<()> {
    let victim = bench.program("victim")?;
    let other = bench.program("other")?;
    let policy = bench.policy(
        "no-victims",
        &json!([{
            "id": "victim", "on": ["process.exec"], "action": "kill", "severity": "high",
            "when": format!("process.executable == '{}'", victim.display()),
        }]),
    )?;
    let sensor = bench
        .sensor()
        .tier(tier)
        .policy(&policy)
        .enforce()
        .start()?;
    for _ in 0..5 {
        let ended = Command::new(&victim)
            .args(["echo", "I ran"])
            .output_within(EVENT)?;
        ensure!(
            ended.signal() == Some(9),
            "the victim ended with {}",
            ended.status
        );
        ensure!(
            ended.stdout.is_empty(),
            "the victim still said {:?}",
            ended.stdout
        );
        let pid = i64::from(ended.pid);
        let event = sensor.events.wait_for("the kill's event", EVENT, |event| {
            action(event) == "process.exec"
                && number(event, "/process/pid") == Some(pid)
                && text(event, "/rule/id") == "victim"
        })?;
        let outcome = text(&event, "/holdfast/outcome");
        ensure!(
            outcome == "killed",
            "the event says holdfast.outcome {outcome:?}: {event}"
        );
    }
    let spared = Command::new(&other)
        .args(["echo", "I ran"])
        .output_within(EVENT)?
        .with_code(0)?;
    ensure!(
        spared.stdout == "I ran\n",
        "the other process said {:?}",
        spared.stdout
    );
    sensor.stop().map(drop)
}

fn earlier_processes(bench: &Bench) -> Result<()> {
    let early = bench.program("early")?;
    let late = bench.program("late")?;
    let pipe = bench.path("go");
    bench
        .busybox(&["mkfifo"])
        .arg(&pipe)
        .output_within(EVENT)?
        .with_code(0)
        .context("make a pipe")?;
    let script = format!("read line < {}\n{} true", pipe.display(), late.display());
    let mut parent = Command::new(&early)
        .args(["sh", "-c", &format!("{script}\nexit 0")])
        .spawn()
        .context("start the early process")?;
    let sensor = bench.sensor().start()?;
    std::fs::write(&pipe, "go\n").context("let the early process go on")?;
    let event = sensor.events.wait_for("the late process", EVENT, |event| {
        action(event) == "process.exec" && text(event, "/process/executable") == late.as_os_str()
    })?;
    let known = text(&event, "/process/parent/executable");
    ensure!(
        known == early.as_os_str(),
        "its parent is {known:?}, not {}",
        early.display()
    );
    ensure!(
        parent
            .wait()
            .context("wait for the early process")?
            .success(),
        "the parent failed"
    );
    sensor.stop().map(drop)
}
