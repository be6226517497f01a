//! A sensor of which only the session with its server runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::Mode;
use holdfast_policy::field::Kinds;
use holdfast_policy::redact::{self, Redaction};
use holdfast_policy::snapshot::Tables;
use holdfast_policy::table::ContainerKey;
use holdfast_wire::control::{Counters, Tier};
use holdfast_wire::frame::Priority;
use holdfast_wire::uplink::Secret;
use holdfast_wire::{Domain, Kind};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::super::spool::Limits;
use super::super::super::{Settings, Uplink, server};
use super::super::Session;
use crate::kernel::{BufferReport, Capped, HookReport, Kernel, KernelError, Ring};
use crate::root::shared::Shared;
use crate::root::{self, Host, Waits};

/// Longer than anything that is waited for takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kernel that sees nothing.
#[derive(Debug)]
struct Blind;

struct Empty(OwnedFd);

impl Ring for Empty {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn next(&mut self, _take: &mut dyn FnMut(&[u8])) -> bool {
        false
    }
}

impl Kernel for Blind {
    fn attach(&self, _kind: Kind) -> Result<Tier, KernelError> {
        Ok(Tier::Lsm)
    }

    fn detach(&self, _kind: Kind) {}

    fn report(&self, kind: Kind) -> HookReport {
        HookReport {
            action: kind.action(),
            tier: None,
            reason: String::new(),
            blind_to: "",
            tried: Vec::new(),
            outlives_sensor: false,
        }
    }

    fn counters(&self, _kind: Kind) -> Result<(Counters, u64), KernelError> {
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

    fn install(&self, _tables: &Tables) -> Result<(), KernelError> {
        Ok(())
    }

    fn set_container(&self, _key: ContainerKey, _held: u32) -> Result<(), KernelError> {
        Ok(())
    }

    fn forget_container(&self, _key: ContainerKey) -> Result<(), KernelError> {
        Ok(())
    }

    fn set_never_kill(&self, _tgids: &[u32]) -> Result<(), KernelError> {
        Ok(())
    }
}

fn settings(directory: &Path, uplink: Settings) -> root::Settings {
    std::fs::create_dir_all(directory.join("proc")).unwrap();
    root::Settings {
        mode: Mode::Observe,
        report: Vec::new(),
        environment: Vec::new(),
        redaction: Redaction::new([redact::DEFAULT]).unwrap(),
        stdout: None,
        derive: None,
        uplink: Some(uplink),
        engines: Vec::new(),
        waits: Waits {
            event: Duration::ZERO,
            alert: Duration::ZERO,
        },
        log: None,
        never_kill: Vec::new(),
        cap: None,
        host: Host {
            event: holdfast_wire::event::Host {
                id: "host".into(),
                name: "host".into(),
                ..Default::default()
            },
            cloud: None,
            boot_id: "0123456789".into(),
            root: directory.to_owned(),
        },
    }
}

/// See the module.
pub(super) struct Sensor {
    pub(super) directory: tempfile::TempDir,
    pub(super) shared: Arc<Shared>,
    pub(super) uplink: Arc<Uplink>,
    drain: watch::Sender<bool>,
    session: Option<JoinHandle<()>>,
}

impl Sensor {
    /// One that does not talk to the server at `address` yet. `change` says what is set otherwise than in a test that asks for nothing.
    pub(super) fn new(address: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stated = server::Stated {
            url: format!("http://{address}"),
            ..Default::default()
        };
        let mut uplink = Settings {
            server: server::Server::new(&stated).unwrap(),
            key: Some(Secret::new("key".into())),
            key_file: None,
            directory: directory.path().to_owned(),
            events: Vec::new(),
            spool: Limits {
                max_bytes: 64 << 20,
                max_age: Duration::from_secs(3600),
            },
            batch_events: 100,
            batch_bytes: 1 << 20,
            batch_interval: Duration::from_millis(100),
            bandwidth: 0,
            bundle: None,
            bundle_error: None,
            offers: mpsc::channel(1).0,
        };
        change(&mut uplink);
        let options = Options {
            epoch: 1,
            mode: Mode::Observe,
            reported: Kinds::default(),
        };
        let snapshot = Arc::new(compile(&[], &options).unwrap());
        let ring = |domain| {
            let empty = Empty(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
            (domain, Box::new(empty) as Box<dyn Ring>)
        };
        let rings = Domain::ALL.into_iter().map(ring).collect();
        let settings = settings(directory.path(), uplink);
        let shared = Shared::new(settings, Arc::new(Blind), rings, snapshot).unwrap();
        Self {
            directory,
            uplink: shared.uplink.clone().unwrap(),
            shared: Arc::new(shared),
            drain: watch::Sender::new(false),
            session: None,
        }
    }

    /// It talks to the server from now on.
    pub(super) fn talk(&mut self) {
        let drain = self.drain.subscribe();
        let session = Session::new(self.shared.clone(), self.uplink.clone(), drain);
        self.session = Some(tokio::spawn(session.run()));
    }

    /// One that talks to the server already.
    pub(super) fn talking(address: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let mut sensor = Self::new(address, change);
        sensor.talk();
        sensor
    }

    /// Has these to be sent.
    pub(super) fn put(&self, priority: Priority, events: &[&str]) {
        let lines: Vec<_> = events.iter().map(|it| (priority, it.as_bytes())).collect();
        let now = crate::clock::wall() / 1_000_000_000;
        let stored = self.uplink.with_spool(|spool| spool.store(&lines, now));
        assert_eq!(stored.unwrap(), events.len());
        self.uplink.arrival.notify_one();
    }

    /// Waits until it is so.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let why = self.degraded("uplink");
            assert!(began.elapsed() < PATIENCE, "never: {what}; {why:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until nothing is left to be sent.
    pub(super) async fn until_sent(&self) {
        let waits = |priority| self.uplink.waiting(priority) > 0;
        let is_sent = || !Priority::ALL.into_iter().any(waits);
        self.until("all is sent", is_sent).await;
    }

    /// Why this does not work as it should, if it does not.
    pub(super) fn degraded(&self, what: &str) -> Option<String> {
        let in_force = self.shared.degraded.in_force().into_iter();
        in_force
            .filter(|it| it.what == what)
            .map(|it| it.reason)
            .next()
    }

    /// Events that are counted as lost.
    pub(super) fn lost(&self) -> u64 {
        let lost = self.uplink.standing().totals.lost;
        lost.iter().flat_map(|lost| lost.values()).sum()
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.abort();
        }
    }
}
