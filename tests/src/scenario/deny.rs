//! Refusing in the kernel and, where it can't refuse, killing: a file's open, an exec, a connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::{Bounded as _, Ended};
use crate::events::{action, number, text};
use crate::place::{Place, Variant};
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "deny-best-tier",
        about: "the best tier comes up by itself; a deny is EPERM before it happens, and disturbs nothing else",
        at: Place::has_trampolines,
        seconds: 60,
        run: |bench| offend(bench, "auto", Means::Refuse),
    },
    Scenario {
        name: "deny-fmod-ret",
        about: "--tier fmod_ret refuses without `bpf` among the LSMs",
        at: Place::has_trampolines,
        seconds: 60,
        run: |bench| offend(bench, "fmod_ret", Means::Refuse),
    },
    Scenario {
        name: "deny-fentry",
        about: "--tier fentry kills the offender before it prints what it read",
        at: Place::has_trampolines,
        seconds: 60,
        run: |bench| offend(bench, "fentry", Means::Kill),
    },
    Scenario {
        name: "deny-kprobe",
        about: "--tier kprobe kills the offender before it prints what it read",
        at: with_btf,
        seconds: 60,
        run: |bench| offend(bench, "kprobe", Means::Kill),
    },
    Scenario {
        name: "deny-tracepoint",
        about: "--tier tracepoint kills the offender",
        at: |place| !place.is_variant(Variant::NoBtf),
        seconds: 60,
        run: |bench| offend(bench, "tracepoint", Means::Kill),
    },
    Scenario {
        name: "deny-fanotify",
        about: "--tier fanotify refuses opens and execs without eBPF",
        at: |_| true,
        seconds: 60,
        run: |bench| offend(bench, "fanotify", Means::Refuse),
    },
    Scenario {
        name: "observe-blocks-nothing",
        about: "in observe mode the same rules only say what they would have done",
        at: |place| *place == Place::Native || place.is_stock("6.12"),
        seconds: 60,
        run: observe,
    },
];

fn with_btf(place: &Place) -> bool {
    place.is_guest() && !place.is_variant(Variant::NoBtf)
}

/// What a tier makes of `deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// EPERM, before it happens.
    Refuse,
    /// SIGKILL, before the offender has used what it got.
    Kill,
    /// The rules only say what they would have done.
    Nothing,
}

impl Means {
    /// What `holdfast.outcome` may say of it.
    pub fn outcomes(self) -> &'static [&'static str] {
        match self {
            Self::Refuse => &["blocked"],
            // A connect's first packet may be out before the process dies.
            Self::Kill => &["killed", "killed_after"],
            Self::Nothing => &["would_block"],
        }
    }
}

const SECRET: &str = "the secret\n";

/// Things that rules forbid, and their like that no rule forbids.
struct Targets {
    secret: String,
    plain: String,
    forbidden: std::path::PathBuf,
    allowed: std::path::PathBuf,
    listeners: Vec<(TcpListener, TcpListener)>,
}

impl Targets {
    fn make(bench: &Bench) -> Result<Self> {
        let on_disk =
            |name: &str| Ok::<_, anyhow::Error>(bench.file(name, SECRET)?.display().to_string());
        let listen = |ip: IpAddr| TcpListener::bind(SocketAddr::new(ip, 0)).context("listen");
        let listeners = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            .into_iter()
            .map(|ip: IpAddr| Ok((listen(ip)?, listen(ip)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            secret: on_disk("secret")?,
            plain: on_disk("plain")?,
            forbidden: bench.program("forbidden")?,
            allowed: bench.program("allowed")?,
            listeners,
        })
    }

    fn rules(&self) -> Result<Value> {
        let mut rules = vec![
            json!({"id": "secret", "on": ["file.open"], "action": "deny",
                   "when": format!("file.path == '{}'", self.secret)}),
            json!({"id": "forbidden", "on": ["process.exec"], "action": "deny",
                   "when": format!("process.executable == '{}'", self.forbidden.display())}),
        ];
        for (index, (forbidden, _)) in self.listeners.iter().enumerate() {
            let address = forbidden.local_addr().context("ask for the port")?;
            rules.push(json!({"id": format!("port-{index}"), "on": ["network.connect"], "action": "deny",
                "when": format!("destination.ip == '{}' && destination.port == {}", address.ip(), address.port())}));
        }
        Ok(Value::Array(rules))
    }
}

/// Does what rules forbid, and its like that they do not, in a tier.
pub fn offend(bench: &Bench, tier: &str, means: Means) -> Result<()> {
    let targets = Targets::make(bench)?;
    let policy = bench.policy("forbidden", &targets.rules()?)?;
    let sensor = bench
        .sensor()
        .tier(tier)
        .policy(&policy)
        .enforce()
        .start()?;
    let expected = if tier == "auto" {
        bench.setting.place.best_tier()
    } else {
        Some(tier)
    };
    if let Some(expected) = expected {
        let status = sensor.status()?;
        ensure!(
            status["tier"] == expected,
            "the sensor is in tier {}, not {expected}",
            status["tier"]
        );
    }
    let before = untouched(bench)?;
    try_all(bench, &targets, &sensor, means)?;
    ensure!(
        untouched(bench)? == before,
        "other commands behave differently under the policy"
    );
    let events = sensor.stop()?;
    let others = events.matching(|event| {
        event.pointer("/rule/id").is_some() && !text(event, "/rule/ruleset").eq("forbidden")
    });
    ensure!(
        others.is_empty(),
        "rules matched that are in no policy: {others:?}"
    );
    Ok(())
}

fn observe(bench: &Bench) -> Result<()> {
    let targets = Targets::make(bench)?;
    let policy = bench.policy("forbidden", &targets.rules()?)?;
    let sensor = bench
        .sensor()
        .policy(&policy)
        .option("mode", "observe")
        .start()?;
    try_all(bench, &targets, &sensor, Means::Nothing)?;
    sensor.stop().map(drop)
}

fn try_all(bench: &Bench, targets: &Targets, sensor: &Sensor<'_>, means: Means) -> Result<()> {
    let read = |path: &str| bench.act(&["read", path]).output_within(EVENT);
    let connect = |listener: &TcpListener| {
        let address = listener
            .local_addr()
            .context("ask for the port")?
            .to_string();
        bench.act(&["connect", &address]).output_within(EVENT)
    };

    let reader = read(&targets.secret)?;
    check(&reader, means, SECRET).context("reading the secret")?;
    report(sensor, "file.open", "secret", reader.pid, means)?;
    check(&read(&targets.plain)?, Means::Nothing, SECRET).context("reading the other file")?;

    let run = |path| {
        Command::new(path)
            .args(["echo", "I ran"])
            .output_within(EVENT)
    };
    let ran = run(&targets.forbidden);
    if means == Means::Refuse {
        let error = ran.err().context("the forbidden program was started")?;
        let error = error
            .downcast::<std::io::Error>()
            .context("starting the forbidden program")?;
        ensure!(
            error.raw_os_error() == Some(1),
            "starting the forbidden program: {error}"
        );
        report(sensor, "process.exec", "forbidden", 0, means)?;
    } else {
        let ran = ran?;
        check(&ran, means, "I ran\n").context("running the forbidden program")?;
        report(sensor, "process.exec", "forbidden", ran.pid, means)?;
    }
    check(&run(&targets.allowed)?, Means::Nothing, "I ran\n")
        .context("running the other program")?;

    if sensor.status()?["tier"] == "fanotify" {
        // A connection that is over at once is not seen.
        return Ok(());
    }
    for (index, (forbidden, allowed)) in targets.listeners.iter().enumerate() {
        let caller = connect(forbidden)?;
        check(&caller, means, "").with_context(|| format!("connecting to {forbidden:?}"))?;
        report(
            sensor,
            "network.connect",
            &format!("port-{index}"),
            caller.pid,
            means,
        )?;
        check(&connect(allowed)?, Means::Nothing, "")
            .with_context(|| format!("connecting to {allowed:?}"))?;
    }
    Ok(())
}

/// How the offender must have ended.
fn check(ended: &Ended, means: Means, output: &str) -> Result<()> {
    let (status, stdout, stderr) = (ended.status, &ended.stdout, ended.stderr.trim_end());
    let right = match means {
        Means::Refuse => ended.code() == Some(1) && stderr == "EPERM" && stdout.is_empty(),
        Means::Kill => ended.signal() == Some(9) && stdout.is_empty(),
        Means::Nothing => ended.code() == Some(0) && stdout == output,
    };
    ensure!(
        right,
        "{means:?} was expected; it ended with {status}, stdout {stdout:?}, stderr {stderr:?}"
    );
    Ok(())
}

/// What the event must say; pid 0 is any, where the caller can't know it.
pub fn report(sensor: &Sensor<'_>, what: &str, rule: &str, pid: u32, means: Means) -> Result<()> {
    let event = sensor
        .events
        .wait_for(&format!("the event of rule {rule}"), EVENT, |event| {
            action(event) == what
                && text(event, "/rule/id") == rule
                && (pid == 0 || number(event, "/process/pid") == Some(i64::from(pid)))
        })?;
    let outcome = text(&event, "/holdfast/outcome");
    ensure!(
        means.outcomes().contains(&outcome),
        "rule {rule}: holdfast.outcome is {outcome:?}, not one of {:?}: {event}",
        means.outcomes()
    );
    ensure!(
        text(&event, "/holdfast/action") == "deny",
        "rule {rule}: its action is not deny: {event}"
    );
    Ok(())
}

/// What ordinary commands say; the same with and without a policy that is not about them.
fn untouched(bench: &Bench) -> Result<Vec<(Option<i32>, String)>> {
    let scratch = bench.path("scratch").display().to_string();
    let commands: [&[&str]; 8] = [
        &["true"],
        &["false"],
        &["cat", "/etc/passwd"],
        &["ls", "/etc"],
        &["sh", "-c", "echo out; exit 3"],
        &["touch", &scratch],
        &["mv", &scratch, &scratch],
        &["cat", "/nonexistent"],
    ];
    commands
        .iter()
        .map(|command| {
            let ended = bench.busybox(command).output_within(EVENT)?;
            Ok((ended.code(), ended.stdout))
        })
        .collect()
}
