//! Each operation that an io_uring can do, forbidden and tried through one, by the caller and by a worker of the kernel's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::deny::{self, Means};
use super::super::path::has_paths;
use super::{EVENT, Scenario};
use crate::act::NO_CALL;
use crate::bench::{Bench, make_executable};
use crate::command::{Bounded as _, Ended};

/// Where it can be refused.
pub(super) const BEST: Scenario = Scenario {
    name: "ring-best-tier",
    about: "what is forbidden is refused through an io_uring as well, for each operation that one has",
    at: |place| place.is_guest() && has_paths(place),
    seconds: 120,
    run: |bench| attempt_all(bench, "auto", Some(Means::Refuse)),
};
/// Where it cannot.
pub(super) const KPROBE: Scenario = Scenario {
    name: "ring-kprobe",
    about: "the same where it cannot be refused: who does it is killed",
    at: |place| place.is_guest() && has_paths(place),
    seconds: 120,
    run: |bench| attempt_all(bench, "kprobe", Some(Means::Kill)),
};
/// Where it is not seen.
pub(super) const TRACEPOINT: Scenario = Scenario {
    name: "ring-tracepoint",
    about: "system calls alone do not show what an io_uring does, as docs/evasion.md says",
    at: has_paths,
    seconds: 120,
    run: |bench| attempt_all(bench, "tracepoint", None),
};

/// The operations, each with how it is done through a ring (see [`crate::act`]); `{at}` is a directory that
/// [`furnish`] has made.
pub(super) const OPERATIONS: [(&str, &[&str]); 13] = [
    ("file.create", &["create", "{at}/new"]),
    ("file.rename", &["rename", "{at}/file", "{at}/new"]),
    ("file.delete", &["unlink", "{at}/file"]),
    ("file.rmdir", &["rmdir", "{at}/empty"]),
    ("file.mkdir", &["mkdir", "{at}/new"]),
    ("file.symlink", &["symlink", "{at}/file", "{at}/new"]),
    ("file.link", &["link", "{at}/file", "{at}/new"]),
    ("file.truncate", &["truncate", "{at}/file"]),
    ("file.setxattr", &["setxattr", "{at}/file"]),
    ("network.socket", &["socket"]),
    ("network.bind", &["bind"]),
    ("network.listen", &["listen"]),
    ("network.send", &["send", "127.0.0.1:9"]),
];
const BY: [&str; 2] = ["caller", "worker"];

/// `means`: how it is prevented; `None`: it is not.
fn attempt_all(bench: &Bench, tier: &str, means: Option<Means>) -> Result<()> {
    let scene = Scene::make(bench)?;
    let ways = || {
        let of = |(action, words)| BY.map(|by| (action, words, by));
        OPERATIONS.into_iter().flat_map(of)
    };
    // Without a sensor each succeeds that the kernel knows.
    let mut known = Vec::new();
    for (action, words, by) in ways() {
        let ended = scene.attempt(action, words, by)?;
        if ended.code() == Some(0) {
            known.push((action, words, by));
        } else {
            let lacks = ended.stderr.trim_end() == NO_CALL;
            ensure!(lacks, "{action} by {by} fails without a sensor: {ended:?}");
        }
    }
    let policy = bench.policy("ring", &scene.rules())?;
    let sensor = bench.sensor().tier(tier).policy(&policy);
    let sensor = sensor.enforce().start()?;
    for (action, words, by) in &known {
        let ended = scene.attempt(action, words, by)?;
        let right = match means {
            Some(Means::Refuse) => ended.stderr.trim_end() == "EPERM",
            Some(_) => ended.signal() == Some(9),
            None => ended.code() == Some(0),
        };
        ensure!(right, "{action} by {by}, {means:?}: {ended:?}");
        if let Some(means) = means {
            deny::report(&sensor, action, action, ended.pid, means)
                .with_context(|| format!("{action} by {by}"))?;
        }
    }
    bench.note(format!("{} of {} ways", known.len(), ways().count()));
    sensor.stop().map(drop)
}

/// What is worked on, and where the programs are that do it, each of which may not do one thing.
struct Scene {
    at: PathBuf,
    programs: PathBuf,
}

impl Scene {
    fn make(bench: &Bench) -> Result<Self> {
        let (at, programs) = (bench.path("ring"), bench.path("offenders"));
        fs::create_dir_all(&programs).context("make a directory")?;
        let scene = Self { at, programs };
        let [(first, _), others @ ..] = &OPERATIONS;
        let first = scene.program(first);
        fs::copy("/proc/self/exe", &first).context("copy this program")?;
        make_executable(&first)?;
        for (action, _) in others {
            fs::hard_link(&first, scene.program(action)).context("link the copy")?;
        }
        Ok(scene)
    }

    fn program(&self, action: &str) -> PathBuf {
        self.programs.join(action)
    }

    fn attempt(&self, action: &str, words: &[&str], by: &str) -> Result<Ended> {
        furnish(&self.at).context("make what is to be worked on")?;
        let at = self.at.display().to_string();
        let words = words.iter().map(|word| word.replace("{at}", &at));
        Command::new(self.program(action))
            .args(["act", "by-ring", by])
            .args(words)
            .output_within(EVENT)
    }

    /// A rule for each, whose id is the action.
    fn rules(&self) -> Value {
        let rule = |(action, _): (&str, _)| {
            let program = self.program(action);
            let when = format!("process.executable == '{}'", program.display());
            json!({"id": action, "on": [action], "when": when, "action": "deny"})
        };
        OPERATIONS.into_iter().map(rule).collect()
    }
}

/// A file and an empty directory, and nothing else.
fn furnish(at: &Path) -> std::io::Result<()> {
    if at.exists() {
        fs::remove_dir_all(at)?;
    }
    fs::create_dir_all(at.join("empty"))?;
    fs::write(at.join("file"), "content")
}
