//! The tier without eBPF: what it refuses, what it kills for, and that it stands in nobody's way.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::{Bench, Skip};
use crate::command::Bounded as _;
use crate::events::{action, number, text};
use crate::place::{Place, Variant};
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "fanotify-instead",
        about: "where bpf(2) is not permitted, auto falls back to fanotify, says so, and still refuses",
        at: |place| !place.is_variant(Variant::Preempt),
        seconds: 60,
        run: instead,
    },
    Scenario {
        name: "fanotify-beside",
        about: "with kernel.fanotify the tracepoint tier refuses; each operation is one event",
        at: |place| !place.is_variant(Variant::NoBtf),
        seconds: 60,
        run: beside,
    },
    Scenario {
        name: "fanotify-writes",
        about: "a rule on how a file is opened is decided before it is",
        at: |_| true,
        seconds: 60,
        run: writes,
    },
    Scenario {
        name: "fanotify-short-lives",
        about: "programs that end at once are seen with what they are and how they ended, each in order",
        at: |_| true,
        seconds: 60,
        run: short_lives,
    },
    Scenario {
        name: "fanotify-connections",
        about: "a connection and a listener that last are seen, and the process is killed for one that is denied",
        at: |_| true,
        seconds: 60,
        run: connections,
    },
    Scenario {
        name: "fanotify-mounts",
        about: "a file system that is mounted later asks for permission too",
        at: |_| true,
        seconds: 60,
        run: mounts,
    },
    Scenario {
        name: "fanotify-allow-list",
        about: "an allow-list of programs does not trip over their loader",
        at: |place| *place == Place::Native,
        seconds: 60,
        run: allow_list,
    },
    Scenario {
        name: "fanotify-fails-open",
        about: "a sensor that dies with opens under way leaves nobody waiting, and starts again",
        at: |_| true,
        seconds: 120,
        run: fails_open,
    },
];

/// A policy that denies opening one file.
fn deny_open(bench: &Bench, path: &Path) -> Result<std::path::PathBuf> {
    let when = format!("file.path == '{}'", path.display());
    let rule = json!([{"id": "secret", "on": ["file.open"], "action": "deny", "when": when}]);
    bench.policy("secrets", &rule)
}

/// Tries to read a file that is denied: EPERM, and one event that says so.
fn ensure_refused(bench: &Bench, sensor: &Sensor<'_>, path: &Path) -> Result<()> {
    let path = path.display().to_string();
    let reader = bench.act(&["read", &path]).output_within(EVENT)?;
    ensure!(
        reader.code() == Some(1) && reader.stderr.trim_end() == "EPERM",
        "reading {path} ended with {}, stderr {:?}",
        reader.status,
        reader.stderr
    );
    let pid = i64::from(reader.pid);
    let is_it =
        |event: &Value| action(event) == "file.open" && number(event, "/process/pid") == Some(pid);
    let about = |event: &Value| is_it(event) && text(event, "/file/path") == path;
    let event = sensor
        .events
        .wait_for("the event of the refusal", EVENT, about)?;
    for (pointer, expected) in [
        ("/holdfast/outcome", "blocked"),
        ("/holdfast/tier", "fanotify"),
        ("/event/outcome", "failure"),
        ("/rule/id", "secret"),
    ] {
        let found = text(&event, pointer);
        ensure!(found == expected, "{pointer} is {found:?}: {event}");
    }
    let executable = text(&event, "/process/executable");
    let own = fs::read_link("/proc/self/exe").context("ask for this program's path")?;
    ensure!(
        own.as_os_str() == executable,
        "the event's process runs {executable:?}, not {}: {event}",
        own.display()
    );
    Ok(())
}

fn instead(bench: &Bench) -> Result<()> {
    let secret = bench.file("secret", "x")?;
    let policy = deny_open(bench, &secret)?;
    let sensor = bench
        .sensor()
        .without_bpf()
        .policy(&policy)
        .enforce()
        .start()?;
    let status = sensor.status()?;
    ensure!(
        status["tier"] == "fanotify",
        "the sensor is in tier {}",
        status["tier"]
    );
    let degraded = status["degraded"].as_array().context("no degradations")?;
    let fallen = degraded.iter().find(|entry| entry["what"] == "eBPF");
    let reason = fallen.map(|entry| entry["reason"].to_string());
    ensure!(
        reason
            .as_ref()
            .is_some_and(|reason| reason.contains("no eBPF")),
        "status does not say that there is no eBPF: {}",
        status["degraded"]
    );
    let shown = sensor.command(&["doctor"])?.with_code(0)?.stdout;
    ensure!(
        shown.contains("no eBPF") && shown.contains("fanotify"),
        "doctor does not say why: {shown}"
    );
    ensure_refused(bench, &sensor, &secret)?;
    sensor.stop().map(drop)
}

fn beside(bench: &Bench) -> Result<()> {
    let (secret, plain) = (bench.file("secret", "x")?, bench.file("plain", "x")?);
    let policy = deny_open(bench, &secret)?;
    let sensor = bench
        .sensor()
        .tier("tracepoint")
        .option("set", "kernel.fanotify=auto")
        .option("events", "*")
        .policy(&policy)
        .enforce()
        .start()?;
    ensure_refused(bench, &sensor, &secret)?;
    let path = plain.display().to_string();
    let reader = bench
        .act(&["read", &path])
        .output_within(EVENT)?
        .with_code(0)?;
    let pid = i64::from(reader.pid);
    sensor.events.wait_for("the reader's end", EVENT, |event| {
        action(event) == "process.exit" && number(event, "/process/pid") == Some(pid)
    })?;
    let events = sensor.stop()?;
    for (path, tier) in [(secret, "fanotify"), (plain, "tracepoint")] {
        let of = events.matching(|event| {
            action(event) == "file.open"
                && text(event, "/file/path") == path.as_os_str()
                && text(event, "/process/args/1") == "act"
        });
        ensure!(
            of.len() == 1 && text(&of[0], "/holdfast/tier") == tier,
            "not one event from {tier} for {}: {of:?}",
            path.display()
        );
    }
    Ok(())
}

fn writes(bench: &Bench) -> Result<()> {
    let guarded = bench.file("guarded", "x")?;
    let path = guarded.display().to_string();
    let policy = bench.policy(
        "writes",
        &json!([{"id": "secret", "on": ["file.open"], "action": "deny",
            "when": format!("file.path == '{path}' && 'O_WRONLY' in holdfast.flags")}]),
    )?;
    let sensor = bench
        .sensor()
        .tier("fanotify")
        .policy(&policy)
        .enforce()
        .start()?;
    for _ in 0..20 {
        bench
            .act(&["read", &path])
            .output_within(EVENT)?
            .with_code(0)?;
        let writer = bench.act(&["write", &path]).output_within(EVENT)?;
        ensure!(
            writer.stderr.trim_end() == "EPERM",
            "writing ended with {}, stderr {:?}",
            writer.status,
            writer.stderr
        );
    }
    let events = sensor.stop()?;
    let blocked = events.matching(|event| text(event, "/holdfast/outcome") == "blocked");
    ensure!(
        blocked.len() == 20
            && blocked
                .iter()
                .all(|event| text(event, "/holdfast/flags/0") == "O_WRONLY"),
        "not twenty writes were blocked: {blocked:?}"
    );
    Ok(())
}

fn short_lives(bench: &Bench) -> Result<()> {
    let program = bench.program("short")?;
    let sensor = bench.sensor().tier("fanotify").start()?;
    let mut expected = Vec::new();
    for code in 1..=30 {
        let ended = Command::new(&program)
            .args(["sh", "-c", &format!("exit {code}")])
            .output_within(EVENT)?
            .with_code(code)?;
        expected.push(("process.exec", i64::from(ended.pid), None));
        expected.push(("process.exit", i64::from(ended.pid), Some(i64::from(code))));
    }
    let (_, last, _) = expected[expected.len() - 1];
    // By pid: of a process that is gone before `/proc` is read, its program is not known.
    let pids: Vec<i64> = expected.iter().map(|(_, pid, _)| *pid).collect();
    let is_ours = |event: &Value| {
        number(event, "/process/pid").is_some_and(|pid| pids.contains(&pid))
            && matches!(action(event), "process.exec" | "process.exit")
    };
    sensor.events.wait_for("the last exit", EVENT, |event| {
        action(event) == "process.exit" && number(event, "/process/pid") == Some(last)
    })?;
    let events = sensor.stop()?.matching(is_ours);
    let mut seen: Vec<_> = events
        .iter()
        .map(|event| {
            let pid = number(event, "/process/pid").unwrap_or(0);
            (action(event), pid, number(event, "/process/exit_code"))
        })
        .collect();
    // `do_exit` wakes the parent before it tells the connector: the next may have begun by then.
    for order in [&mut seen, &mut expected] {
        order.sort_by_key(|(_, pid, _)| *pid);
    }
    ensure!(
        seen == expected,
        "they appeared as {seen:?}, not {expected:?}"
    );
    let with_arguments = events
        .iter()
        .filter(|event| !text(event, "/process/args/2").is_empty());
    bench.note(format!(
        "{} of {} with arguments",
        with_arguments.count(),
        events.len()
    ));
    Ok(())
}

fn connections(bench: &Bench) -> Result<()> {
    bench.need_socket_list()?;
    let policy = bench.policy(
        "connections",
        &json!([{"id": "peer", "on": ["network.connect"], "action": "deny",
            "when": "destination.ip == '127.0.0.7'"}]),
    )?;
    let sensor = bench
        .sensor()
        .tier("fanotify")
        .policy(&policy)
        .enforce()
        .start()?;
    let allowed = bench
        .act(&["hold", "127.0.0.6:0"])
        .output_within(EVENT)?
        .with_code(0)?;
    for (what, end) in [
        ("network.listen", "source"),
        ("network.connect", "destination"),
    ] {
        sensor.events.wait_for(what, EVENT, |event| {
            action(event) == what
                && number(event, "/process/pid") == Some(i64::from(allowed.pid))
                && text(event, &format!("/{end}/ip")) == "127.0.0.6"
        })?;
    }
    let denied = bench.act(&["hold", "127.0.0.7:0"]).output_within(EVENT)?;
    ensure!(
        denied.signal() == Some(9),
        "whoever holds a denied connection ended with {}",
        denied.status
    );
    let event = sensor.events.wait_for("the kill", EVENT, |event| {
        action(event) == "network.connect" && text(event, "/rule/id") == "peer"
    })?;
    ensure!(
        text(&event, "/holdfast/outcome") == "killed_after",
        "the event does not say killed_after: {event}"
    );
    sensor.stop().map(drop)
}

/// How long after a mount its files are guarded: the sensor is told at once.
const MARKED: Duration = Duration::from_secs(2);

fn mounts(bench: &Bench) -> Result<()> {
    let point = bench.path("mounted");
    fs::create_dir_all(&point).context("make a mount point")?;
    let secret = point.join("secret");
    let policy = deny_open(bench, &secret)?;
    let sensor = bench
        .sensor()
        .tier("fanotify")
        .policy(&policy)
        .enforce()
        .start()?;
    if let Err(error) = mount("none", &point, "tmpfs", MountFlags::empty(), None) {
        return Err(Skip(format!("cannot mount: {error}")).into());
    }
    let result = (|| {
        fs::write(point.join("other"), "x").context("write to the mount")?;
        // Made under another name, since its own is denied once the mount is marked.
        fs::rename(point.join("other"), &secret).context("rename")?;
        let path = secret.display().to_string();
        let deadline = Instant::now() + MARKED;
        while bench.act(&["read", &path]).output_within(EVENT)?.code() == Some(0) {
            ensure!(Instant::now() < deadline, "not guarded within {MARKED:?}");
        }
        ensure_refused(bench, &sensor, &secret)
    })();
    unmount(&point, UnmountFlags::DETACH).context("unmount")?;
    result?;
    sensor.stop().map(drop)
}

fn allow_list(bench: &Bench) -> Result<()> {
    let (allowed, other) = ("/usr/bin/sort", "/usr/bin/tac");
    let dir = bench.setting.dir.display().to_string();
    // Only what this scenario starts: the machine is not its own.
    let program = bench.path("allowed");
    let forbidden = bench.path("forbidden");
    for (from, to) in [(allowed, &program), (other, &forbidden)] {
        if !Path::new(from).exists() {
            return Err(Skip(format!("there is no {from}")).into());
        }
        fs::copy(from, to).with_context(|| format!("copy {from}"))?;
    }
    let script = bench.file("script", format!("#!{}\n", program.display()))?;
    crate::bench::make_executable(&script)?;
    let loader = "'/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'";
    let policy = bench.policy(
        "programs",
        &json!([
            {"id": "allowed", "on": ["process.exec"], "action": "allow",
             "when": format!("process.executable in ['{}', '{}']", program.display(), script.display())},
            {"id": "other", "on": ["process.exec"], "action": "deny",
             "when": format!("process.executable.startsWith('{dir}/') || process.executable == {loader}")},
        ]),
    )?;
    let sensor = bench
        .sensor()
        .tier("fanotify")
        .policy(&policy)
        .enforce()
        .start()?;
    for run in [&program, &script] {
        Command::new(run)
            .arg("--version")
            .output_within(EVENT)?
            .with_code(0)
            .with_context(|| format!("running {}", run.display()))?;
    }
    let refused = Command::new(&forbidden)
        .arg("--version")
        .output_within(EVENT);
    ensure!(refused.is_err(), "the forbidden program ran");
    let events = sensor.stop()?;
    let blocked = events.matching(|event| text(event, "/rule/id") == "other");
    ensure!(
        blocked.len() == 1
            && text(&blocked[0], "/process/executable") == forbidden.as_os_str()
            && text(&blocked[0], "/holdfast/outcome") == "blocked",
        "not just the forbidden program was blocked: {blocked:?}"
    );
    Ok(())
}

/// How often the sensor is killed while files are opened.
const ROUNDS: u32 = 3;

fn fails_open(bench: &Bench) -> Result<()> {
    let (secret, plain) = (bench.file("secret", "x")?, bench.file("plain", "x")?);
    let policy = deny_open(bench, &secret)?;
    let path = plain.display().to_string();
    for round in 0..ROUNDS {
        let mut sensor = bench
            .sensor()
            .tier("fanotify")
            .policy(&policy)
            .enforce()
            .start()
            .with_context(|| format!("start {round}"))?;
        ensure_refused(bench, &sensor, &secret)?;
        let mut openers: Vec<_> = (0..4)
            .map(|_| bench.act(&["open-often", "20000", &path]).spawn())
            .collect::<Result<_, _>>()
            .context("start what opens files")?;
        std::thread::sleep(Duration::from_millis(100));
        sensor.end_with(Signal::KILL)?;
        let deadline = Instant::now() + EVENT;
        for opener in &mut openers {
            loop {
                if let Some(status) = opener.try_wait().context("wait for an opener")? {
                    ensure!(status.success(), "an opener ended with {status}");
                    break;
                }
                ensure!(
                    Instant::now() < deadline,
                    "an open still waits for an answer"
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // Nothing is refused any more.
        let path = secret.display().to_string();
        bench
            .act(&["read", &path])
            .output_within(EVENT)?
            .with_code(0)?;
    }
    Ok(())
}
