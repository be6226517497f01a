//! What is forbidden, attempted by ways on which a rule might not see it. What comes of it is the table in
//! `docs/evasion.md`.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::{Value, json};

use super::deny::{self, Means};
use super::path::has_paths;
use super::{EVENT, Scenario};
use crate::act::{NO_CALL, REACHED};
use crate::bench::{BUSYBOX, Bench};
use crate::command::{Bounded as _, Ended};
use crate::sensor::Sensor;

mod attempt;
mod identity;
pub mod page;
mod ring;

use attempt::{ATTEMPTS, Attempt, Seen, Target};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "evade-best-tier",
        about: "what a rule forbids is refused on every way that docs/evasion.md says it is",
        at: |place| place.is_guest() && has_paths(place),
        seconds: 120,
        run: |bench| evade(bench, "auto", Means::Refuse),
    },
    Scenario {
        name: "evade-kprobe",
        about: "where it cannot be refused, who attempts it on such a way is killed before it has the result",
        at: |place| place.is_guest() && has_paths(place),
        seconds: 120,
        run: |bench| evade(bench, "kprobe", Means::Kill),
    },
    Scenario {
        name: "evade-tracepoint",
        about: "the same by system calls alone, on fewer ways",
        at: has_paths,
        seconds: 120,
        run: |bench| evade(bench, "tracepoint", Means::Kill),
    },
    identity::SCENARIO,
    ring::BEST,
    ring::KPROBE,
    ring::TRACEPOINT,
];

const SECRET: &str = "the secret\n";
/// What is said where the kernel was built without a protocol.
const NO_PROTOCOL: &str = "EPROTONOSUPPORT";
const RAN: &str = "I ran\n";

/// What is forbidden, with the names it has, and what is not.
#[derive(Debug)]
struct Scene {
    /// Of a file system of its own, in memory.
    at: String,
    forbidden: TcpListener,
    plain: TcpListener,
}

impl Scene {
    fn make(bench: &Bench) -> Result<Self> {
        let at = bench.path("scene");
        fs::create_dir_all(at.join("directory")).context("make a directory")?;
        let shown = at.display().to_string();
        bench
            .busybox(&["mount", "-t", "tmpfs", "tmpfs", &shown])
            .output_within(EVENT)?
            .with_code(0)?;
        let scene = Self {
            at: shown,
            forbidden: TcpListener::bind("127.0.0.1:0").context("listen")?,
            plain: TcpListener::bind("127.0.0.1:0").context("listen")?,
        };
        let made = scene.furnish(&at);
        made.context("make what is to be attempted")?;
        Ok(scene)
    }

    fn furnish(&self, at: &Path) -> io::Result<()> {
        fs::create_dir(at.join("directory"))?;
        for (name, content) in [
            ("secret", SECRET),
            ("owned", SECRET),
            ("public", "public\n"),
        ] {
            fs::write(at.join(name), content)?;
        }
        fs::copy(BUSYBOX, at.join("busybox-program"))?;
        fs::write(
            at.join("script"),
            format!("#!{}/busybox-program sh\necho I ran\n", self.at),
        )?;
        for name in ["busybox-program", "script"] {
            fs::set_permissions(at.join(name), Permissions::from_mode(0o755))?;
        }
        symlink(at.join("secret"), at.join("link"))?;
        symlink(at, at.join("link-to-here"))?;
        symlink(at.join("busybox-program"), at.join("link-to-program"))?;
        fs::hard_link(at.join("busybox-program"), at.join("hard-link-to-program"))
    }

    fn rules(&self) -> Result<Value> {
        let at = &self.at;
        let address = self.forbidden.local_addr().context("ask for the port")?;
        let (ip, port) = (address.ip(), address.port());
        let rule = |target: Target, when: String| json!({"id": target.rule(), "on": [target.action()], "action": "deny", "when": when});
        Ok(json!([
            rule(Target::File, format!("file.path == '{at}/secret'")),
            rule(
                Target::FileOfOne,
                format!(
                    "file.path == '{at}/owned' && process.executable != '{at}/busybox-program'"
                )
            ),
            rule(
                Target::Program,
                format!("process.executable == '{at}/busybox-program'")
            ),
            rule(
                Target::Address,
                format!("destination.ip == '{ip}' && destination.port == {port}")
            ),
        ]))
    }

    /// Makes the attempt.
    fn attempt(&self, bench: &Bench, attempt: &Attempt) -> Result<Ended> {
        let address = |listener: &TcpListener| listener.local_addr().context("ask for the port");
        let forbidden = address(&self.forbidden)?;
        let unspecified = format!("0.0.0.0:{}", forbidden.port());
        let plain = address(&self.plain)?.to_string();
        let words = attempt.words.iter().map(|word| {
            word.replace("{at}", &self.at)
                .replace("{parent}", &std::process::id().to_string())
                .replace("{forbidden}", &forbidden.to_string())
                .replace("{unspecified}", &unspecified)
                .replace("{plain}", &plain)
        });
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        bench.act(&words).output_within(EVENT)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // In a guest nobody is there to mind; natively the next run says what is left.
        let _ = unmount(self.at.as_str(), UnmountFlags::DETACH);
    }
}

/// Whether an attempt got what it was after.
fn succeeded(attempt: &Attempt, ended: &Ended) -> bool {
    match attempt.on {
        Target::File | Target::FileOfOne => ended.stdout.contains(SECRET),
        Target::Program => ended.stdout == RAN,
        Target::Address if attempt.races => ended.stdout.contains(REACHED),
        Target::Address => ended.code() == Some(0),
    }
}

fn evade(bench: &Bench, tier: &str, means: Means) -> Result<()> {
    let scene = Scene::make(bench)?;
    if bench.setting.place.is_guest() {
        bench.need_file_system("overlay")?;
    }
    let possible = possible(bench, &scene)?;
    let policy = bench.policy("evasion", &scene.rules()?)?;
    let sensor = bench
        .sensor()
        .tier(tier)
        .policy(&policy)
        .enforce()
        .start()?;
    let in_arguments = tier == "tracepoint";
    let (mut prevented, mut wrong) = (0, Vec::new());
    for attempt in possible {
        let is_seen = match attempt.seen {
            Seen::Always => true,
            Seen::NotByArguments => !in_arguments,
            Seen::Never => false,
        };
        // Whether who races is seen is a matter of the moment.
        if attempt.races && !is_seen {
            continue;
        }
        let ended = scene.attempt(bench, attempt)?;
        let checked = if is_seen {
            prevented += 1;
            is_prevented(&sensor, attempt, &ended, means)
        } else if succeeded(attempt, &ended) {
            Ok(())
        } else {
            Err(anyhow!("it is prevented, which the page denies: {ended:?}"))
        };
        if let Err(error) = checked {
            wrong.push(format!(
                "{} `{}`: {error:#}",
                attempt.what,
                attempt.words.join(" ")
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    bench.note(format!("{prevented} prevented"));
    sensor.stop().map(drop)
}

/// The attempts that succeed where nobody forbids it; in a guest, all that its kernel has a call for.
fn possible(bench: &Bench, scene: &Scene) -> Result<Vec<&'static Attempt>> {
    let mut possible = Vec::new();
    for attempt in ATTEMPTS {
        let ended = scene.attempt(bench, attempt)?;
        // Which of two is read is a matter of the moment.
        if succeeded(attempt, &ended) || attempt.races && ended.code() == Some(0) {
            possible.push(attempt);
            continue;
        }
        let lacks = [NO_CALL, NO_PROTOCOL].contains(&ended.stderr.trim_end());
        ensure!(
            lacks || !bench.setting.place.is_guest(),
            "`{}` fails without a sensor: {ended:?}",
            attempt.words.join(" ")
        );
    }
    Ok(possible)
}

/// The attempt did not succeed, and an event says so.
fn is_prevented(sensor: &Sensor<'_>, attempt: &Attempt, ended: &Ended, means: Means) -> Result<()> {
    ensure!(!succeeded(attempt, ended), "it succeeded: {ended:?}");
    if attempt.races && ended.code() == Some(0) {
        return Ok(());
    }
    let right = match means {
        Means::Refuse => ended.code() == Some(1) && ended.stderr.trim_end() == "EPERM",
        _ => ended.signal() == Some(9),
    };
    ensure!(right, "it is not {means:?}: {ended:?}");
    let on = attempt.on;
    deny::report(sensor, on.action(), on.rule(), ended.pid, means)
}
