//! The kernel side without eBPF: the tier `fanotify`.
//!
//! Opens and execs ask for permission ([`permission`], on all file systems that [`marks`] finds), the
//! life of processes comes from the process connector ([`connector`]), connections and listeners from
//! sock_diag ([`sockets`]). What they tell is decided by the tables that the kernel programs would
//! look up, and becomes the records that those would write, in rings of memory: readers, evaluator and
//! ledger see no difference.
//!
//! [`guard`] lends the permission events to kernel programs that cannot refuse.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_actors::kernel::{
    Attempt, BufferReport, Capped, Condition, HookReport, Kernel, KernelError, Ring,
};
use holdfast_actors::ring::MemoryRing;
use holdfast_policy::snapshot::Tables;
use holdfast_policy::table::ContainerKey;
use holdfast_wire::control::{Cap, Counters, Tier};
use holdfast_wire::{Domain, Kind};

mod account;
mod attempts;
mod base;
mod caps;
mod connector;
pub(crate) mod guard;
mod life;
mod marks;
mod netlink;
mod permission;
mod proc;
mod programs;
mod recent;
mod sockets;
mod thread;

use base::Base;
use connector::Connector;
use permission::{Permission, Role};
use sockets::Sockets;

/// What this side is told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The host's root.
    pub(crate) host: PathBuf,
    /// Bytes of each domain's ring.
    pub(crate) ring_bytes: [u32; Domain::ALL.len()],
    /// The most events of a cgroup; `None` for as many as it makes.
    pub(crate) cap: Option<Cap>,
    /// Whether records of an exec carry the environment.
    pub(crate) environment: bool,
    /// Why there is no eBPF, where it was wanted.
    pub(crate) instead_of_ebpf: Option<String>,
    /// Whether something is wrong if it ends with the sensor (`kernel.on_exit`).
    pub(crate) must_outlive: bool,
}

/// The parts that are running. Each is made when the first hook asks for it; one that failed is tried
/// again with the next.
#[derive(Debug, Default)]
struct Parts {
    permission: Option<Permission>,
    connector: Option<Connector>,
    sockets: Option<Sockets>,
    /// By kind: attached, and what it does not have.
    hooks: Vec<(Kind, Hook)>,
}

/// How a hook stands.
#[derive(Clone, Debug)]
enum Hook {
    /// It is attached; with what it lacks, in one line.
    Attached(String),
    /// It could not be.
    Failed(String),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fanotify {
    base: Arc<Base>,
    options: Options,
    parts: Mutex<Parts>,
}

/// The readers' ends of the rings.
pub(crate) type Rings = Vec<(Domain, Box<dyn Ring>)>;

impl Fanotify {
    /// Makes the rings; attaches nothing.
    ///
    /// # Errors
    /// In one line, when this process lacks what the tier stands on.
    pub(crate) fn open(options: Options) -> Result<(Arc<Self>, Rings), String> {
        let base = Base::new(&options).map_err(|error| {
            let host = options.host.display();
            format!("cannot read /proc below host.fs ({host}): {error}")
        })?;
        let base = Arc::new(base);
        let ring = |domain: Domain| {
            let life = (domain == Domain::Process).then(|| base.life.clone() as Arc<_>);
            let ring: Box<dyn Ring> = Box::new(MemoryRing {
                records: base.ring(domain).clone(),
                completeness: life,
            });
            (domain, ring)
        };
        let rings = Domain::ALL.into_iter().map(ring).collect();
        let this = Self {
            base: base.clone(),
            options,
            parts: Mutex::default(),
        };
        Ok((Arc::new(this), rings))
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        lock(&self.parts)
    }
}

/// Makes a part unless it is there.
fn part<T>(place: &mut Option<T>, make: impl FnOnce() -> Result<T, String>) -> Result<&T, String> {
    if place.is_none() {
        *place = Some(make()?);
    }
    // It was just made, if it was not there.
    place.as_ref().ok_or_else(String::new)
}

impl Parts {
    fn permission(&mut self, side: &Fanotify) -> Result<&Permission, String> {
        let host = &side.options.host;
        part(&mut self.permission, || {
            Permission::new(side.base.clone(), Role::Source, host)
        })
    }

    fn connector(&mut self, side: &Fanotify) -> Result<&Connector, String> {
        part(&mut self.connector, || {
            let connector = Connector::new(side.base.clone())?;
            side.base.life.comes_from(connector.completeness());
            Ok(connector)
        })
    }

    fn sockets(&mut self, side: &Fanotify) -> Result<&Sockets, String> {
        part(&mut self.sockets, || Sockets::new(side.base.clone()))
    }

    /// Attaches a hook; what it lacks, in one line.
    fn attach(&mut self, kind: Kind, side: &Fanotify) -> Result<String, String> {
        match kind {
            Kind::FileOpen => self.permission(side)?.attach(kind)?,
            Kind::ProcessExec => {
                let told = self.connector(side).map(|connector| connector.attach(kind));
                let asked = self.permission(side).and_then(|it| it.attach(kind));
                return match (told, asked) {
                    (Ok(()), Ok(())) => Ok(String::new()),
                    (Ok(()), Err(error)) => Ok(format!("nothing is refused: {error}")),
                    (Err(error), Ok(())) => Ok(format!("only what is refused is seen: {error}")),
                    (Err(error), Err(_)) => Err(error),
                };
            }
            kind if sockets::KINDS.contains(&kind) => self.sockets(side)?.attach(kind),
            kind if connector::KINDS.contains(&kind) => self.connector(side)?.attach(kind),
            _ => return Err("without eBPF nothing tells of it".to_owned()),
        }
        Ok(String::new())
    }

    fn detach(&mut self, kind: Kind) {
        if let Some(permission) = &self.permission {
            permission.detach(kind);
        }
        if let Some(connector) = &self.connector {
            connector.detach(kind);
        }
        if let Some(sockets) = &self.sockets {
            sockets.detach(kind);
        }
        self.hooks.retain(|(of, _)| *of != kind);
    }

    fn hook(&self, kind: Kind) -> Option<&Hook> {
        let found = self.hooks.iter().find(|(of, _)| *of == kind);
        found.map(|(_, hook)| hook)
    }
}

impl Kernel for Fanotify {
    fn attach(&self, kind: Kind) -> Result<Tier, KernelError> {
        let mut parts = self.parts();
        if let Some(Hook::Attached(_)) = parts.hook(kind) {
            return Ok(Tier::Fanotify);
        }
        let result = parts.attach(kind, self);
        parts.hooks.retain(|(of, _)| *of != kind);
        let hook = match &result {
            Ok(lacks) => Hook::Attached(lacks.clone()),
            Err(error) => Hook::Failed(error.clone()),
        };
        parts.hooks.push((kind, hook));
        let attempted = || format!("attach {}", kind.action());
        result
            .map(|_| Tier::Fanotify)
            .map_err(|reason| KernelError {
                attempted: attempted(),
                reason,
            })
    }

    fn detach(&self, kind: Kind) {
        self.parts().detach(kind);
    }

    fn report(&self, kind: Kind) -> HookReport {
        let parts = self.parts();
        let hook = parts.hook(kind);
        let mut reasons = Vec::new();
        match hook {
            Some(Hook::Attached(lacks)) => {
                reasons.push(lacks.clone());
                let permission = parts.permission.as_ref();
                let unmarked = permission
                    .filter(|_| Tier::Fanotify.refuses(kind))
                    .map(Permission::unmarked);
                if let Some(mounts) = unmarked.filter(|mounts| !mounts.is_empty()) {
                    reasons.push(format!("not marked: {mounts}"));
                }
            }
            Some(Hook::Failed(error)) => reasons.push(error.clone()),
            None => reasons.push("nothing asks for its events".to_owned()),
        }
        if let (Some(why), Some(Hook::Attached(_))) = (&self.options.instead_of_ebpf, hook) {
            reasons.push(why.clone());
        }
        reasons.retain(|reason| !reason.is_empty());
        let attached = matches!(hook, Some(Hook::Attached(_)));
        HookReport {
            action: kind.action(),
            tier: attached.then(|| Tier::Fanotify.name()),
            reason: reasons.join("; "),
            blind_to: if attached { blind_to(kind) } else { "" },
            tried: self.tried(hook),
            outlives_sensor: false,
        }
    }

    fn counters(&self, kind: Kind) -> Result<(Counters, u64), KernelError> {
        Ok((self.base.account.counters(kind), 0))
    }

    fn capped(&self) -> Result<Vec<Capped>, KernelError> {
        Ok(self.base.caps.withheld())
    }

    fn buffer(&self) -> BufferReport {
        BufferReport {
            kind: "memory",
            reason: String::new(),
        }
    }

    fn install(&self, tables: &Tables) -> Result<(), KernelError> {
        self.base.install(tables);
        Ok(())
    }

    fn set_container(&self, _key: ContainerKey, _held: u32) -> Result<(), KernelError> {
        // Which container a process is in is found with the record, in user space.
        Ok(())
    }

    fn forget_container(&self, _key: ContainerKey) -> Result<(), KernelError> {
        Ok(())
    }

    fn set_never_kill(&self, _tgids: &[u32]) -> Result<(), KernelError> {
        // The list is for programs that kill. Nothing here does, and the killer asks its guard.
        Ok(())
    }

    fn conditions(&self) -> Vec<Condition> {
        let parts = self.parts();
        let permission = parts.permission.as_ref();
        let reason = "what it refuses by is not kept by the kernel when its process ends";
        let ends = self.options.must_outlive.then(|| reason.to_owned());
        vec![
            ("kernel.on_exit", ends),
            ("eBPF", self.options.instead_of_ebpf.clone()),
            ("fanotify", permission.and_then(Permission::trouble)),
        ]
    }
}

impl Fanotify {
    /// The tiers before this one, where they were wanted.
    fn tried(&self, hook: Option<&Hook>) -> Vec<Attempt> {
        let programs = self.options.instead_of_ebpf.iter().flat_map(|why| {
            let tiers = Tier::ALL.iter().filter(|tier| **tier < Tier::Fanotify);
            tiers.map(|tier| (tier.name(), why.clone()))
        });
        let own = match hook {
            Some(Hook::Failed(error)) => Some((Tier::Fanotify.name(), error.clone())),
            _ => None,
        };
        let attempt = |(tier, error)| Attempt { tier, error };
        programs.chain(own).map(attempt).collect()
    }
}

/// The kinds that the tier has a source for, and what it cannot see of each, in words that follow "does
/// not see".
pub(crate) fn sights() -> impl Iterator<Item = (Kind, &'static str)> {
    Kind::hooked()
        .filter(|kind| Tier::Fanotify.sees(*kind))
        .map(|kind| (kind, blind_to(kind)))
}

/// What the tier cannot see of a kind, in words that follow "does not see".
const fn blind_to(kind: Kind) -> &'static str {
    match kind {
        Kind::FileOpen => BLIND_OPENS,
        Kind::ProcessExec => {
            "arguments and environment of a program that ended at once; how a script names its \
             interpreter; what is refused on FUSE, network and kernel file systems, a memfd, or a mount \
             of another mount namespace or of a moment ago"
        }
        Kind::ProcessPtrace => "PTRACE_TRACEME, and a look into another's memory",
        Kind::ProcessSetuid | Kind::ProcessSetgid => {
            "what changes nothing, saved ids and supplementary groups"
        }
        Kind::NetworkConnect | Kind::NetworkListen | Kind::NetworkAccept => {
            "what lasts less than a second, anything but TCP, and other network namespaces"
        }
        _ => "",
    }
}

/// See [`blind_to`].
pub(crate) const BLIND_OPENS: &str = "FUSE, network and kernel file systems (/proc, /sys, /dev), mounts of \
    other mount namespaces or of a moment ago, and how openat2 or io_uring opens";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is done under these locks leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
