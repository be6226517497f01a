//! What is installed: packages put into a system, changed, replaced and removed as their users do it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::Scenario;
use crate::bench::Bench;
use crate::command::{Bounded as _, Ended};
use crate::engine::Docker;
use crate::guest::DIST;
use crate::place::Variant;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: DEB,
        about: "the deb: installed it observes, told to it refuses, also after an upgrade, which keeps its settings; purged, nothing is left",
        at: |place| place.is_variant(Variant::System),
        seconds: 240,
        run: deb,
    },
    Scenario {
        name: IMAGE,
        about: "the container image under Docker, privileged and with no more capabilities than it needs, its root read-only: it sees and refuses in other containers and on the host",
        at: |place| place.is_stock("6.12"),
        seconds: 400,
        run: image,
    },
];

const DEB: &str = "package-deb";
/// For which a guest needs Docker, too.
pub const IMAGE: &str = "package-image";

/// How long a command may take in which a sensor starts or stops: dpkg waits for the unit.
const INSTALL: Duration = Duration::from_secs(300);
/// How long an event may take to be in the log.
const LOGGED: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
/// Where packages put things, and where what they start does.
const PLACES: [&str; 6] = ["/etc", "/usr", "/var", "/run", "/sys/fs/bpf", "/tmp"];
/// What dpkg and systemd themselves keep of any package and unit.
const OF_OTHERS: [&str; 9] = [
    "/etc/systemd/system",
    "/run/systemd",
    "/run/credentials",
    "/run/log",
    "/run/user",
    "/var/cache/ldconfig",
    "/var/lib/dpkg",
    "/var/lib/systemd",
    "/var/log",
];
const SECRET: &str = "/srv/secret";
const LOG: &str = "/var/log/holdfast/events.jsonl";

/// Whether it is tried in a whole system.
pub fn tries(scenario: &Scenario) -> bool {
    scenario.name == DEB
}

/// Whether one of these needs what `make package` makes.
pub fn need_packages(scenarios: &[&str]) -> bool {
    [DEB, IMAGE].iter().any(|name| scenarios.contains(name))
}

fn deb(bench: &Bench) -> Result<()> {
    let before = files()?;
    fs::create_dir_all("/srv").context("make /srv")?;
    fs::write(SECRET, "secret\n").context("write a secret")?;
    let package = packaged(".deb")?;
    run(&["dpkg", "--install", &package])?;
    is_up("observe")?;
    let (_, version) = (
        run(&["holdfast", "doctor"])?,
        run(&["holdfast", "version"])?,
    );
    ensure!(is_readable()?, "nothing was to be refused yet");
    is_logged("/usr/bin/cat")?;
    let writable = run(&[
        "find",
        "/etc/holdfast",
        "/usr/bin/holdfast",
        "/var/lib/holdfast",
        "/var/log/holdfast",
        "/run/holdfast",
        "-perm",
        "-o+w",
        "!",
        "-type",
        "s",
        "!",
        "-type",
        "l",
    ])?;
    ensure!(
        writable.stdout.is_empty(),
        "anybody may write to {}",
        writable.stdout
    );
    let security = run(&["systemd-analyze", "security", "--no-pager", "holdfast"])?;
    let security = security
        .stdout
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();

    // Settings of the machine's own.
    let settings = "mode = \"enforce\"\n\n[policy]\npaths = [\"/etc/holdfast/policies\"]\n";
    fs::write("/etc/holdfast/config.toml", settings).context("change the settings")?;
    let rule = json!({"id": "secret", "on": ["file.open"], "action": "deny",
                      "when": format!("file.path == '{SECRET}'")});
    let policy = json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "secret", "mode": "enforce", "rules": [rule]});
    let own = "/etc/holdfast/policies/secret.json";
    fs::write(own, "{}").context("write a policy")?;
    let refused = Command::new("systemctl")
        .args(["reload", "holdfast"])
        .output_within(INSTALL)?;
    ensure!(refused.code() != Some(0), "a policy that is none was taken");
    is_up("observe")?;
    fs::write(own, policy.to_string()).context("write a policy")?;
    run(&["systemctl", "reload", "holdfast"])?;
    run(&["systemctl", "restart", "holdfast"])?;
    is_up("enforce")?;
    ensure!(!is_readable()?, "the secret was read");

    let newer = newer(bench, &package)?;
    let opened = while_attempting(bench, || run(&["dpkg", "--install", &newer]))?;
    ensure!(
        opened == 0,
        "{opened} attempts succeeded during the upgrade"
    );
    is_up("enforce")?;
    ensure!(!is_readable()?, "the secret was read after the upgrade");
    let kept = fs::read_to_string("/etc/holdfast/config.toml").context("read the settings")?;
    ensure!(kept == settings, "the upgrade changed the settings: {kept}");
    bench.note(format!(
        "{}; {security}; an upgrade let no attempt through",
        version.stdout.trim()
    ));

    // One that the administrator has stopped stays so.
    run(&["systemctl", "disable", "--now", "holdfast"])?;
    run(&["dpkg", "--install", &newer])?;
    let enabled = Command::new("systemctl")
        .args(["is-enabled", "holdfast"])
        .output_within(INSTALL)?;
    ensure!(
        enabled.stdout.trim() == "disabled",
        "an upgrade enabled it: {enabled:?}"
    );
    ensure!(!is_readable()?, "the secret was read without a sensor");
    run(&["systemctl", "enable", "--now", "holdfast"])?;
    is_up("enforce")?;

    run(&["dpkg", "--remove", "holdfast"])?;
    ensure!(is_readable()?, "something refuses still");
    ensure!(
        Path::new("/etc/holdfast/config.toml").exists(),
        "removing it took the settings"
    );
    run(&["dpkg", "--purge", "holdfast"])?;
    fs::remove_file(SECRET).context("remove the secret")?;
    let after = files()?;
    let left: Vec<&String> = after.difference(&before).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// What the sensor uses, as `docs/install.md` says.
const CAPABILITIES: [&str; 7] = [
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "KILL",
    "NET_ADMIN",
    "SYS_ADMIN",
    "SYS_PTRACE",
    "SYS_RESOURCE",
];

fn image(bench: &Bench) -> Result<()> {
    let docker = Docker::start(bench)?;
    docker
        .command(&["load", "--input", &packaged(".oci.tar")?])?
        .with_code(0)?;
    let tag = docker.command(&["images", "--format", "{{.Repository}}:{{.Tag}}", "holdfast"])?;
    let tag = tag.with_code(0)?.stdout.trim().to_owned();
    docker.image(SHOP)?;
    let secret = bench.file("secret", "secret")?.display().to_string();
    let deny = |id: &str, when: String| json!({"id": id, "on": ["file.open"], "action": "deny", "when": when});
    let rules = json!([
        deny(
            "inside",
            "container.image.name == 'shop/web' && file.path == '/data/image'".to_owned()
        ),
        deny(
            "outside",
            format!("container.id == '' && file.path == '{secret}'")
        ),
    ]);
    fs::create_dir_all(bench.path("policies")).context("make a directory")?;
    let policy = json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "secrets", "mode": "enforce", "rules": rules});
    bench.file("policies/secrets.json", policy.to_string())?;
    let capabilities: Vec<String> = std::iter::once("--cap-drop=ALL".to_owned())
        .chain(CAPABILITIES.iter().map(|name| format!("--cap-add={name}")))
        .chain(["--security-opt=seccomp=unconfined".to_owned()])
        .collect();
    for rights in [vec!["--privileged".to_owned()], capabilities] {
        let words = sensor(bench, &docker, &rights);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push(&tag);
        docker.command(&words)?.with_code(0)?;
        ready(&docker)?;
        let shop = [
            "--network=none",
            "--security-opt=apparmor=unconfined",
            "--name=web",
            SHOP,
        ];
        let shop = [&["run", "--detach"], &shop[..], &["/bin/sleep", "600"]].concat();
        docker.command(&shop)?.with_code(0)?;
        let read = |file: &str| docker.command(&["exec", "web", "/bin/cat", file]);
        ensure!(read("/data/name")?.code() == Some(0), "it refuses too much");
        ensure!(
            read("/data/image")?.code() != Some(0),
            "a file in a container was read, {rights:?}"
        );
        let outside = bench.busybox(&["cat", &secret]).output_within(INSTALL)?;
        ensure!(
            outside.code() != Some(0),
            "a file of the host was read, {rights:?}"
        );
        told(&docker, "inside", Some("web"))?;
        told(&docker, "outside", None)?;
        docker.command(&["rm", "--force", "web"])?.with_code(0)?;
        docker
            .command(&["stop", "--time", "60", "holdfast"])?
            .with_code(0)?;
        let code = docker.command(&["inspect", "--format", "{{.State.ExitCode}}", "holdfast"])?;
        ensure!(code.stdout.trim() == "0", "it ended with {}", code.stdout);
        docker.command(&["rm", "holdfast"])?.with_code(0)?;
    }
    Ok(())
}

/// An image of a container that is watched.
const SHOP: &str = "shop/web:1.0";

/// `docker run` of the sensor, but for its image.
fn sensor(bench: &Bench, docker: &Docker, rights: &[String]) -> Vec<String> {
    let policies = bench.path("policies").display().to_string();
    let mut words: Vec<String> = [
        "run",
        "--detach",
        "--name=holdfast",
        "--pid=host",
        "--cgroupns=host",
        "--network=none",
        "--read-only",
        "--security-opt=apparmor=unconfined",
        "--tmpfs=/run/holdfast",
        "--tmpfs=/var/lib/holdfast",
        "--tmpfs=/var/log/holdfast",
        "--volume=/:/host:ro",
        "--volume=/sys/kernel/tracing:/sys/kernel/tracing",
        "--volume=/sys/kernel/security:/sys/kernel/security:ro",
        "--volume=/sys/fs/bpf:/sys/fs/bpf",
        "--env=HOST_FS=/host",
        "--env=HOLDFAST_OPT_MODE=enforce",
    ]
    .map(str::to_owned)
    .into();
    words.push(format!("--volume={policies}:/etc/holdfast/policies:ro"));
    let socket = docker.socket().display().to_string();
    words.push(format!("--env=HOLDFAST_OPT_RUNTIME_DOCKER={socket}"));
    words.extend_from_slice(rights);
    words
}

/// Waits until the sensor in the container says that it is ready.
fn ready(docker: &Docker) -> Result<()> {
    let deadline = Instant::now() + INSTALL;
    loop {
        let asked =
            docker.command(&["exec", "holdfast", "/usr/bin/holdfast", "status", "--ready"])?;
        if asked.code() == Some(0) {
            return Ok(());
        }
        let log = docker.command(&["logs", "--tail", "20", "holdfast"])?;
        ensure!(
            Instant::now() < deadline && !asked.stderr.contains("Error response from daemon"),
            "{}; {}",
            asked.stderr.trim(),
            log.stderr.trim()
        );
        sleep(POLL);
    }
}

/// Waits until the sensor's standard output tells that a rule refused something in that container.
fn told(docker: &Docker, rule: &str, container: Option<&str>) -> Result<()> {
    let is_it = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        event["rule"]["id"] == rule
            && event["holdfast"]["outcome"] == "blocked"
            && event["container"]["name"].as_str() == container
    };
    let deadline = Instant::now() + LOGGED;
    loop {
        let log = docker.command(&["logs", "holdfast"])?;
        if log.stdout.lines().any(is_it) {
            return Ok(());
        }
        let alerts: Vec<&str> = log
            .stdout
            .lines()
            .filter(|line| line.contains("\"rule\""))
            .collect();
        ensure!(
            Instant::now() < deadline,
            "{rule} is not told of: {alerts:?}, {}",
            log.stderr
        );
        sleep(POLL);
    }
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

/// The same package with a higher version.
fn newer(bench: &Bench, package: &str) -> Result<String> {
    let tree = bench.path("newer").display().to_string();
    run(&["dpkg-deb", "--raw-extract", package, &tree])?;
    let control = format!("{tree}/DEBIAN/control");
    let text = fs::read_to_string(&control).context("read the package's control file")?;
    let raise = |line: &str| match line.strip_prefix("Version: ") {
        Some(version) => format!("Version: {version}.1\n"),
        None => format!("{line}\n"),
    };
    fs::write(&control, text.lines().map(raise).collect::<String>())
        .context("raise the version")?;
    let newer = bench.path("newer.deb").display().to_string();
    run(&["dpkg-deb", "--build", "-Znone", &tree, &newer])?;
    Ok(newer)
}

fn run(words: &[&str]) -> Result<Ended> {
    let (program, args) = words.split_first().context("no program")?;
    let ended = Command::new(program).args(args).output_within(INSTALL)?;
    ended.with_code(0).with_context(|| words.join(" "))
}

/// Whether the unit runs, and its sensor is ready, in this mode, with policies.
fn is_up(mode: &str) -> Result<()> {
    let active = Command::new("systemctl")
        .args(["is-active", "holdfast"])
        .output_within(INSTALL)?;
    if active.code() != Some(0) {
        let said = run(&[
            "journalctl",
            "--unit",
            "holdfast",
            "--no-pager",
            "--lines",
            "30",
        ])?;
        bail!("the unit is {}: {}", active.stdout.trim(), said.stdout);
    }
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

/// Whether the secret can be read.
fn is_readable() -> Result<bool> {
    let ended = Command::new("/usr/bin/cat")
        .arg(SECRET)
        .output_within(INSTALL)?;
    Ok(ended.code() == Some(0))
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

/// How many attempts to open the secret succeed while something is done.
fn while_attempting(bench: &Bench, act: impl FnOnce() -> Result<Ended>) -> Result<u32> {
    let ended = bench.path("ended").display().to_string();
    let attempts = "opened=0; while [ ! -e \"$1\" ]; do if read -r line <\"$2\"; then opened=$((opened + 1)); fi; sleep 0.2; done 2>/dev/null; echo $opened";
    thread::scope(|scope| {
        let words = ["-c", attempts, "attempts", &ended, SECRET];
        let attempting = scope.spawn(move || {
            Command::new("/bin/sh")
                .args(words)
                .output_within(3 * INSTALL)
        });
        let result = act();
        fs::write(&ended, "").context("end the attempts")?;
        let attempted = attempting
            .join()
            .map_err(|_| anyhow!("the attempts panicked"))??;
        result?;
        let opened = attempted.with_code(0)?.stdout;
        opened.trim().parse().context("count the attempts")
    })
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
