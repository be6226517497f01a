//! Each operation that a tier can refuse, refused: a rule of its own for each, against one program.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::deny::Means;
use super::{EVENT, Scenario};
use crate::bench::{Bench, make_executable};
use crate::command::Bounded as _;
use crate::events::{action, number, text};
use crate::place::{Place, Variant};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "refuse-lsm",
        about: "--tier lsm refuses each operation of a list with EPERM",
        at: |place| place.best_tier() == Some("lsm"),
        seconds: 60,
        run: |bench| try_all(bench, "lsm", Means::Refuse),
    },
    Scenario {
        name: "refuse-fmod-ret",
        about: "--tier fmod_ret refuses each operation of a list with EPERM",
        at: Place::has_trampolines,
        seconds: 60,
        run: |bench| try_all(bench, "fmod_ret", Means::Refuse),
    },
    Scenario {
        name: "refuse-kprobe",
        about: "--tier kprobe kills the program that does one of them",
        at: |place| place.is_guest() && !place.is_variant(Variant::NoBtf),
        seconds: 60,
        run: |bench| try_all(bench, "kprobe", Means::Kill),
    },
];

/// What is forbidden to the program, and how it tries.
struct Forbidden {
    action: &'static str,
    /// What the rule asks for besides the program; empty for nothing.
    when: &'static str,
    /// See [`crate::act`]; `{dir}` is a directory.
    words: &'static [&'static str],
}

const fn forbidden(action: &'static str, words: &'static [&'static str]) -> Forbidden {
    Forbidden {
        action,
        when: "",
        words,
    }
}

const ALL: &[Forbidden] = &[
    Forbidden {
        when: "holdfast.memory.anonymous && 'PROT_WRITE' in holdfast.memory.protection",
        ..forbidden("memory.map", &["map"])
    },
    forbidden("memory.protect", &["protect"]),
    forbidden("memory.process_write", &["open-memory"]),
    Forbidden {
        when: "holdfast.capability == 'CAP_SYS_CHROOT'",
        ..forbidden("capability.use", &["chroot"])
    },
    forbidden("capability.set", &["drop-capabilities"]),
    forbidden("process.setuid", &["setuid", "65534"]),
    forbidden("process.ptrace", &["trace-child"]),
    forbidden("process.rlimit", &["limit-files", "512"]),
    forbidden("process.setscheduler", &["schedule", "1"]),
    forbidden("file.mount", &["mount", "tmpfs", "{dir}"]),
    forbidden("kernel.module", &["load-module-data"]),
    forbidden("kernel.bpf", &["try-to-load-program"]),
];

fn try_all(bench: &Bench, tier: &str, means: Means) -> Result<()> {
    let program = bench.path("offender");
    std::fs::copy("/proc/self/exe", &program).context("copy this program")?;
    make_executable(&program)?;
    let policy = bench.policy("forbidden", &rules(&program))?;
    let sensor = bench
        .sensor()
        .tier(tier)
        .policy(&policy)
        .enforce()
        .start()?;
    let dir = bench.path("mount-point");
    std::fs::create_dir_all(&dir).context("make a mount point")?;
    for forbidden in ALL {
        let words: Vec<String> = forbidden
            .words
            .iter()
            .map(|word| word.replace("{dir}", &dir.display().to_string()))
            .collect();
        let ended = Command::new(&program)
            .arg("act")
            .args(&words)
            .output_within(EVENT)?;
        let right = match means {
            Means::Refuse => ended.stderr.trim_end() == "EPERM",
            _ => ended.signal() == Some(9),
        };
        ensure!(
            right,
            "{}: {means:?} was expected; it ended with {} and {:?}",
            forbidden.action,
            ended.status,
            ended.stderr
        );
        let is_its = |event: &Value| {
            action(event) == forbidden.action
                && text(event, "/rule/id") == forbidden.action
                && number(event, "/process/pid") == Some(i64::from(ended.pid))
        };
        let event = sensor.events.wait_for(forbidden.action, EVENT, is_its)?;
        let outcome = text(&event, "/holdfast/outcome");
        ensure!(
            means.outcomes().contains(&outcome) && text(&event, "/holdfast/tier") == tier,
            "{}: it was {outcome:?} in {}: {event}",
            forbidden.action,
            text(&event, "/holdfast/tier")
        );
    }
    sensor.stop().map(drop)
}

/// A rule for each, whose id is the action.
fn rules(program: &Path) -> Value {
    let program = format!("process.executable == '{}'", program.display());
    let rules = ALL.iter().map(|forbidden| {
        let when = match forbidden.when {
            "" => program.clone(),
            more => format!("{program} && {more}"),
        };
        json!({"id": forbidden.action, "on": [forbidden.action], "when": when, "action": "deny"})
    });
    rules.collect()
}
