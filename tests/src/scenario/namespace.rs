//! The namespaces of a machine, and what is said of them.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Scenario;
use crate::bench::Bench;
use crate::command::{Bounded as _, Ended};
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "namespaces",
    about: "namespaces of processes, nested ones, and ones that only a mount or an open file keeps are found; lsns' are among them",
    at: |place| *place == Place::Native,
    seconds: 60,
    run: namespaces,
}];

const COMMAND: Duration = Duration::from_secs(30);

/// Ends what it was started for.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn namespaces(bench: &Bench) -> Result<()> {
    let mounted = bench.file("mounted", "")?.display().to_string();
    let ready = bench.path("ready").display().to_string();
    // Two user namespaces, one in the other, a network namespace that is mounted, and one that is only open.
    let script = format!(
        "touch {mounted}; unshare --net={mounted} true; exec 7</proc/self/ns/uts; exec 8<{mounted}; \
         exec unshare --user --map-root-user unshare --user --map-root-user --uts --ipc \
         sh -c 'touch {ready}; exec sleep 60'"
    );
    let started = Command::new("unshare")
        .args(["--mount", "--uts", "sh", "-c", &script])
        .stdin(Stdio::null())
        .spawn()
        .context("start unshare")?;
    let started = Started(started);
    let deadline = Instant::now() + COMMAND;
    while !std::path::Path::new(&ready).exists() {
        ensure!(Instant::now() < deadline, "the namespaces are not made");
        sleep(Duration::from_millis(20));
    }
    let pid = started.0.id();
    let listed = listing(bench)?;
    let process = &listed["processes"][pid.to_string()];
    let of = |kind: &str| -> Result<&Value> {
        let nsid = process["namespaces"][kind].as_u64();
        let nsid = nsid.with_context(|| format!("{pid} has no {kind} namespace: {process}"))?;
        Ok(&listed["namespaces"][nsid.to_string()])
    };
    let user = of("user")?;
    let outer = &listed["namespaces"][user["parent"].to_string()];
    ensure!(
        outer["type"] == "user"
            && outer["children"]
                .to_string()
                .contains(&user["nsid"].to_string()),
        "{user} is not in {outer}"
    );
    for kind in ["uts", "ipc"] {
        let namespace = of(kind)?;
        ensure!(
            namespace["owner"] == user["nsid"] && namespace["ealdorman"] == pid,
            "{namespace}"
        );
    }
    let all = listed["namespaces"].as_object().context("no namespaces")?;
    let is_mounted =
        |it: &&Value| it["type"] == "net" && it["reference"].to_string().contains("/mounted");
    let is_open =
        |it: &&Value| it["type"] == "uts" && it["reference"].to_string().contains("/fd/7");
    let by_file = all
        .values()
        .find(is_open)
        .context("the uts namespace that is open is missing")?;
    ensure!(by_file.get("leaders").is_none(), "{by_file}");
    let net = all
        .values()
        .find(|it| it["type"] == "net" && it.get("leaders").is_none());
    ensure!(
        net.is_some() || all.values().any(|it| is_mounted(&it)),
        "the mounted network namespace is missing"
    );

    let lsns = Command::new("lsns")
        .args(["--json", "--output", "NS,TYPE"])
        .output_within(COMMAND)?;
    let lsns: Value =
        serde_json::from_str(&lsns.with_code(0)?.stdout).context("parse lsns' output")?;
    // Those of processes that are gone by now apart: lsns itself is in none of its own.
    for namespace in lsns["namespaces"].as_array().into_iter().flatten() {
        let nsid = namespace["ns"].to_string();
        ensure!(
            all.get(&nsid)
                .is_some_and(|it| it["type"] == namespace["type"]),
            "lsns knows {namespace}, which is not found"
        );
    }
    let text = holdfast(bench, &["namespaces", "--type", "user"])?
        .with_code(0)?
        .stdout;
    ensure!(text.contains(&user["nsid"].to_string()), "{text}");
    let wrong = holdfast(bench, &["namespaces", "--type", "network"])?;
    ensure!(wrong.code() == Some(2), "{wrong:?}");
    let tree = holdfast(bench, &["processes", "--tree"])?
        .with_code(0)?
        .stdout;
    ensure!(tree.contains("sleep 60"), "{tree}");
    bench.note(format!(
        "{} namespaces of {} processes",
        all.len(),
        listed["processes"]
            .as_object()
            .map_or(0, serde_json::Map::len)
    ));
    Ok(())
}

fn holdfast(bench: &Bench, args: &[&str]) -> Result<Ended> {
    Command::new(&bench.setting.holdfast)
        .args(args)
        .output_within(COMMAND)
}

fn listing(bench: &Bench) -> Result<Value> {
    let listed = holdfast(bench, &["namespaces", "--json"])?.with_code(0)?;
    serde_json::from_str(&listed.stdout).context("parse what was listed")
}
