//! The evaluator's work and everything it works on; outlives the evaluator.
//!
//! A record is finished by *committing* it: its event is in the outgoing buffer (or it is counted),
//! and the index of the next record moves. Until then everything can be done again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use foldhash::HashMap;
use holdfast_policy::field::{Fields, Shown};
use holdfast_policy::sequence::{History, Identity, MAX_REMEMBERED, Moment};
use holdfast_policy::snapshot::{Rule, Snapshot};
use holdfast_policy::throttle::Windows;
use holdfast_wire::control::Verdict;
use holdfast_wire::decode::{Body, Record, claimed_kind, claimed_time, decode};
use holdfast_wire::event::Event;
use holdfast_wire::record::{NO_RULE, flags};
use holdfast_wire::{Domain, Kind};

use super::already::Already;
use super::build::{self, Place, Subject};
use super::common::Common;
use super::finished::Finished;
use super::merge::{Input, Merge, Next};
use super::mounts::Mounts;
use super::outcome::{self, Ruling, Scope};
use super::outgoing::Outgoing;
use super::processes::{Key, Process, Program, Table};
use super::users::Users;
use super::waiting::{Released, Waiter, Waiting};
use super::{attribute, sensor, view};
use crate::clock;
use crate::killer::pidfd::Target;
use crate::killer::{Deed, MAX_TREE, Reply, Request};
use crate::ledger::Fate;
use crate::reader::intake::Batch;
use crate::root::Settings;
use crate::root::shared::Shared;
use crate::runtime::membership::{Membership, Memberships};

/// What does not work where a history has no room.
const SEQUENCES: &str = "sequences";
const DOMAINS: usize = Domain::ALL.len();
/// Records handled in one go, before control messages are looked at: some milliseconds.
const RECORDS_PER_STEP: usize = 256;
/// Times that a record is begun: a record on which the evaluator panics twice is given up.
const ATTEMPTS: u8 = 2;
/// The wall clock may differ from what is assumed by this much, nanoseconds, before it is assumed to
/// have been set: so that a process's start is printed the same each time.
const CLOCK_TOLERANCE: u64 = 1_000_000;
/// How long after the start records of a sensor before this one may still come, nanoseconds: what is in the rings is
/// read within a fraction of it.
const EARLIER: u64 = 60_000_000_000;

/// What to do after a step.
#[derive(Debug)]
pub(crate) enum Step {
    /// Step again.
    More,
    /// Nothing is due for so many nanoseconds, or until something arrives.
    Wait(u64),
    /// Nothing is there.
    Idle,
    /// Have this done and say what became of it, then step again.
    Kill(Request),
}

/// A batch of one domain, and how far it is.
#[derive(Debug, Default)]
struct Current {
    batch: Batch,
    next: usize,
    /// How often the next record was begun.
    attempts: u8,
    /// The killer's answer about the next record.
    killed: Option<Reply>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Evaluation {
    current: [Current; DOMAINS],
    merge: Merge<DOMAINS>,
    /// Records that wait for what an engine tells.
    waiting: Waiting,
    /// The one of them that goes on.
    released: Option<Released>,
    /// Whose record waits for the killer; `None`: the released one.
    asking: Option<usize>,
    processes: Table,
    knows_processes: bool,
    users: Users,
    memberships: Memberships,
    common: Common,
    mounts: Mounts,
    /// By epoch and rule.
    throttles: HashMap<(u32, u16), Windows>,
    /// By epoch: what rules are on that come after something else.
    histories: HashMap<u32, History>,
    /// That one of them forgets was said.
    forgets: bool,
    epoch: u32,
    outgoing: Outgoing,
    finished: Finished,
    already: Already,
    wall_offset: u64,
    notices: u64,
}

impl Evaluation {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            current: Default::default(),
            merge: Merge::default(),
            waiting: Waiting::default(),
            released: None,
            asking: None,
            processes: Table::new(&settings.host.boot_id),
            knows_processes: false,
            users: Users::new(settings.host.root.join("etc/passwd")),
            memberships: Memberships::new(&settings.host.root),
            common: Common::new(settings.host.event.clone(), settings.host.cloud.clone()),
            mounts: Mounts::new(settings.host.proc()),
            throttles: HashMap::default(),
            histories: HashMap::default(),
            forgets: false,
            epoch: 0,
            outgoing: Outgoing::new(settings.stdout.as_ref().map(|stdout| stdout.format)),
            finished: Finished::default(),
            already: Already::default(),
            wall_offset: clock::wall_minus_boottime(),
            notices: 0,
        }
    }

    /// Whether [`Evaluation::learn`] was called.
    pub(crate) fn knows_processes(&self) -> bool {
        self.knows_processes
    }

    /// Whether [`Mounts::knows_host`].
    pub(crate) fn knows_host(&self) -> bool {
        self.mounts.knows_host()
    }

    /// Takes in the processes that were running when the sensor started, and what one before it has written.
    pub(crate) fn learn(&mut self, found: Vec<super::processes::Found>, already: Already) {
        self.already = already;
        for process in found {
            self.processes.insert(process);
        }
        self.knows_processes = true;
    }

    /// Handles what is due, bounded. `draining`: nothing more is coming, so nothing is waited for.
    // A function of its own for `benches/pipeline.rs`, which counts what it costs.
    #[inline(never)]
    pub(crate) fn step(&mut self, shared: &Shared, draining: bool) -> Step {
        let offset = clock::wall_minus_boottime();
        if (offset.wrapping_sub(self.wall_offset) as i64).unsigned_abs() > CLOCK_TOLERANCE {
            self.wall_offset = offset;
            self.common.forget();
        }
        if self.users.refresh() {
            self.common.forget();
        }
        self.processes.expire(clock::boottime());
        let epoch = shared.policies.current().epoch();
        if epoch != self.epoch {
            // Records of earlier epochs may still come; what they count is forgotten next time.
            self.throttles.retain(|(of, _), _| *of >= epoch);
            self.histories.retain(|of, _| *of >= epoch);
            if std::mem::take(&mut self.forgets) {
                shared.degraded.clear(SEQUENCES);
            }
            self.epoch = epoch;
        }
        self.report_notices(shared);
        let step = self.handle_due(shared, draining);
        self.outgoing.flush(shared);
        let inputs = self.inputs(shared, false);
        let process = inputs[Domain::Process as usize];
        let told = &shared.namespaces.told;
        told.hear(process.head.unwrap_or(process.watermark));
        self.finish(shared, &inputs);
        shared.progress.set_processes(self.processes.len());
        step
    }

    /// Says up to when everything is done with.
    fn finish(&mut self, shared: &Shared, inputs: &[Input; DOMAINS]) {
        if !shared.kernel.outlives() && shared.kernel.predecessor().is_none() {
            return;
        }
        let released = self.released.as_ref();
        let released = released.map(|it| claimed_time(&it.waiter.record));
        let judged = inputs
            .iter()
            .map(|input| input.head.unwrap_or(input.watermark))
            .chain(self.waiting.oldest())
            .chain(released)
            .min();
        let (offered, settled) = shared.sinks.lasting();
        let until = self.finished.advance(judged.unwrap_or(0), offered, settled);
        shared.finished.store(until, Ordering::Release);
        if clock::boottime().saturating_sub(shared.began) > EARLIER {
            self.already.forget();
        }
    }

    /// The killer's answer to the request of the last step.
    pub(crate) fn killed(&mut self, reply: Reply) {
        // Going on with a record is not beginning it again.
        match (self.asking, &mut self.released) {
            (Some(domain), _) => {
                let current = &mut self.current[domain];
                current.killed = Some(reply);
                current.attempts = current.attempts.saturating_sub(1);
            }
            (None, Some(released)) => {
                released.killed = Some(reply);
                released.attempts = released.attempts.saturating_sub(1);
            }
            (None, None) => {}
        }
    }

    /// Reports what is left to report, at the very end.
    pub(crate) fn close(&mut self, shared: &Shared) {
        shared.degraded.tell("sensor.stop", "stopped".to_owned());
        self.report_notices(shared);
        self.outgoing.flush(shared);
    }

    fn report_notices(&mut self, shared: &Shared) {
        let report = &shared.settings.report;
        self.outgoing.flush(shared);
        while let Some(notice) = shared.degraded.next_notice() {
            self.notices += 1;
            let common = &self.common;
            if let Some(event) = sensor::event(&notice, self.notices, report, common) {
                self.outgoing.add(None, &event, shared);
            }
        }
        self.outgoing.flush(shared);
    }

    fn handle_due(&mut self, shared: &Shared, draining: bool) -> Step {
        for _ in 0..RECORDS_PER_STEP {
            match self.handle_released(shared, draining) {
                Some(Some(request)) => {
                    self.asking = None;
                    return Step::Kill(request);
                }
                Some(None) => continue,
                None => {}
            }
            let inputs = self.inputs(shared, draining);
            let domain = match self.merge.next(&inputs, clock::boottime()) {
                Next::Take(domain) => domain,
                Next::Wait(limit) => {
                    let waiting = self.waiting.next(clock::boottime());
                    return Step::Wait(limit.min(waiting.unwrap_or(limit)));
                }
                Next::Empty => {
                    let waiting = self.waiting.next(clock::boottime());
                    return waiting.map_or(Step::Idle, Step::Wait);
                }
            };
            if let Some(request) = self.handle(shared, domain, draining) {
                self.asking = Some(domain);
                return Step::Kill(request);
            }
            let current = &mut self.current[domain];
            current.next += 1;
            current.attempts = 0;
            current.killed = None;
            if self.outgoing.is_full() {
                self.outgoing.flush(shared);
            }
        }
        Step::More
    }

    /// What each domain has. The watermark is read before the lane: what was delivered before it
    /// moved is then seen.
    fn inputs(&mut self, shared: &Shared, draining: bool) -> [Input; DOMAINS] {
        std::array::from_fn(|index| {
            let current = &mut self.current[index];
            let intake = &shared.intakes[index];
            let mut watermark = if draining { u64::MAX } else { 0 };
            if current.next >= current.batch.len() {
                watermark = watermark.max(intake.watermark());
                if let Some(batch) = intake.lane.take() {
                    *current = Current {
                        batch,
                        ..Current::default()
                    };
                }
            }
            let waits = current.next < current.batch.len();
            let head = waits.then(|| claimed_time(current.batch.record(current.next)));
            Input { head, watermark }
        })
    }

    /// Handles a record that has waited: to its end, or up to the point where the killer has to be asked.
    /// `None`: none goes on.
    fn handle_released(&mut self, shared: &Shared, draining: bool) -> Option<Option<Request>> {
        if self.released.is_none() {
            let containers = &shared.containers;
            self.released = self.waiting.take(containers, clock::boottime(), draining);
        }
        let released = self.released.as_mut()?;
        let record = released.waiter.record.clone();
        let kind = claimed_kind(&record)?;
        released.attempts += 1;
        let request = if released.attempts > ATTEMPTS {
            give_up(shared, kind);
            None
        } else {
            let waiter = &released.waiter;
            let whom = (waiter.process.clone(), waiter.program.clone());
            let killed = released.killed.clone();
            if killed.is_none() && released.attempts == 1 {
                shared
                    .containers
                    .count(shared.containers.is_told(&waiter.container.id));
            }
            match decode(&record) {
                Ok(record) => self.judge(shared, &record, whom, killed.as_ref(), None),
                // It was decoded before.
                Err(_) => None,
            }
        };
        if request.is_none() {
            self.released = None;
        }
        Some(request)
    }

    /// Handles the next record of a domain: to its end, or up to the point where the killer has to
    /// be asked.
    fn handle(&mut self, shared: &Shared, domain: usize, draining: bool) -> Option<Request> {
        let current = &mut self.current[domain];
        let bytes: Bytes = current.batch.keep(current.next);
        // The reader skips what claims no kind.
        let kind = claimed_kind(&bytes)?;
        current.attempts += 1;
        if current.attempts > ATTEMPTS {
            give_up(shared, kind);
            return None;
        }
        #[cfg(test)]
        shared.faults.strike();
        let killed = current.killed.clone();
        match decode(&bytes) {
            Ok(record) => {
                shared.namespaces.told.tell(&record);
                let reading = shared.reading();
                let whom = attribute::attribute(&mut self.processes, &record, &reading);
                let may_wait = killed.is_none() && !draining;
                let kept = may_wait.then_some(&bytes);
                self.judge(shared, &record, whom, killed.as_ref(), kept)
            }
            Err(error) => {
                tracing::warn!(action = kind.action(), %error, "a corrupt record is skipped");
                shared.drop_records(kind, 1);
                None
            }
        }
    }

    /// `may_wait`: its bytes, where it may wait for its container's engine.
    fn judge(
        &mut self,
        shared: &Shared,
        record: &Record<'_>,
        (process, program): (Process, Program),
        killed: Option<&Reply>,
        may_wait: Option<&Bytes>,
    ) -> Option<Request> {
        let (header, kind) = (&record.header, record.kind);
        let snapshot: Arc<Snapshot> = shared.policies.of_epoch(header.epoch);
        if header.flags & flags::REPORTED == 0 && !snapshot.wants(kind) && header.rule == NO_RULE {
            // It came for the table of processes alone, as most forks do: no event need be built.
            shared.ledger.evaluated(kind, Fate::Suppressed, 1);
            return None;
        }
        let table = &self.processes;
        let host = &shared.settings.host;
        let place = Place {
            boot_id: &host.boot_id,
            proc: &shared.proc,
            users: &self.users,
            wall_offset: self.wall_offset,
        };
        let common = &mut self.common;
        let parent = process.parent.and_then(|key| table.get(key));
        let identities: Vec<Identity> = [Some(&process), parent]
            .into_iter()
            .flatten()
            .chain(table.ancestors(&process))
            .map(|process| Identity {
                pid: process.key.tgid,
                start: process.key.start,
            })
            .collect();
        // A process that is gone may have left others in its mount namespace.
        let pids: Vec<u32> = identities.iter().map(|it| it.pid).collect();
        let moment = Moment {
            time: header.boottime,
            processes: &identities,
        };
        let views = view::of(record, &mut self.mounts, &pids, clock::boottime());
        let membership = match record.body {
            Body::Container { id, .. } => {
                let named = shared.containers.named(&String::from_utf8_lossy(id));
                Membership::Container(Arc::new(named))
            }
            Body::Image { .. } => Membership::Host,
            _ => self.memberships.of(header, parent),
        };
        if self.memberships.are_by_cgroup(header) {
            tell_programs(shared, header.cgroup_id, &membership);
        }
        let container = membership.container();
        let looked = container.map(|named| shared.containers.look(named));
        let (container, is_awaited) = looked.unzip();
        let parent = parent.map(|parent| common.parent(parent, &place));
        let ancestors = table.ancestors(&process);
        let ancestors = ancestors.map(|ancestor| common.ancestor(ancestor, &place));
        let ancestors = ancestors.collect();
        let target = match record.body {
            Body::Fork(it) => Some((it.child_tgid.cast_signed(), it.child_start_boottime)),
            Body::Signal(it) => Some((it.target_tgid, it.target_start_boottime)),
            Body::Ptrace(it) => Some((it.target_tgid, it.target_start_boottime)),
            Body::Rlimit(it) => Some((it.target_tgid, it.target_start_boottime)),
            Body::Setscheduler(it) => Some((it.target_tgid, it.target_start_boottime)),
            Body::ProcessWrite(it) => Some((it.target_tgid, it.target_start_boottime)),
            _ => None,
        };
        let target = target.and_then(|(tgid, start)| {
            let tgid = u32::try_from(tgid).ok()?;
            Some(Key { tgid, start })
        });
        let subject = Subject {
            process: &process,
            program: &program,
            parent,
            ancestors,
            capabilities: common.capabilities(header.effective_capabilities),
            target: target.and_then(|key| table.get(key)),
            container: container.as_ref(),
            views,
        };
        let mut event = build::event(record, subject, &place);
        (event.host, event.cloud) = (Some(&common.host), common.cloud.as_ref());
        let history = self.histories.entry(snapshot.epoch()).or_default();
        let judged = snapshot.judge_after(kind, &event, &moment, history);
        let in_kernel = snapshot.rule(header.rule).map(|rule| (header.rule, rule));
        let ruling = outcome::rule(kind, header, in_kernel, &judged, killed);
        if let Some(scope) = ruling.kill {
            let key = process.key;
            let deed = match (scope, membership.container()) {
                (Scope::Stopped, _) => Deed::Stop,
                (Scope::Tree, _) => Deed::KillTree(table.descendants(key, MAX_TREE)),
                (Scope::Container, Some(container)) => Deed::KillContainer(container.id.clone()),
                (Scope::Process | Scope::Container, _) => Deed::Kill,
            };
            let target = Target {
                key,
                seen: header.boottime,
            };
            return Some(Request { target, deed });
        }
        if let Some(bytes) = may_wait
            && let Some(named) = membership.container()
            && is_awaited == Some(true)
        {
            let waits = &shared.settings.waits;
            let wait = if ruling.verdict >= Verdict::Alert {
                waits.alert
            } else {
                waits.event
            };
            let waiter = Waiter {
                record: bytes.clone(),
                process: process.clone(),
                program: program.clone(),
                container: named.clone(),
                until: clock::boottime().saturating_add(wait.as_nanos() as u64),
            };
            if self.waiting.add(waiter) {
                return None;
            }
        }
        snapshot.remember(kind, &event, &moment, history);
        if history.forgotten() > 0 && !self.forgets {
            self.forgets = true;
            let reason = format!(
                "a step of a rule is done by more than {MAX_REMEMBERED} within its time: the oldest are forgotten"
            );
            shared.degraded.set(SEQUENCES, &reason);
        }
        let admitted = match ruling.rule {
            Some((index, rule)) => {
                let windows = self.throttles.entry((snapshot.epoch(), index)).or_default();
                admit(windows, rule, &event, header.boottime)
            }
            // A sensor before this one had other policies: what was done is told without its rule.
            None => ruling.verdict >= Verdict::Audit,
        };
        let subscribed = header.flags & flags::REPORTED != 0 || snapshot.reports(kind);
        let speaks = ruling.verdict >= Verdict::Audit;
        let fate = if (subscribed || speaks && admitted) && !self.already.take(header) {
            describe(&mut event, kind, &ruling, speaks, admitted);
            if self.outgoing.add(Some(kind), &event, shared) {
                None
            } else {
                Some(Fate::Dropped)
            }
        } else {
            Some(Fate::Suppressed)
        };
        match fate {
            Some(Fate::Dropped) => shared.drop_records(kind, 1),
            Some(fate) => shared.ledger.evaluated(kind, fate, 1),
            None => {}
        }
        None
    }
}

/// Of a cgroup whose container is known, and no engine is about to tell more of it.
fn tell_programs(shared: &Shared, cgroup: u64, membership: &Membership) {
    match membership {
        Membership::Container(named) if !shared.containers.awaits(named) => {
            shared.enter_cgroup(cgroup, Some(named));
        }
        Membership::Host => shared.enter_cgroup(cgroup, None),
        Membership::Container(_) | Membership::Unknown => {}
    }
}

/// A record on which the evaluator has panicked as often as is borne is not begun again.
fn give_up(shared: &Shared, kind: Kind) {
    tracing::error!(
        action = kind.action(),
        "a record is given up after two failures"
    );
    shared.drop_records(kind, 1);
}

/// Whether the rule may report once more.
fn admit(windows: &mut Windows, rule: &Rule, event: &Event<'_>, boottime: u64) -> bool {
    let Some(throttle) = &rule.throttle else {
        return true;
    };
    let key = throttle
        .per
        .map(|field| event.get(field).to_string())
        .unwrap_or_default();
    windows.admit(throttle, &key, Duration::from_nanos(boottime))
}

/// Adds rule, outcome and message. A rule that allows is not named: an event that is reported all
/// the same is so because it was subscribed to. One that is throttled raises no alert.
fn describe<'e>(
    event: &mut Event<'e>,
    kind: Kind,
    ruling: &Ruling<'e>,
    speaks: bool,
    admitted: bool,
) {
    if ruling.refused {
        event.event.outcome = "failure";
        event.event.types = build::denied(kind);
    }
    let Some((_, rule)) = ruling.rule.filter(|_| speaks) else {
        return;
    };
    if ruling.verdict >= Verdict::Alert && admitted {
        event.event.kind = "alert";
    }
    event.event.severity = Some(rule.severity);
    event.event.reason.clone_from(&ruling.reason);
    event.message = rule
        .message
        .as_ref()
        .map(|message| message.render(&Shown(event)));
    event.rule = Some(rule.event());
    event.threat = rule.threat();
    event.holdfast.action = Some(rule.action.name());
    event.holdfast.mode = Some(rule.mode.name());
    event.holdfast.outcome = ruling.outcome;
}
