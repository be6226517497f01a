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
/// supplementary groups, sockets that are closed at once or of other families, and what fails.
const UNSEEN_WITHOUT_EBPF: [&str; 19] = [
    "as",
    "clone",
    "listen-datagram",
    "open-fifo",
    "setuid-back",
    "trace-self",
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

/// Whether a deed is done in a tier, since it is to be seen there, or since nobody is to see it.
fn is_tried(tier: &str, deed: &Deed) -> bool {
    let verb = deed.words.first().copied().unwrap_or_default();
    if deed.untold {
        true
    } else if tier == "fanotify" {
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
    /// It fails before there is anything to tell: an event of it with these fields would be a lie.
    untold: bool,
}

/// Events that may be missing before a tier is given up.
const MISSING: usize = 5;

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
        untold: false,
    }
}

/// A deed that fails, and is told of all the same.
const fn failing(error: &'static str, deed: Deed) -> Deed {
    Deed { error, ..deed }
}

/// A deed that fails before the kernel asks whether it is permitted: only who sees the call sees it.
const fn failing_early(error: &'static str, deed: Deed) -> Deed {
    Deed {
        error,
        unseen_by: &["lsm", "fmod_ret", "fentry", "kprobe"],
        ..deed
    }
}

/// A deed that fails and of which nothing is told, in any tier.
const fn untold(error: &'static str, deed: Deed) -> Deed {
    Deed {
        error,
        untold: true,
        ..deed
    }
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
    let (mut done, mut untold, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let all = deeds().filter(|deed| is_attached(deed.action));
    for deed in all.filter(|deed| is_tried(in_force, deed)) {
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
        if !deed.untold {
            done.push((deed, ended.pid));
        } else if error == deed.error {
            untold.push((deed, ended.pid));
        }
    }
    // Events are looked for when all is done: it is a second until each is there.
    for (deed, pid) in done {
        let event = match find(&sensor.events, deed, fill, pid) {
            Ok(event) => event,
            // Each is waited for in vain; a few are told together.
            Err(error) if missing.len() < MISSING => {
                let words = deed.words.join(" ");
                missing.push(format!("{} by `{words}`: {error:#}", deed.action));
                continue;
            }
            Err(error) => return Err(error),
        };
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
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    // All that was read is written by then.
    let events = sensor.stop()?;
    for (deed, pid) in untold {
        let (expected, _) = filled(deed, fill);
        let told = events.matching(|event| is_of(event, deed, pid) && has(event, &expected));
        ensure!(
            told.is_empty(),
            "{} by `{}` failed and is told all the same: {told:?}",
            deed.action,
            deed.words.join(" ")
        );
    }
    Ok(())
}

/// A deed's fields with their values, those that always come and those that better tiers have.
fn filled(deed: &Deed, fill: impl Fn(&str) -> String) -> (Vec<Field>, Vec<Field>) {
    let filled = |fields: &'static [(&'static str, &'static str)]| {
        fields
            .iter()
            .map(|(pointer, value)| (*pointer, fill(value)))
            .collect()
    };
    (filled(deed.fields), filled(deed.resolved))
}

/// A JSON pointer and the value as text.
type Field = (&'static str, String);

fn is_of(event: &Value, deed: &Deed, pid: u32) -> bool {
    action(event) == deed.action && number(event, deed.pid) == Some(i64::from(pid))
}

fn has(event: &Value, fields: &[Field]) -> bool {
    let mut fields = fields.iter();
    fields.all(|(pointer, value)| shown(event, pointer) == *value)
}

/// The deed's event, or the fields that were missing where there was one of its action.
fn find(events: &Events, deed: &Deed, fill: impl Fn(&str) -> String, pid: u32) -> Result<Value> {
    let (expected, resolved) = filled(deed, fill);
    let is_ours = |event: &Value| is_of(event, deed, pid);
    let has_all = |event: &Value| {
        let sees_arguments = text(event, "/holdfast/tier") == "tracepoint";
        has(event, &expected) && (sees_arguments || has(event, &resolved))
    };
    let found = events.wait_for("the event", EVENT, |event| is_ours(event) && has_all(event));
    found.or_else(|error| {
        let near = events.matching(is_ours);
        match near.first() {
            Some(event) => {
                let of_process =
                    events.matching(|event| number(event, deed.pid) == Some(pid.into()));
                let others: Vec<_> = of_process.iter().map(action).collect();
                bail!("fields {expected:?} and {resolved:?} are not in {event}; of it: {others:?}")
            }
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
