//! The whole tree, on rings and a kernel side of the tests' own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{self, Mode};
use holdfast_policy::field::Kinds;
use holdfast_policy::redact::{self, Redaction};
use holdfast_policy::snapshot::Tables;
use holdfast_policy::table::ContainerKey;
use holdfast_wire::control::{Counters, Tier};
use holdfast_wire::record::Header;
use rustix::event::{EventfdFlags, eventfd};
use serde_json::Value;

use super::*;
use crate::evaluator::testing;
use crate::kernel::{Attempt, BufferReport, Capped, HookReport};

mod engines;

/// The rings' writing end, and the kernel's counters.
#[derive(Debug)]
struct Fake {
    rings: [(Mutex<VecDeque<Vec<u8>>>, OwnedFd); Domain::ALL.len()],
    submitted: [AtomicU64; holdfast_wire::kind::KINDS],
    attached: Mutex<BTreeSet<Kind>>,
    unattachable: Option<Kind>,
    installs: AtomicU64,
    refuse_install: std::sync::atomic::AtomicBool,
    spared: Mutex<Vec<u32>>,
    /// By cgroup: the epoch, and which conditions hold.
    containers: Mutex<BTreeMap<ContainerKey, u32>>,
}

impl Fake {
    fn new(unattachable: Option<Kind>) -> Arc<Self> {
        let ring = |_| {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            (Mutex::default(), eventfd(0, flags).unwrap())
        };
        Arc::new(Self {
            rings: std::array::from_fn(ring),
            submitted: std::array::from_fn(|_| AtomicU64::new(0)),
            attached: Mutex::default(),
            unattachable,
            installs: AtomicU64::new(0),
            refuse_install: false.into(),
            spared: Mutex::default(),
            containers: Mutex::default(),
        })
    }

    fn submit(&self, kind: Kind, record: Vec<u8>) {
        let (queue, wake) = &self.rings[kind.domain() as usize];
        let mut queue = queue.lock().unwrap();
        queue.push_back(record);
        self.submitted[kind.index()].fetch_add(1, Ordering::Relaxed);
        drop(queue);
        rustix::io::write(wake, &1u64.to_ne_bytes()).unwrap();
    }

    fn rings(self: &Arc<Self>) -> Vec<(Domain, Box<dyn Ring>)> {
        let ring = |domain| {
            (
                domain,
                Box::new(FakeRing(self.clone(), domain)) as Box<dyn Ring>,
            )
        };
        Domain::ALL.into_iter().map(ring).collect()
    }
}

struct FakeRing(Arc<Fake>, Domain);

impl Ring for FakeRing {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.rings[self.1 as usize].1.as_fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        let (queue, wake) = &self.0.rings[self.1 as usize];
        let mut queue = queue.lock().unwrap();
        match queue.pop_front() {
            Some(record) => {
                take(&record);
                true
            }
            None => {
                let _ = rustix::io::read(wake, &mut [0u8; 8]);
                false
            }
        }
    }
}

impl Kernel for Fake {
    fn attach(&self, kind: Kind) -> Result<Tier, KernelError> {
        if self.unattachable == Some(kind) {
            let (attempted, reason) = ("attach".to_owned(), "no such function".to_owned());
            return Err(KernelError { attempted, reason });
        }
        self.attached.lock().unwrap().insert(kind);
        Ok(Tier::Lsm)
    }

    fn detach(&self, kind: Kind) {
        self.attached.lock().unwrap().remove(&kind);
    }

    fn report(&self, kind: Kind) -> HookReport {
        let tier = self
            .attached
            .lock()
            .unwrap()
            .contains(&kind)
            .then_some("lsm");
        let tried: Vec<Attempt> = Vec::new();
        HookReport {
            action: kind.action(),
            tier,
            reason: String::new(),
            blind_to: "",
            tried,
            outlives_sensor: false,
        }
    }

    fn counters(&self, kind: Kind) -> Result<(Counters, u64), KernelError> {
        let submitted = self.submitted[kind.index()].load(Ordering::Relaxed);
        Ok((
            Counters {
                seen: submitted,
                submitted,
                ..Counters::default()
            },
            0,
        ))
    }

    fn capped(&self) -> Result<Vec<Capped>, KernelError> {
        Ok(Vec::new())
    }

    fn buffer(&self) -> BufferReport {
        let reason = "there is no kernel".to_owned();
        BufferReport {
            kind: "ring",
            reason,
        }
    }

    fn install(&self, _tables: &Tables) -> Result<(), KernelError> {
        if self.refuse_install.load(Ordering::Relaxed) {
            let (attempted, reason) = ("install".to_owned(), "map is full".to_owned());
            return Err(KernelError { attempted, reason });
        }
        self.installs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn set_container(&self, key: ContainerKey, held: u32) -> Result<(), KernelError> {
        self.containers.lock().unwrap().insert(key, held);
        Ok(())
    }

    fn forget_container(&self, key: ContainerKey) -> Result<(), KernelError> {
        self.containers.lock().unwrap().remove(&key);
        Ok(())
    }

    fn set_never_kill(&self, tgids: &[u32]) -> Result<(), KernelError> {
        *self.spared.lock().unwrap() = tgids.to_vec();
        Ok(())
    }
}

/// A sensor without policies, by this kernel.
async fn started(settings: Settings, kernel: &Arc<Fake>, reported: Kinds) -> Handle {
    let snapshot = snapshot(1, &[], reported);
    start(settings, kernel.clone(), kernel.rings(), snapshot)
        .await
        .unwrap()
}

fn settings(root: &Path, log: Option<&Path>) -> Settings {
    std::fs::create_dir_all(root.join("proc")).unwrap();
    let event = holdfast_wire::event::Host {
        id: "host".into(),
        name: "host".into(),
        ..Default::default()
    };
    Settings {
        mode: Mode::Enforce,
        report: vec!["sensor.*".into()],
        environment: Vec::new(),
        redaction: Redaction::new([redact::DEFAULT]).unwrap(),
        stdout: None,
        derive: None,
        uplink: None,
        engines: Vec::new(),
        waits: Waits {
            event: Duration::from_millis(500),
            alert: Duration::from_secs(2),
        },
        log: log.map(|directory| Log {
            directory: directory.to_owned(),
            max_bytes: u64::MAX,
            keep: 1,
        }),
        never_kill: Vec::new(),
        cap: None,
        host: Host {
            event,
            cloud: None,
            boot_id: "0123456789".into(),
            root: root.to_owned(),
        },
    }
}

fn snapshot(epoch: u32, policies: &[&str], reported: Kinds) -> Snapshot {
    let parse = |text: &&str| document::Policy::parse("test.json", text.as_bytes()).unwrap();
    let policies: Vec<_> = policies.iter().map(parse).collect();
    compile(
        &policies,
        &Options {
            epoch,
            mode: Mode::Enforce,
            reported,
        },
    )
    .unwrap()
}

fn events(directory: &Path) -> Vec<Value> {
    let file = std::fs::File::open(directory.join("events.jsonl")).unwrap();
    let lines = BufReader::new(file).lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

fn of_action<'a>(events: &'a [Value], action: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"]["action"] == action)
        .collect()
}

/// Waits for a condition, at most ten seconds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn actor<'a>(status: &'a Status, name: &str) -> &'a status::Actor {
    status
        .actors
        .children
        .iter()
        .find(|actor| actor.name == name)
        .unwrap()
}

/// The lives of `processes` processes, five records each, in the order of their times.
fn feed(kernel: &Fake, first: u32, processes: u32, sequence: &mut u64) {
    for tgid in first..first + processes {
        let mut header = |kind| {
            *sequence += 1;
            Header {
                sequence: *sequence,
                exec_id: 1,
                ..testing::header(kind, tgid)
            }
        };
        let parent = Header {
            tgid: 1,
            start_boottime: 1,
            ..header(Kind::ProcessFork)
        };
        kernel.submit(Kind::ProcessFork, testing::fork(parent, tgid));
        let exec = Header {
            exec_id: 2,
            ..header(Kind::ProcessExec)
        };
        kernel.submit(
            Kind::ProcessExec,
            testing::exec(exec, "/bin/true", &["true", "-x"]),
        );
        let open = Header {
            exec_id: 2,
            ..header(Kind::FileOpen)
        };
        kernel.submit(Kind::FileOpen, testing::file(open, "/etc/passwd", ""));
        let connect = Header {
            exec_id: 2,
            ..header(Kind::NetworkConnect)
        };
        kernel.submit(Kind::NetworkConnect, testing::connect(connect));
        let exit = Header {
            exec_id: 2,
            ..header(Kind::ProcessExit)
        };
        kernel.submit(Kind::ProcessExit, testing::exit(exit, 3 << 8));
    }
}

fn assert_balanced(status: &Status) {
    for (action, entry) in &status.ledger.kinds {
        assert_eq!(entry.imbalance(), None, "{action}: {entry:?}");
    }
}

/// Panics every actor in turn while 100,000 records pass: each becomes exactly one event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_actors_panic() {
    const PROCESSES: u32 = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let kernel = Fake::new(None);
    let handle = started(
        settings(directory.path(), Some(directory.path())),
        &kernel,
        Kinds::ALL,
    )
    .await;
    handle.ready().await;
    let feeding = std::thread::spawn({
        let kernel = kernel.clone();
        move || {
            let mut sequence = 0;
            for first in (0..PROCESSES).step_by(100) {
                feed(&kernel, 1000 + first, 100, &mut sequence);
                // Spread over the panics.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    let status = handle.status().await.unwrap();
    let names: Vec<_> = status
        .actors
        .children
        .iter()
        .map(|actor| actor.name.clone())
        .collect();
    assert_eq!(
        names.len(),
        1 + 1 + 1 + Domain::ALL.len() + Kind::hooked().count() + 1
    );
    for name in &names {
        handle.fail_actor(name, Fault::Panic).await.unwrap();
        let began = Instant::now();
        until(name, async || {
            let status = handle.status().await.unwrap();
            let actor = actor(&status, name);
            actor.restarts == 1 && actor.state == ActorState::Running
        })
        .await;
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{name} took {:?}",
            began.elapsed()
        );
    }
    feeding.join().unwrap();
    let status = handle.stop().await.unwrap();
    assert_balanced(&status);
    assert_eq!(kernel.attached.lock().unwrap().len(), 0);
    let sink = &status.sinks[0];
    assert_eq!((sink.dropped, sink.depth_bytes), (0, 0));
    assert!(
        actor(&status, "evaluator")
            .last_error
            .as_ref()
            .unwrap()
            .contains("panic was ordered")
    );
    let events = events(directory.path());
    for action in [
        "process.fork",
        "process.exec",
        "process.exit",
        "file.open",
        "network.connect",
    ] {
        let found = of_action(&events, action);
        let ids: HashSet<_> = found
            .iter()
            .map(|event| event["event"]["id"].as_str())
            .collect();
        assert_eq!(
            (found.len(), ids.len()),
            (PROCESSES as usize, PROCESSES as usize),
            "{action}"
        );
        assert_eq!(status.ledger.kinds[action].emitted, u64::from(PROCESSES));
    }
    assert_eq!(of_action(&events, "sensor.restart").len(), names.len());
    assert_eq!(sink.written, events.len() as u64);
}

/// Without failures the order within a process is that of time, and every event has its facts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_in_order_and_have_their_facts() {
    const PROCESSES: u32 = 2_000;
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    std::fs::write(
        directory.path().join("etc/passwd"),
        "root:x:0:0::/:/bin/sh\n",
    )
    .unwrap();
    let kernel = Fake::new(None);
    let handle = started(
        settings(directory.path(), Some(directory.path())),
        &kernel,
        Kinds::ALL,
    )
    .await;
    let tail = handle.tail().unwrap();
    handle.ready().await;
    for part in 0..20 {
        feed(
            &kernel,
            1000 + part * PROCESSES / 20,
            PROCESSES / 20,
            &mut u64::from(part * 10_000),
        );
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let status = handle.stop().await.unwrap();
    assert_balanced(&status);
    let events = events(directory.path());
    let mut last: HashMap<i64, u64> = HashMap::new();
    for event in events
        .iter()
        .filter(|event| event["event"]["sequence"].is_u64())
    {
        let pid = event["process"]["pid"].as_i64().unwrap();
        let sequence = event["event"]["sequence"].as_u64().unwrap();
        let before = last.insert(pid, sequence);
        assert!(
            before.is_none_or(|before| before < sequence),
            "{pid}: {before:?} {sequence}"
        );
    }
    let open = of_action(&events, "file.open")[7];
    let exec = of_action(&events, "process.exec")[7];
    let exit = of_action(&events, "process.exit")[7];
    assert_eq!(open["process"]["entity_id"], exec["process"]["entity_id"]);
    assert_eq!(open["process"]["args"], serde_json::json!(["true", "-x"]));
    assert_eq!(open["process"]["executable"], "/bin/true");
    assert_eq!(open["process"]["user"]["name"], "root");
    assert_eq!(open["process"]["parent"]["pid"], 1);
    assert_eq!(open["process"]["tty"]["name"], "pts0");
    assert_eq!(open["file"]["path"], "/etc/passwd");
    assert_eq!(open["file"]["mode"], "0640");
    assert_eq!(open["file"]["device"], "8:2");
    assert_eq!(
        open["holdfast"]["flags"],
        serde_json::json!(["O_WRONLY", "O_CREAT", "O_TRUNC"])
    );
    assert_eq!(exit["process"]["exit_code"], 3);
    let connect = of_action(&events, "network.connect")[7];
    assert_eq!(
        connect["destination"],
        serde_json::json!({"ip": "192.0.2.1", "port": 443})
    );
    assert_eq!(
        connect["network"],
        serde_json::json!({"transport": "tcp", "type": "ipv4", "direction": "egress"})
    );
    let fork = of_action(&events, "process.fork")[7];
    assert_eq!(fork["holdfast"]["target"]["pid"], exec["process"]["pid"]);
    let followed: Value = serde_json::from_slice(&tail.next().await.unwrap()).unwrap();
    assert!(events.contains(&followed));
    assert_eq!(of_action(&events, "sensor.start").len(), 1);
    assert_eq!(of_action(&events, "sensor.stop").len(), 1);
}

/// A record on which the evaluator panics is tried once more, then given up; others are unharmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisonous_record_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = Fake::new(None);
    let settings = settings(directory.path(), Some(directory.path()));
    let snapshot = Arc::new(snapshot(1, &[], Kinds::ALL));
    let shared = Shared::new(settings, kernel.clone(), kernel.rings(), snapshot).unwrap();
    let shared = Arc::new(shared);
    let handle = launch(shared.clone()).await.unwrap();
    handle.ready().await;
    for (faults, lost) in [(1, 0), (2, 1)] {
        let before = shared.ledger.entry(Kind::ProcessFork);
        shared.faults.arm(faults);
        feed(&kernel, 1000 * faults as u32, 10, &mut 0);
        until("all are evaluated", async || {
            shared.ledger.entry(Kind::ProcessExit).evaluated == 10 * faults as u64
        })
        .await;
        let after = shared.ledger.entry(Kind::ProcessFork);
        assert_eq!(after.dropped - before.dropped, lost);
        assert_eq!(after.evaluated - before.evaluated, 10);
    }
    // Corrupt ones are counted for the kind they claim, and skipped.
    let mut corrupt = testing::exit(testing::header(Kind::ProcessExit, 1), 0);
    corrupt.pop();
    kernel.submit(Kind::ProcessExit, corrupt);
    let status = handle.stop().await.unwrap();
    assert_eq!(status.ledger.kinds["process.exit"].dropped, 1);
    assert_balanced(&status);
}

/// A rule that kills does so for a process that user space judged, and the event says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_kills_and_the_event_says_so() {
    use std::os::unix::process::ExitStatusExt;
    const POLICY: &str = r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","mode":"enforce",
        "rules":[
          {"id":"k","on":["process.exec"],"when":"process.executable == '/bin/evil'",
           "action":"kill","severity":"high","message":"{{process.executable}}!"},
          {"id":"t","on":["file.open"],"when":"file.path == '/x'","action":"alert",
           "throttle":{"max":2,"every":"1h"}}]}"#;
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path(), Some(directory.path()));
    settings.host.root = "/".into();
    let kernel = Fake::new(None);
    let snapshot = snapshot(1, &[POLICY], Kinds::NONE);
    let handle = start(settings, kernel.clone(), kernel.rings(), snapshot)
        .await
        .unwrap();
    handle.ready().await;
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let stat = crate::evaluator::processes::scan::stat(Path::new("/proc"), child.id()).unwrap();
    let header = Header {
        start_boottime: stat.start + 1,
        exec_id: 5,
        ..testing::header(Kind::ProcessExec, child.id())
    };
    let submit = |header| {
        kernel.submit(
            Kind::ProcessExec,
            testing::exec(header, "/bin/evil", &["evil"]),
        );
    };
    // Another process with this pid: not killed.
    submit(Header {
        start_boottime: stat.start + 9_000_000_000,
        ..header
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(child.try_wait().unwrap().is_none());
    submit(header);
    let status = tokio::task::spawn_blocking(move || child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.signal(), Some(9));
    let blocked = Header {
        flags: holdfast_wire::record::flags::REFUSED,
        verdict: 5,
        rule: 0,
        start_boottime: 1,
        ..testing::header(Kind::ProcessExec, u32::MAX / 2)
    };
    submit(blocked);
    for _ in 0..5 {
        let open = testing::file(testing::header(Kind::FileOpen, 77), "/x", "");
        kernel.submit(Kind::FileOpen, open);
    }
    let status = handle.stop().await.unwrap();
    assert_balanced(&status);
    assert_eq!(status.ledger.kinds["file.open"].suppressed, 3);
    let events = events(directory.path());
    let execs = of_action(&events, "process.exec");
    let outcomes: Vec<_> = execs
        .iter()
        .map(|event| event["holdfast"]["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["allowed", "killed_after", "blocked"]);
    assert!(
        execs[0]["event"]["reason"]
            .as_str()
            .unwrap()
            .contains("another process")
    );
    assert_eq!(execs[1]["event"]["kind"], "alert");
    assert_eq!(execs[1]["rule"]["id"], "k");
    assert_eq!(execs[1]["message"], "/bin/evil!");
    assert_eq!(execs[2]["event"]["outcome"], "failure");
    assert_eq!(
        execs[2]["event"]["type"],
        serde_json::json!(["start", "denied"])
    );
    assert!(kernel.spared.lock().unwrap().contains(&std::process::id()));
}

/// A reload takes effect; one that the kernel refuses changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_reloaded_or_stay() {
    const POLICY: &str = r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","rules":[
        {"id":"r","on":["file.delete"],"when":"true","action":"deny"}]}"#;
    let directory = tempfile::tempdir().unwrap();
    let kernel = Fake::new(Some(Kind::ProcessSignal));
    let handle = started(
        settings(directory.path(), Some(directory.path())),
        &kernel,
        Kinds::NONE,
    )
    .await;
    handle.ready().await;
    let attached = || {
        kernel
            .attached
            .lock()
            .unwrap()
            .iter()
            .copied()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        attached(),
        [Kind::ProcessExec, Kind::ProcessFork, Kind::ProcessExit]
    );
    assert_eq!(
        handle
            .reload(snapshot(2, &[POLICY], Kinds::NONE))
            .await
            .unwrap(),
        2
    );
    assert!(attached().contains(&Kind::FileDelete));
    kernel.refuse_install.store(true, Ordering::Relaxed);
    let error = handle
        .reload(snapshot(3, &[], Kinds::NONE))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("map is full"), "{error}");
    let status = handle.status().await.unwrap();
    assert_eq!((status.policy.revision, status.policy.rules), (2, 1));
    assert_eq!((status.tier, status.mode), ("lsm", "enforce"));
    kernel.refuse_install.store(false, Ordering::Relaxed);
    handle
        .reload(snapshot(4, &[], Kinds::of(&[Kind::ProcessSignal])))
        .await
        .unwrap();
    assert!(!attached().contains(&Kind::FileDelete));
    let degraded = handle.status().await.unwrap().degraded;
    let is_said = degraded
        .iter()
        .any(|it| it.what == "process.signal" && it.reason.contains("no such"));
    assert!(is_said, "{degraded:?}");
    handle.stop().await.unwrap();
    assert!(matches!(
        handle.status().await,
        Err(HandleError::Stopped(_))
    ));
    let policy = events(directory.path());
    assert_eq!(of_action(&policy, "sensor.policy").len(), 2);
}

/// A sink that cannot write holds up nobody: it is degraded, and what it misses is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sinks_that_fail_are_degraded_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut settings = settings(directory.path(), Some(&missing));
    settings.stdout = Some(Stdout {
        format: Format::Pretty { colour: false },
        to: Arc::new(writer.into()),
    });
    let kernel = Fake::new(None);
    let snapshot = snapshot(1, &[], Kinds::ALL);
    let handle = start(settings, kernel.clone(), kernel.rings(), snapshot)
        .await
        .unwrap();
    handle.ready().await;
    drop(reader);
    feed(&kernel, 1000, 10, &mut 0);
    let degraded = async |what: &str| {
        let status = handle.status().await.unwrap();
        status.degraded.iter().any(|it| it.what == what)
    };
    until("a closed pipe is said", async || {
        degraded("sink.stdout.write").await
    })
    .await;
    until("a missing directory is said", async || {
        degraded("sink.file.write").await
    })
    .await;
    // From now on standard output refuses, which counts as dropped.
    feed(&kernel, 2000, 10, &mut 100);
    std::fs::create_dir(&missing).unwrap();
    until("the file recovers", async || {
        !degraded("sink.file.write").await
    })
    .await;
    let status = handle.stop().await.unwrap();
    assert_balanced(&status);
    assert!(status.ledger.kinds["process.exec"].dropped > 0);
    let [stdout, file] = &status.sinks[..] else {
        panic!("two sinks")
    };
    assert_eq!(stdout.name, "sink.stdout");
    assert_eq!(stdout.dropped, stdout.offered - stdout.written);
    assert_eq!((file.dropped, file.written), (0, file.offered));
    assert_eq!(of_action(&events(&missing), "process.exec").len(), 20);
}

fn of_image(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","rules":[
            {{"id":"r","on":["file.open"],"when":"container.image.name == '{name}'","action":"deny"}}]}}"#
    )
}

/// The kernel is told again when an engine tells, when other conditions come into force, and when the container ends.
/// Policies with the same conditions go on with what it was told, and so does the next sensor.
#[test]
fn the_kernel_knows_the_containers_as_they_are() {
    use crate::runtime::cgroup::Container;
    use crate::runtime::table::Details;
    use holdfast_wire::event;

    const HOST: u64 = 1;
    const INSIDE: u64 = 2;
    let directory = tempfile::tempdir().unwrap();
    let kernel = Fake::new(None);
    let policy = |epoch, image| Arc::new(snapshot(epoch, &[&of_image(image)], Kinds::NONE));
    let web = policy(1, "web");
    let conditions = web.tables().container_digest;
    let settings = settings(directory.path(), None);
    let shared = Shared::new(settings, kernel.clone(), kernel.rings(), web).unwrap();
    let known = |conditions| {
        let known = kernel.containers.lock().unwrap();
        let of_these = known.iter().filter(|(key, _)| key.conditions == conditions);
        of_these
            .map(|(key, held)| (key.cgroup, *held))
            .collect::<Vec<_>>()
    };
    let container = Arc::new(Container {
        id: "c".into(),
        runtime: Some("docker"),
        pod: None,
    });
    shared.enter_cgroup(HOST, None);
    shared.enter_cgroup(INSIDE, Some(&container));
    assert_eq!(known(conditions), [(HOST, 0), (INSIDE, 0)]);
    let image = event::Image {
        name: "web".into(),
        ..Default::default()
    };
    let details = Details {
        container: event::Container {
            id: "c".into(),
            image: Some(image),
            ..Default::default()
        },
        ..Default::default()
    };
    shared.tell_container("engine", details);
    assert_eq!(known(conditions), [(HOST, 0), (INSIDE, 1)]);
    let (again, other) = (policy(2, "web"), policy(3, "shop"));
    assert_eq!(again.tables().container_digest, conditions);
    let others = other.tables().container_digest;
    shared.policies.prepare(other.clone());
    shared.enter_cgroups_again(&other);
    assert_eq!(known(others), [(HOST, 0), (INSIDE, 0)]);
    // Of those that are still in force nothing has changed.
    assert_eq!(known(conditions), [(HOST, 0), (INSIDE, 1)]);
    shared.policies.switch(other);
    shared.end_container("c", None);
    assert_eq!(known(others), [(HOST, 0)]);
}
