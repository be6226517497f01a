//! Bad input: each is one clear line and the right exit code, and changes nothing.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::json;

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::{Bounded as _, Ended};
use crate::place::{Place, Variant};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "bad-policies",
        about: "a bad policy is refused with its place and reason, by check and by run",
        at: |place| *place == Place::Native,
        seconds: 60,
        run: bad_policies,
    },
    Scenario {
        name: "bad-reload",
        about: "a reload with a bad policy keeps the one in force",
        at: |place| *place == Place::Native || place.is_stock("6.1"),
        seconds: 60,
        run: bad_reload,
    },
    Scenario {
        name: "bad-configuration",
        about: "a wrong type and an unknown key are named, with the nearest valid one",
        at: |place| *place == Place::Native,
        seconds: 30,
        run: bad_configuration,
    },
    Scenario {
        name: "no-root",
        about: "without root it says what it lacks",
        at: |_| true,
        seconds: 30,
        run: no_root,
    },
    Scenario {
        name: "second-instance",
        about: "a second instance is refused and the first goes on",
        at: |place| *place == Place::Native || place.is_stock("6.1"),
        seconds: 60,
        run: second_instance,
    },
    Scenario {
        name: "not-running",
        about: "commands that need a running sensor say that there is none",
        at: |place| *place == Place::Native,
        seconds: 30,
        run: not_running,
    },
    Scenario {
        name: "no-btf",
        about: "a kernel without BTF gets a tier that needs none, and is told so",
        at: |place| place.is_variant(Variant::NoBtf),
        seconds: 30,
        run: no_btf,
    },
];

const NOBODY: u32 = 65534;
/// Size of a policy that is too large to be one.
const HUGE: usize = 50 << 20;

/// An error that a person can use: this exit code, one line on stderr with these words, no trace.
fn refused(ended: &Ended, code: i32, words: &[&str]) -> Result<()> {
    let stderr = ended.stderr.trim_end();
    ensure!(
        ended.code() == Some(code),
        "ended with {}, not {code}; stderr: {stderr:?}",
        ended.status
    );
    ensure!(
        stderr.lines().count() == 1,
        "not one line of error: {stderr:?}"
    );
    for trace in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        ensure!(
            !stderr.contains(trace),
            "a trace instead of an error: {stderr:?}"
        );
    }
    for word in words {
        ensure!(
            stderr.contains(word),
            "the error does not say {word:?}: {stderr:?}"
        );
    }
    Ok(())
}

fn rule(when: &str) -> String {
    json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "bad", "rules": [
        {"id": "one", "on": ["file.open"], "action": "deny", "when": when}]})
    .to_string()
}

fn bad_policies(bench: &Bench) -> Result<()> {
    let unknown_key = rule("true").replace("\"when\"", "\"whenn\"");
    let huge = rule("true").replace("true", &"x".repeat(HUGE));
    let cases: [(&str, &str, &[&str]); 8] = [
        (
            "json",
            "{\n  \"apiVersion\": \"holdfast/v1\",\n  oops\n}",
            &["json.json", "3:"],
        ),
        ("syntax", &rule("file.path =="), &["syntax.json"]),
        ("type", &rule("file.path == 7"), &["type.json"]),
        (
            "field",
            &rule("file.pth == '/x'"),
            &["field.json", "file.pth", "file.path"],
        ),
        ("key", &unknown_key, &["key.json", "whenn", "when"]),
        ("empty", "", &["empty.json"]),
        ("huge", &huge, &["huge.json"]),
        ("binary", "\0\u{1}\u{2}", &["binary.json"]),
    ];
    for (name, content, words) in cases {
        let path = bench.file(&format!("{name}.json"), content)?;
        let check = check(bench, &path)?;
        refused(&check, 1, words).with_context(|| format!("policy check of {name}"))?;
        let run = bench
            .sensor()
            .policy(&path)
            .run_command()
            .output_within(EVENT)?;
        refused(&run, 5, words)
            .or_else(|_| refused(&run, 1, words))
            .with_context(|| format!("run with {name}"))?;
    }
    let missing = check(bench, &bench.path("missing.json"))?;
    ensure!(missing.code() != Some(0), "a missing policy is fine");
    let good = bench.file("good.json", rule("file.path == '/x'"))?;
    check(bench, &good)?
        .with_code(0)
        .context("policy check of a good one")?;
    Ok(())
}

fn check(bench: &Bench, path: &Path) -> Result<Ended> {
    bench
        .sensor()
        .command(&["policy", "check"])
        .arg(path)
        .output_within(EVENT)
}

fn bad_reload(bench: &Bench) -> Result<()> {
    let secret = bench.file("secret", "")?;
    let rules = |when: &str| json!([{"id": "secret", "on": ["file.open"], "action": "alert", "when": when}]);
    let good = format!("file.path == '{}'", secret.display());
    let policy = bench.policy("reloaded", &rules(&good))?;
    let sensor = bench.sensor().policy(&policy).start()?;
    let revision = sensor.status()?["policy"]["revision"].clone();
    let alerts = || {
        let reader = bench.busybox(&["cat"]).arg(&secret).output_within(EVENT)?;
        let pid = i64::from(reader.pid);
        sensor.events.wait_for("the alert", EVENT, |event| {
            crate::events::text(event, "/rule/id") == "secret"
                && crate::events::number(event, "/process/pid") == Some(pid)
        })
    };
    alerts().context("before the reload")?;

    bench.policy("reloaded", &rules("file.pth == '/x'"))?;
    let reload = sensor.command(&["policy", "reload"])?;
    ensure!(
        reload.code() == Some(1),
        "the bad reload ended with {}",
        reload.status
    );
    ensure!(
        reload.stderr.contains("file.pth"),
        "the bad reload said {:?}",
        reload.stderr
    );
    sensor
        .events
        .wait_for("sensor.policy, refused", EVENT, |event| {
            crate::events::action(event) == "sensor.policy"
                && crate::events::text(event, "/event/reason").contains("file.pth")
        })?;
    ensure!(
        sensor.status()?["policy"]["revision"] == revision,
        "the revision changed"
    );
    alerts().context("after the bad reload")?;
    sensor.signal(Signal::HUP)?;
    alerts().context("after a bad reload by SIGHUP")?;

    bench.policy("reloaded", &rules(&format!("{good} && true")))?;
    sensor
        .command(&["policy", "reload"])?
        .with_code(0)
        .context("the good reload")?;
    ensure!(
        sensor.status()?["policy"]["revision"] != revision,
        "the revision did not change"
    );
    alerts().context("after the good reload")?;
    sensor.stop().map(drop)
}

fn bad_configuration(bench: &Bench) -> Result<()> {
    let run = |name: &str, content: &str| {
        let path = bench.file(name, content)?;
        let mut command = bench.sensor().command(&["run", "--config"]);
        command.arg(&path).output_within(EVENT)
    };
    refused(&run("type.toml", "mode = 7\n")?, 2, &["mode"]).context("a wrong type")?;
    refused(
        &run("key.toml", "mod = \"observe\"\n")?,
        2,
        &["mod", "mode"],
    )
    .context("an unknown key")?;
    refused(
        &run("value.toml", "mode = \"obsrve\"\n")?,
        2,
        &["obsrve", "observe"],
    )
    .context("a bad value")?;
    refused(&run("syntax.toml", "mode = \n")?, 2, &["syntax.toml"]).context("no TOML")?;
    let set = bench
        .sensor()
        .option("set", "mod=observe")
        .run_command()
        .output_within(EVENT)?;
    refused(&set, 2, &["mod", "mode"]).context("--set with an unknown key")?;
    let variable = bench
        .sensor()
        .variable("HOLDFAST_OPT_MODE", "obsrve")
        .run_command()
        .output_within(EVENT)?;
    refused(&variable, 2, &["obsrve", "observe"]).context("a bad value in the environment")
}

fn no_root(bench: &Bench) -> Result<()> {
    let mut command = bench.sensor().run_command();
    let ended = command.uid(NOBODY).gid(NOBODY).output_within(EVENT)?;
    refused(&ended, 4, &["root"])
}

fn second_instance(bench: &Bench) -> Result<()> {
    let sensor = bench.sensor().start()?;
    let second = bench.sensor().run_command().output_within(EVENT)?;
    refused(&second, 5, &["running"])?;
    std::thread::sleep(Duration::from_millis(100));
    sensor.status().context("the first instance")?;
    sensor.stop().map(drop)
}

fn not_running(bench: &Bench) -> Result<()> {
    for command in [
        &["status"][..],
        &["events"],
        &["policy", "reload"],
        &["policy", "list"],
    ] {
        let ended = bench.sensor().command(command).output_within(EVENT)?;
        refused(&ended, 3, &["running"]).with_context(|| command.join(" "))?;
    }
    Ok(())
}

fn no_btf(bench: &Bench) -> Result<()> {
    let sensor = bench.sensor().start()?;
    let tier = sensor.status()?["tier"].clone();
    ensure!(
        tier == "kprobe" || tier == "tracepoint",
        "the tier is {tier}"
    );
    let doctor = sensor.command(&["doctor", "--json"])?.with_code(0)?;
    ensure!(
        doctor.stdout.contains("BTF"),
        "doctor does not say that BTF is missing: {}",
        doctor.stdout
    );
    bench.note(format!("tier {tier}"));
    sensor.stop().map(drop)
}
