//! What outlives every actor: rings, lanes, tables, counts. Owned by the root and lent to all.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_policy::snapshot::Snapshot;
use holdfast_wire::control::Tier;
use holdfast_wire::{Domain, Kind, event};
use ractor::ActorRef;
use tokio::sync::{Notify, watch};

use super::{Settings, StartError, status};
use crate::caps::Caps;
use crate::clock;
use crate::degraded::Degradations;
use crate::evaluator::evaluation::Evaluation;
use crate::evaluator::policies::Policies;
use crate::evaluator::processes::scan::{self, Reading};
use crate::kernel::{Kernel, KernelError, Ring};
use crate::killer::Killing;
use crate::killer::guard::Guard;
use crate::ledger::{Fate, Ledger};
use crate::losses::Losses;
use crate::namespace::Namespaces;
use crate::reader::intake::Intake;
use crate::runtime::cgroup::Container;
use crate::runtime::entered::Entered;
use crate::runtime::hierarchy::Hierarchy;
use crate::runtime::lifecycle::{Happened, Lifecycle};
use crate::runtime::namespaces;
use crate::runtime::table::{Containers, Details};
use crate::sink::Sinks;
use crate::supervisor::{REST, SLICE};
use crate::uplink::Uplink;

/// See the module. No lock in it is held across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// The host's `/proc`.
    pub(crate) proc: PathBuf,
    pub(crate) kernel: Arc<dyn Kernel>,
    pub(crate) ledger: Ledger,
    /// What was told of it as lost.
    pub(crate) losses: Losses,
    /// Which cgroups are being capped.
    pub(crate) caps: Caps,
    pub(crate) cgroups: Option<Hierarchy>,
    /// What is known of containers.
    pub(crate) containers: Containers,
    /// What the kernel programs know of them.
    pub(crate) entered: Entered,
    /// What becomes of them.
    lifecycle: Lifecycle,
    /// Which namespaces there are, and who is in them.
    pub(crate) namespaces: Namespaces,
    /// When the sensor began, nanoseconds of boot time.
    pub(crate) began: u64,
    /// Everything made before this time is done with: see [`crate::evaluator::finished`].
    pub(crate) finished: AtomicU64,
    pub(crate) degraded: Degradations,
    /// Notified of whatever the evaluator waits for.
    pub(crate) arrival: Arc<Notify>,
    /// By domain number.
    pub(crate) intakes: [Intake; Domain::ALL.len()],
    pub(crate) policies: Policies,
    pub(crate) evaluation: Mutex<Evaluation>,
    pub(crate) killing: Killing,
    pub(crate) sinks: Sinks,
    /// What goes to a Team Server and comes from it.
    pub(crate) uplink: Option<Arc<Uplink>>,
    pub(crate) progress: Progress,
    /// Whether the sensor has begun to stop.
    stopping: watch::Sender<bool>,
    /// The evaluator at present.
    pub(crate) evaluator: Address<crate::evaluator::Message>,
    #[cfg(test)]
    pub(crate) faults: Faults,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        kernel: Arc<dyn Kernel>,
        rings: Vec<(Domain, Box<dyn Ring>)>,
        snapshot: Arc<Snapshot>,
    ) -> Result<Self, StartError> {
        let mut by_domain: [Vec<Box<dyn Ring>>; Domain::ALL.len()] = Default::default();
        for (domain, ring) in rings {
            by_domain[domain as usize].push(ring);
        }
        let process = &mut by_domain[Domain::Process as usize];
        let kernel_side = process.pop();
        let kernel_side = kernel_side.ok_or(StartError::Rings(Domain::Process.name(), 0))?;
        let (lifecycle, joined) = Lifecycle::beside(kernel_side).map_err(StartError::Joined)?;
        process.push(joined);
        let arrival = Arc::new(Notify::new());
        let mut intakes = Vec::new();
        for (domain, mut rings) in Domain::ALL.into_iter().zip(by_domain) {
            match (rings.pop(), rings.len()) {
                (Some(ring), 0) => intakes.push(Intake::new(ring, arrival.clone())),
                (None, _) => return Err(StartError::Rings(domain.name(), 0)),
                (Some(_), others) => return Err(StartError::Rings(domain.name(), others + 1)),
            }
        }
        // One was pushed for each domain.
        let Ok(intakes) = intakes.try_into() else {
            return Err(StartError::Rings("all", 0));
        };
        let proc = settings.host.proc();
        let guard = Guard::new(settings.host.root.clone(), &settings.never_kill);
        let policies = Policies::new(snapshot, kernel.predecessor());
        let uplink = settings.uplink.clone();
        let uplink = uplink.map(|it| Arc::new(Uplink::new(it, &settings.host.boot_id)));
        Ok(Self {
            kernel,
            ledger: Ledger::new(),
            losses: Losses::new(),
            caps: Caps::default(),
            cgroups: Hierarchy::anywhere(&settings.host.root),
            containers: Containers::default(),
            entered: Entered::default(),
            lifecycle,
            namespaces: Namespaces::default(),
            began: clock::boottime(),
            finished: AtomicU64::new(0),
            degraded: Degradations::new(arrival.clone()),
            arrival,
            intakes,
            policies,
            evaluation: Mutex::new(Evaluation::new(&settings)),
            killing: Killing::new(proc.clone(), guard),
            sinks: Sinks::new(&settings, uplink.as_ref()),
            uplink,
            progress: Progress::new(),
            stopping: watch::Sender::new(false),
            evaluator: Address::default(),
            proc,
            settings,
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    /// The sensor begins to stop: whoever rests is to look for orders.
    pub(crate) fn begin_to_stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits for `arrival`, for `limit` at most and never longer than [`REST`]; once the sensor has begun to stop, for a
    /// [`SLICE`].
    pub(crate) async fn rest(&self, limit: Duration, arrival: impl Future<Output = ()>) {
        let mut stopping = self.stopping.subscribe();
        let longest = if *stopping.borrow() { SLICE } else { REST };
        tokio::select! {
            () = arrival => {}
            () = tokio::time::sleep(limit.min(longest)) => {}
            _ = stopping.changed() => {}
        }
    }

    /// `engine` tells of a container.
    pub(crate) fn tell_container(&self, engine: &str, mut details: Details) {
        let id = details.container.id.clone();
        if let Some(pid) = details.pid {
            namespaces::add_shared(&self.proc, pid, &mut details.grants.host_namespaces);
        }
        self.containers.tell(engine, details);
        warn_of(self.entered.renew(self, &id));
    }

    /// A container that was told of runs, as `engine` says. `just_now`: it says that it has started it.
    pub(crate) fn start_container(
        &self,
        engine: &str,
        (id, pid): (&str, Option<u32>),
        just_now: bool,
    ) {
        let just_now = if just_now {
            Some(true)
        } else {
            pid.and_then(|pid| self.is_newer_than_sensor(pid))
        };
        if self.containers.start(id, engine, pid, just_now) {
            self.tell_of(id, pid, Happened::Start);
        }
    }

    /// A container has ended, with this, where its engine says.
    pub(crate) fn end_container(&self, id: &str, exit_code: Option<i32>) {
        let ended = self.containers.end(id);
        warn_of(self.entered.end(self, id));
        if let Some(pid) = ended {
            self.tell_of(id, pid, Happened::Exit(exit_code));
        }
    }

    /// An engine of `runtime` says what happened to an image: one of the wire's operations.
    pub(crate) fn tell_image(&self, runtime: &str, operation: &str, image: &event::Image) {
        let epoch = self.policies.current().epoch();
        self.lifecycle
            .tell_image(&self.ledger, (runtime, operation), image, epoch);
    }

    fn tell_of(&self, id: &str, pid: Option<u32>, happened: Happened) {
        let epoch = self.policies.current().epoch();
        self.lifecycle
            .tell(&self.ledger, (id, pid), happened, epoch);
    }

    /// Whether a process began after the sensor did: who began before was not started just now. `None`: it is gone.
    fn is_newer_than_sensor(&self, pid: u32) -> Option<bool> {
        let stat = scan::stat(&self.proc, pid)?;
        Some(stat.start + scan::TICK >= self.began)
    }

    /// So many records that were read are lost. Noted where it outlives this process before it is counted, since it may be
    /// killed before it tells of it.
    pub(crate) fn drop_records(&self, kind: Kind, records: u64) {
        self.kernel.dropped(kind, records);
        self.ledger.evaluated(kind, Fate::Dropped, records);
    }

    /// It is known whose a cgroup is.
    pub(crate) fn enter_cgroup(&self, cgroup: u64, container: Option<&Arc<Container>>) {
        warn_of(self.entered.enter(self, cgroup, container));
    }

    /// Other policies come into force: the programs learn what containers meet of them.
    pub(crate) fn enter_cgroups_again(&self, snapshot: &Snapshot) {
        warn_of(self.entered.renew_all(self, snapshot));
    }

    /// At the very end: what was read from the rings is done with, if it has come through.
    pub(crate) fn release_rings(&self) {
        let received = self.ledger.total(|entry| entry.received);
        let (offered, settled) = self.sinks.lasting();
        if received == self.ledger.total(|entry| entry.evaluated) && offered == settled {
            self.intakes.iter().for_each(Intake::release);
        }
    }

    /// The best tier among the attached hooks of what a tier makes a difference for: the life of processes is seen at
    /// tracepoints in all. `none`: there is none.
    pub(crate) fn tier(&self) -> &'static str {
        let tiers = Kind::hooked()
            .filter(|kind| kind.can_be_refused())
            .filter_map(|kind| Tier::from_name(self.kernel.report(kind).tier?));
        tiers.min().map_or("none", Tier::name)
    }

    /// The sensor's mode.
    pub(crate) fn mode(&self) -> &'static str {
        match &self.settings.derive {
            Some(_) => "derive",
            None => self.settings.mode.name(),
        }
    }

    /// How processes are read.
    pub(crate) fn reading(&self) -> Reading<'_> {
        Reading {
            proc: &self.proc,
            environment: &self.settings.environment,
            redaction: &self.settings.redaction,
        }
    }

    /// The way in of a domain.
    pub(crate) fn intake(&self, domain: Domain) -> &Intake {
        &self.intakes[domain as usize]
    }

    /// `domain` has records up to `newest`: has the other readers look whether they have earlier
    /// ones.
    pub(crate) fn sweep_others(&self, domain: Domain, newest: u64) {
        for other in Domain::ALL.into_iter().filter(|other| *other != domain) {
            self.intake(other).ask_sweep(newest);
        }
    }

    /// Takes over how the kernel side's parts stand.
    pub(crate) fn tell_conditions(&self) {
        for (what, wrong) in self.kernel.conditions() {
            match wrong {
                Some(reason) => self.degraded.set(what, &reason),
                None => self.degraded.clear(what),
            }
        }
    }

    /// The lanes, as `status` shows them.
    pub(crate) fn lanes(&self) -> Vec<status::Lane> {
        let lane = |domain: Domain| {
            let lane = &self.intake(domain).lane;
            status::Lane {
                domain: domain.name(),
                depth: lane.depth(),
                capacity: lane.capacity(),
            }
        };
        Domain::ALL.into_iter().map(lane).collect()
    }

    /// What waits in them together.
    pub(crate) fn waiting(&self) -> status::Waiting {
        let lanes = self.lanes();
        status::Waiting {
            depth: lanes.iter().map(|lane| lane.depth).sum(),
            capacity: lanes.iter().map(|lane| lane.capacity).sum(),
            unit: "batches",
        }
    }
}

/// Where the present incarnation of an actor is reached: announced anew after each restart.
#[derive(Debug)]
pub(crate) struct Address<M>(Mutex<Option<ActorRef<M>>>);

impl<M> Default for Address<M> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<M: ractor::Message> Address<M> {
    /// From now on it is this one.
    pub(crate) fn announce(&self, actor: ActorRef<M>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(actor);
    }

    /// The present incarnation; it may be ending.
    pub(crate) fn get(&self) -> Option<ActorRef<M>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Whether all get on, and what they use.
#[derive(Debug)]
pub(crate) struct Progress {
    beat: AtomicU64,
    processes: AtomicUsize,
    resources: Mutex<status::Resources>,
}

impl Progress {
    fn new() -> Self {
        Self {
            beat: AtomicU64::new(clock::monotonic()),
            processes: AtomicUsize::new(0),
            resources: Mutex::default(),
        }
    }

    /// The root has looked, and every actor gets on or has ended.
    pub(crate) fn beat(&self) {
        self.beat.store(clock::monotonic(), Ordering::Relaxed);
    }

    /// How long ago that was.
    pub(crate) fn silence(&self) -> Duration {
        let beat = self.beat.load(Ordering::Relaxed);
        Duration::from_nanos(clock::monotonic().saturating_sub(beat))
    }

    /// Size of the process table.
    pub(crate) fn processes(&self) -> usize {
        self.processes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_processes(&self, count: usize) {
        self.processes.store(count, Ordering::Relaxed);
    }

    /// What the sensor uses, as last measured.
    pub(crate) fn resources(&self) -> status::Resources {
        *self
            .resources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_resources(&self, resources: status::Resources) {
        *self
            .resources
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = resources;
    }
}

/// Failures in the middle of a record.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Faults(AtomicUsize);

#[cfg(test)]
impl Faults {
    /// The next `count` attempts at a record panic.
    pub(crate) fn arm(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    pub(crate) fn strike(&self) {
        let left = self.0.load(Ordering::Relaxed);
        if left > 0 {
            self.0.store(left - 1, Ordering::Relaxed);
            panic!("a panic in the middle of a record");
        }
    }
}

/// User space decides on what the programs were not told.
fn warn_of(told: Result<(), KernelError>) {
    if let Err(error) = told {
        tracing::warn!("{error}");
    }
}
