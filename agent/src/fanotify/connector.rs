//! The life of processes, from the netlink process connector.
//!
//! It tells that something has happened, to which process and when, and nothing else: the rest is read
//! from `/proc` right away, and is remembered for when the process is gone.

use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_actors::clock;
use holdfast_actors::ring::Completeness;
use holdfast_wire::Kind;
use holdfast_wire::uapi::connector::{self, Message, What};
use holdfast_wire::uapi::netlink;
use rustix::event::PollFlags;
use rustix::io::Errno;

mod gaps;
mod table;
mod teller;

use gaps::Gaps;
use teller::Teller;

use super::account::count;
use super::base::Base;
use super::netlink::Netlink;
use super::thread::{self, Signal, wait};

/// Bytes for messages that were not read yet: the kernel counts about a kilobyte for each, so these
/// are some ten thousand forks, execs and exits.
const BUFFER_BYTES: usize = 16 << 20;
/// How long the kernel may take to confirm: it does so before the request returns.
const CONFIRMATION: Duration = Duration::from_secs(2);
/// How long reading every process may take before others go on without.
const LEARNING: Duration = Duration::from_secs(5);
/// How often it is looked whether a process is gone whose first thread has ended before others.
const LINGERING: Duration = Duration::from_millis(20);

/// The kinds it tells of.
pub(crate) const KINDS: [Kind; 6] = [
    Kind::ProcessExec,
    Kind::ProcessFork,
    Kind::ProcessExit,
    Kind::ProcessPtrace,
    Kind::ProcessSetuid,
    Kind::ProcessSetgid,
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Connector(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    base: Arc<Base>,
    socket: Netlink,
    /// A bit for each kind that is attached, by its number.
    attached: AtomicU64,
    /// Messages were taken from the socket and are not all recorded.
    working: AtomicBool,
    /// Time of the last message that was.
    recorded: AtomicU64,
    /// Given when the processes that run have been read.
    learnt: Signal,
    stop: Signal,
}

impl Connector {
    /// Begins to listen. Nothing is attached.
    ///
    /// # Errors
    /// In one line, why the connector cannot be had.
    pub(crate) fn new(base: Arc<Base>) -> Result<Self, String> {
        let group = 1 << (connector::PROCESSES - 1);
        let protocol = rustix::net::netlink::CONNECTOR;
        let socket = Netlink::new(protocol, group, BUFFER_BYTES).map_err(|error| match error {
            Errno::PROTONOSUPPORT => {
                "no process connector: the kernel needs CONFIG_PROC_EVENTS, and has it in the \
                 initial network namespace only"
                    .to_owned()
            }
            Errno::PERM => "the process connector needs CAP_NET_ADMIN".to_owned(),
            error => format!("the process connector: {error}"),
        })?;
        let failed = |error: Errno| format!("the process connector: {error}");
        socket.send(&connector::listen()).map_err(failed)?;
        confirm(&socket)?;
        let signal = || Signal::new().map_err(|error| error.to_string());
        let (learnt, stop) = (signal()?, signal()?);
        let shared = Arc::new(Shared {
            base,
            socket,
            attached: AtomicU64::new(0),
            working: AtomicBool::new(true),
            recorded: AtomicU64::new(0),
            learnt,
            stop,
        });
        let lent = shared.clone();
        thread::start("fanotify-life", move || lent.work()).map_err(|error| error.to_string())?;
        // Programs are numbered as they are met: those that run, before those to come.
        let _ = wait([(shared.learnt.as_fd(), PollFlags::IN)], Some(LEARNING));
        Ok(Self(shared))
    }

    /// Records what happens of this kind from now on.
    pub(crate) fn attach(&self, kind: Kind) {
        self.0.attached.fetch_or(bit(kind), Ordering::Relaxed);
    }

    /// Records it no more.
    pub(crate) fn detach(&self, kind: Kind) {
        self.0.attached.fetch_and(!bit(kind), Ordering::Relaxed);
    }

    /// What says how far the records of processes are complete.
    pub(crate) fn completeness(&self) -> Arc<dyn Completeness> {
        self.0.clone()
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.0.stop.give();
    }
}

const fn bit(kind: Kind) -> u64 {
    1 << kind.index()
}

/// Waits until the kernel has confirmed. It says nothing at all to a process outside of the initial
/// pid and user namespaces (`cn_proc_mcast_ctl`).
fn confirm(socket: &Netlink) -> Result<(), String> {
    let begun = Instant::now();
    while let Some(left) = CONFIRMATION.checked_sub(begun.elapsed()) {
        let readable = socket.wait(left).map_err(|error| error.to_string())?;
        let bytes = match socket.receive() {
            Ok(bytes) if readable => bytes,
            // Others may have filled the room already; what was lost then was not asked for yet.
            Ok(_) | Err(Errno::NOBUFS) => continue,
            Err(error) => return Err(format!("the process connector: {error}")),
        };
        let mut rest = &bytes[..];
        while let Some(message) = netlink::next(&mut rest) {
            let message = message.ok().and_then(|it| connector::parse(&it).ok()?);
            match message.map(|message| message.what) {
                Some(What::Acknowledged(0)) => return Ok(()),
                Some(What::Acknowledged(error)) => {
                    let error = Errno::from_raw_os_error(error.cast_signed());
                    return Err(format!("the process connector refuses: {error}"));
                }
                _ => {}
            }
        }
    }
    Err(
        "the process connector does not answer: it does only in the initial pid and user namespaces"
            .to_owned(),
    )
}

impl Completeness for Shared {
    fn complete_until(&self, now: u64) -> u64 {
        // In this order: what was taken from the socket before it was found empty is being worked on.
        let waits = self.socket.wait(Duration::ZERO) != Ok(false);
        if waits || self.working.load(Ordering::Acquire) {
            self.recorded.load(Ordering::Acquire)
        } else {
            now
        }
    }
}

impl Shared {
    /// Records what the kernel tells, until it is stopped.
    fn work(&self) {
        let (mut teller, mut gaps) = (Teller::new(&self.base), Gaps::default());
        teller.learn();
        self.learnt.give();
        loop {
            self.working.store(true, Ordering::Release);
            self.receive(&mut teller, &mut gaps);
            let attached = self.attached();
            teller.look_after_lingering(&attached);
            self.working.store(false, Ordering::Release);
            let fds = [
                (self.socket.as_fd(), PollFlags::IN),
                (self.stop.as_fd(), PollFlags::IN),
            ];
            let limit = teller.has_lingering().then_some(LINGERING);
            match wait(fds, limit) {
                Ok([_, false]) => {}
                Ok([_, true]) | Err(_) => return,
            }
        }
    }

    /// Whether a kind is attached.
    fn attached(&self) -> impl Fn(Kind) -> bool + use<> {
        let attached = self.attached.load(Ordering::Relaxed);
        move |kind| attached & bit(kind) != 0
    }

    /// Takes and records all that is there.
    fn receive(&self, teller: &mut Teller<'_>, gaps: &mut Gaps) {
        loop {
            let bytes = match self.socket.receive() {
                Ok(bytes) if bytes.is_empty() => return,
                Ok(bytes) => bytes,
                Err(Errno::NOBUFS) => {
                    // How many is known by the numbers of those that follow.
                    teller.learn();
                    continue;
                }
                Err(_) => return,
            };
            let offset = clock::boottime_minus_monotonic();
            let mut rest = &bytes[..];
            while let Some(message) = netlink::next(&mut rest) {
                match message.and_then(|message| connector::parse(&message)) {
                    Ok(Some(message)) => self.handle(&message, offset, teller, gaps),
                    Ok(None) => {}
                    Err(_) => self.missed(1),
                }
            }
        }
    }

    fn handle(&self, message: &Message, offset: u64, teller: &mut Teller<'_>, gaps: &mut Gaps) {
        if matches!(message.what, What::Acknowledged(_)) {
            return;
        }
        self.missed(gaps.before(message));
        let time = message.time.wrapping_add(offset);
        let attached = self.attached();
        let told = catch_unwind(AssertUnwindSafe(|| {
            teller.tell(message.what, time, &attached);
        }));
        if told.is_err() {
            self.missed(1);
        }
        self.recorded.store(time, Ordering::Release);
    }

    /// Messages were lost. Of what kind is not known: each could have been of any, and is counted so.
    fn missed(&self, lost: u64) {
        let attached = self.attached();
        for kind in KINDS.into_iter().filter(|kind| lost > 0 && attached(*kind)) {
            count(&self.base.account.of(kind).missed, lost);
        }
    }
}
