//! What is installed: packages put into a system, changed, replaced and removed as their users do it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::Scenario;
use crate::bench::Bench;
use crate::command::{Bounded as _, Ended};
use crate::guest::DIST;
use crate::place::Variant;

mod image;
mod system;
mod tgz;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: DEB,
        about: "the deb: installed it observes, told to it refuses, also after an upgrade, which keeps its settings; purged, nothing is left",
        at: |place| place.is_variant(Variant::System),
        seconds: 240,
        run: system::deb,
    },
    Scenario {
        name: RPM,
        about: "the rpm: likewise, by rpm; what it keeps when it is removed is below its own three directories",
        at: |place| place.is_variant(Variant::System),
        seconds: 240,
        run: system::rpm,
    },
    Scenario {
        name: TGZ,
        about: "the tar.gz in a userland of busybox: installed it observes, told to it refuses, a newer one keeps its settings; uninstalled, nothing is left",
        at: |place| place.is_stock("6.12"),
        seconds: 120,
        run: tgz::run,
    },
    Scenario {
        name: IMAGE,
        about: "the container image under Docker, privileged and with no more capabilities than it needs, its root read-only: it sees and refuses in other containers and on the host",
        at: |place| place.is_stock("6.12"),
        seconds: 400,
        run: image::docker,
    },
    Scenario {
        name: IMAGE_REPLACED,
        about: "an upgrade of the image under Docker: removed and run again, and as a DaemonSet does it, a new one beside the old one and back; nothing that is denied succeeds meanwhile",
        at: |place| place.is_stock("6.12"),
        seconds: 400,
        run: image::replaced,
    },
    Scenario {
        name: PODMAN,
        about: "the container image under Podman: likewise, and by its quadlet, which systemd starts and stops",
        at: |place| place.is_variant(Variant::Podman),
        seconds: 400,
        run: image::podman,
    },
];

const DEB: &str = "package-deb";
const RPM: &str = "package-rpm";
const TGZ: &str = "package-tgz";
const IMAGE: &str = "package-image";
const IMAGE_REPLACED: &str = "package-image-replaced";
/// For which a guest needs Docker, too.
pub const IN_DOCKER: [&str; 2] = [IMAGE, IMAGE_REPLACED];
const PODMAN: &str = "package-podman";

/// How long a command may take in which a sensor starts or stops: dpkg waits for the unit.
const INSTALL: Duration = Duration::from_secs(300);
/// How long an event may take to be in the log.
const LOGGED: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
/// Where packages put things, and where what they start does.
const PLACES: [&str; 6] = ["/etc", "/usr", "/var", "/run", "/sys/fs/bpf", "/tmp"];
/// What package managers and systemd themselves keep of any package and unit.
const OF_OTHERS: [&str; 10] = [
    "/etc/systemd/system",
    "/run/systemd",
    "/run/credentials",
    "/run/log",
    "/run/user",
    "/var/cache/ldconfig",
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/var/lib/systemd",
    "/var/log",
];
const SECRET: &str = "/srv/secret";
const LOG: &str = "/var/log/holdfast/events.jsonl";
const SETTINGS: &str = "/etc/holdfast/config.toml";
/// A policy of the machine's own, which refuses the secret.
const POLICY: &str = "/etc/holdfast/policies/secret.json";
/// With which policies act.
const ENFORCE: &str = "mode = \"enforce\"\n\n[policy]\npaths = [\"/etc/holdfast/policies\"]\n";

/// Whether it is tried in a whole system.
pub fn tries(scenario: &Scenario) -> bool {
    [DEB, RPM, PODMAN].contains(&scenario.name)
}

/// Whether one of these needs what `make package` makes.
pub fn need_packages(scenarios: &[&str]) -> bool {
    let mut all = [DEB, RPM, TGZ, PODMAN].into_iter().chain(IN_DOCKER);
    all.any(|name| scenarios.contains(&name))
}

/// The package whose name ends so.
fn packaged(end: &str) -> Result<String> {
    let listed = fs::read_dir(DIST).context("list what was packaged: `make package`")?;
    let names: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    let found = names
        .iter()
        .find(|path| path.to_string_lossy().ends_with(end));
    let found = found.with_context(|| format!("no {end} among {names:?}"))?;
    Ok(found.display().to_string())
}

/// Makes the file that is to be refused.
fn make_secret() -> Result<()> {
    fs::create_dir_all("/srv").context("make /srv")?;
    fs::write(SECRET, "secret\n").context("write a secret")
}

/// The text of [`POLICY`].
fn policy() -> String {
    let rule = json!({"id": "secret", "on": ["file.open"], "action": "deny",
                      "when": format!("file.path == '{SECRET}'")});
    json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "secret", "mode": "enforce", "rules": [rule]}).to_string()
}

fn run(words: &[&str]) -> Result<Ended> {
    let (program, args) = words.split_first().context("no program")?;
    let ended = Command::new(program).args(args).output_within(INSTALL)?;
    ended.with_code(0).with_context(|| words.join(" "))
}

/// Whether the sensor is ready, in this mode, with policies.
fn is_ready(mode: &str) -> Result<()> {
    let status = run(&["holdfast", "status", "--ready", "--json"])?;
    let status: Value = serde_json::from_str(&status.stdout).context("parse the status")?;
    ensure!(
        status["mode"] == mode
            && status["tier"] == "lsm"
            && status["policy"]["rules"].as_u64() > Some(0),
        "{}, {}, {}, {}",
        status["mode"],
        status["tier"],
        status["policy"],
        status["degraded"]
    );
    Ok(())
}

/// Whether a secret can be read.
fn is_readable(secret: &Path) -> Result<bool> {
    let ended = Command::new("cat").arg(secret).output_within(INSTALL)?;
    Ok(ended.code() == Some(0))
}

/// Attempts to read a secret.
struct Attempted {
    /// How many succeeded.
    opened: u32,
    /// How many there were: each named its number as another file, `attempt-N`, from 0 on.
    tried: u32,
}

/// Attempts to read a secret again and again while something is done.
fn while_attempting<T>(
    bench: &Bench,
    secret: &Path,
    act: impl FnOnce() -> Result<T>,
) -> Result<Attempted> {
    let ended = bench.path("ended");
    // Each by a process of its own: one that is killed for it has read it or not.
    let attempts = "opened=0; tried=0
        while [ ! -e \"$1\" ]; do
            [ -n \"$(cat \"$2\" attempt-$tried 2>/dev/null)\" ] && opened=$((opened + 1))
            tried=$((tried + 1))
            sleep 0.2
        done 2>/dev/null
        echo $opened $tried";
    let mut attempting = Command::new("/bin/sh");
    attempting.args(["-c", attempts, "attempts"]);
    attempting.arg(&ended).arg(secret);
    thread::scope(|scope| {
        let attempting = scope.spawn(move || attempting.output_within(3 * INSTALL));
        let result = act();
        fs::write(&ended, "").context("end the attempts")?;
        let attempted = attempting
            .join()
            .map_err(|_| anyhow!("the attempts panicked"))??;
        fs::remove_file(&ended).context("let others attempt")?;
        result?;
        let said = attempted.with_code(0)?.stdout;
        let (opened, tried) = said.trim().split_once(' ').context("count the attempts")?;
        Ok(Attempted {
            opened: opened.parse()?,
            tried: tried.parse()?,
        })
    })
}

/// Waits until a secret can be read: a link whose pin was removed ends a grace period later (`bpf_free_inode` of
/// kernel/bpf/inode.c).
fn becomes_readable(secret: &Path) -> Result<()> {
    let deadline = Instant::now() + LOGGED;
    while !is_readable(secret)? {
        ensure!(Instant::now() < deadline, "something refuses still");
        sleep(POLL);
    }
    Ok(())
}

/// Waits until the log has an exec of this program.
fn is_logged(executable: &str) -> Result<()> {
    let is_it = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        event["event"]["action"] == "process.exec" && event["process"]["executable"] == executable
    };
    let deadline = Instant::now() + LOGGED;
    while !fs::read_to_string(LOG)
        .unwrap_or_default()
        .lines()
        .any(is_it)
    {
        ensure!(
            Instant::now() < deadline,
            "{LOG} has no exec of {executable}"
        );
        sleep(POLL);
    }
    Ok(())
}

/// Each attempt's exec is in the log, once.
fn are_logged_once(attempts: u32) -> Result<()> {
    let number = |line: &str| -> Option<u32> {
        let event: Value = serde_json::from_str(line).ok()?;
        let is_exec = event["event"]["action"] == "process.exec";
        let last = event["process"]["args"].as_array()?.last()?.as_str()?;
        let number = last.strip_prefix("attempt-")?.parse().ok()?;
        is_exec.then_some(number)
    };
    let deadline = Instant::now() + LOGGED;
    loop {
        let log = fs::read_to_string(LOG).context("read the log")?;
        let mut told = vec![0_u32; attempts as usize];
        for number in log.lines().filter_map(number) {
            *told
                .get_mut(number as usize)
                .context("an attempt too many")? += 1;
        }
        if told.iter().all(|times| *times == 1) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the execs of attempts are in {LOG} so often: {told:?}"
        );
        sleep(POLL);
    }
}

/// All that is in the places where a package may leave something.
fn files() -> Result<BTreeSet<String>> {
    let mut words = vec!["find"];
    words.extend(PLACES);
    words.extend(["-xdev", "-print"]);
    let found = run(&words)?;
    let is_own = |path: &&str| {
        let is_of_others = OF_OTHERS
            .iter()
            .any(|other| Path::new(path).starts_with(other));
        path.contains("holdfast") && !path.contains("holdfast-tests")
            || !is_of_others && !path.contains("holdfast-tests")
    };
    Ok(found
        .stdout
        .lines()
        .filter(is_own)
        .map(str::to_owned)
        .collect())
}
