//! The container image under Docker and under Podman.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    Attempted, ENFORCE, INSTALL, LOGGED, POLL, SETTINGS, becomes_readable, packaged, run,
    while_attempting,
};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::engine::{Docker, Engine};
use crate::podman::Podman;

/// What the sensor uses, as `docs/install.md` says.
const CAPABILITIES: [&str; 8] = [
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "KILL",
    "NET_ADMIN",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_RESOURCE",
];

pub(super) fn docker(bench: &Bench) -> Result<()> {
    let docker = Docker::start(bench)?;
    load(bench, &docker)?;
    policy(bench, &docker, &bench.path("policies"))?;
    tried(bench, &docker)
}

pub(super) fn podman(bench: &Bench) -> Result<()> {
    let podman = Podman::start(bench)?;
    load(bench, &podman)?;
    policy(bench, &podman, &bench.path("policies"))?;
    tried(bench, &podman)?;

    // As docs/install/podman.md has it, with settings and policies of the host.
    fs::create_dir_all(HOST_POLICIES).context("make a directory")?;
    fs::write(SETTINGS, ENFORCE).context("write the settings")?;
    policy(bench, &podman, Path::new(HOST_POLICIES))?;
    fs::create_dir_all("/etc/containers/systemd").context("make a directory")?;
    fs::copy(packaged(".container")?, QUADLET).context("install the quadlet")?;
    run(&["systemctl", "daemon-reload"])?;
    run(&["systemctl", "start", "holdfast"]).or_else(|error| {
        let journal = run(&["journalctl", "--no-pager", "--lines=30", "--unit=holdfast"])?;
        bail!("{error:#}: {}", journal.stdout)
    })?;
    ready(&podman, "holdfast")?;
    refuses(bench, &podman)?;
    run(&["systemctl", "stop", "holdfast"])?;
    let result = run(&["systemctl", "show", "--property=Result", "holdfast"])?;
    ensure!(
        result.stdout.trim() == "Result=success",
        "{}",
        result.stdout
    );
    Ok(())
}

/// Upgrades, as docs/install/docker.md has them and as the chart does.
pub(super) fn replaced(bench: &Bench) -> Result<()> {
    let docker = Docker::start(bench)?;
    load(bench, &docker)?;
    policy(bench, &docker, &bench.path("policies"))?;
    let tag = tag(&docker)?;
    // Whose the container is, is asked too.
    let secret = bench.path("secret");
    let start = |name: &str, on_exit: &str| {
        let rights = [
            "--privileged".to_owned(),
            format!("--env=HOLDFAST_OPT_KERNEL_ON_EXIT={on_exit}"),
        ];
        docker
            .command(&words(&sensor(bench, &docker, name, &rights), &tag))?
            .with_code(0)?;
        ready(&docker, name)
    };
    let end = |name: &str| docker.command(&["rm", "--force", name])?.with_code(0);

    start("holdfast", "auto")?;
    refuses(bench, &docker)?;
    let Attempted { opened, .. } = while_attempting(bench, &secret, || {
        end("holdfast")?;
        start("holdfast", "auto")?;
        refuses(bench, &docker)
    })?;
    ensure!(opened == 0, "removed and run again: read {opened} times");

    // As on a node, from one version to the next and back. None leaves anything, so that who refuses is who runs.
    let unload = ["exec", "holdfast", "/usr/bin/holdfast", "stop", "--unload"];
    docker.command(&unload)?;
    end("holdfast")?;
    start("holdfast", "fail-open")?;
    let Attempted { opened, .. } = while_attempting(bench, &secret, || {
        for (old, new) in [("holdfast", "newer"), ("newer", "holdfast")] {
            start(new, "fail-open")?;
            docker
                .command(&["stop", "--time", "60", old])?
                .with_code(0)?;
            end(old)?;
        }
        refuses(bench, &docker)
    })?;
    ensure!(opened == 0, "one beside the other: read {opened} times");

    docker
        .command(&["stop", "--time", "60", "holdfast"])?
        .with_code(0)?;
    becomes_readable(&secret)
}

/// An image of a container that is watched.
const SHOP: &str = "shop/web:1.0";
const QUADLET: &str = "/etc/containers/systemd/holdfast.container";
const HOST_POLICIES: &str = "/etc/holdfast/policies";

/// Loads the sensor's image, makes the other's, and the file of the host.
fn load(bench: &Bench, engine: &impl Engine) -> Result<()> {
    let archive = packaged(".oci.tar")?;
    engine
        .command(&["load", "--input", &archive])?
        .with_code(0)?;
    bench.file("secret", "secret")?;
    engine.image(SHOP)
}

/// Writes a policy that refuses a file in a container, and one of the host.
fn policy(bench: &Bench, engine: &impl Engine, directory: &Path) -> Result<()> {
    let secret = bench.path("secret").display().to_string();
    let deny = |id: &str, when: String| json!({"id": id, "on": ["file.open"], "action": "deny", "when": when});
    let name = format!("{}shop/web", engine.registry());
    let rules = json!([
        deny(
            "inside",
            format!("container.image.name == '{name}' && file.path == '/data/image'")
        ),
        deny(
            "outside",
            format!("container.id == '' && file.path == '{secret}'")
        ),
    ]);
    let policy = json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "secrets", "mode": "enforce", "rules": rules});
    fs::create_dir_all(directory).context("make a directory")?;
    fs::write(directory.join("secrets.json"), policy.to_string()).context("write a policy")
}

/// Has the sensor run privileged, and with no more capabilities than it needs.
fn tried(bench: &Bench, engine: &impl Engine) -> Result<()> {
    let tag = tag(engine)?;
    let capabilities: Vec<String> = std::iter::once("--cap-drop=ALL".to_owned())
        .chain(CAPABILITIES.iter().map(|name| format!("--cap-add={name}")))
        .chain(["--security-opt=seccomp=unconfined".to_owned()])
        .collect();
    for rights in [vec!["--privileged".to_owned()], capabilities] {
        engine
            .command(&words(&sensor(bench, engine, "holdfast", &rights), &tag))?
            .with_code(0)?;
        ready(engine, "holdfast")?;
        sees_cgroups(engine)?;
        refuses(bench, engine).with_context(|| format!("with {rights:?}"))?;
        engine
            .command(&["stop", "--time", "60", "holdfast"])?
            .with_code(0)?;
        let code = engine.command(&["inspect", "--format", "{{.State.ExitCode}}", "holdfast"])?;
        ensure!(code.stdout.trim() == "0", "it ended with {}", code.stdout);
        engine.command(&["rm", "holdfast"])?.with_code(0)?;
    }
    Ok(())
}

/// Tries what the policy is about, in a container and on the host, and finds it told of.
fn refuses(bench: &Bench, engine: &impl Engine) -> Result<()> {
    let shop = [
        "run",
        "--detach",
        "--network=none",
        "--security-opt=apparmor=unconfined",
        "--name=web",
        SHOP,
        "/bin/sleep",
        "600",
    ];
    engine.command(&shop)?.with_code(0)?;
    let read = |file: &str| engine.command(&["exec", "web", "/bin/cat", file]);
    ensure!(read("/data/name")?.code() == Some(0), "it refuses too much");
    ensure!(
        read("/data/image")?.code() != Some(0),
        "a file in a container was read"
    );
    let secret = bench.path("secret").display().to_string();
    let outside = bench.busybox(&["cat", &secret]).output_within(INSTALL)?;
    ensure!(outside.code() != Some(0), "a file of the host was read");
    told(engine, "inside", Some("web"))?;
    told(engine, "outside", None)?;
    engine.command(&["rm", "--force", "web"])?.with_code(0)?;
    Ok(())
}

/// The image of the sensor, as the engine calls it.
fn tag(engine: &impl Engine) -> Result<String> {
    let tag = engine.command(&["images", "--format", "{{.Repository}}:{{.Tag}}", "holdfast"])?;
    Ok(tag.with_code(0)?.stdout.trim().to_owned())
}

fn words<'a>(options: &'a [String], image: &'a str) -> Vec<&'a str> {
    options.iter().map(String::as_str).chain([image]).collect()
}

/// `docker run` of the sensor, but for its image.
fn sensor(bench: &Bench, engine: &impl Engine, name: &str, rights: &[String]) -> Vec<String> {
    let policies = bench.path("policies").display().to_string();
    let mut words: Vec<String> = [
        "run",
        "--detach",
        "--pid=host",
        "--cgroupns=private",
        "--network=none",
        "--read-only",
        "--security-opt=apparmor=unconfined",
        "--tmpfs=/run/holdfast",
        "--tmpfs=/var/lib/holdfast",
        "--tmpfs=/var/log/holdfast",
        "--volume=/:/host:ro",
        "--volume=/sys/kernel/tracing:/sys/kernel/tracing:ro",
        "--volume=/sys/kernel/security:/sys/kernel/security:ro",
        "--volume=/sys/fs/bpf:/sys/fs/bpf",
        "--env=HOST_FS=/host",
        "--env=HOLDFAST_OPT_MODE=enforce",
    ]
    .map(str::to_owned)
    .into();
    words.push(format!("--name={name}"));
    words.push(format!("--volume={policies}:/etc/holdfast/policies:ro"));
    let socket = engine.socket().display().to_string();
    words.push(format!("--env=HOLDFAST_OPT_RUNTIME_DOCKER={socket}"));
    words.extend_from_slice(rights);
    words
}

/// Waits until the sensor in the container of this name says that it is ready.
fn ready(engine: &impl Engine, name: &str) -> Result<()> {
    let deadline = Instant::now() + INSTALL;
    loop {
        let asked = engine.command(&["exec", name, "/usr/bin/holdfast", "status", "--ready"])?;
        if asked.code() == Some(0) {
            return Ok(());
        }
        let log = engine.command(&["logs", "--tail", "20", name])?;
        ensure!(
            Instant::now() < deadline && !asked.stderr.contains("Error response from daemon"),
            "{}; {}",
            asked.stderr.trim(),
            log.stderr.trim()
        );
        sleep(POLL);
    }
}

/// It has left the cgroup namespace that the engine has made for it.
fn sees_cgroups(engine: &impl Engine) -> Result<()> {
    let pid = engine.command(&["inspect", "--format", "{{.State.Pid}}", "holdfast"])?;
    let pid = pid.with_code(0)?.stdout.trim().to_owned();
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/cgroup"));
    let (own, host) = (namespace(&pid)?, namespace("1")?);
    ensure!(own == host, "it is in {own:?}, and not in {host:?}");
    Ok(())
}

/// Waits until the sensor's log tells that a rule refused something in that container.
fn told(engine: &impl Engine, rule: &str, container: Option<&str>) -> Result<()> {
    let is_it = |event: &Value| {
        event["rule"]["id"] == rule
            && event["holdfast"]["outcome"] == "blocked"
            && event["container"]["name"].as_str() == container
    };
    let events = [
        "exec",
        "holdfast",
        "/usr/bin/holdfast",
        "events",
        "--since=10m",
        "--json",
    ];
    let deadline = Instant::now() + LOGGED;
    loop {
        let asked = engine.command(&events)?;
        let events = asked.stdout.lines().map(serde_json::from_str::<Value>);
        let mut alerts = events
            .map(Result::unwrap_or_default)
            .filter(|event| event["event"]["kind"] == "alert");
        if alerts.any(|alert| is_it(&alert)) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{rule} is not told of: {}{}",
            asked.stdout,
            asked.stderr
        );
        sleep(POLL);
    }
}
