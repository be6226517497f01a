//! What an event costs the evaluator: instructions of user space from the record to the JSON line, counted by callgrind. The
//! whole tree runs, on one thread and with a kernel side that has made its records before; what its other actors do meanwhile
//! depends on how long that takes, and is not counted. What the first events of each kind take more is taken off by a run
//! with few operations and one with many.
#![allow(clippy::unwrap_used)] // A benchmark that cannot go on stops.
#![allow(clippy::print_stdout)] // Its result: JSON, instructions of each by operation.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use holdfast_actors::kernel::{BufferReport, Capped, HookReport, Kernel, KernelError, Ring};
use holdfast_actors::root::{self, Host, Log, Settings, Waits};
use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{Mode, Policy};
use holdfast_policy::field::Kinds;
use holdfast_policy::redact::Redaction;
use holdfast_policy::snapshot::{Snapshot, Tables};
use holdfast_policy::table::ContainerKey;
use holdfast_wire::control::{Counters, Tier};
use holdfast_wire::encode::{bytes_of, encode};
use holdfast_wire::record::file::{AT_FDCWD, File};
use holdfast_wire::record::network::{Socket, ends};
use holdfast_wire::record::process::{Exec, Exit, Fork};
use holdfast_wire::record::{Header, NO_RULE, flags};
use holdfast_wire::{ABI_VERSION, Domain, Kind};

/// Operations of the shorter and of the longer run.
const RUNS: [u32; 2] = [500, 2_500];
/// What is counted, with all that it calls.
const COUNTED: &str = "holdfast_actors::evaluator::evaluation::Evaluation::step";
/// Who does everything.
const MAKE: u32 = 1_000;

/// What is done over and over.
#[derive(Clone, Copy)]
enum Operation {
    /// fork, exec and exit, of which the last two are reported.
    Exec,
    Open,
    Connect,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Exec, Self::Open, Self::Connect];

    const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Open => "open",
            Self::Connect => "connect",
        }
    }

    const fn domain(self) -> Domain {
        match self {
            Self::Exec => Domain::Process,
            Self::Open => Domain::File,
            Self::Connect => Domain::Network,
        }
    }

    fn records(self, scene: &Scene, number: u32) -> Vec<Vec<u8>> {
        let child = 10_000 + number;
        match self {
            Self::Exec => vec![
                fork(scene, MAKE, child),
                exec(
                    scene,
                    child,
                    "/usr/bin/git",
                    &["git", "status", "--short", "--branch"],
                ),
                exit(scene, child),
            ],
            Self::Open => vec![open(scene, "/usr/lib/x86_64-linux-gnu/libc.so.6")],
            Self::Connect => vec![connect(scene)],
        }
    }
}

/// Where everything happens: in a container of a host that has cgroup v2 alone, and in this mount namespace.
struct Scene {
    root: tempfile::TempDir,
    cgroup: u64,
    mount_namespace: u32,
}

impl Scene {
    fn make() -> Self {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let cgroups = root.path().join("sys/fs/cgroup");
        let container = cgroups.join(format!(
            "system.slice/docker-{}.scope",
            "4d9c2f0e".repeat(8)
        ));
        std::fs::create_dir_all(&container).unwrap();
        std::fs::write(cgroups.join("cgroup.controllers"), "").unwrap();
        symlink("/proc", root.path().join("proc")).unwrap();
        Self {
            cgroup: std::fs::metadata(container).unwrap().ino(),
            mount_namespace: std::fs::metadata("/proc/self/ns/mnt").unwrap().ino() as u32,
            root,
        }
    }
}

fn header(scene: &Scene, kind: Kind, tgid: u32) -> Header {
    let name = if tgid == MAKE {
        b"make\0\0\0\0\0\0\0\0\0\0\0\0"
    } else {
        b"git\0\0\0\0\0\0\0\0\0\0\0\0\0"
    };
    Header {
        version: ABI_VERSION,
        kind: kind as u16,
        length: 0,
        sequence: 0,
        boottime: holdfast_actors::clock::boottime(),
        start_boottime: u64::from(tgid) * 100_000_000,
        cgroup_id: scene.cgroup,
        effective_capabilities: 0x1ff_ffff_ffff,
        exec_id: if tgid == MAKE { 2 } else { 3 },
        tgid,
        tid: tgid,
        ppid: if tgid == MAKE { 1 } else { MAKE },
        uid: 0,
        gid: 0,
        euid: 0,
        loginuid: u32::MAX,
        mount_namespace: scene.mount_namespace,
        pid_namespace: 4_026_531_836,
        network_namespace: 4_026_531_840,
        flags: if kind == Kind::ProcessFork {
            0
        } else {
            flags::REPORTED
        },
        epoch: 1,
        rule: NO_RULE,
        cpu: 0,
        comm: *name,
        tier: Tier::Lsm as u8,
        verdict: 0,
        reserved: 0,
        reserved_word: 0,
    }
}

fn fork(scene: &Scene, parent: u32, child: u32) -> Vec<u8> {
    let fork = Fork {
        child_start_boottime: u64::from(child) * 100_000_000,
        child_exec_id: 2,
        child_tgid: child,
        namespaces: 0,
        reserved: 0,
    };
    encode(
        header(scene, Kind::ProcessFork, parent),
        bytes_of(&fork),
        &[],
    )
}

fn exec(scene: &Scene, tgid: u32, executable: &str, arguments: &[&str]) -> Vec<u8> {
    let arguments: String = arguments.iter().flat_map(|it| [*it, "\0"]).collect();
    let directory = "/home/user/project";
    let length = |text: &str| text.len() as u16;
    let exec = Exec {
        inode: 7,
        capabilities_before: 0,
        device: 8 << 20 | 1,
        links: 1,
        mode: 0o100_755,
        executable_length: length(executable),
        filename_length: length(executable),
        working_directory_length: length(directory),
        arguments_length: length(&arguments),
        interpreter_length: 0,
        environment_length: 0,
        mount_namespace: scene.mount_namespace,
        mount_id: 30,
        above_root: 0,
        in_mount: length(executable),
        flags: 0,
        terminal: *b"pts0\0\0\0\0\0\0\0\0\0\0\0\0",
    };
    let strings = [executable, executable, directory, &arguments].map(str::as_bytes);
    encode(
        header(scene, Kind::ProcessExec, tgid),
        bytes_of(&exec),
        &strings,
    )
}

fn exit(scene: &Scene, tgid: u32) -> Vec<u8> {
    let exit = Exit {
        status: 0,
        reserved: 0,
    };
    encode(header(scene, Kind::ProcessExit, tgid), bytes_of(&exit), &[])
}

fn open(scene: &Scene, path: &str) -> Vec<u8> {
    let file = File {
        inode: 9,
        device: 8 << 20 | 1,
        mode: 0o100_644,
        open_flags: 0o100_000,
        owner: 0,
        group: 0,
        directory: AT_FDCWD,
        target_directory: AT_FDCWD,
        path_length: path.len() as u16,
        target_length: 0,
        mount_namespace: scene.mount_namespace,
        mount_id: 30,
        path_above_root: 0,
        target_above_root: 0,
        path_in_mount: path.len() as u16,
        target_in_mount: 0,
        flags: 0,
        reserved: 0,
    };
    encode(
        header(scene, Kind::FileOpen, MAKE),
        bytes_of(&file),
        &[path.as_bytes()],
    )
}

fn connect(scene: &Scene) -> Vec<u8> {
    let mut socket = Socket {
        peer_port: 443,
        family: 2,
        protocol: 6,
        socket_type: 1,
        ends: ends::PEER,
        ..Socket::UNKNOWN
    };
    socket.peer = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1];
    encode(
        header(scene, Kind::NetworkConnect, MAKE),
        bytes_of(&socket),
        &[],
    )
}

/// A ring whose records are all there.
struct Made {
    records: std::vec::IntoIter<Vec<u8>>,
    /// Readable.
    fd: OwnedFd,
}

impl Made {
    fn new(records: Vec<Vec<u8>>) -> Self {
        let fd = rustix::event::eventfd(1, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        Self {
            records: records.into_iter(),
            fd,
        }
    }
}

impl Ring for Made {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        let record = self.records.next();
        if let Some(record) = &record {
            take(record);
        }
        record.is_some()
    }
}

/// Programs that are all there, and count nothing.
#[derive(Debug)]
struct Attached;

impl Kernel for Attached {
    fn attach(&self, _: Kind) -> Result<Tier, KernelError> {
        Ok(Tier::Lsm)
    }

    fn detach(&self, _: Kind) {}

    fn report(&self, kind: Kind) -> HookReport {
        HookReport {
            action: kind.action(),
            tier: Some(Tier::Lsm.name()),
            reason: String::new(),
            blind_to: "",
            tried: Vec::new(),
            outlives_sensor: false,
        }
    }

    fn counters(&self, _: Kind) -> Result<(Counters, u64), KernelError> {
        Ok((Counters::default(), 0))
    }

    fn capped(&self) -> Result<Vec<Capped>, KernelError> {
        Ok(Vec::new())
    }

    fn buffer(&self) -> BufferReport {
        BufferReport {
            kind: "ring",
            reason: String::new(),
        }
    }

    fn install(&self, _: &Tables) -> Result<(), KernelError> {
        Ok(())
    }

    fn set_container(&self, _: ContainerKey, _: u32) -> Result<(), KernelError> {
        Ok(())
    }

    fn forget_container(&self, _: ContainerKey) -> Result<(), KernelError> {
        Ok(())
    }

    fn set_never_kill(&self, _: &[u32]) -> Result<(), KernelError> {
        Ok(())
    }
}

/// The policies that are shipped, with what is reported beside them.
fn snapshot() -> Snapshot {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut policies = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".test.json") {
            let text = std::fs::read(&path).unwrap();
            policies.insert(name.clone(), Policy::parse(&name, &text).unwrap());
        }
    }
    let reported = [
        Kind::ProcessExec,
        Kind::ProcessExit,
        Kind::FileOpen,
        Kind::NetworkConnect,
    ];
    let options = Options {
        epoch: 1,
        mode: Mode::Observe,
        reported: reported.into_iter().collect::<Kinds>(),
    };
    compile(&policies.into_values().collect::<Vec<_>>(), &options).unwrap()
}

/// Has the tree work off so many operations.
fn run(operation: Operation, count: u32) {
    let scene = Scene::make();
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let make = exec(&scene, MAKE, "/usr/bin/make", &["make", "all"]);
    let records = std::iter::once(make)
        .chain((0..count).flat_map(|number| operation.records(&scene, number)));
    let (mut process, mut other) = (Vec::new(), Vec::new());
    for record in records {
        let is_process = holdfast_wire::decode::claimed_kind(&record)
            .unwrap()
            .domain()
            == Domain::Process;
        if is_process { &mut process } else { &mut other }.push(record);
    }
    let mut rings: Vec<(Domain, Box<dyn Ring>)> = Vec::new();
    for domain in Domain::ALL {
        let records = match domain {
            Domain::Process => std::mem::take(&mut process),
            _ if domain == operation.domain() => std::mem::take(&mut other),
            _ => Vec::new(),
        };
        rings.push((domain, Box::new(Made::new(records))));
    }
    let settings = Settings {
        mode: Mode::Observe,
        report: Vec::new(),
        environment: Vec::new(),
        redaction: Redaction::default(),
        stdout: None,
        log: Some(Log {
            directory: directory.path().to_owned(),
            max_bytes: 1 << 30,
            keep: 0,
        }),
        derive: None,
        uplink: None,
        engines: Vec::new(),
        waits: Waits {
            event: Duration::from_millis(500),
            alert: Duration::from_secs(2),
        },
        never_kill: Vec::new(),
        cap: None,
        host: Host::read(scene.root.path()).unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let handle = root::start(settings, Arc::new(Attached), rings, snapshot())
            .await
            .unwrap();
        handle.ready().await;
        handle.stop().await.unwrap();
    });
    // Without what was given up or lost: an operation is one event, and a process's end another.
    let text = std::fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    let events = text.lines().filter(|line| !line.contains("\"sensor."));
    let each = if operation.domain() == Domain::Process {
        2
    } else {
        1
    };
    assert_eq!(events.count(), (count * each + 1) as usize);
}

/// Runs this program itself under callgrind, and returns the instructions that it counted.
fn counted(operation: Operation, count: u32) -> u64 {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(std::env::current_exe().unwrap())
        .args([operation.name(), &count.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    collected.unwrap().1.trim().parse().unwrap()
}

fn main() {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    if let [name, count] = arguments.as_slice() {
        let operation = Operation::ALL.into_iter().find(|it| it.name() == name);
        run(operation.unwrap(), count.parse().unwrap());
        return;
    }
    let cost = |operation: Operation| {
        let [few, many] = RUNS.map(|count| counted(operation, count));
        assert!(few > 0, "there is no {COUNTED} in this binary");
        let each = (many - few) / u64::from(RUNS[1] - RUNS[0]);
        (format!("reported {}, evaluated", operation.name()), each)
    };
    let costs: BTreeMap<_, _> = Operation::ALL.into_iter().map(cost).collect();
    println!("{}", serde_json::to_string(&costs).unwrap());
}
