//! What the kernel decides by: a rule that denies by each sort of condition, and what `policy explain` says
//! of it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::deny::Means;
use super::{EVENT, Scenario};
use crate::bench::{Bench, make_executable};
use crate::command::{Bounded as _, Ended};
use crate::events::{action, text};
use crate::place::{Place, Variant};
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "predicates-lsm",
        about: "--tier lsm refuses by each sort of condition, as `policy explain` says",
        at: |place| place.best_tier() == Some("lsm"),
        seconds: 60,
        run: |bench| deny(bench, "lsm", Means::Refuse),
    },
    Scenario {
        name: "predicates-fmod-ret",
        about: "--tier fmod_ret refuses by each sort of condition, as `policy explain` says",
        at: Place::has_trampolines,
        seconds: 60,
        run: |bench| deny(bench, "fmod_ret", Means::Refuse),
    },
    Scenario {
        name: "predicates-fentry",
        about: "--tier fentry kills by each sort of condition, as `policy explain` says",
        at: Place::has_trampolines,
        seconds: 60,
        run: |bench| deny(bench, "fentry", Means::Kill),
    },
    Scenario {
        name: "predicates-kprobe",
        about: "--tier kprobe kills by each sort of condition, as `policy explain` says",
        at: with_btf,
        seconds: 60,
        run: |bench| deny(bench, "kprobe", Means::Kill),
    },
    Scenario {
        name: "predicates-tracepoint",
        about: "--tier tracepoint kills by each sort of condition, as `policy explain` says",
        at: with_btf,
        seconds: 60,
        run: |bench| deny(bench, "tracepoint", Means::Kill),
    },
    Scenario {
        name: "lineage-reload",
        about: "who descends from whom is known of processes older than the sensor and than the policy, and of \
                orphans",
        at: with_btf,
        seconds: 60,
        run: reload,
    },
];

fn with_btf(place: &Place) -> bool {
    place.is_guest() && !place.is_variant(Variant::NoBtf)
}

const CONTENT: &str = "what is in it\n";
/// A user that no machine has.
const USER: &str = "4242";

/// A way to try what a rule denies, and its like that no rule does.
struct Try {
    rule: &'static str,
    action: &'static str,
    when: String,
    forbidden: Command,
    allowed: Command,
    /// What the one that is allowed prints.
    prints: &'static str,
}

/// Programs and files to try with.
struct Stage {
    offender: PathBuf,
    mother: PathBuf,
    other: PathBuf,
    file: PathBuf,
    forbidden: TcpListener,
    allowed: TcpListener,
}

impl Stage {
    fn make(bench: &Bench) -> Result<Self> {
        let offender = bench.path("offender");
        std::fs::copy("/proc/self/exe", &offender).context("copy this program")?;
        make_executable(&offender)?;
        Ok(Self {
            offender,
            mother: bench.program("mother")?,
            other: bench.program("other")?,
            file: bench.file("file", CONTENT)?,
            forbidden: TcpListener::bind("127.0.7.7:0").context("listen")?,
            allowed: TcpListener::bind("127.0.8.8:0").context("listen")?,
        })
    }

    fn tries(&self, bench: &Bench) -> Result<Vec<Try>> {
        let opens = |rule, when: String, forbidden, allowed| Try {
            rule,
            action: "file.open",
            when,
            forbidden,
            allowed,
            prints: CONTENT,
        };
        let named = |name: &str| bench.file(name, CONTENT);
        let read = |path: &Path| bench.act(&["read", &path.display().to_string()]);
        let file = self.file.display().to_string();
        let of_file = format!("file.path == '{file}'");
        let [exact, below, tail] = ["exact", "below-1", "name.tail"].map(named);
        let (exact, below, tail) = (exact?, below?, tail?);
        let dir = below.parent().context("a file is in a directory")?;
        let by = |program: &Path| {
            let mut command = Command::new(program);
            command.args(["act", "read", &file]);
            command
        };
        let connect = |listener: &TcpListener| -> Result<Command> {
            let address = listener.local_addr().context("ask for the port")?;
            Ok(bench.act(&["connect", &address.to_string()]))
        };
        let connects = |rule, when| -> Result<Try> {
            Ok(Try {
                rule,
                action: "network.connect",
                when,
                forbidden: connect(&self.forbidden)?,
                allowed: connect(&self.allowed)?,
                prints: "",
            })
        };
        let chroot = |program: &Path| {
            let mut command = Command::new(program);
            command.args(["act", "chroot"]);
            command
        };
        let port = self.forbidden.local_addr().context("ask for the port")?;
        Ok(vec![
            opens(
                "path-exact",
                format!("file.path == '{}'", exact.display()),
                read(&exact),
                read(&named("exact.not")?),
            ),
            opens(
                "path-prefix",
                format!("file.path.startsWith('{}/below-')", dir.display()),
                read(&below),
                read(&named("below")?),
            ),
            opens(
                "path-suffix",
                "file.path.endsWith('.tail')".to_owned(),
                read(&tail),
                read(&named("tail.not")?),
            ),
            opens(
                "executable",
                format!(
                    "process.executable == '{}' && {of_file}",
                    self.offender.display()
                ),
                by(&self.offender),
                read(&self.file),
            ),
            opens(
                "user",
                format!("process.user.id == '{USER}' && {of_file}"),
                bench.act(&["as", USER, "read", &file]),
                bench.act(&["as", "4243", "read", &file]),
            ),
            opens(
                "parent",
                format!(
                    "process.parent.executable == '{}' && {of_file}",
                    self.mother.display()
                ),
                self.child(&self.mother),
                self.child(&self.other),
            ),
            opens(
                "ancestor",
                format!(
                    "process.ancestors.exists(a, a.executable == '{}') && {of_file}",
                    self.mother.display()
                ),
                self.grandchild(&self.mother),
                self.grandchild(&self.other),
            ),
            connects("port", format!("destination.port == {}", port.port()))?,
            connects(
                "cidr",
                "cidr('127.0.7.0/24').containsIP(destination.ip)".to_owned(),
            )?,
            Try {
                rule: "capability",
                action: "capability.use",
                when: format!(
                    "holdfast.capability == 'CAP_SYS_CHROOT' && process.executable == '{}'",
                    self.offender.display()
                ),
                forbidden: chroot(&self.offender),
                allowed: bench.act(&["chroot"]),
                prints: "",
            },
        ])
    }

    /// A reader of the file whose parent is `program`.
    fn child(&self, program: &Path) -> Command {
        let script = format!("{} cat {}; true", self.other.display(), self.file.display());
        shell(program, &script)
    }

    /// A reader of the file whose parent's parent is `program`.
    fn grandchild(&self, program: &Path) -> Command {
        let (other, file) = (self.other.display(), self.file.display());
        let script = format!("{other} sh -c '{other} cat {file}; true'; true");
        shell(program, &script)
    }
}

fn shell(program: &Path, script: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["sh", "-c", script]);
    command
}

fn rule(attempt: &Try) -> Value {
    json!({"id": attempt.rule, "on": [attempt.action], "when": attempt.when, "action": "deny"})
}

fn deny(bench: &Bench, tier: &str, means: Means) -> Result<()> {
    let stage = Stage::make(bench)?;
    let mut tries = stage.tries(bench)?;
    if tier == "tracepoint" {
        // It has no source of that.
        tries.retain(|attempt| attempt.action != "capability.use");
    }
    // Two of them are about the same address.
    let of = |is_its: fn(&str) -> bool| -> Value {
        let those = tries.iter().filter(|attempt| is_its(attempt.rule));
        those.map(rule).collect()
    };
    let policy = bench.policy("all", &of(|rule| rule != "cidr"))?;
    let only = bench.policy("other", &of(|rule| rule == "cidr"))?;
    explained(bench, &[&policy, &only], &tries, (tier, means))?;
    for (policy, is_its) in [
        (&policy, (|rule| rule != "cidr") as fn(&str) -> bool),
        (&only, |rule| rule == "cidr"),
    ] {
        let sensor = bench.sensor().tier(tier).policy(policy).enforce().start()?;
        for attempt in tries.iter_mut().filter(|attempt| is_its(attempt.rule)) {
            try_one(&sensor, attempt, tier, means)
                .with_context(|| format!("deny by {}", attempt.rule))?;
        }
        sensor.stop()?;
    }
    Ok(())
}

/// What `policy explain --json` says of these policies.
pub fn explain(bench: &Bench, policies: &[&Path]) -> Result<Value> {
    let mut command = bench.sensor().command(&["policy", "explain", "--json"]);
    let ended = command.args(policies).output_within(EVENT)?;
    serde_json::from_str(&ended.with_code(0)?.stdout).context("parse what explain says")
}

/// `policy explain` says of each rule that the kernel decides, and what `deny` becomes.
fn explained(
    bench: &Bench,
    policies: &[&Path],
    tries: &[Try],
    (tier, means): (&str, Means),
) -> Result<()> {
    let explained = explain(bench, policies)?;
    for attempt in tries {
        let rules = explained["rules"].as_array();
        let rule = rules
            .into_iter()
            .flatten()
            .find(|it| it["id"] == attempt.rule);
        let hook = &rule.context("explain leaves a rule out")?["hooks"][0];
        ensure!(
            hook["decided"] == "kernel" && hook["action"] == attempt.action,
            "{} is not decided in the kernel: {hook}",
            attempt.rule
        );
        let says = text(&hook["deny_means"], &format!("/{tier}"));
        ensure!(
            means.outcomes().contains(&says),
            "{}: in {tier} it is {says}: {hook}",
            attempt.rule
        );
    }
    Ok(())
}

fn try_one(sensor: &Sensor<'_>, attempt: &mut Try, tier: &str, means: Means) -> Result<()> {
    let ended = attempt.allowed.output_within(EVENT)?;
    ensure!(
        ended.code() == Some(0) && ended.stdout == attempt.prints,
        "what no rule is about was disturbed: {}, {:?}, {:?}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    let ended = attempt.forbidden.output_within(EVENT)?;
    refused(&ended, attempt, means)?;
    let event = wait(sensor, attempt.rule)?;
    let outcome = text(&event, "/holdfast/outcome");
    ensure!(
        action(&event) == attempt.action
            && means.outcomes().contains(&outcome)
            && text(&event, "/holdfast/tier") == tier,
        "it was {outcome:?} in {}: {event}",
        text(&event, "/holdfast/tier")
    );
    Ok(())
}

fn wait(sensor: &Sensor<'_>, rule: &str) -> Result<Value> {
    let is_its = |event: &Value| text(event, "/rule/id") == rule;
    sensor
        .events
        .wait_for(&format!("the event of {rule}"), EVENT, is_its)
}

fn refused(ended: &Ended, attempt: &Try, means: Means) -> Result<()> {
    // A shell in between is not the offender.
    let in_shell = matches!(attempt.rule, "parent" | "ancestor");
    let right = match means {
        Means::Refuse if !in_shell => ended.stderr.trim_end() == "EPERM",
        Means::Kill if !in_shell => ended.signal() == Some(9),
        _ => true,
    };
    ensure!(
        right && ended.stdout.is_empty(),
        "{means:?} was expected; it ended with {}, {:?}, {:?}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    Ok(())
}

/// Whom a process descends from does not change by a reload, nor by the death of its parent.
fn reload(bench: &Bench) -> Result<()> {
    let stage = Stage::make(bench)?;
    let (other, file) = (stage.other.display(), stage.file.display());
    let read = |to: &str| format!("{other} cat {file} > {}", bench.path(to).display());
    // It gives up by itself: a scenario that fails leaves nobody behind.
    let go = |name: &str| {
        let told = bench.path(name);
        format!(
            "for i in $({other} seq 300); do test -e {} && break; {other} sleep 0.1; done",
            told.display()
        )
    };
    // Each waits to be told, in a shell that the mother made before there was a sensor; the orphan's
    // mother is gone by then.
    // A shell becomes its last command, which would be a child of the mother.
    let old = format!(
        "{other} sh -c '{}; {}; {}; {}; true'; true",
        go("one"),
        read("before"),
        go("two"),
        read("after")
    );
    let mut old = shell(&stage.mother, &old);
    let mut old = old.spawn().context("start the mother")?;
    let rules = |id: &str| {
        json!([{"id": id, "on": ["file.open"], "action": "deny", "when": format!(
            "process.ancestors.exists(a, a.executable == '{}') && file.path == '{file}'",
            stage.mother.display())}])
    };
    let policy = bench.policy("lineage", &rules("first"))?;
    let sensor = bench.sensor().policy(&policy).enforce().start()?;
    // Each is a child of the machine's first process when it reads, and its own was the mother.
    for orphan in ["orphan-1", "orphan-2", "orphan-3"] {
        let script = format!(
            "{other} sh -c '{}; {}; true' > /dev/null 2>&1 & true",
            go(orphan),
            read("orphaned")
        );
        let mut mother = shell(&stage.mother, &script);
        mother.output_within(EVENT)?.with_code(0)?;
    }
    let expect = |told: &str, rule: &str, outcomes: &[&str]| -> Result<()> {
        bench.file(told, "")?;
        let event = wait(&sensor, rule)?;
        let outcome = text(&event, "/holdfast/outcome");
        ensure!(outcomes.contains(&outcome), "{told}: {event}");
        Ok(())
    };
    let reload = |rules: &Value| -> Result<()> {
        bench.policy("lineage", rules)?;
        sensor
            .command(&["policy", "reload"])?
            .with_code(0)
            .map(drop)
    };
    expect("orphan-1", "first", &["blocked"])?;
    reload(&rules("second"))?;
    expect("one", "second", &["blocked"])?;
    reload(&rules("third"))?;
    expect("two", "third", &["blocked"])?;
    for output in ["orphaned", "before", "after"] {
        let read = std::fs::read(bench.path(output)).unwrap_or_default();
        ensure!(read.is_empty(), "the file was read: {output}");
    }
    // What an exited mother ran is known, as long as rules name the same executables.
    reload(&rules("fourth"))?;
    expect("orphan-2", "fourth", &["blocked"])?;
    // By rules that name others it cannot be looked up any more: user space decides, and the reader may be gone by then.
    let mut others = rules("fifth");
    let other = json!({"id": "other", "on": ["file.open"], "action": "deny",
                       "when": format!("process.executable == '{}' && file.path == '{file}'", bench.path("absent").display())});
    others.as_array_mut().context("no rules")?.push(other);
    reload(&others)?;
    expect("orphan-3", "fifth", &["killed", "killed_after", "allowed"])?;
    let _ = old.wait();
    sensor.stop().map(drop)
}
