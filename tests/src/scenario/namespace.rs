//! The namespaces of a machine, and what is said of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Scenario;
use crate::bench::Bench;
use crate::cgroup::Cgroup;
use crate::command::{Bounded as _, Ended};
use crate::control::ask;
use crate::place::Place;

mod kept;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "namespaces",
        about: "of a zoo of namespaces, kept by processes, files, sockets and mounts, all are found, and what is mounted \
                and frozen; those of lsns are among them",
        at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("7"),
        seconds: 60,
        run: namespaces,
    },
    Scenario {
        name: "namespaces-kept",
        about: "a namespace that was made, joined or left between two answers is so in the second, which looks at hardly \
                any process; where no event tells, it says so and checks all",
        at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("7"),
        seconds: 60,
        run: kept::kept,
    },
];

const COMMAND: Duration = Duration::from_secs(30);
/// Where cgroups of version 1 are frozen.
const FREEZER: &str = "/sys/fs/cgroup/freezer";

/// Ends what it was started for.
pub(super) struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A namespace that was made.
#[derive(Debug)]
pub(super) struct Made {
    keeper: String,
    kind: String,
    nsid: String,
    pid: String,
}

fn namespaces(bench: &Bench) -> Result<()> {
    let before = listing(bench)?;
    let directory = bench.path("zoo");
    let (_zoo, made) = zoo(&directory, bench)?;
    let began = Instant::now();
    let listed = listing(bench)?;
    let took = began.elapsed();
    found(bench, &made, &before, &listed)?;
    mounted(&made, &directory, &listed)?;
    if !bench.setting.place.is_guest() {
        are_in(&listed)?;
    }
    frozen(bench)?;
    asked(bench, &made)?;
    shown(bench, &made)?;
    bench.note(format!(
        "{} namespaces of {} processes in {} ms",
        keys(&listed["namespaces"]).len(),
        keys(&listed["processes"]).len(),
        took.as_millis(),
    ));
    Ok(())
}

/// Makes namespaces of all sorts in a directory; they are there as long as what is returned with them.
pub(super) fn zoo(directory: &Path, bench: &Bench) -> Result<(Started, Vec<Made>)> {
    let zoo = bench
        .act(&["zoo", &directory.display().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the zoo")?;
    let mut zoo = Started(zoo);
    let said = zoo.0.stdout.take().context("the zoo is mute")?;
    let mut made = Vec::new();
    for line in BufReader::new(said).lines() {
        let line = line.context("listen to the zoo")?;
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match <[String; 4]>::try_from(words) {
            Ok([keeper, kind, nsid, pid]) => made.push(Made {
                keeper,
                kind,
                nsid,
                pid,
            }),
            Err(_) => break,
        }
    }
    ensure!(made.len() == 12, "not all was made: {made:?}");
    Ok((zoo, made))
}

/// Each that was made is there, with what keeps it; in a guest, where nobody else makes any, no other.
fn found(bench: &Bench, made: &[Made], before: &Value, listed: &Value) -> Result<()> {
    let all = &listed["namespaces"];
    for Made {
        keeper,
        kind,
        nsid,
        pid,
    } in made
    {
        let namespace = &all[nsid];
        let what = format!("{kind}:[{nsid}], kept by {keeper}: {namespace}");
        ensure!(namespace["type"] == **kind, "{what}");
        let reference = namespace["reference"].to_string();
        let leader = namespace["ealdorman"].to_string();
        let right = match &**keeper {
            "process" => leader == *pid,
            // Who made a user namespace is in it before its child is.
            "nested" => kind == "user" || leader == *pid,
            "socket" | "file" => reference.contains(&format!("/proc/{pid}/fd/")),
            "mount" => reference.contains(&format!("/zoo/{kind}")),
            "inner" => reference.contains("/zoo/mnt") && reference.contains("/zoo/inner/ipc"),
            _ => false,
        };
        ensure!(right, "{what}");
        let has_members = namespace.get("leaders").is_some();
        ensure!(
            has_members == matches!(&**keeper, "process" | "nested"),
            "{what}"
        );
        ensure!(namespace["owner"].is_u64(), "nobody owns {what}");
    }
    for kind in ["user", "pid"] {
        let mut nested = made
            .iter()
            .filter(|it| it.keeper == "nested" && it.kind == kind);
        let (Some(outer), Some(inner)) = (nested.next(), nested.next()) else {
            anyhow::bail!("no nested {kind}");
        };
        let (outer, inner) = (&all[&outer.nsid], &all[&inner.nsid]);
        ensure!(
            inner["parent"] == outer["nsid"]
                && outer["children"]
                    .as_array()
                    .is_some_and(|it| it.contains(&inner["nsid"])),
            "{inner} is not in {outer}"
        );
        if kind == "pid" {
            let owner = &all[inner["owner"].to_string()];
            let owns = |it: &Value| {
                it["possessions"]
                    .as_array()
                    .is_some_and(|it| it.contains(&inner["nsid"]))
            };
            ensure!(owner["user-name"] == "root" && owns(owner), "{owner}");
        }
    }
    if bench.setting.place.is_guest() {
        let new: BTreeSet<String> = &keys(all) - &keys(&before["namespaces"]);
        let expected: BTreeSet<String> = made.iter().map(|it| it.nsid.clone()).collect();
        ensure!(new == expected, "{new:?} instead of {made:?}");
    }
    Ok(())
}

/// What is mounted in the mount namespace of the zoo, and in the one that nobody is in.
fn mounted(made: &[Made], directory: &Path, listed: &Value) -> Result<()> {
    let mounts = |keeper: &str| {
        let namespace = made
            .iter()
            .find(|it| it.kind == "mnt" && it.keeper == keeper);
        let nsid = namespace.map(|it| it.nsid.clone()).unwrap_or_default();
        &listed["mounts"][nsid]
    };
    let at = |paths: &'static str| directory.join(paths).display().to_string();
    let (own, deserted) = (mounts("process"), mounts("mount"));
    let over = &own[at("over")];
    let hidden: Vec<bool> = over["mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["hidden"].as_bool())
        .collect();
    ensure!(hidden == [true, false], "{over}");
    let below = &own[at("over/below")];
    ensure!(
        below["mounts"][0]["hidden"] == true && below["parentid"] == over["pathid"],
        "{below}"
    );
    let inner = &deserted[at("inner")]["mounts"][0];
    ensure!(
        inner["fstype"] == "tmpfs" && inner["hidden"] == false,
        "{inner}"
    );
    ensure!(own.get(at("inner")).is_none(), "{own}");
    Ok(())
}

/// `lsns` knows no other namespace. Those of processes that are gone by now apart: lsns itself is in none of its own.
fn are_in(listed: &Value) -> Result<()> {
    let lsns = Command::new("lsns")
        .args(["--json", "--output", "NS,TYPE"])
        .output_within(COMMAND)?;
    let lsns: Value =
        serde_json::from_str(&lsns.with_code(0)?.stdout).context("parse lsns' output")?;
    let all = lsns["namespaces"].as_array().context("lsns knows none")?;
    for namespace in all {
        let known = &listed["namespaces"][namespace["ns"].to_string()];
        ensure!(
            known["type"] == namespace["type"],
            "lsns knows {namespace}, which is not found"
        );
    }
    Ok(())
}

/// Processes are frozen by cgroups of either version.
fn frozen(bench: &Bench) -> Result<()> {
    let unified = Cgroup::make("frozen")?;
    let sleeper = unified
        .run(bench, &bench.busybox(&["sleep", "60"]))?
        .spawn();
    let mut all = vec![Started(sleeper.context("start a sleeper")?)];
    let mut places = vec![(unified.place("cgroup.freeze"), "1", "0")];
    let first = Path::new(FREEZER).join(format!("holdfast-test-{}", std::process::id()));
    let has_first = Path::new(FREEZER).exists();
    if has_first {
        fs::create_dir(&first).context("make a cgroup of version 1")?;
        let sleeper = Started(
            bench
                .busybox(&["sleep", "60"])
                .spawn()
                .context("start a sleeper")?,
        );
        fs::write(first.join("cgroup.procs"), sleeper.0.id().to_string())
            .context("put it there")?;
        all.push(sleeper);
        places.push((first.join("freezer.state"), "FROZEN", "THAWED"));
    }
    let pids: Vec<String> = all.iter().map(|it| it.0.id().to_string()).collect();
    let state = |frozen: bool| -> Result<()> {
        let deadline = Instant::now() + COMMAND;
        loop {
            let listed = listing(bench)?;
            let processes = &listed["processes"];
            if pids
                .iter()
                .all(|pid| processes[pid]["fridgefrozen"] == frozen)
            {
                return Ok(());
            }
            let shown: Vec<_> = pids.iter().map(|pid| &processes[pid]).collect();
            ensure!(
                Instant::now() < deadline,
                "frozen should be {frozen}: {shown:?}"
            );
        }
    };
    let done = state(false).and_then(|()| {
        for (path, freeze, _) in &places {
            fs::write(path, freeze).context("freeze a cgroup")?;
        }
        state(true)
    });
    for (path, _, thaw) in &places {
        fs::write(path, thaw).context("thaw a cgroup")?;
    }
    drop(all);
    if has_first {
        fs::remove_dir(&first).context("remove the cgroup of version 1")?;
    }
    done
}

/// A sensor says the same, and translates ids of processes.
fn asked(bench: &Bench, made: &[Made]) -> Result<()> {
    let sensor = bench.sensor().silent().start()?;
    let answer = |path| -> Result<Value> {
        serde_json::from_str(&ask(bench, "GET", path)?).context("parse the answer")
    };
    let all = answer("/v1/namespaces")?;
    for one in made {
        ensure!(all["namespaces"][&one.nsid]["type"] == one.kind, "{one:?}");
    }
    ensure!(!keys(&all["mounts"]).is_empty(), "no mounts");
    for key in ["containers", "container-engines", "container-groups"] {
        ensure!(all[key].is_object(), "no {key}");
    }
    let innermost = made
        .iter()
        .rfind(|it| it.kind == "pid")
        .context("no pid namespace")?;
    let processes = answer("/v1/processes")?;
    let namespaces = &processes[&innermost.pid]["namespaces"];
    ensure!(is(&namespaces["pid"], &innermost.nsid), "{namespaces}");
    let task = &processes[&innermost.pid]["tasks"][0];
    ensure!(
        is(&task["tid"], &innermost.pid) && is(&task["namespaces"]["pid"], &innermost.nsid),
        "{task}"
    );
    let table = answer("/v1/pidmap")?;
    let its = |ids: &&Value| {
        let ids = ids.as_array();
        ids.and_then(|ids| ids.last())
            .is_some_and(|it| is(&it["pid"], &innermost.pid))
    };
    let ids = table.as_array().and_then(|all| all.iter().find(its));
    let ids = ids
        .and_then(Value::as_array)
        .context("its ids are missing")?;
    ensure!(
        ids.len() == 3 && ids[0]["pid"] == 1 && is(&ids[0]["nsid"], &innermost.nsid),
        "{ids:?}"
    );
    sensor.stop()?;
    Ok(())
}

/// What people read.
fn shown(bench: &Bench, made: &[Made]) -> Result<()> {
    let user = made
        .iter()
        .find(|it| it.kind == "user")
        .context("no user namespace")?;
    let text =
        |args: &[&str]| -> Result<String> { Ok(holdfast(bench, args)?.with_code(0)?.stdout) };
    let users = text(&["namespaces", "--type", "user"])?;
    ensure!(users.contains(&user.nsid), "{users}");
    let mounts = text(&["namespaces", "--mounts"])?;
    ensure!(
        mounts.contains("/zoo/over/below") && mounts.contains("yes"),
        "{mounts}"
    );
    let wrong = holdfast(bench, &["namespaces", "--type", "network"])?;
    ensure!(wrong.code() == Some(2), "{wrong:?}");
    let tree = text(&["processes", "--tree"])?;
    ensure!(tree.contains("act zoo-nested 0"), "{tree}");
    Ok(())
}

/// Whether it is the number that has this text.
fn is(value: &Value, number: &str) -> bool {
    value
        .as_u64()
        .is_some_and(|value| number.parse() == Ok(value))
}

fn keys(object: &Value) -> BTreeSet<String> {
    let all = object.as_object().into_iter().flatten();
    all.map(|(key, _)| key.clone()).collect()
}

fn holdfast(bench: &Bench, args: &[&str]) -> Result<Ended> {
    Command::new(&bench.setting.holdfast)
        .args(args)
        .output_within(COMMAND)
}

fn listing(bench: &Bench) -> Result<Value> {
    let listed = holdfast(bench, &["namespaces", "--mounts", "--json"])?.with_code(0)?;
    serde_json::from_str(&listed.stdout).context("parse what was listed")
}
