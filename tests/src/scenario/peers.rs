//! What watching costs by other tools, measured as it is of the sensor, in the same guest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

use super::Scenario;
use super::cost::{Load, json_of};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::cost::{BURSTS, Operation};
use crate::place::Variant;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: PEERS,
    about: "auditd, bpftrace, execsnoop and opensnoop measured as the sensor is",
    at: |place| place.is_variant(Variant::Peers),
    seconds: 300,
    run: peers,
}];

const PEERS: &str = "cost-peers";

/// Whether this is one of them.
pub fn counts(scenario: &Scenario) -> bool {
    scenario.name == PEERS
}

/// Until a tool has attached what it attaches: an idle guest does not wait long for it.
const BEGUN: Duration = Duration::from_secs(60);
/// How long one may take to write what it has, and to end.
const END: Duration = Duration::from_secs(60);
const COMMAND: Duration = Duration::from_secs(20);

/// A tool that tells of one operation.
struct Peer {
    name: &'static str,
    operation: Operation,
    command: &'static [&'static str],
    /// What is in each line about the operation, of the file that it writes.
    mark: &'static str,
    /// `None`: it writes to its stdout.
    file: Option<&'static str>,
    /// What is run before and after it.
    before: &'static [&'static [&'static str]],
    /// A kernel thread that works for it.
    thread: Option<&'static str>,
}

const AUDIT_LOG: &str = "/var/log/audit/audit.log";

/// Audit comes last: once it was on, every system call costs a little more.
const TOOLS: [Peer; 5] = [
    Peer {
        name: "execsnoop (libbpf-tools)",
        operation: Operation::Exec,
        command: &["/usr/sbin/execsnoop-libbpf"],
        mark: "tiny",
        file: None,
        before: &[],
        thread: None,
    },
    Peer {
        name: "bpftrace (execve printed)",
        operation: Operation::Exec,
        command: &[
            "/usr/bin/bpftrace",
            "-e",
            "tracepoint:syscalls:sys_enter_execve { printf(\"%d %s \", pid, comm); join(args->argv); }",
        ],
        mark: "tiny",
        file: None,
        before: &[],
        thread: None,
    },
    Peer {
        name: "opensnoop (libbpf-tools)",
        operation: Operation::Open,
        command: &["/usr/sbin/opensnoop-libbpf"],
        mark: "opened",
        file: None,
        before: &[],
        thread: None,
    },
    Peer {
        name: "auditd (execve, exit_group)",
        operation: Operation::Exec,
        command: &["/usr/sbin/auditd", "-n"],
        mark: "type=EXECVE",
        file: Some(AUDIT_LOG),
        before: &[
            &["-D"],
            &["-b", "65536"],
            &[
                "-a",
                "always,exit",
                "-F",
                "arch=b64",
                "-S",
                "execve,exit,exit_group",
            ],
            &["-e", "1"],
        ],
        thread: Some("kauditd"),
    },
    Peer {
        name: "auditd (open, openat)",
        operation: Operation::Open,
        command: &["/usr/sbin/auditd", "-n"],
        mark: "type=SYSCALL",
        file: Some(AUDIT_LOG),
        before: &[
            &["-D"],
            &["-b", "65536"],
            &["-a", "always,exit", "-F", "arch=b64", "-S", "open,openat"],
            &["-e", "1"],
        ],
        thread: Some("kauditd"),
    },
];

fn peers(bench: &Bench) -> Result<()> {
    // Where auditd says that it runs; a guest's /var is empty.
    fs::create_dir_all("/run/audit").context("make /run/audit")?;
    let _ = std::os::unix::fs::symlink("/run", "/var/run");
    let load = Load::new(bench)?;
    let mut found = Map::new();
    for (name, operation, events) in [
        (
            "holdfast (process.exec, process.exit)",
            Operation::Exec,
            "process.exec,process.exit",
        ),
        ("holdfast (file.open)", Operation::Open, "file.open"),
    ] {
        let sensor = bench.sensor().silent().option("events", events).start()?;
        let costs = load.watched(bench, &[sensor.pid()], &[operation])?;
        found.insert(name.to_owned(), json_of(&costs));
        sensor.stop()?;
    }
    for peer in &TOOLS {
        // One that does not run here is no reason not to know of the others.
        let measured = measure(bench, &load, peer);
        let measured = measured.unwrap_or_else(|error| json!({"failed": format!("{error:#}")}));
        found.insert(peer.name.to_owned(), measured);
    }
    bench.note(Value::Object(found).to_string());
    Ok(())
}

fn measure(bench: &Bench, load: &Load, peer: &Peer) -> Result<Value> {
    if let Some(file) = peer.file {
        let directory = Path::new(file).parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        for old in with_rotated(Path::new(file))? {
            fs::remove_file(&old).with_context(|| format!("remove {}", old.display()))?;
        }
    }
    let output = bench.path("peer.out");
    let mut tool = Tool(
        Command::new(peer.command[0])
            .args(&peer.command[1..])
            .env("BPFTRACE_CACHE_USER_SYMBOLS", "NONE")
            .stdin(Stdio::null())
            .stdout(File::create(&output).context("create a tool's output")?)
            .stderr(File::create(bench.path("peer.stderr")).context("create a tool's log")?)
            .spawn()
            .with_context(|| format!("start {}", peer.command[0]))?,
    );
    sleep(BEGUN / 2);
    for words in peer.before {
        let mut auditctl = Command::new("/usr/sbin/auditctl");
        auditctl.args(*words).output_within(COMMAND)?.with_code(0)?;
    }
    sleep(BEGUN / 2);
    let said = || fs::read_to_string(bench.path("peer.stderr")).unwrap_or_default();
    let ended = tool.0.try_wait().context("look for a tool")?;
    ensure!(ended.is_none(), "it ended by itself: {}", said());
    let mut by = vec![tool.0.id()];
    by.extend(peer.thread.map(thread).transpose()?);
    let costs = load.watched(bench, &by, &[peer.operation])?;
    if !peer.before.is_empty() {
        let mut auditctl = Command::new("/usr/sbin/auditctl");
        auditctl.args(["-D"]).output_within(COMMAND)?.with_code(0)?;
    }
    tool.end()?;
    let written = peer.file.map_or(output, Into::into);
    let mut told = 0;
    for file in with_rotated(&written)? {
        let text = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let text = String::from_utf8_lossy(&text);
        told += text.lines().filter(|line| line.contains(peer.mark)).count() as u64;
    }
    let done = u64::from(BURSTS * peer.operation.burst());
    let Value::Object(mut note) = json_of(&costs) else {
        return Ok(Value::Null);
    };
    note.insert("done".to_owned(), json!(done));
    note.insert("told".to_owned(), json!(told));
    Ok(Value::Object(note))
}

/// A file, and those beside it whose names begin as its does: what it was before it was rotated.
fn with_rotated(file: &Path) -> Result<Vec<PathBuf>> {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    let mut all = Vec::new();
    for entry in fs::read_dir(file.parent().unwrap_or(file)).context("list logs")? {
        let path = entry.context("list logs")?.path();
        let found = path.file_name().unwrap_or_default().as_encoded_bytes();
        if found.starts_with(name) {
            all.push(path);
        }
    }
    Ok(all)
}

/// The kernel thread of this name.
fn thread(name: &str) -> Result<u32> {
    for entry in fs::read_dir("/proc").context("list processes")?.flatten() {
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim_end() == name
            && let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok())
        {
            return Ok(pid);
        }
    }
    anyhow::bail!("there is no thread {name}")
}

/// A tool that runs; dropping it ends it.
struct Tool(Child);

impl Tool {
    /// Has it write what it has and end, as Ctrl-C does.
    fn end(&mut self) -> Result<()> {
        let signal = [Signal::INT, Signal::TERM];
        for signal in signal {
            kill_process(Pid::from_child(&self.0), signal).context("end a tool")?;
            let deadline = std::time::Instant::now() + END / 4;
            while std::time::Instant::now() < deadline {
                if self.0.try_wait().context("wait for a tool")?.is_some() {
                    return Ok(());
                }
                sleep(Duration::from_millis(50));
            }
        }
        anyhow::bail!("it does not end")
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
