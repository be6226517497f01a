//! `holdfast doctor`: what this machine allows, and what would change that.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use holdfast_wire::control::Tier;
use tiers::Standing;

use super::status;
use crate::cli::Doctor;
use crate::config::Config;
use crate::confinement;
use crate::control::client::block_on;
use crate::failure::Failure;
use crate::loader::pins;
use crate::output::{self, Table};
use crate::{kernel, privilege};

mod bundle;
mod engines;
mod tiers;

/// How long the Team Server may take to answer: people wait for it.
const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// Parts of the interface that this version does not have, in words for people.
const NOT_THERE: [&str; 1] =
    ["what a killed sensor had read from the rings and not yet written is lost, and not counted"];

pub(super) fn doctor(arguments: &Doctor) -> Result<(), Failure> {
    let show = &arguments.show;
    let inputs = show.settings.inputs();
    let config = inputs.load()?;
    if arguments.programs {
        return programs(&config, show.json);
    }
    if arguments.tiers {
        return sights(&config, show.json);
    }
    let client = super::client(&show.settings)?;
    let missing = privilege::missing();
    let lost: BTreeMap<&str, &str> = privilege::lost()
        .iter()
        .map(|it| (it.name, it.lost))
        .collect();
    let running = client.is_running();
    // What is tried is what a sensor would have left.
    let _ = confinement::give_up_capabilities();
    let report = if running {
        client.get("/v1/hooks")?
    } else if missing.is_empty() {
        kernel::probe(&config)?
    } else {
        json!({"facts": kernel::facts(&config), "hooks": []})
    };
    let engines = engines::found(&config)?;
    let uplink = uplink(&config)?;
    let left = !running && pins::are_left(&config.kernel.pin_dir);
    let hooks = report["hooks"].as_array().map_or(&[][..], Vec::as_slice);
    let attached = hooks.iter().filter(|hook| hook["tier"].is_string()).count();
    let found = json!({
        "running": running, "left_in_kernel": left, "facts": report["facts"], "permissions": {"missing": missing, "lost": lost},
        "confinement": report["confinement"], "engines": engines, "uplink": uplink, "hooks": hooks,
        "not_there": NOT_THERE,
    });
    if arguments.bundle {
        output::json(&bundle::bundle(&found, &inputs.layers()?, &client)?)?;
    } else if show.json {
        output::json(&found)?;
    } else {
        let standing = match (running, left) {
            (true, _) => "running; what follows is what it uses",
            (false, true) => {
                "not running; kernel programs of the last one go on deciding, until `holdfast stop --unload`"
            }
            (false, false) => "not running",
        };
        output::text(&rendered(&report, (&engines, &uplink), standing, &lost))?;
    }
    if !running && !missing.is_empty() {
        return Err(Failure::NotPermitted(
            "the hooks were not tried, which takes root: run `holdfast doctor` as root".into(),
        ));
    }
    if attached == 0 {
        return Err(Failure::CannotStart(
            "no hook can be attached on this kernel".into(),
        ));
    }
    Ok(())
}

/// Whether the Team Server answers; null where there is none.
fn uplink(config: &Config) -> Result<Value, Failure> {
    // It was checked when the configuration was read.
    let Some(server) = config.server().ok().flatten() else {
        return Ok(Value::Null);
    };
    let probed = block_on(async { Ok(server.probe(PROBE_LIMIT).await) })?;
    Ok(json!({
        "url": server.url().to_string(), "reachable": probed.is_ok(), "error": probed.err(),
    }))
}

/// `--programs`
fn programs(config: &Config, as_json: bool) -> Result<(), Failure> {
    privilege::require()?;
    let _ = confinement::give_up_capabilities();
    let programs = kernel::verify(config)?;
    if as_json {
        let facts = kernel::facts(config);
        return output::json(&json!({"facts": facts, "programs": programs}));
    }
    let mut table = Table::new(["PROGRAM", "TIER", "VERIFIED", "WHY NOT"]);
    for program in programs.as_array().into_iter().flatten() {
        let text = |name: &str| program[name].as_str().unwrap_or_default().to_owned();
        let count = program["instructions"].as_u64();
        let count = count.map_or_else(String::new, |count| count.to_string());
        table.row([text("program"), text("tier"), count, text("error")]);
    }
    output::text(&table.render(0))
}

/// `--tiers`
fn sights(config: &Config, as_json: bool) -> Result<(), Failure> {
    privilege::require()?;
    let _ = confinement::give_up_capabilities();
    let sights = kernel::survey(config)?;
    if as_json {
        let facts = kernel::facts(config);
        return output::json(&json!({"facts": facts, "sights": sights}));
    }
    let mut table = Table::new(["HOOK", "TIER", "HERE", "DOES NOT SEE", "WHY NOT"]);
    for sight in sights.as_array().into_iter().flatten() {
        let text = |name: &str| sight[name].as_str().unwrap_or_default().to_owned();
        let here = match (sight["tier"].as_str(), &sight["error"]) {
            // Trying it makes the machine's opens wait for an answer.
            (Some(tier), _) if tier == Tier::Fanotify.name() => "untried",
            (_, Value::Null) => "yes",
            _ => "no",
        };
        let row = [
            text("action"),
            text("tier"),
            here.into(),
            text("blind_to"),
            text("error"),
        ];
        table.row(row);
    }
    output::text(&table.render(0))
}

fn rendered(
    report: &Value,
    (engines, uplink): (&Value, &Value),
    standing: &str,
    lost: &BTreeMap<&str, &str>,
) -> String {
    let facts = &report["facts"];
    let list = |value: &Value| {
        let names = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        names.collect::<Vec<_>>().join(", ")
    };
    let btf = match facts["btf"].as_str() {
        Some(path) => path.to_owned(),
        None => format!(
            "none ({}): only tiers that need none; kernel.btf names a file that has it",
            facts["btf_error"].as_str().unwrap_or("unknown")
        ),
    };
    let lsm = match &facts["lsm"] {
        Value::Null => "unknown: securityfs does not say".to_owned(),
        active if list(active).split(", ").any(|name| name == "bpf") => list(active),
        active => format!(
            "{}; no bpf: boot with it in lsm= for the lsm tier",
            list(active)
        ),
    };
    let tracefs = match facts["tracefs"].as_bool() {
        Some(true) => "mounted",
        _ => {
            "not mounted: no kprobes and no syscall tracepoints; mount -t tracefs none /sys/kernel/tracing"
        }
    };
    let buffer = match status::buffer(&facts["buffer"]) {
        Some(line) => format!("buffer       {line}\n"),
        None => String::new(),
    };
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "sensor       {standing}\nkernel       {} {}\nBTF          {btf}\nLSMs         {lsm}\ntracefs      {tracefs}\n{buffer}\
         engines      {}\npermissions  {}",
        facts["kernel"].as_str().unwrap_or("unknown"),
        facts["machine"].as_str().unwrap_or(""),
        engines::line(engines),
        if lost.is_empty() { "all" } else { "not all" },
    );
    for (capability, what) in lost {
        let _ = writeln!(out, "             without {capability} {what}");
    }
    out.push_str(&confined(&report["confinement"]));
    if let Some(url) = uplink["url"].as_str() {
        let how = match uplink["error"].as_str() {
            None => "answers".to_owned(),
            Some(error) => format!("is not reached: {error}"),
        };
        let _ = writeln!(out, "Team Server  {url} {how}");
    }
    if let Some(why) = facts["ebpf_error"].as_str().filter(|why| !why.is_empty()) {
        // The remedies of the tiers are for kernels that have it.
        let _ = writeln!(
            out,
            "eBPF         none, so fanotify stands in: {why}; the tiers with programs need a kernel with \
             CONFIG_BPF_SYSCALL, and CAP_BPF and CAP_PERFMON (before 5.8: CAP_SYS_ADMIN) where no seccomp \
             filter and no lockdown forbids bpf(2)"
        );
    }
    let absent = list(&facts["absent_fields"]);
    if !absent.is_empty() && facts["btf"].is_string() {
        let _ = writeln!(out, "not in BTF   {absent}");
    }
    if let Some(hooks) = report["hooks"].as_array().filter(|hooks| !hooks.is_empty()) {
        let _ = writeln!(out, "\n{}", tables(hooks));
    }
    out.push_str("Not in this version:\n");
    for line in NOT_THERE {
        let _ = writeln!(out, "  - {line}");
    }
    out
}

/// What the running sensor has given up; nothing where none runs.
fn confined(confinement: &Value) -> String {
    let Some(line) = status::confinement(confinement) else {
        return String::new();
    };
    let mut text = format!("confinement  {line}\n");
    let kept = confinement["capabilities"]["kept"].as_object();
    for (name, what) in kept.into_iter().flatten() {
        let what = what.as_str().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "             keeps {name}: {what}");
    }
    for deed in confinement["seccomp"]["refused"]
        .as_object()
        .into_iter()
        .flat_map(|refused| refused.keys())
    {
        let _ = writeln!(text, "             cannot {deed}");
    }
    text
}

/// The tiers, and what each hook has of them.
fn tables(hooks: &[Value]) -> String {
    let mut refused = Vec::new();
    let mut of_tiers = Table::new(["TIER", "HERE", "WHY NOT", "WHAT WOULD CHANGE IT"]);
    for tier in Tier::ALL.iter().copied() {
        let (here, why, remedy) = match tiers::standing(hooks, tier) {
            Standing::Used => ("yes", String::new(), ""),
            Standing::NotNeeded => ("-", "no hook came to need it".to_owned(), ""),
            Standing::Refused(reason) => {
                refused.push((tier, reason.clone()));
                ("no", reason, tiers::remedy(tier))
            }
        };
        of_tiers.row([tier.name().into(), here.into(), why, remedy.into()]);
    }
    let mut of_hooks = Table::new(["HOOK", "TIER", "DOES NOT SEE", "WHY NOT BETTER"]);
    for hook in hooks {
        let text = |key: &str| hook[key].as_str().unwrap_or_default().to_owned();
        let why = match (hook["tier"].as_str(), tiers::own_reason(hook, &refused)) {
            (Some(_), Some((tier, error))) => format!("not {tier}: {error}"),
            (Some(_), None) => String::new(),
            (None, _) => text("reason"),
        };
        let tier = hook["tier"].as_str().unwrap_or("none").to_owned();
        of_hooks.row([text("action"), tier, text("blind_to"), why]);
    }
    format!("{}\n{}", of_tiers.render(0), of_hooks.render(0))
}
