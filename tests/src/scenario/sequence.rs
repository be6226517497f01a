//! Rules on what comes after something else.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::text;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "sequence",
    about: "a rule with `after` matches behind its step, by the same process tree, live and replayed",
    at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("6.12"),
    seconds: 60,
    run: sequence,
}];

fn sequence(bench: &Bench) -> Result<()> {
    let shell = bench.program("shell")?;
    let opened = bench.file("opened", "a line\n")?.display().to_string();
    let programs = ["before", "behind", "aside"].map(|name| bench.program(name));
    let [before, behind, aside] = programs.map(|it| it.map(|path| path.display().to_string()));
    let (before, behind, aside) = (before?, behind?, aside?);
    let policy = bench.policy(
        "sequences",
        &json!([{"id": "behind", "on": ["process.exec"], "action": "alert",
            "when": format!("process.executable in ['{before}', '{behind}', '{aside}']"),
            "after": {"on": ["file.open"], "when": format!("file.path == '{opened}'"),
                      "within": "20s", "by": "tree"}}]),
    )?;
    let sensor = bench.sensor().policy(&policy).start()?;
    let run = |script: &str| {
        let mut command = std::process::Command::new(&shell);
        command.args(["sh", "-c", script]).output_within(EVENT)
    };
    // The shell itself opens the file, between its children.
    let script = format!("{before} true; read line < {opened}; {behind} true; true");
    run(&script)?.with_code(0)?;
    run(&format!("{aside} true; true"))?.with_code(0)?;
    let is_alert = |event: &Value| text(event, "/rule/id") == "behind";
    sensor
        .events
        .wait_for("the alert", EVENT, |event| is_alert(event))?;
    let is_last = |event: &Value| {
        text(event, "/process/executable") == aside && event["process"].get("exit_code").is_some()
    };
    sensor
        .events
        .wait_for("the end of the last", EVENT, is_last)?;
    let events = sensor.stop()?.matching(|_| true);
    let alerts: Vec<&str> = events
        .iter()
        .filter(|event| is_alert(event))
        .map(|event| text(event, "/process/executable"))
        .collect();
    ensure!(alerts == [behind.as_str()], "the alerts are on {alerts:?}");

    // The open was for the rule alone, and no event: replayed it has to be there.
    let open = json!({"event": {"action": "file.open"}, "file": {"path": opened},
        "process": events.iter().find(|event| is_alert(event)).map(|event| &event["process"]["parent"])});
    let mut lines = String::new();
    for event in &events {
        if is_alert(event) {
            let mut open = open.clone();
            open["@timestamp"] = event["@timestamp"].clone();
            lines += &format!("{open}\n");
        }
        lines += &format!("{event}\n");
    }
    let recorded = bench.file("recorded.json", lines)?.display().to_string();
    let policy = policy.display().to_string();
    let words = ["replay", &recorded, "--policy", &policy, "--check"];
    let replayed = bench.sensor().command(&words).output_within(EVENT)?;
    let replayed = replayed.with_code(0)?.stdout;
    ensure!(replayed.contains("1 match a rule"), "replayed: {replayed}");
    Ok(())
}
