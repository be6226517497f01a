//! The process table: who is behind a pid.
//!
//! A process is (pid, start time); what it runs is that and the exec id. A fork copies the parent's
//! program, an exec replaces it, and an exit leaves the entry for a while: for events that come
//! late, and as long as children name it as their parent.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;
use holdfast_policy::table::ANCESTORS;
use holdfast_wire::event::Redactable;
use holdfast_wire::record::Header;

mod identity;
pub(crate) mod scan;

use identity::Boot;

/// Processes there is room for: twice the default `pid_max` of 32,768.
pub(crate) const MAX_PROCESSES: usize = 65_536;
/// Bytes of paths and arguments there is room for, programs shared by several processes counted for
/// each. A typical process has 300 bytes of them.
const MAX_WEIGHT: usize = 32 << 20;
/// How long a process is kept after its exit, nanoseconds: events of it may still be in other rings,
/// or in a reader that is restarting.
const KEEP_EXITED: u64 = 10_000_000_000;
/// Identity of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// In the initial pid namespace.
    pub(crate) tgid: u32,
    /// `CLOCK_BOOTTIME`, nanoseconds; to a tick. 0: not known, the newest of this pid.
    pub(crate) start: u64,
}

/// A program that was there so long ago is no short step of a chain of execs, nanoseconds.
const SETTLED: u64 = 1_000_000_000;

/// What is known of a program that a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// Resolved path.
    pub(crate) executable: Option<String>,
    /// `comm` at exec.
    pub(crate) name: Option<String>,
    /// `argv`.
    pub(crate) arguments: Redactable<'static>,
    /// The variables of the environment that are kept, as `NAME=value`.
    pub(crate) environment: Redactable<'static>,
    /// At exec.
    pub(crate) working_directory: Option<String>,
}

impl Image {
    fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let lists = self.arguments.weight() + self.environment.weight();
        text(&self.executable) + text(&self.name) + text(&self.working_directory) + lists
    }
}

/// Effective capabilities around an exec, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effective {
    /// Just before; `None`: the table may know.
    pub(crate) before: Option<u64>,
    /// With the new program.
    pub(crate) now: Option<u64>,
}

/// An image as one process runs it.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// `process.entity_id`
    pub(crate) entity_id: Arc<str>,
    /// `None`: not seen yet, the process is known from `/proc`.
    pub(crate) exec_id: Option<u32>,
    /// Shared with the processes forked from it.
    pub(crate) image: Arc<Image>,
    /// Capabilities that are effective since its exec and were not before; 0 where that is not known.
    pub(crate) gained: u64,
}

/// User and group ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Real user.
    pub(crate) uid: u32,
    /// Effective user.
    pub(crate) euid: u32,
    /// Real group.
    pub(crate) gid: u32,
    /// Login uid; `u32::MAX` when not set.
    pub(crate) loginuid: u32,
}

/// A process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Its identity.
    pub(crate) key: Key,
    /// What it runs.
    pub(crate) program: Program,
    /// Who created it.
    pub(crate) parent: Option<Key>,
    /// As last seen.
    pub(crate) credentials: Option<Credentials>,
    /// Controlling terminal.
    pub(crate) terminal: Option<Arc<str>>,
    /// Effective capabilities, as last seen.
    pub(crate) capabilities: Option<u64>,
    previous: Option<Program>,
    /// When the first was seen of a program whose exec was lost, and that was not looked up since.
    lost_since: Option<u64>,
    exited: bool,
    /// Entries that name this one as their parent.
    children: u32,
    /// It is only kept for its children.
    expired: bool,
}

/// All known processes.
#[derive(Debug)]
pub(crate) struct Table {
    boot: Boot,
    by_pid: HashMap<u32, Vec<Process>>,
    count: usize,
    weight: usize,
    /// Exited processes and when they exited, in that order.
    exited: VecDeque<(u64, Key)>,
    /// Processes in the order in which they came; some are gone already.
    arrived: VecDeque<Key>,
}

impl Table {
    pub(crate) fn new(boot_id: &str) -> Self {
        Self {
            boot: Boot::new(boot_id),
            by_pid: HashMap::default(),
            count: 0,
            weight: 0,
            exited: VecDeque::new(),
            arrived: VecDeque::new(),
        }
    }

    /// Number of processes in it.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The process with this identity.
    pub(crate) fn get(&self, key: Key) -> Option<&Process> {
        self.by_pid
            .get(&key.tgid)?
            .iter()
            .rev()
            .find(|process| process.is(key))
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Process> {
        self.by_pid
            .get_mut(&key.tgid)?
            .iter_mut()
            .rev()
            .find(|process| process.is(key))
    }

    /// The process and the program in it that a record is about, with what the record says of it.
    /// `None`: the process is not known, or runs a program whose exec was not seen.
    pub(crate) fn attribute(&mut self, header: &Header) -> Option<(Process, Program)> {
        let key = Key::of(header);
        let process = self.get_mut(key)?;
        if key.start != 0 {
            process.key.start = key.start;
            match process.program.exec_id {
                None => process.program.exec_id = Some(header.exec_id),
                Some(current) if current == header.exec_id => {}
                Some(_) => {
                    let previous = process.previous.clone();
                    let program = previous.filter(|it| it.exec_id == Some(header.exec_id))?;
                    return Some((process.clone(), program));
                }
            }
        }
        process.credentials = Credentials::of(header).or(process.credentials);
        process.capabilities = capabilities_of(header).or(process.capabilities);
        Some((process.clone(), process.program.clone()))
    }

    /// A process that is running was read from `/proc`, or is known from a record alone. Replaces
    /// what was known of its program.
    pub(crate) fn insert(&mut self, found: Found) {
        let found = self.describe(found);
        if let Some(known) = self.get_mut(found.key) {
            let (old, new) = known.runs(found.program, true);
            known.credentials = found.credentials.or(known.credentials);
            known.terminal = found.terminal.or(known.terminal.take());
            known.capabilities = found.capabilities.or(known.capabilities);
            self.weight = self.weight - old + new;
            return;
        }
        self.add(found);
    }

    /// `found` is known from a record alone, since its exec was lost: it is not in `/proc`, or not surely.
    pub(crate) fn insert_lost(&mut self, found: Found, now: u64) {
        let key = found.key;
        self.insert(found);
        if let Some(process) = self.get_mut(key) {
            process.lost_since = Some(now);
        }
    }

    /// Whether the program that `header` is about was lost, and has run for so long since that what
    /// `/proc` shows is that one. Says so once.
    pub(crate) fn is_settled(&mut self, header: &Header) -> bool {
        let Some(process) = self.get_mut(Key::of(header)) else {
            return false;
        };
        let is_running = process.program.exec_id == Some(header.exec_id);
        let is_due = |since: &mut u64| header.boottime >= since.saturating_add(SETTLED);
        is_running && process.lost_since.take_if(is_due).is_some()
    }

    /// A process as it would stand in the table.
    pub(crate) fn describe(&self, found: Found) -> Process {
        let Found {
            key,
            ppid,
            exec_id,
            image,
            credentials,
            terminal,
            capabilities,
        } = found;
        let parent = (ppid != 0).then_some(Key {
            tgid: ppid,
            start: 0,
        });
        let parent = parent
            .and_then(|parent| self.get(parent))
            .map(|parent| parent.key);
        let entity_id = self.boot.entity_id(key, exec_id.unwrap_or(0));
        let program = Program {
            entity_id,
            exec_id,
            image: Arc::new(image),
            gained: 0,
        };
        Process {
            capabilities,
            ..Process::new(key, program, parent, credentials, terminal)
        }
    }

    /// `header`'s process created `child`.
    pub(crate) fn fork(&mut self, parent: &Process, child: Key, exec_id: u32) {
        if child.start != 0 && self.get(child).is_some() {
            // Known already: read from /proc, or this record is being handled again.
            return;
        }
        let entity_id = self.boot.entity_id(child, exec_id);
        let image = parent.program.image.clone();
        let exec_id = (child.start != 0).then_some(exec_id);
        let program = Program {
            entity_id,
            exec_id,
            image,
            gained: 0,
        };
        let terminal = parent.terminal.clone();
        self.add(Process {
            capabilities: parent.capabilities,
            ..Process::new(
                child,
                program,
                Some(parent.key),
                parent.credentials,
                terminal,
            )
        });
    }

    /// Where root has become somebody else since it was last seen, without an event that says so, the
    /// kernel has taken its capabilities (`cap_emulate_setxuid` of security/commoncap.c). One that asked to
    /// keep them by prctl(2) has to put them in force again by capset(2).
    pub(crate) fn drop_root(&mut self, header: &Header) {
        let now = Credentials::of(header).filter(|now| now.uid != 0 && now.euid != 0);
        let Some(process) = self.get_mut(Key::of(header)) else {
            return;
        };
        let was_root = process.credentials.is_some_and(|was| was.euid == 0);
        if now.is_some() && was_root {
            process.capabilities = process.capabilities.map(|_| 0);
        }
    }

    /// `key` runs `image` from now on.
    pub(crate) fn exec(
        &mut self,
        key: Key,
        exec_id: u32,
        image: Image,
        terminal: Option<Arc<str>>,
        Effective { before, now }: Effective,
    ) {
        let entity_id = self.boot.entity_id(key, exec_id);
        let Some(process) = self.get_mut(key) else {
            return;
        };
        // By something that the kernel did for it on the way, as mapping it; or this is the same record
        // again, after a failure. What the process ran before is then known to be that already.
        let is_known = key.start != 0 && process.program.exec_id == Some(exec_id);
        let had = before.or(process.capabilities.filter(|_| !is_known));
        let gained = match had.zip(now) {
            Some((had, has)) => has & !had,
            None if is_known => process.program.gained,
            None => 0,
        };
        let program = Program {
            entity_id,
            exec_id: (key.start != 0).then_some(exec_id),
            image: Arc::new(image),
            gained,
        };
        let (old, new) = process.runs(program, !is_known);
        process.lost_since = None;
        process.terminal = terminal;
        process.capabilities = now;
        self.weight = self.weight - old + new;
    }

    /// `key` exited at `now`.
    pub(crate) fn exit(&mut self, key: Key, now: u64) {
        let Some(process) = self.get_mut(key).filter(|process| !process.exited) else {
            return;
        };
        process.exited = true;
        let key = process.key;
        self.exited.push_back((now, key));
    }

    /// Forgets what exited long enough before `now`.
    pub(crate) fn expire(&mut self, now: u64) {
        while let Some((exited, key)) = self.exited.front().copied() {
            if now.saturating_sub(exited) < KEEP_EXITED {
                break;
            }
            self.exited.pop_front();
            self.let_go(key);
        }
    }

    /// The parent's parent and so on, nearest first.
    pub(crate) fn ancestors(&self, process: &Process) -> impl Iterator<Item = &Process> {
        let parent = |process: &Process| process.parent.and_then(|key| self.get(key));
        std::iter::successors(parent(process), move |process| parent(process))
            .skip(1)
            .take(ANCESTORS)
    }

    /// Every process that descends from `key` and has not exited, at most `limit`, parents first.
    pub(crate) fn descendants(&self, key: Key, limit: usize) -> Vec<Key> {
        let mut found = vec![key];
        let mut next = 0;
        while next < found.len() && found.len() <= limit {
            let parent = found[next];
            next += 1;
            let children = self.by_pid.values().flatten().filter(|process| {
                process
                    .parent
                    .is_some_and(|it| it.tgid == parent.tgid && it.is(parent.start))
            });
            for child in children {
                if found.len() <= limit && !found.contains(&child.key) {
                    found.push(child.key);
                }
            }
        }
        found.remove(0);
        found.retain(|key| self.get(*key).is_some_and(|process| !process.exited));
        found
    }

    fn add(&mut self, process: Process) {
        if self.arrived.len() > 2 * MAX_PROCESSES {
            let mut arrived = std::mem::take(&mut self.arrived);
            arrived.retain(|key| self.get(*key).is_some());
            self.arrived = arrived;
        }
        self.arrived.push_back(process.key);
        self.count += 1;
        self.weight += process.weight();
        if let Some(parent) = process.parent.and_then(|parent| self.get_mut(parent)) {
            parent.children += 1;
        }
        self.by_pid
            .entry(process.key.tgid)
            .or_default()
            .push(process);
        while self.count > MAX_PROCESSES || self.weight > MAX_WEIGHT {
            let oldest = self.exited.pop_front().map(|(_, key)| key);
            let Some(oldest) = oldest.or_else(|| self.arrived.pop_front()) else {
                break;
            };
            // The kernel still knows it if it lives: it is read from /proc when it is seen again.
            self.remove(oldest);
        }
    }

    /// Removes an exited process, or marks it for removal once it has no more children.
    fn let_go(&mut self, key: Key) {
        let Some(process) = self.get_mut(key) else {
            return;
        };
        if process.children > 0 {
            process.expired = true;
        } else {
            self.remove(key);
        }
    }

    /// Removes a process, and those ancestors that were kept only for it.
    fn remove(&mut self, key: Key) {
        let mut next = Some(key);
        // Each turn removes an entry.
        while let Some(key) = next.take() {
            let Some(processes) = self.by_pid.get_mut(&key.tgid) else {
                return;
            };
            let Some(at) = processes.iter().rposition(|process| process.is(key)) else {
                return;
            };
            let gone = processes.remove(at);
            if processes.is_empty() {
                self.by_pid.remove(&key.tgid);
            }
            self.count -= 1;
            self.weight -= gone.weight();
            if let Some(parent) = gone.parent.and_then(|parent| self.get_mut(parent)) {
                parent.children = parent.children.saturating_sub(1);
                next = (parent.expired && parent.children == 0).then_some(parent.key);
            }
        }
    }
}

/// A process as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) ppid: u32,
    pub(crate) exec_id: Option<u32>,
    pub(crate) image: Image,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) terminal: Option<Arc<str>>,
    pub(crate) capabilities: Option<u64>,
}

impl Process {
    /// It runs this program from now on, after the one before if `is_next`, else in that one's place, which
    /// was not known. Its weight before and after: the table's has to follow.
    fn runs(&mut self, program: Program, is_next: bool) -> (usize, usize) {
        let old = self.weight();
        let replaced = std::mem::replace(&mut self.program, program);
        if is_next {
            self.previous = Some(replaced);
        }
        (old, self.weight())
    }

    /// Of what it runs and of what it ran before.
    fn weight(&self) -> usize {
        let before = self.previous.as_ref().map_or(0, |it| it.image.weight());
        self.program.image.weight() + before
    }

    fn new(
        key: Key,
        program: Program,
        parent: Option<Key>,
        credentials: Option<Credentials>,
        terminal: Option<Arc<str>>,
    ) -> Self {
        Self {
            key,
            program,
            parent,
            credentials,
            terminal,
            capabilities: None,
            previous: None,
            lost_since: None,
            exited: false,
            children: 0,
            expired: false,
        }
    }

    fn is(&self, key: Key) -> bool {
        self.key.tgid == key.tgid && self.key.is(key.start)
    }
}

impl Key {
    /// The process that a record is about.
    pub(crate) fn of(header: &Header) -> Self {
        Self {
            tgid: header.tgid,
            start: header.start_boottime,
        }
    }

    /// Start times a clock tick apart are the same: no pid is used again within one.
    fn is(self, start: u64) -> bool {
        start == 0 || self.start == 0 || self.start.abs_diff(start) <= scan::TICK
    }
}

/// Effective capabilities, as a record says; `None` for a record without task fields.
pub(crate) fn capabilities_of(header: &Header) -> Option<u64> {
    let known = header.flags & holdfast_wire::record::flags::NO_TASK_FIELDS == 0;
    known.then_some(header.effective_capabilities)
}

impl Credentials {
    /// As a record says; `None` for a record without task fields.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        let known = header.flags & holdfast_wire::record::flags::NO_TASK_FIELDS == 0;
        known.then_some(Self {
            uid: header.uid,
            euid: header.euid,
            gid: header.gid,
            loginuid: header.loginuid,
        })
    }
}

#[cfg(test)]
mod tests;
