//! What `status` shows. Field names are part of the public interface.

use std::collections::BTreeMap;

use holdfast_wire::ledger::Entry;
use serde::Serialize;

use crate::kernel::{BufferReport, HookReport};
use crate::uplink::Lost;

/// The state of the running sensor.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The best tier among the attached hooks of operations that a tier can refuse; `none` when there
    /// is none. Hooks that fall short of it say so themselves.
    pub tier: &'static str,
    /// `observe` or `enforce`.
    pub mode: &'static str,
    /// Every hook that is wanted was attached, or it is known why not.
    pub ready: bool,
    /// When the sensor started, RFC 3339.
    pub since: String,
    /// What does not work as it should, oldest first. Empty: all is well.
    pub degraded: Vec<Degradation>,
    /// The supervision tree: its root.
    pub actors: Actor,
    /// The policies in force.
    pub policy: Policy,
    /// What happened to every operation that was seen.
    pub ledger: Ledger,
    /// What carries records from the kernel programs to the readers.
    pub buffer: BufferReport,
    /// What one cgroup may take from the others.
    pub limits: Limits,
    /// Each hook.
    pub hooks: Vec<HookReport>,
    /// The lanes between readers and evaluator, by domain.
    pub lanes: Vec<Lane>,
    /// Each sink.
    pub sinks: Vec<Sink>,
    /// What goes to a Team Server; absent where the sensor has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Uplink>,
    /// The process table.
    pub processes: Processes,
    /// The containers.
    pub containers: Containers,
    /// What the sensor itself uses.
    pub resources: Resources,
}

/// Something that does not work as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Degradation {
    /// An actor's name, or a hook's action.
    pub what: String,
    /// Why, in one line.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// An actor and its children.
#[derive(Clone, Debug, Serialize)]
pub struct Actor {
    /// `root`, `reader.process`, …
    pub name: String,
    /// What it does at the moment.
    pub state: ActorState,
    /// Times it was restarted.
    pub restarts: u64,
    /// Why it ended the last time it did.
    pub last_error: Option<String>,
    /// How long it has been in the step that it is in, milliseconds: as long waits what it was told meanwhile.
    pub step_ms: u64,
    /// What waits to be worked off by it; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// The actors it supervises.
    pub children: Vec<Actor>,
}

/// What waits for an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// So much.
    pub depth: usize,
    /// So much there is room for.
    pub capacity: usize,
    /// Of what: `batches`, `bytes`, `kills`.
    pub unit: &'static str,
}

/// What an actor does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// It handles messages.
    Running,
    /// It does not get on with what it is doing, and was told to end: it has not yet.
    Stuck,
    /// It ended, and is started again after a delay.
    Restarting,
    /// It failed too often, and is left alone for a while.
    Parked,
    /// It was stopped.
    Stopped,
}

/// The policies in force.
#[derive(Clone, Debug, Serialize)]
pub struct Policy {
    /// Number of the set of policies; increases with every reload.
    pub revision: u32,
    /// Rules in it.
    pub rules: usize,
}

/// The loss ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Ledger {
    /// By `event.action`.
    pub kinds: BTreeMap<&'static str, Entry>,
    /// Records so corrupt that not even their kind is known; skipped.
    pub unattributed: u64,
}

/// What one cgroup may take from the others.
#[derive(Clone, Debug, Serialize)]
pub struct Limits {
    /// Events of a cgroup in each domain, in the long run; 0: any number.
    pub cgroup_events_per_second: u32,
    /// Events of a cgroup in each domain, at once.
    pub cgroup_burst: u32,
    /// Those that made more, those that do so now first.
    pub capped: Vec<CappedCgroup>,
}

/// A cgroup that made more events in a domain than the cap lets through.
#[derive(Clone, Debug, Serialize)]
pub struct CappedCgroup {
    /// Its id.
    pub cgroup: u64,
    /// From the root of the hierarchy; `None` when it was gone before it was looked for.
    pub path: Option<String>,
    /// The domain.
    pub domain: &'static str,
    /// Events withheld.
    pub events: u64,
    /// Whether it is being capped now.
    pub now: bool,
    /// When that was first seen, RFC 3339.
    pub since: String,
}

/// A lane between a reader and the evaluator.
#[derive(Clone, Debug, Serialize)]
pub struct Lane {
    /// The domain.
    pub domain: &'static str,
    /// Batches waiting.
    pub depth: usize,
    /// Batches there is room for.
    pub capacity: usize,
}

/// A sink. `offered = written + dropped + waiting`.
#[derive(Clone, Debug, Serialize)]
pub struct Sink {
    /// `sink.stdout`, `sink.file`.
    pub name: &'static str,
    /// Events offered to it.
    pub offered: u64,
    /// Events it wrote.
    pub written: u64,
    /// Events it did not take since its lane was full, or lost.
    pub dropped: u64,
    /// Bytes waiting in its lane.
    pub depth_bytes: usize,
    /// Bytes there is room for.
    pub capacity_bytes: usize,
}

/// What goes to a Team Server. Counts are since the spool was begun, over restarts.
#[derive(Clone, Debug, Serialize)]
pub struct Uplink {
    /// The server.
    pub url: String,
    /// What it calls the sensor; `None`: it is not enrolled yet.
    pub sensor_id: Option<String>,
    /// When the server last answered as it should, RFC 3339.
    pub last_success: Option<String>,
    /// Events in the spool.
    pub spooled: ByPriority<u64>,
    /// Bytes of the spool on the disk.
    pub spooled_bytes: u64,
    /// Events that the server has acknowledged.
    pub sent: ByPriority<u64>,
    /// Events that were lost behind the sink, by reason; what its lane did not take is counted there.
    pub lost: ByPriority<Lost>,
    /// Version of the bundle of policies in force.
    pub bundle: Option<u64>,
    /// Why the last bundle is not.
    pub bundle_error: Option<String>,
}

/// Of alerts, with what the sensor says of itself, and of other events.
#[derive(Clone, Debug, Serialize)]
pub struct ByPriority<T> {
    /// What goes first.
    pub alert: T,
    /// The rest.
    pub event: T,
}

/// The process table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Processes {
    /// Processes in it, those included that exited a short while ago.
    pub known: usize,
    /// Processes there is room for.
    pub capacity: usize,
}

/// The containers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Containers {
    /// Containers that are known, those included that ended a short while ago.
    pub known: usize,
    /// Those of them that an engine has told of.
    pub told: usize,
    /// Records that waited for an engine, which then told.
    pub waited: u64,
    /// Records that went on without, since no engine told in time.
    pub unnamed: u64,
}

/// What the sensor itself uses.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Resources {
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// CPU time since its start, milliseconds.
    pub cpu_ms: u64,
    /// Open file descriptors.
    pub open_files: u64,
}
