//! Each action once, in each tier: the event that must come, with its fields. What comes of it is the
//! table in `docs/coverage.md`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{EVENT, Scenario};
use crate::act::NO_CALL;
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{Events, action, number, text};
use crate::place::Variant;

mod capability;
mod dns;
mod file;
mod ipc;
mod memory;
mod mount;
mod network;
mod process;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: COVERAGE,
    about: "each action that is done once is one event, with its fields, in each tier",
    at: |place| !place.is_variant(Variant::NoBtf) && !place.is_variant(Variant::Preempt),
    seconds: 180,
    run: coverage,
}];

/// The scenario whose note is a [`Seen`] in JSON.
pub const COVERAGE: &str = "coverage";

/// By action, the initials of the tiers that saw it, best first.
pub type Seen = BTreeMap<String, String>;

/// The tiers, best first, with the initial that stands for each in tables.
pub const TIERS: [(&str, char); 6] = [
    ("lsm", 'L'),
    ("fmod_ret", 'M'),
    ("fentry", 'F'),
    ("kprobe", 'K'),
    ("tracepoint", 'T'),
    ("fanotify", 'N'),
];

/// What the tier without eBPF has a source for.
const WITHOUT_EBPF: [&str; 10] = [
    "process.exec",
    "process.fork",
    "process.exit",
    "process.ptrace",
    "process.setuid",
    "process.setgid",
    "file.open",
    "network.connect",
    "network.listen",
    "network.accept",
];
/// Of that, what it does not see, or not all of: new namespaces, requests to be traced, saved ids and
/// supplementary groups, sockets that are closed at once or of other families.
const UNSEEN_WITHOUT_EBPF: [&str; 14] = [
    "clone",
    "traceme",
    "setuid",
    "setgid",
    "setgroups",
    "connect",
    "connect-from",
    "connect-netlink",
    "connect-unix",
    "connect-datagram",
    "listen",
    "listen-unix",
    "accept",
    "accept-unix",
];
/// What is done for it alone.
const WITHOUT_EBPF_ONLY: [&str; 3] = ["hold", "become-user", "become-group"];

/// Whether a deed is to be seen in a tier.
fn is_seen(tier: &str, deed: &Deed) -> bool {
    let verb = deed.words.first().copied().unwrap_or_default();
    if tier == "fanotify" {
        // The arguments of what ends at once are gone before they are read.
        let has_arguments = deed.action != "process.exec" || WITHOUT_EBPF_ONLY.contains(&verb);
        WITHOUT_EBPF.contains(&deed.action) && !UNSEEN_WITHOUT_EBPF.contains(&verb) && has_arguments
    } else {
        !WITHOUT_EBPF_ONLY.contains(&verb) && !deed.unseen_by.contains(&tier)
    }
}

/// Something that is done once.
struct Deed {
    /// What the event says happened.
    action: &'static str,
    /// What is done, for [`crate::act`]; `{dir}` is the tier's directory, `{tier}` its name.
    words: &'static [&'static str],
    /// What the event must have: JSON pointers and values as text, the same and `{parent}`, this process.
    fields: &'static [(&'static str, &'static str)],
    /// What it must have besides, in the tiers that see more than the caller's arguments.
    resolved: &'static [(&'static str, &'static str)],
    /// The tiers in which nothing is to be seen of it.
    unseen_by: &'static [&'static str],
    /// Where the event has the doer's pid.
    pid: &'static str,
    /// The error it ends with in a guest; empty where it succeeds.
    error: &'static str,
}

const PID: &str = "/process/pid";

const fn deed(
    action: &'static str,
    words: &'static [&'static str],
    fields: &'static [(&'static str, &'static str)],
) -> Deed {
    Deed {
        action,
        words,
        fields,
        resolved: &[],
        unseen_by: &[],
        pid: PID,
        error: "",
    }
}

/// A deed that fails, and is told of all the same.
const fn failing(error: &'static str, deed: Deed) -> Deed {
    Deed { error, ..deed }
}

/// All deeds. A domain's are done in their order, since some need what others made.
fn deeds() -> impl Iterator<Item = &'static Deed> {
    [
        process::DEEDS,
        file::DEEDS,
        mount::DEEDS,
        network::DEEDS,
        dns::DEEDS,
        memory::DEEDS,
        capability::DEEDS,
        ipc::DEEDS,
    ]
    .into_iter()
    .flatten()
}

fn coverage(bench: &Bench) -> Result<()> {
    let mut seen = Seen::new();
    let best = bench.setting.place.best_tier();
    let tiers: Vec<&str> = match best {
        Some(best) => TIERS
            .iter()
            .map(|(tier, _)| *tier)
            .skip_while(|tier| *tier != best)
            .collect(),
        // What this machine can do is for the sensor to find out.
        None => vec!["auto", "fanotify"],
    };
    bench.need_socket_list()?;
    for tier in tiers {
        try_tier(bench, tier, &mut seen).with_context(|| format!("--tier {tier}"))?;
    }
    // An event may come from a lesser tier than others of its action.
    for initials in seen.values_mut() {
        let best_first = TIERS.iter().map(|(_, initial)| *initial);
        *initials = best_first.filter(|it| initials.contains(*it)).collect();
    }
    bench.note(serde_json::to_string(&seen).context("write what was seen")?);
    Ok(())
}

fn try_tier(bench: &Bench, tier: &str, seen: &mut Seen) -> Result<()> {
    let dir = bench.path(tier);
    std::fs::create_dir_all(&dir).context("make a directory for the deeds")?;
    let dir = dir.display().to_string();
    let sensor = bench.sensor().tier(tier).option("events", "*").start()?;
    let fill = |text: &str| {
        text.replace("{dir}", &dir)
            .replace("{tier}", tier)
            .replace("{parent}", &std::process::id().to_string())
    };
    // What this machine can do is for the sensor to find out.
    let status = sensor.status()?;
    let in_force = status["tier"].as_str().unwrap_or(tier);
    // What this kernel has no source for in this tier is missing in the table.
    let hooks = status["hooks"].as_array().map_or(&[][..], Vec::as_slice);
    let is_attached = |action: &str| {
        let mut hooks = hooks.iter();
        hooks.any(|hook| hook["action"] == action && hook["tier"].is_string())
    };
    let all = deeds().filter(|deed| is_attached(deed.action));
    for deed in all.filter(|deed| is_seen(in_force, deed)) {
        let words: Vec<String> = deed.words.iter().map(|word| fill(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ended = bench.act(&words).output_within(EVENT)?;
        let error = ended.stderr.trim_end();
        if error == NO_CALL {
            // This kernel is built without it.
            continue;
        }
        // What is permitted natively is the machine's business.
        ensure!(
            error == deed.error || !bench.setting.place.is_guest(),
            "`{}` ended with {error:?}, not with {:?}",
            deed.words.join(" "),
            deed.error
        );
        let event = find(&sensor.events, deed, fill, ended.pid)
            .with_context(|| format!("{} by `{}`", deed.action, deed.words.join(" ")))?;
        let initial = TIERS
            .iter()
            .find(|(name, _)| *name == text(&event, "/holdfast/tier"))
            .map(|(_, initial)| *initial)
            .with_context(|| format!("the event has no tier: {event}"))?;
        let initials = seen.entry(deed.action.to_owned()).or_default();
        if !initials.contains(initial) {
            initials.push(initial);
        }
    }
    sensor.stop().map(drop)
}

/// The deed's event, or the fields that were missing where there was one of its action.
fn find(events: &Events, deed: &Deed, fill: impl Fn(&str) -> String, pid: u32) -> Result<Value> {
    let filled = |fields: &'static [(&str, &str)]| -> Vec<(&str, String)> {
        let fields = fields.iter();
        fields
            .map(|(pointer, value)| (*pointer, fill(value)))
            .collect()
    };
    let (expected, resolved) = (filled(deed.fields), filled(deed.resolved));
    let is_ours = |event: &Value| {
        action(event) == deed.action && number(event, deed.pid) == Some(i64::from(pid))
    };
    let has = |event: &Value, fields: &[(&str, String)]| {
        fields
            .iter()
            .all(|(pointer, value)| shown(event, pointer) == *value)
    };
    let has_all = |event: &Value| {
        let sees_arguments = text(event, "/holdfast/tier") == "tracepoint";
        has(event, &expected) && (sees_arguments || has(event, &resolved))
    };
    let found = events.wait_for("the event", EVENT, |event| is_ours(event) && has_all(event));
    found.or_else(|error| {
        let near = events.matching(is_ours);
        match near.first() {
            Some(event) => bail!("fields {expected:?} and {resolved:?} are not in {event}"),
            None => Err(error),
        }
    })
}

/// A value as text, whatever its type; empty where there is none.
fn shown(event: &Value, pointer: &str) -> String {
    match event.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}
