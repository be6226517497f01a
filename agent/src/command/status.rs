//! `holdfast status`: how the running sensor is.

use std::fmt::Write;

use serde_json::Value;

use super::actors::tree;
use crate::cli::Status;
use crate::failure::Failure;
use crate::output::{self, Table};

pub(super) fn status(arguments: &Status) -> Result<(), Failure> {
    let client = super::client(&arguments.show.settings)?;
    if arguments.metrics {
        return output::text(&client.text("/v1/metrics")?);
    }
    let status = client.get("/v1/status")?;
    if arguments.show.json {
        output::json(&status)?;
    } else {
        output::text(&rendered(&status))?;
    }
    let degraded = status["degraded"].as_array().map_or(0, Vec::len);
    if arguments.check && degraded > 0 {
        return Err(Failure::No(format!(
            "the sensor is degraded in {degraded} way(s)"
        )));
    }
    if arguments.ready && status["ready"] != true {
        return Err(Failure::No("the sensor is still starting".to_owned()));
    }
    Ok(())
}

/// Nothing where there are none.
fn containers(containers: &Value) -> String {
    let count = |key: &str| containers[key].as_u64().unwrap_or(0);
    if count("known") == 0 {
        return String::new();
    }
    format!(
        "containers {}, {} of them told of by engines; {} events waited for that, {} went on without\n",
        count("known"),
        count("told"),
        count("waited"),
        count("unnamed")
    )
}

fn rendered(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let mut out = String::new();
    let resources = &status["resources"];
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "tier      {}\nmode      {}\nsince     {}{}\npolicies  revision {}, {} rules\nprocesses {} of {}\n\
         uses      {} MiB, {:.1} s of CPU, {} open files",
        text(&status["tier"]),
        text(&status["mode"]),
        text(&status["since"]),
        if status["ready"] == true {
            ""
        } else {
            " (still starting)"
        },
        status["policy"]["revision"],
        status["policy"]["rules"],
        status["processes"]["known"],
        status["processes"]["capacity"],
        resources["rss_bytes"].as_u64().unwrap_or(0) >> 20,
        resources["cpu_ms"].as_f64().unwrap_or(0.0) / 1000.0,
        resources["open_files"],
    );
    out.push_str(&containers(&status["containers"]));
    if let Some(line) = buffer(&status["buffer"]) {
        let _ = writeln!(out, "buffer    {line}");
    }
    if let Some(line) = confinement(&status["confinement"]) {
        let _ = writeln!(out, "confined  {line}");
    }
    out.push_str(&uplink(&status["uplink"]));
    let _ = writeln!(out, "on exit   {}", on_exit(&status["hooks"]));
    out.push_str(&limits(&status["limits"]));
    out.push_str(&degradations(status));
    out.push_str("\nactors\n");
    out.push_str(&tree(&status["actors"], 2));
    out.push_str("\nhooks\n");
    out.push_str(&hooks(&status["hooks"], 2));
    out.push_str("\nledger\n");
    out.push_str(&ledger(&status["ledger"]["kinds"]));
    out
}

/// How much the sensor has given up, in a line; `None` where it does not say.
pub(super) fn confinement(confinement: &Value) -> Option<String> {
    let capabilities = &confinement["capabilities"];
    let calls = confinement["seccomp"]["refused"].as_object()?;
    let calls = calls.values().filter_map(Value::as_array);
    let refused = match confinement["seccomp"]["error"].as_str() {
        Some(error) => format!("no system call is refused: {error}"),
        None => format!(
            "{} system calls are refused",
            calls.map(Vec::len).sum::<usize>()
        ),
    };
    Some(format!(
        "{} capabilities given up, {} kept; {}{refused}",
        capabilities["dropped"].as_array().map_or(0, Vec::len),
        capabilities["kept"].as_object()?.len(),
        if confinement["no_new_privs"] == true {
            "none by an exec; "
        } else {
            ""
        },
    ))
}

/// What goes to the Team Server; nothing where there is none.
fn uplink(uplink: &Value) -> String {
    let Some(url) = uplink["url"].as_str() else {
        return String::new();
    };
    let both = |key: &str| {
        let of = |priority: &str| uplink[key][priority].as_u64().unwrap_or(0);
        format!("{} alerts and {} events", of("alert"), of("event"))
    };
    let mut text = match uplink["sensor_id"].as_str() {
        Some(id) => format!("uplink    {url}, enrolled as {id}\n"),
        None => format!("uplink    {url}, not enrolled\n"),
    };
    let last = uplink["last_success"].as_str().unwrap_or("never");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "          {} sent, {} in the spool ({} KiB), last answer {last}",
        both("sent"),
        both("spooled"),
        uplink["spooled_bytes"].as_u64().unwrap_or(0) >> 10,
    );
    let lost: Vec<String> = ["alert", "event"]
        .into_iter()
        .flat_map(|priority| {
            let reasons = uplink["lost"][priority].as_object().into_iter().flatten();
            reasons.map(move |(reason, count)| format!("{count} {priority} {reason}"))
        })
        .collect();
    if !lost.is_empty() {
        let _ = writeln!(text, "          lost {}", lost.join(", "));
    }
    match (uplink["bundle"].as_u64(), uplink["bundle_error"].as_str()) {
        (version, Some(error)) => {
            let version = version.map_or_else(|| "none".to_owned(), |it| it.to_string());
            let _ = writeln!(
                text,
                "          bundle {version}; the last is refused: {error}"
            );
        }
        (Some(version), None) => {
            let _ = writeln!(text, "          bundle {version}");
        }
        (None, None) => {}
    }
    text
}

/// What goes on in the kernel when the sensor ends.
fn on_exit(hooks: &Value) -> String {
    let hooks = hooks.as_array().map_or(&[][..], Vec::as_slice);
    let attached = hooks.iter().filter(|hook| hook["tier"].is_string());
    let (kept, ending): (Vec<_>, Vec<_>) =
        attached.partition(|hook| hook["outlives_sensor"] == true);
    if kept.is_empty() {
        return "all hooks are detached".to_owned();
    }
    if ending.is_empty() {
        return "all hooks go on deciding".to_owned();
    }
    let names: Vec<_> = ending
        .iter()
        .filter_map(|hook| hook["action"].as_str())
        .collect();
    format!("hooks go on deciding, but for {}", names.join(", "))
}

/// What carries records, and why not the better one; `None` when that is not known.
pub(super) fn buffer(buffer: &Value) -> Option<String> {
    let kind = buffer["kind"].as_str()?;
    let reason = buffer["reason"].as_str().filter(|it| !it.is_empty());
    Some(match reason {
        Some(reason) => format!("{kind}: {reason}"),
        None => kind.to_owned(),
    })
}

/// The cap, and the cgroups that came to feel it; nothing where there is none.
fn limits(limits: &Value) -> String {
    let rate = limits["cgroup_events_per_second"].as_u64().unwrap_or(0);
    if rate == 0 {
        return String::new();
    }
    let burst = &limits["cgroup_burst"];
    let mut text =
        format!("cap       {rate} events a second of a cgroup and domain, {burst} at once\n");
    let capped = limits["capped"].as_array().map_or(&[][..], Vec::as_slice);
    if capped.is_empty() {
        return text;
    }
    let mut table = Table::new(["CGROUP", "DOMAIN", "WITHHELD", "NOW", "SINCE", "PATH"]);
    for one in capped {
        let now = if one["now"] == true { "yes" } else { "no" };
        table.row([
            one["cgroup"].to_string(),
            one["domain"].as_str().unwrap_or_default().to_owned(),
            one["events"].to_string(),
            now.to_owned(),
            one["since"].as_str().unwrap_or_default().to_owned(),
            one["path"].as_str().unwrap_or("unknown").to_owned(),
        ]);
    }
    text.push_str("\ncapped\n");
    text.push_str(&table.render(2));
    text
}

fn degradations(status: &Value) -> String {
    let list = status["degraded"].as_array().map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        return "degraded  no\n".into();
    }
    let mut table = Table::new(["WHAT", "SINCE", "WHY"]);
    for item in list {
        table.row(
            ["what", "since", "reason"].map(|key| item[key].as_str().unwrap_or_default().into()),
        );
    }
    format!("\ndegraded\n{}", table.render(2))
}

/// The hooks as a table: what each is attached by, and why not by something better.
fn hooks(hooks: &Value, indent: usize) -> String {
    let mut table = Table::new(["HOOK", "TIER", "WHY NOT BETTER"]);
    for hook in hooks.as_array().into_iter().flatten() {
        let text = |key: &str| hook[key].as_str().unwrap_or("none").to_owned();
        let reason = hook["reason"].as_str().unwrap_or_default();
        table.row([
            text("action"),
            text("tier"),
            if reason.is_empty() {
                "it is the best".into()
            } else {
                reason.to_owned()
            },
        ]);
    }
    table.render(indent)
}

fn ledger(kinds: &Value) -> String {
    const COLUMNS: [&str; 12] = [
        "seen",
        "filtered",
        "capped",
        "submitted",
        "ring_full",
        "missed",
        "truncated",
        "received",
        "evaluated",
        "emitted",
        "suppressed",
        "dropped",
    ];
    let mut titles = ["ACTION"; 13];
    titles[1..].copy_from_slice(&COLUMNS);
    let mut table = Table::new(titles);
    for (action, entry) in kinds.as_object().into_iter().flatten() {
        let mut row = [const { String::new() }; 13];
        row[0].clone_from(action);
        for (cell, column) in row[1..].iter_mut().zip(COLUMNS) {
            *cell = entry[column].to_string();
        }
        table.row(row);
    }
    table.render(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_readable() {
        let status = json!({
            "tier": "lsm", "mode": "observe", "ready": true, "since": "2026-11-22T19:00:00Z",
            "degraded": [{"what": "sink.file", "reason": "disk full", "since": "2026-11-22T19:00:01Z"}],
            "actors": {"name": "root", "state": "running", "restarts": 0, "last_error": null,
                       "step_ms": 0,
                       "children": [{"name": "killer", "state": "running", "restarts": 2, "step_ms": 7,
                                     "waiting": {"depth": 1, "capacity": 64, "unit": "kills"},
                                     "last_error": "panicked", "children": []}]},
            "policy": {"revision": 3, "rules": 12},
            "processes": {"known": 80, "capacity": 4096},
            "containers": {"known": 3, "told": 2, "waited": 5, "unnamed": 1},
            "hooks": [{"action": "file.open", "tier": "kprobe", "reason": "not fentry: no BTF", "tried": []}],
            "ledger": {"kinds": {"process.exec": {"seen": 7}}, "unattributed": 0},
            "buffer": {"kind": "perf", "reason": "no ring buffers"},
            "limits": {"cgroup_events_per_second": 50, "cgroup_burst": 70, "capped": [
                {"cgroup": 77, "path": "/noisy", "domain": "file", "events": 12, "now": true,
                 "since": "2026-11-22T19:00:02Z"}]},
            "confinement": {"capabilities": {"kept": {"CAP_KILL": "it kills"}, "dropped": ["CAP_CHOWN", "CAP_FOWNER"]},
                "no_new_privs": true, "seccomp": {"refused": {"run programs": ["execve", "execveat"]}, "error": null}},
            "uplink": {"url": "https://team.example/", "sensor_id": "s-1", "last_success": "2026-11-22T19:00:03Z",
                "spooled": {"alert": 1, "event": 2}, "spooled_bytes": 4096, "sent": {"alert": 3, "event": 4},
                "lost": {"alert": {"torn": 1}, "event": {"full": 7}}, "bundle": 5, "bundle_error": null},
            "resources": {"rss_bytes": 31_457_280, "cpu_ms": 1500, "open_files": 40},
        });
        let text = rendered(&status);
        for part in [
            "tier      lsm",
            "revision 3, 12 rules",
            "30 MiB, 1.5 s of CPU",
            "sink.file  2026-11-22T19:00:01Z  disk full",
            "containers 3, 2 of them told of by engines; 5 events waited for that, 1 went on without",
            "buffer    perf: no ring buffers",
            "cap       50 events a second of a cgroup and domain, 70 at once",
            "  77      file    12        yes  2026-11-22T19:00:02Z  /noisy",
            "confined  2 capabilities given up, 1 kept; none by an exec; 2 system calls are refused",
            "uplink    https://team.example/, enrolled as s-1",
            "3 alerts and 4 events sent, 1 alerts and 2 events in the spool (4 KiB), last answer 2026-11-22T19:00:03Z",
            "lost 1 alert torn, 7 event full",
            "bundle 5",
            "    killer  running  7 ms  1 of 64 kills  2         panicked",
            "file.open  kprobe  not fentry: no BTF",
            "process.exec  7 ",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
