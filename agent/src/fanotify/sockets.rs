//! Connections and listeners, as `sock_diag` lists them every now and then: what was not there the last
//! time has come into being since, and belongs to whoever has it open.

use std::borrow::Cow;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_actors::ring::Time;
use holdfast_policy::lookup::Known;
use holdfast_policy::table::Dimension;
use holdfast_wire::Kind;
use holdfast_wire::encode::bytes_of;
use holdfast_wire::record::network::{self, ends};
use holdfast_wire::uapi::inet_diag::{self, INET, INET6, Socket};
use holdfast_wire::uapi::netlink;
use rustix::event::PollFlags;
use rustix::io::Errno;

mod differ;
mod owners;

use differ::Differ;

use super::account::count;
use super::base::{Base, Draft};
use super::netlink::Netlink;
use super::proc::Proc;
use super::thread::{self, Signal, wait};

/// How often sockets are listed. A connection that was opened and closed in between is not seen; a
/// list of ten thousand sockets takes some milliseconds.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// How long the kernel may take for a part of the list.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes for parts of the list that were not read yet.
const BUFFER_BYTES: usize = 1 << 20;
/// `IPPROTO_TCP` and `SOCK_STREAM`: what is listed.
const TCP: u16 = 6;
const STREAM: u16 = 1;

/// The kinds that the lists tell of.
pub(crate) const KINDS: [Kind; 3] = [
    Kind::NetworkConnect,
    Kind::NetworkListen,
    Kind::NetworkAccept,
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Sockets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    base: Arc<Base>,
    /// A bit for each kind that is attached, by its number.
    attached: AtomicU64,
    stop: Signal,
}

const fn bit(kind: Kind) -> u64 {
    1 << kind.index()
}

impl Sockets {
    /// Begins to list sockets. Nothing is attached.
    ///
    /// # Errors
    /// In one line, why they cannot be listed.
    pub(crate) fn new(base: Arc<Base>) -> Result<Self, String> {
        let stop = Signal::new().map_err(|error| error.to_string())?;
        // To be told at once where there is no sock_diag.
        let mut first = Lister::new()?;
        first.list()?;
        let shared = Arc::new(Shared {
            base,
            attached: AtomicU64::new(0),
            stop,
        });
        let lent = shared.clone();
        thread::start("fanotify-socks", move || lent.work()).map_err(|error| error.to_string())?;
        Ok(Self(shared))
    }

    /// Records what comes of this kind from the next list on.
    pub(crate) fn attach(&self, kind: Kind) {
        self.0.attached.fetch_or(bit(kind), Ordering::Relaxed);
    }

    /// Records it no more.
    pub(crate) fn detach(&self, kind: Kind) {
        self.0.attached.fetch_and(!bit(kind), Ordering::Relaxed);
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.0.stop.give();
    }
}

/// A socket for lists of sockets.
struct Lister {
    netlink: Netlink,
    sequence: u32,
}

impl Lister {
    fn new() -> Result<Self, String> {
        let protocol = rustix::net::netlink::SOCK_DIAG;
        let netlink = Netlink::new(protocol, 0, BUFFER_BYTES).map_err(|error| match error {
            Errno::PROTONOSUPPORT => "no sock_diag: the kernel needs CONFIG_INET_DIAG".to_owned(),
            error => format!("sock_diag: {error}"),
        })?;
        Ok(Self {
            netlink,
            sequence: 0,
        })
    }

    /// All TCP sockets of the sensor's network namespace.
    fn list(&mut self) -> Result<Vec<Socket>, String> {
        let mut sockets = Vec::new();
        for family in [INET, INET6] {
            self.list_family(family, &mut sockets)?;
        }
        Ok(sockets)
    }

    fn list_family(&mut self, family: u8, sockets: &mut Vec<Socket>) -> Result<(), String> {
        self.sequence = self.sequence.wrapping_add(1);
        let failed = |error: Errno| format!("sock_diag: {error}");
        let request = inet_diag::dump(family, self.sequence);
        self.netlink.send(&request).map_err(failed)?;
        loop {
            if !self.netlink.wait(PATIENCE).map_err(failed)? {
                return Err("sock_diag does not answer".to_owned());
            }
            let bytes = self.netlink.receive().map_err(failed)?;
            let mut rest = &bytes[..];
            while let Some(message) = netlink::next(&mut rest) {
                let message = message.map_err(|error| error.to_string())?;
                if message.sequence != self.sequence {
                    // What is left of a list that was given up.
                    continue;
                }
                match (message.kind, message.error()) {
                    (netlink::DONE, _) => return Ok(()),
                    // A kernel without IPv6.
                    (netlink::ERROR, Some(libc::ENOENT)) if family == INET6 => return Ok(()),
                    (netlink::ERROR, Some(libc::ENOENT)) => {
                        return Err(
                            "no sock_diag for TCP: the kernel needs its module tcp_diag \
                            (CONFIG_INET_TCP_DIAG)"
                                .to_owned(),
                        );
                    }
                    (netlink::ERROR, error) => {
                        let error = std::io::Error::from_raw_os_error(error.unwrap_or(0));
                        return Err(format!("sock_diag refuses: {error}"));
                    }
                    (inet_diag::BY_FAMILY, _) => {
                        let socket = inet_diag::parse(message.payload);
                        sockets.push(socket.map_err(|error| error.to_string())?);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A socket that a process has, as far as rules ask about it.
struct Owned<'a> {
    proc: &'a Proc,
    kind: Kind,
    socket: &'a Socket,
    tgid: u32,
}

impl Known for Owned<'_> {
    fn lacks(&self, dimension: Dimension) -> bool {
        // That is for Unix sockets.
        dimension == Dimension::Path
    }

    fn address(&self) -> Option<[u8; 16]> {
        let Socket { local, remote, .. } = self.socket;
        Some(match self.kind {
            Kind::NetworkListen => local.address,
            _ => remote.address,
        })
    }

    fn port(&self) -> Option<u16> {
        let Socket { local, remote, .. } = self.socket;
        Some(match self.kind {
            Kind::NetworkConnect => remote.port,
            _ => local.port,
        })
    }

    fn user(&self) -> Option<u32> {
        self.proc.status(self.tgid).map(|status| status.uid)
    }

    fn executable(&self) -> Option<Cow<'_, [u8]>> {
        self.proc.executable(self.tgid).map(Cow::Owned)
    }
}

impl Shared {
    /// Lists sockets until it is stopped.
    fn work(&self) {
        let mut differ = Differ::default();
        let mut lister = None;
        loop {
            self.look(&mut lister, &mut differ);
            match wait([(self.stop.as_fd(), PollFlags::IN)], Some(INTERVAL)) {
                Ok([false]) => {}
                Ok([true]) | Err(_) => return,
            }
        }
    }

    fn look(&self, lister: &mut Option<Lister>, differ: &mut Differ) {
        if lister.is_none() {
            *lister = Lister::new().ok();
        }
        let listed = lister.as_mut().map(Lister::list);
        let Some(Ok(sockets)) = listed else {
            // A socket anew: what is under way on this one is of no use. What came since the last list
            // comes with the next, if it is still there.
            *lister = None;
            self.missed(1);
            return;
        };
        let new = differ.new_ones(sockets);
        let attached = self.attached.load(Ordering::Relaxed);
        let wanted: Vec<_> = new
            .into_iter()
            .filter(|(kind, _)| attached & bit(*kind) != 0)
            .collect();
        let inodes: Vec<u64> = wanted
            .iter()
            .map(|(_, socket)| u64::from(socket.inode))
            .collect();
        let owners = owners::find(&self.base.proc, &inodes);
        for (kind, socket) in &wanted {
            match owners.get(&u64::from(socket.inode)) {
                Some(tgid) if *tgid != std::process::id() => self.record(*kind, socket, *tgid),
                Some(_) => {}
                // It is closed again, or was passed on to nobody that could be found.
                None => count(&self.base.account.of(*kind).missed, 1),
            }
        }
    }

    fn record(&self, kind: Kind, socket: &Socket, tgid: u32) {
        let proc = &self.base.proc;
        let owned = Owned {
            proc,
            kind,
            socket,
            tgid,
        };
        let judged = self.base.judge(kind, &owned);
        if !judged.is_wanted() {
            self.base.filter(kind);
            return;
        }
        let Some(facts) = proc.facts(tgid) else {
            count(&self.base.account.of(kind).missed, 1);
            return;
        };
        let peer = match kind {
            Kind::NetworkListen => 0,
            _ => ends::PEER,
        };
        let fixed = network::Socket {
            own: socket.local.address,
            peer: socket.remote.address,
            own_port: socket.local.port,
            peer_port: socket.remote.port,
            family: u16::from(socket.family),
            protocol: TCP,
            socket_type: STREAM,
            ends: ends::OWN | peer,
            ..network::Socket::UNKNOWN
        };
        let draft = Draft {
            time: Time::Now,
            tid: tgid,
            program: self.base.program(facts.layout),
            facts: &facts,
            flags: 0,
            fixed: bytes_of(&fixed),
            strings: &[],
        };
        self.base.submit(&judged, &draft);
    }

    /// Something could not be seen; of what kind is not known.
    fn missed(&self, lost: u64) {
        let attached = self.attached.load(Ordering::Relaxed);
        for kind in KINDS {
            if attached & bit(kind) != 0 {
                count(&self.base.account.of(kind).missed, lost);
            }
        }
    }
}
