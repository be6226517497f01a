//! The container image under Docker.

use std::fs;
use std::thread::sleep;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{INSTALL, LOGGED, POLL, packaged};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::engine::Docker;

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

pub(super) fn run(bench: &Bench) -> Result<()> {
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
        "--volume=/sys/kernel/tracing:/sys/kernel/tracing:ro",
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
