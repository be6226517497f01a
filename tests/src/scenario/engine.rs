//! What engines know of containers: names, images and labels in events, for rules and on the command line.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::predicate::explain;
use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::engine::{Docker, Engine};
use crate::events::{action, text};
use crate::place::{Place, Variant};
use crate::sensor::Sensor;

mod image;
mod podman;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "engine-docker",
        about: "events and rules know the names, images and labels of Docker's containers, also after it was killed",
        at: |place| *place == Place::Native,
        seconds: 180,
        run: |bench| docker(bench, BURST),
    },
    Scenario {
        name: LONG,
        about: "the same, with a burst of 200 containers",
        at: |place| *place == Place::Native,
        seconds: 900,
        run: |bench| docker(bench, LONG_BURST),
    },
    Scenario {
        name: "engine-found",
        about: "an engine that no setting names is found by where it listens",
        at: |place| *place == Place::Native,
        seconds: 90,
        run: found,
    },
    Scenario {
        name: "engine-containerd",
        about: "events and rules know the names, images and labels of containerd's containers, also after it was killed",
        at: |place| *place == Place::Native,
        seconds: 180,
        run: containerd,
    },
    Scenario {
        name: IN_KERNEL,
        about: "the kernel decides by the image, label and name of a container, also after a reload and a new name",
        at: |place| place.is_stock("6.12") || place.is_variant(Variant::BpfLsm),
        seconds: 400,
        run: in_kernel,
    },
    Scenario {
        name: ESCAPES,
        about: "a privileged container, one on the host's network, and escapes by a mount and into pid 1 raise alerts that name it",
        at: |place| place.is_stock("6.12"),
        seconds: 300,
        run: escapes,
    },
    Scenario {
        name: PODMAN,
        about: "events and rules know the names, images and labels of the containers of root's Podman and of a user's",
        at: |place| place.is_variant(Variant::Podman),
        seconds: 120,
        run: |bench| podman::run(bench, PODMAN_BURST),
    },
    Scenario {
        name: PODMAN_LONG,
        about: "the same, with 200 containers, half of them the user's",
        at: |place| place.is_variant(Variant::Podman),
        seconds: 1500,
        run: |bench| podman::run(bench, LONG_BURST / 2),
    },
];

const LONG: &str = "engine-docker-burst";
const PODMAN: &str = "engine-podman";
const PODMAN_LONG: &str = "engine-podman-burst";
const IN_KERNEL: &str = "engine-predicates";
const ESCAPES: &str = "engine-escapes";
/// Those for which a guest needs Docker.
pub const IN_GUESTS: [&str; 2] = [IN_KERNEL, ESCAPES];

/// Whether it is to be named to be run.
pub fn takes_long(scenario: &Scenario) -> bool {
    [LONG, PODMAN_LONG].contains(&scenario.name)
}

/// Whether it takes a whole system.
pub fn takes_system(scenario: &Scenario) -> bool {
    [PODMAN, PODMAN_LONG].contains(&scenario.name)
}

const CONTAINER_START: &str = include_str!("../../../policies/container-start.json");
const CONTAINER_ESCAPE: &str = include_str!("../../../policies/container-escape.json");
const IMAGE: &str = "shop/web";
/// Containers that are started at once.
const BURST: usize = 24;
const PODMAN_BURST: usize = 8;
const LONG_BURST: usize = 200;
/// At a time.
const AT_ONCE: usize = 4;
/// How long the sensor may take to see that an engine is gone, or there again.
const NOTICED: Duration = Duration::from_secs(30);
const ENGINE: &str = "engine.0.docker";

fn docker(bench: &Bench, burst: usize) -> Result<()> {
    let docker = Docker::start(bench)?;
    docker.image(&format!("{IMAGE}:1.0"))?;
    let rules = json!([{"id": "shop", "on": ["process.exec"], "action": "alert",
        "when": format!("container.image.name == '{IMAGE}' && container.labels['app'] == 'shop' \
                         && !container.privileged")}, image::rule()]);
    let policy = bench.policy("shop", &rules)?;
    let starts = bench.file("container-start.json", CONTAINER_START)?;
    let setting = format!("runtime.docker={}", docker.socket().display());
    let sensor = bench
        .sensor()
        .policy(&policy)
        .policy(&starts)
        .option("set", &setting)
        .start()?;
    let named = |name: &str| {
        let event = sensor
            .events
            .wait_for(name, EVENT, |event| is_marked(event, name))?;
        is_of(&event, name)?;
        Ok::<_, anyhow::Error>(event)
    };
    run(&docker, "first")?;
    named("first")?;

    thread::scope(|scope| {
        let docker = &docker;
        let share = |first: usize| {
            scope.spawn(move || {
                (first..burst)
                    .step_by(AT_ONCE)
                    .try_for_each(|number| run(docker, &format!("burst-{number}")))
            })
        };
        let shares: Vec<_> = (0..AT_ONCE).map(share).collect();
        shares.into_iter().try_for_each(|share| {
            let share = share.join();
            share.unwrap_or_else(|_| Err(anyhow::anyhow!("the burst panicked")))
        })
    })?;
    for number in 0..burst {
        let name = format!("burst-{number}");
        let event = named(&name)?;
        let start = happened(&sensor, "container.start", &name)?;
        let grants = &start["holdfast"]["container"];
        ensure!(
            event["container"]["id"] == start["container"]["id"],
            "{event} is of another one than {start}"
        );
        ensure!(
            start["event"]["kind"] == "event" && *grants == json!({}),
            "{start}"
        );
        let exit = happened(&sensor, "container.exit", &name)?;
        ensure!(
            exit["holdfast"]["container"]["exit_code"] == 0
                && exit["container"]["labels"]["app"] == "shop",
            "{exit}"
        );
    }
    let is_lifecycle = |event: &Value| action(event).starts_with("container.");
    let told = sensor.events.matching(is_lifecycle).len();
    ensure!(
        told == 2 * (burst + 1),
        "{told} starts and ends of {} containers",
        burst + 1
    );
    image::docker(&docker, &sensor)?;

    docker
        .command(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--pid",
            "host",
            "--cap-add",
            "SYS_PTRACE",
            "--volume",
            "/:/host:ro",
            "--name",
            "strong",
            &format!("{IMAGE}:1.0"),
            "/bin/sh",
            "-c",
            "sleep 0.3; exit 7",
        ])?
        .with_code(7)?;
    let alert = alert(&sensor, "container-with-host-mounts", "strong")?;
    ensure!(
        text(&alert, "/message").contains("/:/host:ro")
            && alert["holdfast"]["container"]
                == json!({"added_capabilities": ["CAP_SYS_PTRACE"], "host_namespaces": ["pid"],
                          "mounts": ["/:/host:ro"]}),
        "{alert}"
    );
    let end = happened(&sensor, "container.exit", "strong")?;
    ensure!(end["holdfast"]["container"]["exit_code"] == 7, "{end}");

    docker
        .command(&[
            "run",
            "--detach",
            "--network",
            "none",
            "--name",
            "stays",
            &format!("{IMAGE}:1.0"),
            "/bin/sleep",
            "600",
        ])?
        .with_code(0)?;
    let listed = sensor.command(&["containers", "--set", &setting, "--json"])?;
    let listed: Value = serde_json::from_str(&listed.with_code(0)?.stdout).context("parse it")?;
    let stays = listed["containers"]
        .as_array()
        .and_then(|all| all.iter().find(|it| it["name"] == "stays"));
    ensure!(
        stays.is_some_and(|it| it["image"]["name"] == IMAGE && it["processes"] == 1),
        "it is not listed: {listed}"
    );

    is_mapped(
        &sensor
            .command(&["namespaces", "--json"])?
            .with_code(0)?
            .stdout,
    )?;

    docker.kill()?;
    let is_degraded = |status: &Value| {
        let degraded = status["degraded"].as_array();
        degraded.is_some_and(|all| all.iter().any(|it| it["what"] == ENGINE))
    };
    sensor.status_when("it says that Docker is gone", NOTICED, is_degraded)?;
    let docker = Docker::start(bench)?;
    sensor.status_when("Docker is there again", NOTICED, |it| !is_degraded(it))?;
    // It died with its engine, which cannot tell.
    happened(&sensor, "container.exit", "stays")?;
    run(&docker, "after")?;
    named("after")?;
    let status = sensor.status()?;
    bench.note(format!("containers: {}", status["containers"]));
    sensor.stop()?;
    Ok(())
}

/// The container is where its namespaces are shown, with its engine, as lxkns has it.
fn is_mapped(shown: &str) -> Result<()> {
    let shown: Value = serde_json::from_str(shown).context("parse it")?;
    let containers = shown["containers"].as_object().context("no containers")?;
    let stays = containers.iter().find(|(_, it)| it["name"] == "stays");
    let (pid, stays) = stays.with_context(|| format!("it is none of {containers:?}"))?;
    let engine = &shown["container-engines"][stays["engine"].to_string()];
    let process = &shown["processes"][pid];
    let is_right = stays["type"] == "docker.com"
        && engine["id"] == ENGINE
        && process["container"] == stays["id"]
        && process["name"] == "sleep";
    ensure!(is_right, "{stays} of {engine}, {process}");
    Ok(())
}

fn found(bench: &Bench) -> Result<()> {
    let docker = Docker::start(bench)?;
    docker.image(&format!("{IMAGE}:1.0"))?;
    let rules = json!([{"id": "shop", "on": ["process.exec"], "action": "alert",
        "when": format!("container.image.name == '{IMAGE}'")}]);
    let policy = bench.policy("shop", &rules)?;
    let sensor = bench.sensor().policy(&policy).start()?;
    run(&docker, "found")?;
    happened(&sensor, "container.start", "found")?;
    let event = sensor
        .events
        .wait_for("found", EVENT, |event| is_marked(event, "found"))?;
    is_of(&event, "found")?;
    let doctor: Value = serde_json::from_str(&sensor.command(&["doctor", "--json"])?.stdout)
        .context("parse what doctor says")?;
    let socket = docker.socket().display().to_string();
    let is_it = |it: &Value| it["socket"] == socket && it["version"].is_string();
    ensure!(
        doctor["engines"]
            .as_array()
            .is_some_and(|all| all.iter().any(is_it)),
        "{}",
        doctor["engines"]
    );
    sensor.stop()?;
    Ok(())
}

/// Waits until that kind of event has come of the container.
fn happened(sensor: &Sensor, kind: &str, name: &str) -> Result<Value> {
    let is_it = |event: &Value| action(event) == kind && text(event, "/container/name") == name;
    let what = format!("{kind} of {name}");
    sensor.events.wait_for(&what, EVENT, is_it)
}

/// The alert of a rule on that container.
fn alert(sensor: &Sensor, rule: &str, name: &str) -> Result<Value> {
    let is_it = |event: &Value| {
        text(event, "/event/kind") == "alert"
            && text(event, "/rule/id") == rule
            && text(event, "/container/name") == name
    };
    sensor.events.wait_for(rule, EVENT, is_it)
}

fn escapes(bench: &Bench) -> Result<()> {
    let docker = Docker::start(bench)?;
    let image = format!("{IMAGE}:1.0");
    docker.image(&image)?;
    let starts = bench.file("container-start.json", CONTAINER_START)?;
    let escape = bench.file("container-escape.json", CONTAINER_ESCAPE)?;
    let setting = format!("runtime.docker={}", docker.socket().display());
    let sensor = bench.sensor().policy(&starts).policy(&escape);
    let sensor = sensor.option("set", setting).start()?;
    let run = |name: &str, options: &[&str], command: &[&str]| {
        // Guests have no AppArmor profiles.
        let words = [
            "run",
            "--security-opt",
            "apparmor=unconfined",
            "--name",
            name,
        ];
        docker.command(&[&words, options, &[&*image], command].concat())
    };
    let strong = ["--privileged", "--pid", "host", "--network", "none"];
    let mount = ["/bin/busybox", "mount", "-t", "ext4", "/dev/sda1", "/data"];
    // There is no such disk; that somebody reaches for it is what counts.
    run("mounts", &strong, &mount)?;
    alert(&sensor, "privileged-container", "mounts")?;
    alert(&sensor, "host-disk-mounted", "mounts")?;
    let enter = [
        "/bin/busybox",
        "nsenter",
        "-t",
        "1",
        "-m",
        "/bin/busybox",
        "true",
    ];
    run("enters", &strong, &enter)?;
    alert(&sensor, "namespace-joined", "enters")?;
    run("networked", &["--network", "host"], &["/bin/true"])?.with_code(0)?;
    alert(&sensor, "container-on-host-network", "networked")?;
    let detached = [
        "--detach",
        "--network",
        "none",
        "--volume",
        "/etc:/data/etc:ro",
    ];
    run("plain", &detached, &["/bin/sleep", "600"])?.with_code(0)?;
    docker
        .command(&["exec", "plain", "/bin/true"])?
        .with_code(0)?;
    docker.command(&["rm", "--force", "plain"])?.with_code(0)?;
    happened(&sensor, "container.exit", "plain")?;
    let is_plain = |event: &Value| text(event, "/container/name") == "plain";
    let alerts = sensor
        .events
        .matching(|event| is_plain(event) && text(event, "/event/kind") == "alert");
    let rules: Vec<&str> = alerts.iter().map(|alert| text(alert, "/rule/id")).collect();
    ensure!(rules.is_empty(), "an ordinary container raises {rules:?}");
    sensor.stop()?;
    Ok(())
}

/// A namespace of containerd.
const NAMESPACE: &str = "shop";

fn containerd(bench: &Bench) -> Result<()> {
    let docker = Docker::start(bench)?;
    let image = format!("{IMAGE}:1.0");
    docker.image(&image)?;
    let archive = bench.path("saved.tar").display().to_string();
    docker
        .command(&["save", "--output", &archive, &image])?
        .with_code(0)?;
    docker
        .ctr(&["--namespace", NAMESPACE, "images", "import", &archive])?
        .with_code(0)?;
    // containerd's tools call it by the whole name.
    let image = format!("docker.io/{image}");
    let rules = json!([{"id": "shop", "on": ["process.exec"], "action": "alert",
        "when": format!("container.image.name == 'docker.io/{IMAGE}' && container.labels['app'] == 'shop'")},
        image::rule()]);
    let policy = bench.policy("shop", &rules)?;
    let setting = format!("runtime.containerd={}", docker.containerd().display());
    let sensor = bench
        .sensor()
        .policy(&policy)
        .option("set", "runtime.docker=")
        .option("set", "runtime.listening=false")
        .option("set", &setting)
        .start()?;
    let run = |number: usize, name: &str, detached: &[&str], command: &[&str]| -> Result<String> {
        // As engines give them.
        let id = format!("{number:064x}");
        let named = format!("nerdctl/name={name}");
        let words = [
            "--namespace",
            NAMESPACE,
            "run",
            "--label",
            "app=shop",
            "--label",
            &named,
        ];
        let words = [&words, detached, &[image.as_str(), &id], command].concat();
        docker.ctr(&words)?.with_code(0)?;
        Ok(id)
    };
    let lives = |number: usize, name: &str| -> Result<()> {
        run(
            number,
            name,
            &["--rm"],
            &["/bin/sh", "-c", "sleep 0.3; true", name],
        )?;
        let event = sensor
            .events
            .wait_for(name, EVENT, |event| is_marked(event, name))?;
        let container = &event["container"];
        happened(&sensor, "container.start", name)?;
        let exit = happened(&sensor, "container.exit", name)?;
        ensure!(exit["holdfast"]["container"]["exit_code"] == 0, "{exit}");
        ensure!(
            container["name"] == name
                && container["image"]["name"] == format!("docker.io/{IMAGE}")
                && container["image"]["tag"] == json!(["1.0"])
                && container["labels"]["app"] == "shop"
                && container["privileged"] == false
                && container["runtime"] == "containerd"
                && text(&event, "/rule/id") == "shop",
            "{name}: {event}"
        );
        Ok(())
    };
    for number in 0..BURST {
        lives(number, &format!("burst-{number}"))?;
    }
    image::containerd(&docker, &sensor, &image)?;
    let stays = run(BURST, "stays", &["--detach"], &["/bin/sleep", "600"])?;
    let listed = sensor.command(&["containers", "--set", &setting, "--json"])?;
    let listed: Value = serde_json::from_str(&listed.with_code(0)?.stdout).context("parse it")?;
    let listed = listed["containers"].as_array();
    let is_it = |it: &&Value| it["id"] == stays;
    let it = listed.and_then(|all| all.iter().find(is_it));
    ensure!(
        it.is_some_and(|it| it["name"] == "stays" && it["processes"] == 1 && it["pid"].is_u64()),
        "it is not listed: {listed:?}"
    );
    docker.kill_containerd()?;
    sensor.status_when("containerd is there again", NOTICED, |status| {
        let degraded = status["degraded"].as_array();
        docker
            .ctr(&["version"])
            .is_ok_and(|it| it.code() == Some(0))
            && degraded.is_some_and(|all| all.iter().all(|it| it["what"] != "engine.0.containerd"))
    })?;
    lives(BURST + 1, "after")?;
    // What containerd's clients run outlives Docker.
    let end = |words: &[&str]| docker.ctr(&[&["--namespace", NAMESPACE], words].concat());
    end(&["tasks", "delete", "--force", &stays])?.with_code(0)?;
    end(&["containers", "delete", &stays])?.with_code(0)?;
    happened(&sensor, "container.exit", "stays")?;
    sensor.stop()?;
    Ok(())
}

/// Runs a container that lives for a moment.
fn run(engine: &impl Engine, name: &str) -> Result<()> {
    live(engine, name, "0.3")
}

/// Runs a container for so many seconds.
fn live(engine: &impl Engine, name: &str, seconds: &str) -> Result<()> {
    let script = format!("sleep {seconds}; true");
    let image = format!("{IMAGE}:1.0");
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        name,
        "--label",
        "app=shop",
        &image,
        "/bin/sh",
        "-c",
        &script,
        name,
    ];
    engine.command(&words)?.with_code(0)?;
    Ok(())
}

/// Whether it is the exec of that container's program.
fn is_marked(event: &Value, name: &str) -> bool {
    action(event) == "process.exec"
        && text(event, "/process/executable").ends_with("/busybox")
        && text(event, "/process/args/3") == name
}

fn is_of(event: &Value, name: &str) -> Result<()> {
    let container = &event["container"];
    let is_right = container["name"] == name
        && container["image"]["name"] == IMAGE
        && container["image"]["tag"] == json!(["1.0"])
        && container["labels"]["app"] == "shop"
        && container["privileged"] == false
        && container["runtime"] == "docker"
        && text(event, "/rule/id") == "shop";
    ensure!(is_right, "{name}: {event}");
    Ok(())
}

/// What `policy explain` says of a rule on containers.
fn is_explained(bench: &Bench, policy: &Path) -> Result<()> {
    let explained = explain(bench, &[policy])?;
    let rules = explained["rules"].as_array().context("no rules")?;
    for rule in rules {
        let hook = &rule["hooks"][0];
        let means = &hook["deny_means"];
        ensure!(
            hook["decided"] == "kernel"
                && means["lsm"] == "blocked"
                && means["kprobe"] == "killed"
                && means["fanotify"] == "killed_after",
            "{rule}"
        );
    }
    Ok(())
}

fn in_kernel(bench: &Bench) -> Result<()> {
    let docker = Docker::start(bench)?;
    let rule = |file: &str, when: &str| {
        json!({"id": file, "on": ["file.open"], "action": "deny",
               "when": format!("{when} && file.path == '/data/{file}'")})
    };
    let rules = json!([
        rule("image", &format!("container.image.name == '{IMAGE}'")),
        rule("label", "container.labels['app'] == 'shop'"),
        rule("name", "container.name == 'renamed'"),
    ]);
    let policy = bench.policy("containers", &rules)?;
    is_explained(bench, &policy)?;
    for (name, image, label) in [
        ("web", IMAGE, "app=shop"),
        ("other", "shop/other", "app=no"),
    ] {
        let image = format!("{image}:1.0");
        docker.image(&image)?;
        // Guests have no AppArmor profiles.
        let stays = [
            "run",
            "--detach",
            "--network",
            "none",
            "--security-opt",
            "apparmor=unconfined",
            "--label",
            label,
        ];
        let stays = [
            &stays,
            ["--name", name, &image].as_slice(),
            &["/bin/sleep", "900"],
        ]
        .concat();
        docker.command(&stays)?.with_code(0)?;
    }
    let read = |container: &str, file: &str| {
        docker.command(&["exec", container, "/bin/cat", &format!("/data/{file}")])
    };
    // Each is tried in one of the guests.
    let tiers = if bench.setting.place.is_stock("6.12") {
        [("lsm", "blocked"), ("kprobe", "killed")]
    } else {
        [("fmod_ret", "blocked"), ("fentry", "killed")]
    };
    for (tier, outcome) in tiers {
        let setting = format!("runtime.docker={}", docker.socket().display());
        let sensor = bench.sensor().enforce().policy(&policy).tier(tier);
        let sensor = sensor.option("set", setting).start()?;
        // The first event of a container tells the programs of it.
        let known = |name: &str| -> Result<()> {
            let is_its = |event: &Value| text(event, "/container/name") == name;
            docker.command(&["exec", name, "/bin/true"])?.with_code(0)?;
            sensor.events.wait_for(name, EVENT, is_its).map(drop)
        };
        let is_refused = |container: &str, file: &str| -> Result<()> {
            let ended = read(container, file)?;
            ensure!(
                ended.code() != Some(0) && ended.stdout.is_empty(),
                "{file} was read in {tier}: {}, {:?}",
                ended.status,
                ended.stdout
            );
            let is_its = |event: &Value| text(event, "/rule/id") == file;
            let event = sensor.events.wait_for(file, EVENT, is_its)?;
            ensure!(
                text(&event, "/holdfast/outcome") == outcome
                    && text(&event, "/holdfast/tier") == tier,
                "{event}"
            );
            Ok(())
        };
        let is_read = |container: &str, file: &str| -> Result<()> {
            let ended = read(container, file)?.with_code(0)?;
            ensure!(
                ended.stdout == file,
                "{file} in {container}: {:?}",
                ended.stdout
            );
            Ok(())
        };
        known("web")?;
        is_refused("web", "image")?;
        is_read("web", "name")?;
        is_read("other", "image")?;
        is_read("other", "label")?;
        // Nothing happens in it between the reload and the attempt.
        sensor.command(&["policy", "reload"])?.with_code(0)?;
        is_refused("web", "label")?;
        docker
            .command(&["rename", "web", "renamed"])?
            .with_code(0)?;
        known("renamed")?;
        is_refused("renamed", "name")?;
        docker
            .command(&["rename", "renamed", "web"])?
            .with_code(0)?;
        sensor.stop()?;
    }
    Ok(())
}
