//! `holdfast replay`: recorded events through today's policies.

use std::io::{self, Write};

use holdfast_policy::field::Unrecognised;
use holdfast_policy::replay::{Matched, Replayed, Retelling};
use serde_json::{Value, json};

use super::events::plain;
use super::recorded;
use crate::cli::Replay;
use crate::failure::Failure;
use crate::policies;

/// What came of all of them.
#[derive(Debug, Default)]
struct Totals {
    events: u64,
    matched: u64,
    changed: u64,
    /// Lines that are no events.
    unreadable: u64,
}

pub(super) fn replay(arguments: &Replay) -> Result<(), Failure> {
    let set = policies::of_command(&arguments.policy, &arguments.show.settings)?;
    let mut totals = Totals::default();
    let mut retelling = Retelling::default();
    totals.unreadable = recorded::for_each(&arguments.file, |event| {
        let replayed = set.snapshot.replay(event, &mut retelling);
        show(replayed, event, arguments.show.json, &mut totals)
    })?;
    finish(arguments, &totals)
}

/// Shows one event where a rule matches or did.
fn show(
    replayed: Result<Replayed, Unrecognised>,
    event: &Value,
    json: bool,
    totals: &mut Totals,
) -> Result<(), Failure> {
    // The sensor's events about itself are judged by nobody.
    let Ok(replayed) = replayed else {
        return Ok(());
    };
    totals.events += 1;
    totals.matched += u64::from(replayed.now.is_some());
    totals.changed += u64::from(replayed.changed());
    if replayed.now.is_none() && replayed.recorded.is_none() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    if json {
        let rule = |rule: &Option<Matched>| rule.as_ref().map(Matched::json);
        let shown = json!({
            "@timestamp": event["@timestamp"],
            "event": {"id": event["event"]["id"], "action": event["event"]["action"]},
            "recorded": rule(&replayed.recorded),
            "now": rule(&replayed.now),
            "changed": replayed.changed(),
            "message": replayed.message,
        });
        writeln!(out, "{shown}")?;
    } else {
        writeln!(out, "{}", line(event, &replayed))?;
    }
    Ok(())
}

/// When, what, the rule, what it was before where that is another, and the message.
fn line(event: &Value, replayed: &Replayed) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let named = |rule: &Option<Matched>| {
        rule.as_ref().map_or_else(
            || "nothing".to_owned(),
            |rule| format!("{} by {}/{}", rule.action, rule.ruleset, rule.id),
        )
    };
    let mut parts = vec![
        text("/@timestamp").unwrap_or("?").to_owned(),
        format!("{:<16}", text("/event/action").unwrap_or("?")),
        named(&replayed.now),
    ];
    if replayed.changed() {
        parts.push(format!("(was {})", named(&replayed.recorded)));
    }
    parts.extend(replayed.message.clone());
    plain(&parts.join(" "))
}

fn finish(arguments: &Replay, totals: &Totals) -> Result<(), Failure> {
    let Totals {
        events,
        matched,
        changed,
        unreadable,
    } = totals;
    let file = arguments.file.display();
    if *events == 0 {
        return Err(Failure::No(format!(
            "{file} has no events that policies are about ({unreadable} lines are no events at all)"
        )));
    }
    let mut out = io::stdout().lock();
    if arguments.show.json {
        let summary = json!({"summary": {"events": events, "matched": matched,
                                         "changed": changed, "unreadable": unreadable}});
        writeln!(out, "{summary}")?;
    } else {
        writeln!(
            out,
            "{events} events, {matched} match a rule, {changed} have another verdict than was recorded"
        )?;
    }
    if arguments.check && *changed > 0 {
        return Err(Failure::No(format!(
            "{changed} of {events} events have another verdict than was recorded"
        )));
    }
    Ok(())
}
