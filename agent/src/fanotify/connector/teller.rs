//! What the connector tells → records.

use std::borrow::Cow;

use holdfast_actors::ring::Time;
use holdfast_policy::lookup::Known as Knows;
use holdfast_wire::Kind;
use holdfast_wire::encode::bytes_of;
use holdfast_wire::record::process::{Exit, Fork, Ptrace, Setid};
use holdfast_wire::record::{ARGUMENT_BYTES, COMM_BYTES, ENVIRONMENT_BYTES, flags};
use holdfast_wire::uapi::connector::{Ids, What};

use super::table::{Ended, Known, Table};
use crate::fanotify::attempts::Begun;
use crate::fanotify::base::{Base, Draft, Judged};
use crate::fanotify::permission::{Lengths, executable};
use crate::fanotify::proc::{Facts, Proc};

/// Set-user-id and set-group-id bits of a mode.
const S_ISUID: u16 = 0o4000;
const S_ISGID: u16 = 0o2000;
/// `PTRACE_MODE_ATTACH` of `include/linux/ptrace.h`.
const PTRACE_MODE_ATTACH: u32 = 2;
/// Processes read at once: as many as the table has room for.
const PROCESSES: usize = 65_536;

/// Whether a kind is attached.
pub(super) type Attached<'a> = &'a dyn Fn(Kind) -> bool;

/// See the module.
pub(super) struct Teller<'b> {
    base: &'b Base,
    own: u32,
    table: Table,
}

/// A process that acts, as far as rules ask about it.
struct Actor<'a> {
    proc: &'a Proc,
    known: &'a Known,
}

impl Knows for Actor<'_> {
    fn user(&self) -> Option<u32> {
        user(&self.known.facts)
    }

    fn executable(&self) -> Option<Cow<'_, [u8]>> {
        match &self.known.executable {
            Some(path) => Some(Cow::Borrowed(path)),
            None => self.proc.executable(self.known.facts.tgid).map(Cow::Owned),
        }
    }
}

/// A program that is executed: what rules call the executable is the path here.
struct Executed<'a> {
    path: &'a [u8],
    facts: &'a Facts,
}

impl Knows for Executed<'_> {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        (!self.path.is_empty()).then_some(Cow::Borrowed(self.path))
    }

    fn user(&self) -> Option<u32> {
        user(self.facts)
    }
}

fn user(facts: &Facts) -> Option<u32> {
    facts.are_known.then_some(facts.uid)
}

impl<'b> Teller<'b> {
    pub(super) fn new(base: &'b Base) -> Self {
        Self {
            base,
            own: std::process::id(),
            table: Table::default(),
        }
    }

    /// Reads every process that runs, and forgets the others.
    pub(super) fn learn(&mut self) {
        // Without a list each is read when it is met.
        let there = self.base.proc.processes(PROCESSES).unwrap_or_default();
        for tgid in self.table.retain(&there) {
            self.base.attempts.forget(tgid);
        }
        for tgid in there {
            if self.table.get(tgid).is_none()
                && let Some(known) = self.read(tgid)
            {
                self.table.put(known);
            }
        }
    }

    /// Records what has happened at this time, if it is of a kind that is attached.
    pub(super) fn tell(&mut self, what: What, time: u64, attached: Attached<'_>) {
        match what {
            What::Fork { parent, child } if child.is_leader() => {
                self.fork(parent, child.tgid, time, attached);
            }
            What::Exec(who) => self.exec(who, time, attached),
            What::Exit { who, status } => self.exit(who, status, time, attached),
            What::Users {
                who,
                real,
                effective,
            } => {
                let kind = Kind::ProcessSetuid;
                self.becomes(kind, who, real, effective, time, attached);
                if let Some(known) = self.table.get_mut(who.tgid) {
                    (known.facts.uid, known.facts.euid) = (real, effective);
                }
            }
            What::Groups {
                who,
                real,
                effective,
            } => {
                let kind = Kind::ProcessSetgid;
                self.becomes(kind, who, real, effective, time, attached);
                if let Some(known) = self.table.get_mut(who.tgid) {
                    known.facts.gid = real;
                }
            }
            What::Traced { who, tracer } if tracer.tgid != 0 => {
                self.traced(who, tracer, time, attached);
            }
            _ => {}
        }
    }

    fn fork(&mut self, parent: Ids, child: u32, time: u64, attached: Attached<'_>) {
        // A pid that is used again was free: what was left of its last process is over.
        self.end(child, attached);
        let parent_known = self.known(parent.tgid);
        let stat = self.base.proc.stat(child);
        // A moment after its start, where it is gone already.
        let start = stat.map_or(time, |stat| stat.start);
        let known = Known {
            facts: Facts {
                tgid: child,
                ppid: parent.tgid,
                start,
                ..parent_known.facts.clone()
            },
            ..parent_known.clone()
        };
        let fixed = Fork {
            child_start_boottime: start,
            child_exec_id: known.program,
            child_tgid: child,
            // The connector does not tell the flags of clone(2).
            namespaces: 0,
            reserved: 0,
        };
        self.table.put(known);
        if attached(Kind::ProcessFork) && parent.tgid != self.own {
            let (kind, tid) = (Kind::ProcessFork, parent.tid);
            self.act(kind, &parent_known, tid, time, bytes_of(&fixed));
        }
    }

    fn exec(&mut self, who: Ids, time: u64, attached: Attached<'_>) {
        let tgid = who.tgid;
        self.table.goes_on(tgid);
        let begun = self.base.attempts.take(tgid, time);
        let proc = &self.base.proc;
        // First what is gone first.
        let mut arguments = proc.arguments(tgid).unwrap_or_default();
        let environment = Some(tgid).filter(|_| self.base.environment);
        let environment = environment.and_then(|tgid| proc.environment(tgid));
        let mut environment = environment.unwrap_or_default();
        let running = proc.executable(tgid).filter(|_| is_of(proc, tgid, &begun));
        let working_directory = proc.working_directory(tgid).unwrap_or_default();
        let file = proc.executable_file(tgid);
        let read = self.read(tgid);
        let mut record_flags = 0;
        let (known, file) = match (running, read) {
            (Some(path), Some(read)) => {
                let executable = Some(path.into());
                let facts = read.facts;
                let program = read.program;
                let ended = None;
                (
                    Known {
                        facts,
                        program,
                        executable,
                        ended,
                    },
                    file,
                )
            }
            // Gone, or on to another program.
            _ => {
                arguments.clear();
                environment.clear();
                record_flags |= flags::PART_UNREADABLE;
                let mut last = self.known(tgid);
                // It has another now, and its executable names it as well.
                last.facts.name = [0; COMM_BYTES];
                let program = begun.seen.unwrap_or_else(|| self.base.unread_program());
                let attempt = begun.program;
                let (path, file) = attempt.map(|it| (it.path, it.file)).unwrap_or_default();
                let executable = (!path.is_empty()).then(|| path.into());
                (
                    Known {
                        program,
                        executable,
                        ended: None,
                        ..last
                    },
                    file,
                )
            }
        };
        if arguments.len() >= ARGUMENT_BYTES {
            record_flags |= flags::ARGUMENTS_TRUNCATED;
        }
        if environment.len() >= ENVIRONMENT_BYTES {
            record_flags |= flags::ENVIRONMENT_TRUNCATED;
        }
        let path = known.executable.clone().unwrap_or_default();
        let script = begun.script.unwrap_or_default();
        // What the script's first line names is not told; the program is what became of it.
        let interpreter: &[u8] = if script.is_empty() { &[] } else { &path };
        self.table.put(known.clone());
        if !attached(Kind::ProcessExec) || tgid == self.own {
            return;
        }
        let executed = Executed {
            path: &path,
            facts: &known.facts,
        };
        let judged = self.base.judge(Kind::ProcessExec, &executed);
        let lengths = Lengths {
            executable: path.len(),
            script: script.len(),
            interpreter: interpreter.len(),
            working_directory: working_directory.len(),
            arguments: arguments.len(),
            environment: environment.len(),
        };
        let fixed = executable(file.as_ref(), lengths, known.facts.terminal);
        let draft = Draft {
            time: Time::At(time),
            tid: tgid,
            facts: &known.facts,
            program: known.program,
            flags: record_flags,
            fixed: bytes_of(&fixed),
            strings: &[
                &path,
                &script,
                interpreter,
                &working_directory,
                &arguments,
                &environment,
            ],
        };
        self.settle(&judged, &draft);
    }

    fn exit(&mut self, who: Ids, status: u32, time: u64, attached: Attached<'_>) {
        let tgid = who.tgid;
        if who.is_leader() {
            let known = self.known(tgid);
            self.table.put(known);
            self.table.linger(tgid, Ended { status, time });
        } else {
            let known = self.table.get(tgid);
            let Some(ended) = known.and_then(|known| known.ended) else {
                return;
            };
            self.table.linger(tgid, ended.and(status, time));
        }
        if self.is_gone(tgid) {
            self.end(tgid, attached);
        }
    }

    /// Whether processes have to be looked after.
    pub(super) fn has_lingering(&self) -> bool {
        !self.table.lingering().is_empty()
    }

    /// Reports those that are gone by now.
    pub(super) fn look_after_lingering(&mut self, attached: Attached<'_>) {
        for tgid in self.table.lingering().to_vec() {
            if self.is_gone(tgid) {
                self.end(tgid, attached);
            }
        }
    }

    /// Whether all threads have ended. One that is on its way out still looks alive, so that a second
    /// look may be needed.
    fn is_gone(&self, tgid: u32) -> bool {
        let stat = self.base.proc.stat(tgid);
        let start = self.table.get(tgid).map_or(0, |known| known.facts.start);
        stat.is_none_or(|stat| {
            // Its pid may be another's already.
            start != 0 && stat.start.abs_diff(start) > TICK || stat.exited && stat.threads <= 1
        })
    }

    /// A process whose first thread has ended is over.
    fn end(&mut self, tgid: u32, attached: Attached<'_>) {
        let ended = self.table.get(tgid).and_then(|known| known.ended);
        let Some(ended) = ended else { return };
        let Some(known) = self.table.remove(tgid) else {
            return;
        };
        self.base.attempts.forget(tgid);
        if !attached(Kind::ProcessExit) || tgid == self.own {
            return;
        }
        let fixed = Exit {
            status: ended.status.cast_signed(),
            reserved: 0,
        };
        let kind = Kind::ProcessExit;
        self.act(kind, &known, tgid, ended.time, bytes_of(&fixed));
    }

    fn traced(&mut self, who: Ids, tracer: Ids, time: u64, attached: Attached<'_>) {
        if !attached(Kind::ProcessPtrace) || tracer.tgid == self.own {
            return;
        }
        let (known, target) = (self.known(tracer.tgid), self.known(who.tgid));
        let fixed = Ptrace {
            target_start_boottime: target.facts.start,
            target_tgid: who.tgid.cast_signed(),
            mode: PTRACE_MODE_ATTACH,
        };
        let kind = Kind::ProcessPtrace;
        self.act(kind, &known, tracer.tid, time, bytes_of(&fixed));
    }

    /// Records a change of ids. That by a set-id program is the exec's, which is told next.
    fn becomes(
        &self,
        kind: Kind,
        who: Ids,
        real: u32,
        effective: u32,
        time: u64,
        attached: Attached<'_>,
    ) {
        let set_id = match kind {
            Kind::ProcessSetuid => S_ISUID,
            _ => S_ISGID,
        };
        let by_exec = self.base.attempts.mode(who.tgid) & set_id != 0;
        if !attached(kind) || who.tgid == self.own || by_exec {
            return;
        }
        let fixed = Setid {
            real,
            effective,
            saved: u32::MAX,
            filesystem: u32::MAX,
            groups: u32::MAX,
            groups_length: 0,
            reserved: 0,
        };
        let known = self.known(who.tgid);
        self.act(kind, &known, who.tid, time, bytes_of(&fixed));
    }

    /// Records what a process has done.
    fn act(&self, kind: Kind, known: &Known, tid: u32, time: u64, fixed: &[u8]) {
        let actor = Actor {
            proc: &self.base.proc,
            known,
        };
        let judged = self.base.judge(kind, &actor);
        let draft = Draft {
            time: Time::At(time),
            tid,
            facts: &known.facts,
            program: known.program,
            flags: 0,
            fixed,
            strings: &[],
        };
        self.settle(&judged, &draft);
    }

    fn settle(&self, judged: &Judged, draft: &Draft<'_>) {
        if judged.is_wanted() {
            self.base.submit(judged, draft);
        } else {
            self.base.filter(judged.kind);
        }
    }

    /// What is known of a process, read if need be.
    fn known(&self, tgid: u32) -> Known {
        let known = self.table.get(tgid).cloned();
        known.or_else(|| self.read(tgid)).unwrap_or_else(|| Known {
            facts: Facts::unknown(tgid),
            program: 0,
            executable: None,
            ended: None,
        })
    }

    fn read(&self, tgid: u32) -> Option<Known> {
        let facts = self.base.proc.facts(tgid)?;
        Some(Known {
            program: self.base.program(facts.layout),
            facts,
            executable: None,
            ended: None,
        })
    }
}

/// How far start times of the same process may lie apart: they are read in clock ticks (`USER_HZ`).
const TICK: u64 = 10_000_000;

/// Whether a process still runs what it was told to have executed, and not what it began to execute
/// since.
fn is_of(proc: &Proc, tgid: u32, begun: &Begun) -> bool {
    let running = || proc.executable(tgid);
    let executed = begun.program.as_ref().map(|program| &program.path);
    !begun.is_over || executed.is_some() && executed == running().as_ref()
}
