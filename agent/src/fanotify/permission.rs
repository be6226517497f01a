//! Opens and execs that ask for permission: fanotify permission events, decided and answered here.
//!
//! Whoever opens a file on this machine waits for these threads. So they wait for nobody in turn: they
//! open no file but of procfs (see [`super::proc`]), log nothing, and share with the rest of the sensor
//! only locks that are held for some instructions. The sensor's own opens are let pass at once; each
//! other event is answered before [`LIMIT`] is over, if need be by another thread and unjudged: what
//! goes wrong here fails open, is counted, and is shown.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_actors::clock;
use holdfast_actors::ring::Time;
use holdfast_wire::Kind;
use holdfast_wire::encode::bytes_of;
use holdfast_wire::record::file::{AT_FDCWD, File};
use holdfast_wire::record::process::Exec;
use holdfast_wire::record::{NOT_MET, PATH_BYTES, flags};
use holdfast_wire::uapi::fanotify::What;
use nix::sys::fanotify::MaskFlags;
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags, Statx, open};

mod group;
mod opening;
mod slot;

use group::{Event, Read};
pub(crate) use group::{Group, Scope};
use opening::Opening;
use slot::Slot;

use super::account::count;
use super::attempts::{Attempt, is_loader};
use super::base::{Base, Draft, Judged};
use super::marks::Marks;
use super::proc::Facts;
use super::recent::Recent;
use super::thread::{Signal, wait};

/// How long an open may wait for its answer. The usual answer takes some microseconds, a record some
/// tens; this is for a machine that is badly overloaded, and for what should never happen.
const LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked whether an answer is overdue.
const WATCH: Duration = Duration::from_millis(250);
/// Answering threads at first: a few, as opens come from all CPUs.
const ANSWERERS: usize = 4;
/// Answering threads at most, those that are stuck included. When all are, the marks are removed.
const MAX_ANSWERERS: usize = 16;
/// How long a failure is shown after it last happened.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Files being executed whose second event (see [`Shared::was_executed`]) is awaited: one for each
/// thread in the middle of an execve, so far more than there are at a time.
const EXECUTED: usize = 4096;

/// The permission events of the kinds that are attached.
#[derive(Debug)]
pub(crate) struct Permission {
    shared: Arc<Shared>,
    marks: Marks,
    /// Serialises attaching and detaching.
    changing: Mutex<()>,
}

/// What permission events are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// They are the source of events: what is let pass is recorded as well.
    Source,
    /// Something else tells of what is let pass, and numbers programs its own way.
    Guard,
}

#[derive(Debug)]
struct Shared {
    base: Arc<Base>,
    role: Role,
    group: Arc<Group>,
    /// `/proc/self/fd`
    descriptors: OwnedFd,
    own: u32,
    /// Bit 0: opens, bit 1: execs.
    attached: AtomicU32,
    /// The sensor's own opens that were let pass: what a trial looks at.
    own_opens: AtomicU64,
    slots: Mutex<Vec<Arc<Slot>>>,
    executed: Mutex<Recent<u32, (u32, u32, u64), EXECUTED>>,
    failures: Mutex<Failures>,
    /// The marks were removed, since nobody is left to answer.
    given_up: AtomicBool,
    stop: Signal,
}

/// Events that were not judged.
#[derive(Debug, Default)]
struct Failures {
    count: u64,
    last: Option<(Instant, String)>,
}

const fn bit(kind: Kind) -> u32 {
    match kind {
        Kind::FileOpen => 1,
        Kind::ProcessExec => 2,
        _ => 0,
    }
}

/// The events that attached kinds ask for.
fn mask(attached: u32) -> MaskFlags {
    let mut mask = MaskFlags::empty();
    if attached & bit(Kind::FileOpen) != 0 {
        // Directories too, as the kernel programs see them.
        mask |= MaskFlags::FAN_OPEN_PERM | MaskFlags::FAN_ONDIR;
    }
    if attached & bit(Kind::ProcessExec) != 0 {
        mask |= MaskFlags::FAN_OPEN_EXEC_PERM;
    }
    mask
}

impl Permission {
    /// Makes the group and its threads, and tries them out. Nothing is attached.
    ///
    /// # Errors
    /// In one line, why permission events cannot be had.
    pub(crate) fn new(base: Arc<Base>, role: Role, host: &Path) -> Result<Self, String> {
        let group = Group::new().map_err(|error| match error {
            nix::errno::Errno::EPERM => "fanotify needs CAP_SYS_ADMIN".to_owned(),
            nix::errno::Errno::ENOSYS => "the kernel has no fanotify".to_owned(),
            nix::errno::Errno::EINVAL => {
                "fanotify cannot report threads, which it can from Linux 4.20 on".to_owned()
            }
            error => format!("fanotify_init: {error}"),
        })?;
        let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptors = open("/proc/self/fd", path, Mode::empty())
            .map_err(|error| format!("/proc/self/fd: {error}"))?;
        // A dump of the sensor's memory would open its file while nobody is left to answer.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .map_err(|error| format!("cannot forbid core dumps of the sensor: {error}"))?;
        let stop = Signal::new().map_err(|error| error.to_string())?;
        let group = Arc::new(group);
        let marks = Marks::new(group.clone(), host).map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            base,
            role,
            group,
            descriptors,
            own: std::process::id(),
            attached: AtomicU32::new(0),
            own_opens: AtomicU64::new(0),
            slots: Mutex::default(),
            executed: Mutex::default(),
            failures: Mutex::default(),
            given_up: AtomicBool::new(false),
            stop,
        });
        let this = Self {
            shared,
            marks,
            changing: Mutex::new(()),
        };
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..ANSWERERS.min(cpus + 1) {
            this.shared.add_answerer().map_err(|e| e.to_string())?;
        }
        let watched = this.shared.clone();
        super::thread::start("fanotify-watch", move || watched.watch())
            .map_err(|error| error.to_string())?;
        this.try_out(host)?;
        Ok(this)
    }

    /// Whether an event comes and is answered: the sensor's own open of a directory.
    fn try_out(&self, host: &Path) -> Result<(), String> {
        let mask = mask(bit(Kind::FileOpen));
        let group = &self.shared.group;
        group
            .mark(Scope::Mount, mask, host)
            .map_err(|error| match error {
                nix::errno::Errno::EINVAL => {
                    "no permission events: the kernel needs CONFIG_FANOTIFY_ACCESS_PERMISSIONS"
                        .to_owned()
                }
                error => format!("cannot mark {}: {error}", host.display()),
            })?;
        let before = self.shared.own_opens.load(Ordering::Acquire);
        let opened = std::fs::File::open(host).map(drop);
        let seen = self.shared.own_opens.load(Ordering::Acquire) > before;
        let flushed = group.flush();
        opened.map_err(|error| format!("cannot open {}: {error}", host.display()))?;
        flushed.map_err(|error| format!("cannot remove a mark: {error}"))?;
        if seen {
            Ok(())
        } else {
            Err("permission events are asked for and never come".to_owned())
        }
    }

    /// Has operations of a kind ask for permission. Only opens and execs can.
    ///
    /// # Errors
    /// In one line, why they cannot be marked.
    pub(crate) fn attach(&self, kind: Kind) -> Result<(), String> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.given_up.load(Ordering::Relaxed) {
            return Err("every answering thread is stuck".to_owned());
        }
        let attached = self.shared.attached.fetch_or(bit(kind), Ordering::AcqRel) | bit(kind);
        self.marks.want(mask(attached)).inspect_err(|_| {
            self.shared.attached.fetch_and(!bit(kind), Ordering::AcqRel);
        })
    }

    /// Has them ask no more.
    pub(crate) fn detach(&self, kind: Kind) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shared.attached.fetch_and(!bit(kind), Ordering::AcqRel);
        if before & bit(kind) != 0 {
            // What still asks is let pass.
            let _ = self.marks.want(mask(before & !bit(kind)));
        }
    }

    /// Which mounts have no marks, and why; empty when all have.
    pub(crate) fn unmarked(&self) -> String {
        self.marks.unmarked()
    }

    /// What does not work as it should; `None` when all does.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.shared.given_up.load(Ordering::Relaxed) {
            return Some(
                "every answering thread is stuck: opens and execs are no longer asked about"
                    .to_owned(),
            );
        }
        let failures = lock(&self.shared.failures);
        let (last, why) = failures.last.as_ref()?;
        let recent = last.elapsed() < REMEMBERED;
        recent.then(|| {
            format!(
                "{} events were not judged, and let pass where the kernel did not refuse what they were about: {why}",
                failures.count
            )
        })
    }
}

impl Drop for Permission {
    fn drop(&mut self) {
        // What waits for an answer passes when the group is closed, which is when the last thread ends.
        let _ = self.shared.group.flush();
        self.shared.stop.give();
    }
}

impl Shared {
    fn add_answerer(self: &Arc<Self>) -> std::io::Result<()> {
        let slot = Arc::new(Slot::default());
        lock(&self.slots).push(slot.clone());
        let lent = self.clone();
        super::thread::start("fanotify", move || {
            lent.answer(&slot);
            lock(&lent.slots).retain(|other| !Arc::ptr_eq(other, &slot));
        })
    }

    /// Answers events until it is stopped, or given up.
    fn answer(&self, slot: &Slot) {
        loop {
            let fds = [
                (self.group.as_fd(), PollFlags::IN),
                (self.stop.as_fd(), PollFlags::IN),
            ];
            match wait(fds, None) {
                Ok([_, false]) => {}
                Ok([_, true]) | Err(_) => return,
            }
            loop {
                slot.read();
                match self.group.read() {
                    Ok(Read::Event(event)) => {
                        if !self.handle(slot, &event) {
                            return;
                        }
                    }
                    Ok(Read::Nothing) => break,
                    // Not with a queue without limit; all the same, of either kind.
                    Ok(Read::Overflow) => self.failed(self.any_kind(), "the queue was full"),
                    Err(error) => {
                        let reason = format!("the kernel gave no event, and refused: {error}");
                        self.failed(self.any_kind(), &reason);
                        // It may fail again at once, and nothing waits for this thread.
                        thread::sleep(Duration::from_millis(1));
                        break;
                    }
                }
            }
            slot.rest();
        }
    }

    /// Decides on an event and answers it; `false`: this thread was given up.
    fn handle(&self, slot: &Slot, event: &Event) -> bool {
        slot.hold(event.file.as_raw_fd());
        let allow = match catch_unwind(AssertUnwindSafe(|| self.decide(event))) {
            Ok(allow) => allow,
            Err(_) => {
                self.failed(kind_of(event.what), "an internal error");
                true
            }
        };
        let mut answered = Ok(());
        let counted_upon = slot.settle(|fd| answered = self.group.answer(fd, allow));
        if let Err(error) = answered {
            self.failed(kind_of(event.what), &format!("cannot answer: {error}"));
        }
        counted_upon
    }

    /// Whether the operation may go on.
    fn decide(&self, event: &Event) -> bool {
        if self.base.proc.has_thread(self.own, event.tid) {
            self.own_opens.fetch_add(1, Ordering::Release);
            return true;
        }
        let kind = kind_of(event.what);
        if self.attached.load(Ordering::Acquire) & bit(kind) == 0 {
            return true;
        }
        let proc = &self.base.proc;
        let mut opening = Opening::new(proc, &self.descriptors, &event.file, event.tid);
        match event.what {
            What::OpenExec => self.decide_exec(&opening),
            What::Open => {
                opening.executes = self.was_executed(&opening);
                self.decide_open(&opening)
            }
            What::Overflow | What::Other => true,
        }
    }

    fn decide_open(&self, opening: &Opening<'_>) -> bool {
        let judged = self.base.judge(Kind::FileOpen, opening);
        if self.role == Role::Guard && !judged.prevents() {
            return true;
        }
        if !judged.is_wanted() {
            self.base.filter(Kind::FileOpen);
            return true;
        }
        let file = opening.facts();
        let (path, path_flags) = path_of(opening);
        let fixed = File {
            inode: file.map_or(0, |file| file.stx_ino),
            device: file.map_or(0, device),
            mode: file.map_or(0, |file| u32::from(file.stx_mode)),
            open_flags: opening.flags().unwrap_or(u32::MAX),
            owner: file.map_or(u32::MAX, |file| file.stx_uid),
            group: file.map_or(u32::MAX, |file| file.stx_gid),
            directory: AT_FDCWD,
            target_directory: AT_FDCWD,
            path_length: path.len() as u16,
            target_length: 0,
            // The path was resolved in the sensor's namespace, and nothing more is known of it.
            mount_namespace: 0,
            mount_id: 0,
            path_above_root: NOT_MET,
            target_above_root: NOT_MET,
            path_in_mount: 0,
            target_in_mount: 0,
            flags: 0,
            reserved: 0,
        };
        self.record(&judged, opening.tid, path_flags, bytes_of(&fixed), path)
    }

    /// What is refused is recorded here; what is not, where the connector tells of it.
    fn decide_exec(&self, opening: &Opening<'_>) -> bool {
        let tgid = self.base.proc.status(opening.tid);
        let tgid = tgid.map_or(opening.tid, |status| status.tgid);
        let file = opening.facts();
        let path = opening.path().unwrap_or_default();
        let loads = file.is_some_and(|file| is_loader(path, file));
        let is_loader = loads && self.base.attempts.any(tgid);
        if !is_loader {
            let judged = self.base.judge(Kind::ProcessExec, opening);
            if judged.prevents() {
                return self.refuse_exec(&judged, opening);
            }
        }
        let attempt = Attempt {
            time: clock::boottime(),
            path: path.to_vec(),
            file: file.copied(),
            is_loader,
        };
        self.base.attempts.add(tgid, attempt);
        self.executes(opening);
        true
    }

    fn refuse_exec(&self, judged: &Judged, opening: &Opening<'_>) -> bool {
        let (path, path_flags) = path_of(opening);
        let lengths = Lengths {
            executable: path.len(),
            ..Lengths::default()
        };
        let fixed = executable(opening.facts(), lengths, 0);
        self.record(judged, opening.tid, path_flags, bytes_of(&fixed), path)
    }

    /// Records an operation; whether it may go on.
    fn record(&self, judged: &Judged, tid: u32, more: u32, fixed: &[u8], path: &[u8]) -> bool {
        let allow = !judged.prevents();
        // What it executed or was forked from comes first.
        self.base.life.catch_up();
        let facts = self.base.proc.facts(tid);
        let mut facts = facts.unwrap_or_else(|| Facts::unknown(tid));
        let program = match self.role {
            Role::Source => self.base.program(facts.layout),
            Role::Guard => {
                // The process is the one that has this pid now, and runs what it was last seen to run.
                facts.start = 0;
                0
            }
        };
        let met = &self.base.attempts;
        met.saw(facts.tgid, clock::boottime(), program);
        let draft = Draft {
            time: Time::Now,
            tid,
            facts: &facts,
            program,
            flags: more | if allow { 0 } else { flags::REFUSED },
            fixed,
            strings: &[path],
        };
        self.base.submit(judged, &draft);
        allow
    }

    /// This thread opens this file to execute it: its next event is of the same open.
    fn executes(&self, opening: &Opening<'_>) {
        if let Some(file) = opening.facts() {
            let mut executed = lock(&self.executed);
            *executed.entry(opening.tid, || identity(file)) = identity(file);
        }
    }

    /// Whether an open belongs to an exec: the kernel asks about the file as one that is executed, and
    /// then once more as one that is opened (`fsnotify_open_perm`).
    fn was_executed(&self, opening: &Opening<'_>) -> bool {
        let executed = lock(&self.executed).remove(opening.tid);
        executed.is_some() && executed == opening.facts().map(identity)
    }

    fn failed(&self, kind: Kind, why: &str) {
        count(&self.base.account.of(kind).missed, 1);
        let mut failures = lock(&self.failures);
        failures.count += 1;
        failures.last = Some((Instant::now(), why.to_owned()));
    }

    /// Of which kind an event is that is not known: opens are far more than execs.
    fn any_kind(&self) -> Kind {
        let opens = self.attached.load(Ordering::Relaxed) & bit(Kind::FileOpen) != 0;
        if opens {
            Kind::FileOpen
        } else {
            Kind::ProcessExec
        }
    }

    /// Answers for threads that do not, until it is stopped.
    fn watch(self: &Arc<Self>) {
        loop {
            let stop = [(self.stop.as_fd(), PollFlags::IN)];
            match wait(stop, Some(WATCH)) {
                Ok([false]) => self.look(),
                Ok([true]) | Err(_) => return,
            }
        }
    }

    fn look(self: &Arc<Self>) {
        let slots = lock(&self.slots).clone();
        let now = Instant::now();
        for slot in &slots {
            let replace = slot.look(now, LIMIT, |fd| {
                // What it cannot be answered for is gone.
                let _ = self.group.answer(fd, true);
                self.failed(self.any_kind(), "an answer took too long");
            });
            if !replace {
                continue;
            }
            let there = lock(&self.slots).len();
            if there < MAX_ANSWERERS && self.add_answerer().is_ok() {
                continue;
            }
            if !self.given_up.swap(true, Ordering::Relaxed) {
                self.attached.store(0, Ordering::Release);
                let _ = self.group.flush();
            }
        }
    }
}

const fn kind_of(what: What) -> Kind {
    match what {
        What::OpenExec => Kind::ProcessExec,
        What::Open | What::Overflow | What::Other => Kind::FileOpen,
    }
}

/// The path as records have it, and the flag of one that is too long.
fn path_of<'o>(opening: &'o Opening<'_>) -> (&'o [u8], u32) {
    const _: () = assert!(PATH_BYTES <= u16::MAX as usize);
    match opening.path() {
        Some(path) => (path, 0),
        None => (&[], flags::PATH_TRUNCATED),
    }
}

/// Device of a file in the kernel's encoding.
fn device(file: &Statx) -> u32 {
    file.stx_dev_major << 20 | file.stx_dev_minor
}

fn identity(file: &Statx) -> (u32, u32, u64) {
    (file.stx_dev_major, file.stx_dev_minor, file.stx_ino)
}

/// Lengths of the strings of an exec, in bytes; none has more than 16 bits for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lengths {
    pub(crate) executable: usize,
    pub(crate) script: usize,
    pub(crate) interpreter: usize,
    pub(crate) working_directory: usize,
    pub(crate) arguments: usize,
    pub(crate) environment: usize,
}

/// The fixed part of an exec of this file, with strings of these lengths.
pub(crate) fn executable(file: Option<&Statx>, lengths: Lengths, terminal: u32) -> Exec {
    let terminal = holdfast_wire::uapi::process::terminal_name(terminal);
    Exec {
        inode: file.map_or(0, |file| file.stx_ino),
        capabilities_before: 0,
        device: file.map_or(0, device),
        links: file.map_or(0, |file| file.stx_nlink),
        mode: file.map_or(0, |file| u32::from(file.stx_mode)),
        executable_length: lengths.executable as u16,
        // As it was given to execve is not to be had: of a script it is the path that was found.
        filename_length: lengths.script as u16,
        interpreter_length: lengths.interpreter as u16,
        working_directory_length: lengths.working_directory as u16,
        arguments_length: lengths.arguments as u16,
        environment_length: lengths.environment as u16,
        mount_namespace: 0,
        mount_id: 0,
        above_root: NOT_MET,
        in_mount: 0,
        flags: 0,
        terminal: super::proc::padded(terminal.unwrap_or_default().as_bytes()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is done under these locks leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
