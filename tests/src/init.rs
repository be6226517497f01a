//! Pid 1 of a guest: makes a usable system, runs the plan, says each result to the host, powers off.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use rustix::system::{RebootCommand, reboot};

use crate::guest::PLAN;
use crate::place::{Place, Variant};
use crate::report::Line;
use crate::runner::{self, Setting};
use crate::scenario;

/// The file systems that a running machine has: where, what, and whether a kernel may lack it.
const MOUNTS: [(&str, &str, bool); 11] = [
    ("/proc", "proc", false),
    ("/sys", "sysfs", false),
    ("/dev", "devtmpfs", false),
    ("/sys/fs/cgroup", "cgroup2", false),
    ("/sys/fs/bpf", "bpf", false),
    ("/sys/kernel/debug", "debugfs", true),
    ("/sys/kernel/tracing", "tracefs", true),
    ("/sys/kernel/security", "securityfs", true),
    ("/tmp", "tmpfs", false),
    ("/run", "tmpfs", false),
    ("/var", "tmpfs", false),
];

/// Runs as pid 1; never returns to a caller that could go on.
pub fn main() -> Result<()> {
    let result = prepare().and_then(|place| carry_out(&place));
    if let Err(error) = &result {
        eprintln!("init: {error:#}");
    }
    // `-no-reboot` makes the emulator end on a restart, with or without ACPI.
    reboot(RebootCommand::Restart).context("restart")?;
    result
}

/// Runs in a system that is up, as one of its services; ends with the machine.
pub fn in_system() -> Result<()> {
    let result = place().and_then(|place| carry_out(&place));
    if let Err(error) = &result {
        eprintln!("scenarios: {error:#}");
    }
    reboot(RebootCommand::Restart).context("restart")?;
    result
}

fn place() -> Result<Place> {
    let plan = fs::read_to_string(PLAN).with_context(|| format!("read {PLAN}"))?;
    plan.lines().next().context("the plan is empty")?.parse()
}

fn prepare() -> Result<Place> {
    for (target, kind, may_lack) in MOUNTS {
        fs::create_dir_all(target).with_context(|| format!("create {target}"))?;
        let mounted = mount(kind, target, kind, MountFlags::empty(), None);
        if !may_lack {
            mounted.with_context(|| format!("mount {kind} on {target}"))?;
        }
    }
    for dir in [
        "/sbin",
        "/usr/sbin",
        "/var/tmp",
        "/var/lib",
        "/var/log",
        "/root",
        "/dev/shm",
    ] {
        fs::create_dir_all(dir).with_context(|| format!("create {dir}"))?;
    }
    busybox(&["--install", "-s"])?;
    busybox(&["ip", "link", "set", "lo", "up"])?;
    busybox(&["hostname", "guest"])?;
    // The console is for the kernel's last words, not for its chatter.
    fs::write("/proc/sys/kernel/printk", "4").context("quieten the console")?;

    let place = place()?;
    if place.is_variant(Variant::NoBtf) {
        let btf = "/sys/kernel/btf";
        mount("none", btf, "tmpfs", MountFlags::empty(), None).context("hide the kernel's BTF")?;
    }
    Ok(place)
}

fn busybox(args: &[&str]) -> Result<()> {
    let status = Command::new("/bin/busybox")
        .args(args)
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .status()
        .with_context(|| format!("start busybox {}", args.join(" ")))?;
    if !status.success() {
        bail!("busybox {} ended with {status}", args.join(" "));
    }
    Ok(())
}

fn carry_out(place: &Place) -> Result<()> {
    let [_, port] = place.variant().ports();
    let mut results = OpenOptions::new()
        .write(true)
        .open(format!("/dev/{port}"))
        .with_context(|| format!("open {port} for the results"))?;
    let setting = Setting::guest(place.clone());
    let plan = fs::read_to_string(PLAN).with_context(|| format!("read {PLAN}"))?;
    for name in plan.lines().skip(1) {
        let scenario = scenario::find(name)?;
        let limit = scenario.limit(place);
        say(
            &mut results,
            &Line::Started {
                scenario: name.to_owned(),
                limit,
            },
        )?;
        let outcome = runner::run(&setting, scenario);
        say(&mut results, &Line::Ended(outcome))?;
        if !place.is_system() {
            clear();
        }
    }
    // Closing the port waits until the last line is out.
    say(&mut results, &Line::Done)
}

fn say(results: &mut File, line: &Line) -> Result<()> {
    results
        .write_all(format!("{}\n", line.encode()).as_bytes())
        .context("write a result")
}

/// Ends everything that a scenario left, so that the next one finds the machine as the first did.
fn clear() {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw).filter(|pid| !pid.is_init()) {
            // Kernel threads take no signal, and others may be gone by now.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    for pins in [
        "/sys/fs/bpf/holdfast",
        "/run/holdfast",
        "/var/lib/holdfast",
        "/var/log/holdfast",
    ] {
        if Path::new(pins).exists() {
            let _ = fs::remove_dir_all(pins);
        }
    }
}
