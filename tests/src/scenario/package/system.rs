//! A package of a distribution in a whole system: what its manager and systemd make of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    Attempted, ENFORCE, INSTALL, POLICY, POLL, SECRET, SETTINGS, are_logged_once, becomes_readable,
    files, is_logged, is_readable, is_ready, make_secret, packaged, policy, run, while_attempting,
};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::control::ask_over;

const INSTALLING: &str = include_str!("../../../../docs/install.md");
/// Where the unit's sensor has its control socket.
const SOCKET: &str = "/run/holdfast/control.sock";
/// From which the rpm is made.
const SPEC: &str = include_str!("../../../../packaging/rpm/holdfast.spec");

/// What installs and removes packages.
struct Manager {
    /// How its packages' names end.
    suffix: &'static str,
    /// Installs the file that follows, whatever version is there.
    install: &'static [&'static str],
    /// Makes the same package with a higher version.
    newer: fn(&Bench, &str) -> Result<String>,
    remove: &'static [&'static str],
    /// Where the settings are then.
    kept: &'static str,
    /// Removes what is left on purpose.
    purge: &'static [&'static str],
}

pub(super) fn deb(bench: &Bench) -> Result<()> {
    tried(
        bench,
        &Manager {
            suffix: ".deb",
            install: &["dpkg", "--install"],
            newer: newer_deb,
            remove: &["dpkg", "--remove", "holdfast"],
            kept: SETTINGS,
            purge: &["dpkg", "--purge", "holdfast"],
        },
    )
}

pub(super) fn rpm(bench: &Bench) -> Result<()> {
    tried(
        bench,
        &Manager {
            suffix: ".rpm",
            // The shell that its scripts need is a deb's here.
            install: &["rpm", "--upgrade", "--oldpackage", "--nodeps"],
            newer: newer_rpm,
            remove: &["rpm", "--erase", "holdfast"],
            kept: "/etc/holdfast/config.toml.rpmsave",
            // As docs/install/rhel.md has it.
            purge: &[
                "rm",
                "-r",
                "/etc/holdfast",
                "/var/lib/holdfast",
                "/var/log/holdfast",
            ],
        },
    )
}

fn tried(bench: &Bench, manager: &Manager) -> Result<()> {
    let install = |package: &str| run(&[manager.install, &[package]].concat());
    let before = files()?;
    make_secret()?;
    let package = packaged(manager.suffix)?;
    install(&package)?;
    is_up("observe")?;
    let (_, version) = (
        run(&["holdfast", "doctor"])?,
        run(&["holdfast", "version"])?,
    );
    ensure!(
        is_readable(Path::new(SECRET))?,
        "nothing was to be refused yet"
    );
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
    let security = exposed()?;
    enters()?;

    // Settings of the machine's own.
    fs::write(SETTINGS, ENFORCE).context("change the settings")?;
    fs::write(POLICY, "{}").context("write a policy")?;
    let refused = Command::new("systemctl")
        .args(["reload", "holdfast"])
        .output_within(INSTALL)?;
    ensure!(refused.code() != Some(0), "a policy that is none was taken");
    is_up("observe")?;
    fs::write(POLICY, policy()).context("write a policy")?;
    run(&["systemctl", "reload", "holdfast"])?;
    run(&["systemctl", "restart", "holdfast"])?;
    is_up("enforce")?;
    ensure!(!is_readable(Path::new(SECRET))?, "the secret was read");

    let newer = (manager.newer)(bench, &package)?;
    let Attempted { opened, tried } = while_attempting(bench, Path::new(SECRET), || {
        install(&newer)?;
        is_up("enforce")?;
        run(&["systemctl", "restart", "holdfast"])?;
        run(&["systemctl", "kill", "--signal=KILL", "holdfast"])?;
        comes_back()
    })?;
    ensure!(
        opened == 0,
        "{opened} of {tried} attempts succeeded during the upgrade, a restart and a kill"
    );
    is_up("enforce")?;
    are_logged_once(tried)?;
    ensure!(
        !is_readable(Path::new(SECRET))?,
        "the secret was read after the upgrade"
    );
    let kept = fs::read_to_string(SETTINGS).context("read the settings")?;
    ensure!(kept == ENFORCE, "the upgrade changed the settings: {kept}");
    bench.note(format!(
        "{}; {security}; an upgrade, a restart and a kill let none of {tried} attempts through, and each exec is told of once",
        version.stdout.trim()
    ));

    // One that the administrator has stopped stays so, also when going back.
    run(&["systemctl", "disable", "--now", "holdfast"])?;
    install(&package)?;
    let enabled = Command::new("systemctl")
        .args(["is-enabled", "holdfast"])
        .output_within(INSTALL)?;
    ensure!(
        enabled.stdout.trim() == "disabled",
        "an upgrade enabled it: {enabled:?}"
    );
    ensure!(
        !is_readable(Path::new(SECRET))?,
        "the secret was read without a sensor"
    );
    run(&["systemctl", "enable", "--now", "holdfast"])?;
    is_up("enforce")?;

    run(manager.remove)?;
    becomes_readable(Path::new(SECRET))?;
    ensure!(
        Path::new(manager.kept).exists() && Path::new(POLICY).exists(),
        "removing it took the settings"
    );
    run(manager.purge)?;
    fs::remove_file(SECRET).context("remove the secret")?;
    let after = files()?;
    let left: Vec<&String> = after.difference(&before).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// What systemd makes of the unit, which is no worse than the page says.
fn exposed() -> Result<String> {
    let said = run(&["systemd-analyze", "security", "--no-pager", "holdfast"])?.stdout;
    let score = |text: &str| {
        let words = text.split_whitespace();
        words.filter_map(|word| word.parse::<f32>().ok()).next()
    };
    let line = said.lines().last().unwrap_or_default();
    let stated = INSTALLING.split_once("gives the unit ");
    let stated = stated.and_then(|(_, after)| after.split_whitespace().next()?.parse().ok());
    let stated: f32 = stated.context("docs/install.md does not say how exposed the unit is")?;
    let score = score(line).with_context(|| format!("no score in {line:?}"))?;
    ensure!(
        score <= stated,
        "the page says {stated}, and systemd {line}"
    );
    Ok(line.to_owned())
}

/// Within what the unit permits the sensor enters a mount namespace that nobody is in.
fn enters() -> Result<()> {
    let held = Path::new("/run/held");
    fs::create_dir_all(held).context("make a directory")?;
    run(&["mount", "--bind", "/run/held", "/run/held"])?;
    run(&["mount", "--make-private", "/run/held"])?;
    let file = held.join("mnt");
    fs::write(&file, "").context("make a file")?;
    run(&["unshare", "--mount=/run/held/mnt", "true"])?;
    let nsid = fs::metadata(&file).context("look at the namespace")?.ino();
    let mut sensor = UnixStream::connect(SOCKET).context("connect to the sensor")?;
    let map = ask_over(&mut sensor, "GET", "/v1/namespaces")?;
    let map: Value = serde_json::from_str(&map).context("parse the namespaces")?;
    ensure!(
        map["mounts"][nsid.to_string()].is_object(),
        "what is mounted in {nsid} is not told: {}",
        map["namespaces"][nsid.to_string()]
    );
    run(&["umount", "--recursive", "/run/held"])?;
    fs::remove_dir_all(held).context("remove the directory")
}

fn newer_deb(bench: &Bench, package: &str) -> Result<String> {
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

fn newer_rpm(bench: &Bench, package: &str) -> Result<String> {
    let path = |name: &str| bench.path(name).display().to_string();
    let (archive, tree, topdir) = (path("newer.tar"), path("newer"), path("rpmbuild"));
    fs::create_dir_all(&tree).context("make a directory")?;
    let content = format!("rpm2archive --nocompression {package} >{archive}");
    run(&["sh", "-c", &content])?;
    run(&["tar", "--extract", "--file", &archive, "--directory", &tree])?;
    let spec = bench.file("holdfast.spec", SPEC)?.display().to_string();
    let version = run(&[
        "rpm",
        "--query",
        "--queryformat",
        "%{VERSION}.1",
        "holdfast",
    ])?
    .stdout;
    let define = |name: &str, value: &str| format!("--define={name} {value}");
    run(&[
        "rpmbuild",
        "-bb",
        "--quiet",
        &define("_topdir", &topdir),
        &define("_rpmdir", &topdir),
        &define("_rpmfilename", "newer.rpm"),
        &define("_binary_payload", "w.ufdio"),
        &define("version", &version),
        &define("root", &tree),
        "--buildroot",
        &path("rpmroot"),
        &spec,
    ])?;
    Ok(format!("{topdir}/newer.rpm"))
}

/// Waits until systemd has started it again, by itself, and it is ready.
fn comes_back() -> Result<()> {
    let deadline = Instant::now() + INSTALL;
    loop {
        let properties = ["--property=NRestarts,ActiveState", "holdfast"];
        let said = run(&[&["systemctl", "show"], &properties[..]].concat())?.stdout;
        let is_back = !said.contains("NRestarts=0") && said.contains("ActiveState=active");
        if is_back {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it is not started again: {said}");
        sleep(POLL);
    }
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
    is_ready(mode)
}
