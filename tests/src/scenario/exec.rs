//! What an exec tells: the script and its interpreter, the environment, what the file's bits and
//! capabilities gave, and no secrets; and that what follows an exec is told as that program's.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::Value;

use super::ledger::{lost, settled};
use super::{EVENT, Scenario};
use crate::bench::{Bench, make_executable};
use crate::command::Bounded as _;
use crate::events::{Events, action, number, text};
use crate::place::{Place, Variant};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "exec-in-full",
        about: "an exec tells script and interpreter, inode, environment, set-id bits and capabilities \
                gained; secrets are redacted",
        at: |place| !place.is_variant(Variant::NoBtf) && !place.is_variant(Variant::Preempt),
        seconds: 60,
        run: in_full,
    },
    Scenario {
        name: "exec-fanotify",
        about: "without eBPF, too, an exec tells the script, its arguments and the environment",
        at: |place| *place == Place::Native || place.is_variant(Variant::Stock),
        seconds: 60,
        run: without_ebpf,
    },
    Scenario {
        name: "exec-chains",
        about: "what processes do that execute themselves as fast as they can is told as of the exec before it",
        at: |place| *place == Place::Native || place.is_variant(Variant::Stock),
        seconds: 60,
        run: chains,
    },
];

const NOBODY: u32 = 65534;
/// `security.capability` of one capability, CAP_NET_RAW (13), permitted and effective: `struct
/// vfs_cap_data` of revision 2 (`include/uapi/linux/capability.h`).
const NET_RAW: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];

fn in_full(bench: &Bench) -> Result<()> {
    let base = bench.path("files");
    fs::create_dir_all(&base).context("create a directory")?;
    // Not on what may be mounted with nosuid.
    let mount = format!("mount -t tmpfs tmpfs {}", base.display());
    bench
        .busybox(&["sh", "-c", &mount])
        .output_within(EVENT)?
        .with_code(0)?;
    let result = tell_in_full(bench, &base);
    let umount = format!("umount {}", base.display());
    bench
        .busybox(&["sh", "-c", &umount])
        .output_within(EVENT)?
        .with_code(0)?;
    result
}

fn tell_in_full(bench: &Bench, base: &Path) -> Result<()> {
    fs::set_permissions(base, Permissions::from_mode(0o755)).context("let others in")?;
    let copy = |name: &str| -> Result<PathBuf> {
        let path = base.join(name);
        fs::copy("/bin/busybox", &path).context("copy busybox")?;
        make_executable(&path)?;
        Ok(path)
    };
    let (set_id, capable) = (copy("busybox-set-id")?, copy("busybox-capable")?);
    let regained = copy("busybox-of-root")?;
    fs::set_permissions(&set_id, Permissions::from_mode(0o4755)).context("set the bit")?;
    let value: Vec<u8> = NET_RAW.into_iter().flat_map(u32::to_le_bytes).collect();
    setxattr(&capable, "security.capability", &value, XattrFlags::empty())
        .context("give a file a capability")?;
    let script = base.join("script");
    fs::write(&script, "#!/bin/busybox sh\nexit 0\n").context("write a script")?;
    make_executable(&script)?;

    let sensor = bench
        .sensor()
        .option("events", "process.exec")
        .option("set", "events.environment=HOLDFAST_SHOWN")
        .start()?;
    run_with_secret(&script)?;
    for program in [&set_id, &capable] {
        Command::new(program)
            .arg("true")
            .uid(NOBODY)
            .gid(NOBODY)
            .output_within(EVENT)?
            .with_code(0)?;
    }
    let words = ["drop-and-exec", &regained.display().to_string()];
    bench.act(&words).output_within(EVENT)?.with_code(0)?;

    let executed = |path: &Path| {
        let path = path.display().to_string();
        sensor
            .events
            .wait_for(&format!("the exec of {path}"), EVENT, |event| {
                action(event) == "process.exec"
                    && text(event, "/holdfast/executable/argument") == path
            })
    };
    let of_script = executed(&script)?;
    let busybox = fs::metadata("/bin/busybox").context("look at busybox")?;
    for (pointer, expected) in [
        ("/holdfast/executable/script", script.display().to_string()),
        (
            "/holdfast/executable/interpreter",
            "/bin/busybox".to_owned(),
        ),
        ("/holdfast/executable/inode", busybox.ino().to_string()),
        ("/process/env_vars/0", "HOLDFAST_SHOWN=yes".to_owned()),
        ("/process/env_vars/1", String::new()),
    ] {
        let is = text(&of_script, pointer);
        ensure!(
            is == expected,
            "{pointer} is {is:?}, not {expected:?}: {of_script}"
        );
    }
    let arguments = of_script["process"]["args"].to_string();
    ensure!(
        !of_script.to_string().contains("hunter2")
            && arguments.contains("[redacted]")
            && arguments.contains("visible"),
        "a secret is told, or what is none is not: {arguments}"
    );

    let of_set_id = executed(&set_id)?;
    ensure!(
        of_set_id.pointer("/holdfast/executable/setuid") == Some(&Value::Bool(true))
            && text(&of_set_id, "/process/user/id") == NOBODY.to_string()
            && text(&of_set_id, "/process/user/effective/id") == "0",
        "the bit took effect: {of_set_id}"
    );
    let of_capable = executed(&capable)?;
    ensure!(
        text(&of_capable, "/holdfast/capabilities/gained/0") == "CAP_NET_RAW",
        "a capability was gained: {of_capable}"
    );
    let of_root = executed(&regained)?;
    let gained = of_root["holdfast"]["capabilities"]["gained"].to_string();
    // What the thread gave up just before is known where its credentials can be looked at.
    let told = gained.contains("CAP_NET_RAW") && !gained.contains("CAP_CHOWN");
    ensure!(
        told || sensor.status()?["tier"] == "tracepoint",
        "root gained what it had given up: {of_root}"
    );
    sensor.stop().map(drop)
}

/// With a secret among its arguments, and a variable that is told beside one that is not.
fn run_with_secret(script: &Path) -> Result<()> {
    let mut command = Command::new(script);
    command
        .args(["--password=hunter2", "visible"])
        .env("HOLDFAST_SHOWN", "yes")
        .env("HOLDFAST_HIDDEN", "no");
    command.output_within(EVENT)?.with_code(0).map(drop)
}

fn without_ebpf(bench: &Bench) -> Result<()> {
    // What ends at once is gone before `/proc` is read.
    let script = bench.file("script", "#!/bin/busybox sh\nsleep 1\n")?;
    make_executable(&script)?;
    let sensor = bench
        .sensor()
        .tier("fanotify")
        .option("events", "process.exec")
        .option("set", "events.environment=HOLDFAST_SHOWN")
        .start()?;
    run_with_secret(&script)?;
    let path = script.display().to_string();
    let busybox = fs::canonicalize("/bin/busybox").context("find busybox")?;
    let busybox = busybox.display().to_string();
    let event = sensor
        .events
        .wait_for("the exec of the script", EVENT, |event| {
            action(event) == "process.exec" && text(event, "/holdfast/executable/script") == path
        })?;
    for (pointer, expected) in [
        ("/holdfast/tier", "fanotify"),
        ("/holdfast/executable/interpreter", &busybox),
        ("/process/executable", &busybox),
        ("/process/args/2", &path),
        ("/process/args/4", "visible"),
        ("/process/env_vars/0", "HOLDFAST_SHOWN=yes"),
        ("/process/env_vars/1", ""),
    ] {
        let is = text(&event, pointer);
        ensure!(
            is == expected,
            "{pointer} is {is:?}, not {expected:?}: {event}"
        );
    }
    ensure!(
        !event.to_string().contains("hunter2"),
        "a secret is told: {event}"
    );
    sensor.stop().map(drop)
}

/// Processes at once, and how often each executes itself.
const CHAINS: u32 = 4;
const GENERATIONS: u32 = 400;

fn chains(bench: &Bench) -> Result<()> {
    let generations = super::ledger::scaled(bench, GENERATIONS);
    let dir = bench.path("opened");
    fs::create_dir_all(&dir).context("create a directory")?;
    let sensor = bench
        .sensor()
        .option("events", "process.exec,file.open")
        .option("set", "kernel.process_ring=16MiB")
        .option("set", "kernel.file_ring=16MiB")
        .start()?;
    let ours = dir.display().to_string();
    let chains: Vec<_> = (0..CHAINS)
        .map(|chain| {
            let words = [&format!("{ours}/{chain}"), "0", &generations.to_string()];
            bench
                .act(&["exec-chain", words[0], words[1], words[2]])
                .spawn()
        })
        .collect::<Result<_, _>>()
        .context("start a chain")?;
    let mut pids = Vec::new();
    for child in chains {
        pids.push(child.id());
        let status = child.wait_with_output().context("wait for a chain")?.status;
        ensure!(status.success(), "a chain ended with {status}");
    }
    let kinds = settled(bench)?;
    let lost: u64 = ["process.exec", "file.open"]
        .iter()
        .map(|kind| lost(&kinds[*kind]))
        .sum();
    // All that was read is written before the sensor ends.
    let events = sensor.stop()?;
    let mut missing = 0;
    for (chain, pid) in pids.into_iter().enumerate() {
        missing += one_chain(&events, pid, &format!("{ours}/{chain}"), generations)
            .with_context(|| format!("chain {chain}"))?;
    }
    ensure!(
        missing <= lost,
        "{missing} execs or opens are not told, and {lost} are known to be lost"
    );
    bench.note(format!(
        "{CHAINS} processes, {generations} execs each, {missing} execs or opens missing"
    ));
    Ok(())
}

/// Each open of a process is told as of the program that did it, between its exec and the next; how many
/// execs or opens are not told. Where the exec is not, its program is not known, and nothing is made up.
fn one_chain(events: &Events, pid: u32, prefix: &str, generations: u32) -> Result<u64> {
    let of_process = events.matching(|event| number(event, "/process/pid") == Some(i64::from(pid)));
    let (mut running, mut exec_id) = (None, None);
    let (mut execs, mut opens) = (BTreeSet::new(), BTreeSet::new());
    for event in &of_process {
        let generation = text(event, "/process/args/4");
        let id = number(event, "/holdfast/exec_id");
        if action(event) == "process.exec" {
            ensure!(id > exec_id, "after exec {exec_id:?} comes {id:?}");
            if execs.insert(generation.to_owned()) {
                (running, exec_id) = (Some(generation), id);
            }
        } else if let Some(name) = text(event, "/file/path").strip_prefix(prefix) {
            let name = name.trim_start_matches('/');
            let is_known = running == Some(name);
            let right = if is_known {
                generation == name && id == exec_id
            } else {
                generation.is_empty() && id > exec_id
            };
            ensure!(
                right && opens.insert(name.to_owned()),
                "the open of {name} is told of program {generation:?} (exec id {id:?}) after the exec of \
                 {running:?} ({exec_id:?}), or twice"
            );
        }
    }
    let all = u64::from(generations);
    Ok(2 * all - (execs.len() + opens.len()).min(2 * generations as usize) as u64)
}
