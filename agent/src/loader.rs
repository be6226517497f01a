//! The only owner of programs, maps and links.
//!
//! Opening loads the object and makes the maps. A hook is attached when something asks for it, in
//! the best tier that works, found by trying: a tier counts only if a trial attachment of it was
//! seen to fire, since attaching an LSM program succeeds on kernels where it then never runs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{HashMap, MapData, PerCpuArray};
use holdfast_actors::kernel::{
    Attempt, BufferReport, Capped, Condition, Counted, HookReport, Kernel, KernelError, Predecessor,
};
use holdfast_policy::snapshot::Tables;
use holdfast_policy::table::ContainerKey;
use holdfast_wire::control::{
    Bucket, CAPPED_CGROUPS, Cap, CapKey, Counters, ProcessKey, SCRATCH_SLOTS, Tier,
};
use holdfast_wire::layout::ABSENT;
use holdfast_wire::{Domain, Kind};

use crate::allocator;
use crate::preflight::{self, Facts};

mod account;
mod attach;
mod constants;
mod containers;
mod continuity;
mod counts;
mod inherited;
mod lineage;
mod mapping;
mod maps;
mod object;
mod passing;
mod perf_event;
pub(crate) mod pins;
mod plan;
mod pod;
mod reason;
mod relocated;
mod rings;
mod survey;
mod sys;
mod tables;
mod targets;

use account::Account;
use attach::{Link, Programs};
use constants::Constants;
use containers::Containers;
use continuity::{Continuity, Loaded, Pinned};
pub(crate) use continuity::{OnExit, Remains};
use counts::Missed;
use lineage::Lineages;
use pod::Plain;
use reason::chain;
use relocated::{Parsed, Relocatable};
use rings::Taken;
pub(crate) use rings::{Buffer, Rings};
pub(crate) use sys::{lift_memlock_limit, mount_bpffs};
use tables::PolicyMaps;
use targets::Targets;

/// What the loader is told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// BTF to use instead of the kernel's own (`kernel.btf`).
    pub(crate) btf: Option<PathBuf>,
    /// The best tier to try; `None` for the best there is.
    pub(crate) ceiling: Option<Tier>,
    /// Bytes of each domain's ring, a power of two and a multiple of the page size.
    pub(crate) ring_bytes: [u32; Domain::ALL.len()],
    /// What carries records; `None` for the best there is.
    pub(crate) buffer: Option<Buffer>,
    /// The most events of a cgroup; `None` for any number.
    pub(crate) cap: Option<Cap>,
    /// Whether records of an exec carry the environment.
    pub(crate) environment: bool,
    /// The host's `/proc`.
    pub(crate) proc: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            btf: None,
            ceiling: None,
            ring_bytes: [4 << 20, 8 << 20, 2 << 20, 1 << 20, 1 << 20],
            buffer: None,
            cap: None,
            environment: false,
            proc: PathBuf::from("/proc"),
        }
    }
}

/// Why the sensor cannot start here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The maps could not be made: no permission, no memory.
    #[error("cannot create the BPF maps: {0}")]
    Maps(String),
    /// What carries records could not be made.
    #[error("cannot make the buffers for records: {0}")]
    Buffers(String),
    /// The object does not have what the agent expects: built from another tree.
    #[error("the embedded kernel programs do not fit this agent: {0}")]
    Object(String),
}

/// The loaded object. Dropping it detaches everything.
pub(crate) struct Loader {
    facts: Facts,
    ceiling: Option<Tier>,
    buffer: BufferReport,
    containers: Containers,
    predecessor: Option<Predecessor>,
    /// See [`Kernel::outlives`]; the evaluator asks, and does not wait until hooks are attached.
    outlives: AtomicBool,
    /// Apart from the rest: policies are put into force while hooks are attached, which may take long.
    policy: Arc<Mutex<PolicyMaps>>,
    account: Option<Arc<Account>>,
    state: Mutex<State>,
}

struct State {
    programs: Programs,
    continuity: Continuity,
    /// Taken for a moment each time.
    policy: Arc<Mutex<PolicyMaps>>,
    counters: PerCpuArray<MapData, Plain<Counters>>,
    never_kill: HashMap<MapData, u32, u32>,
    buckets: HashMap<MapData, Plain<CapKey>, Plain<Bucket>>,
    lineages: Lineages,
    sensor: ProcessKey,
    /// Whether the programs take the time from a clock that has to be set.
    sets_clock: bool,
    hooks: BTreeMap<Kind, Attached>,
    /// Whether a tier works, of those that hooks are to be attached in.
    trials: BTreeMap<Tier, Result<(), String>>,
}

/// How a hook stands.
#[derive(Default)]
struct Attached {
    way: Option<&'static plan::Way>,
    links: Vec<Link>,
    /// Whether the links outlive the sensor, or why not.
    kept: Option<Result<(), String>>,
    tried: Vec<Attempt>,
    missed: Missed,
}

impl Attached {
    fn hold(&mut self, way: &'static plan::Way, links: Vec<Link>, kept: Result<(), String>) {
        self.way = Some(way);
        self.missed.programs.extend(links.iter().map(Link::program));
        self.links = links;
        self.kept = Some(kept);
    }

    /// Detaches, and keeps what must outlive that.
    fn detach(&mut self) {
        self.missed.kprobes += self.links.iter().map(Link::kprobe_misses).sum::<u64>();
        *self = Self {
            missed: std::mem::take(&mut self.missed),
            ..Self::default()
        };
    }
}

impl Loader {
    /// Loads the object and makes its maps, or goes on with those of an earlier sensor; attaches nothing.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn open(
        options: &Options,
        remains: Remains,
    ) -> Result<(Arc<Self>, Rings), LoadError> {
        sys::lift_file_limit();
        sys::mount_tracefs();
        let types = preflight::read(options.btf.as_deref());
        let targets = Targets::find(types.btf.as_ref());
        // Megabytes.
        drop(types.btf);
        let cpus = aya::util::nr_cpus()
            .map_err(|(what, error)| LoadError::Maps(format!("{what}: {error}")))?;
        let (buffer, reason) = Buffer::choose(options.buffer).map_err(LoadError::Buffers)?;
        let object = match buffer {
            Buffer::Ring => object::with_rings(),
            Buffer::Perf => object::with_perf_buffers(),
        };
        let object = object.map_err(LoadError::Object)?;
        let constants = Constants {
            layout: types.layout.words().to_vec(),
            environment: u32::from(options.environment),
            buffer,
            ring_bytes: options.ring_bytes,
            cap: Cap::constants(options.cap),
            scratch_slots: SCRATCH_SLOTS * cpus as u32,
            buckets: options.cap.map_or(1, |_| CAPPED_CGROUPS),
        };
        let knows_start = types.layout.task_start_boottime != ABSENT;
        let remains = if buffer == Buffer::Perf {
            remains.without("perf buffers belong to the process that opened them")
        } else if knows_start {
            remains
        } else {
            // Whoever gets the sensor's number next would be taken for it.
            remains.without("without the kernel's BTF the programs cannot tell whether it is the sensor that acts")
        };
        let fingerprint = pins::fingerprint(&object, &(&constants, options.ceiling));
        let (Loaded { mut maps, programs }, mut continuity) =
            Continuity::load(remains, fingerprint, |pinned| {
                load(&object, &constants, pinned)
            })?;
        // Megabytes, and what is needed of it is in the kernel by now.
        drop(object);
        let earlier = continuity.earlier();
        let Taken { rings, oldest } = buffer
            .take(
                &mut maps,
                options.ring_bytes,
                continuity.account(),
                &earlier,
            )
            .map_err(LoadError::Buffers)?;
        continuity.found(oldest);
        let mut lineage = maps.take("LINEAGE").map_err(LoadError::Object)?;
        inherited::take_over(earlier.maps(), "LINEAGE", &mut lineage);
        let containers = Containers::take(&mut maps, earlier.maps());
        let containers = containers.map_err(LoadError::Object)?;
        let mut policy = PolicyMaps::take(&mut maps).map_err(LoadError::Object)?;
        if continuity.is_adopted() {
            policy.adopt().map_err(LoadError::Maps)?;
        }
        let sensor = lineage::own_key(knows_start);
        policy.set_sensor(sensor).map_err(LoadError::Maps)?;
        policy.set_clock().map_err(LoadError::Maps)?;
        let policy = Arc::new(Mutex::new(policy));
        let mut state = State {
            programs: Programs::new(programs, targets, types.layout),
            trials: continuity
                .tiers()
                .into_iter()
                .map(|it| (it, Ok(())))
                .collect(),
            continuity,
            policy: policy.clone(),
            counters: maps.take("COUNTERS").map_err(LoadError::Object)?,
            never_kill: maps.take("NEVER_KILL").map_err(LoadError::Object)?,
            buckets: maps.take("BUCKETS").map_err(LoadError::Object)?,
            lineages: Lineages::new(lineage, options.proc.clone()),
            sensor,
            sets_clock: buffer == Buffer::Perf,
            hooks: BTreeMap::new(),
        };
        if state.continuity.is_adopted() {
            state.forget_capped().map_err(LoadError::Maps)?;
        }
        state.try_tiers(options.ceiling);
        let loader = Self {
            facts: types.facts,
            ceiling: options.ceiling,
            buffer: buffer.report(reason),
            containers,
            predecessor: state.continuity.predecessor(),
            outlives: AtomicBool::new(state.continuity.outlives()),
            policy,
            account: state.continuity.account().cloned(),
            state: Mutex::new(state),
        };
        Ok((Arc::new(loader), rings))
    }

    /// What the kernel is and has.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// Parses the object, makes its maps but for those that are `pinned`, and relocates its programs against them.
fn load(object: &[u8], constants: &Constants, pinned: &Pinned) -> Result<Loaded, LoadError> {
    let object = aya_obj::Object::parse(object);
    let mut object = object.map_err(|error| LoadError::Object(chain(&error)))?;
    constants.put_into(&mut object).map_err(LoadError::Object)?;
    let parsed = Parsed::new(object).map_err(LoadError::Maps)?;
    let maps = parsed.make_maps(pinned).map_err(LoadError::Maps)?;
    let programs = Relocatable::new(parsed, &maps).map_err(LoadError::Object)?;
    Ok(Loaded { maps, programs })
}

/// A panic while it was held leaves links and maps as they are, which is what is wanted.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Attaches `kind` in the best way that works, and remembers what was tried.
    fn attach(&mut self, kind: Kind, ceiling: Option<Tier>) -> Result<Tier, String> {
        if let Some(way) = self.hooks.get(&kind).and_then(|attached| attached.way) {
            return Ok(way.tier);
        }
        let mut attached = self.hooks.remove(&kind).unwrap_or_default();
        attached.tried.clear();
        if let Some((way, links)) = self.continuity.links(kind) {
            self.programs.adopt(&links);
            let better = ways(kind, ceiling).take_while(|better| !std::ptr::eq(*better, way));
            attached.tried.extend(better.map(|better| Attempt {
                tier: better.tier.name(),
                error: "did not work for the sensor before, which attached it".to_owned(),
            }));
            attached.hold(way, links, Ok(()));
        } else {
            for way in ways(kind, ceiling) {
                match self.try_way(way) {
                    Ok(links) => {
                        let kept = self.continuity.attached(kind, way, &links);
                        attached.hold(way, links, kept);
                        break;
                    }
                    Err(error) => attached.tried.push(Attempt {
                        tier: way.tier.name(),
                        error,
                    }),
                }
            }
        }
        if kind == Kind::ProcessFork && attached.way.is_some() {
            // Without, the programs do not know: user space decides then.
            if let Err(reason) = self.lineages.enter_running() {
                tracing::warn!(
                    reason,
                    "cannot tell the programs who made the running processes"
                );
            }
        }
        let result = match attached.way {
            Some(way) => Ok(way.tier),
            None => Err(attached
                .tried
                .last()
                .map(|last| last.error.clone())
                .unwrap_or_default()),
        };
        self.hooks.insert(kind, attached);
        result
    }

    fn try_way(&mut self, way: &'static plan::Way) -> Result<Vec<Link>, String> {
        self.programs.check(way)?;
        // What was not tried is trusted: it is only `lsm` that attaches where it does not run.
        self.trials.get(&way.tier).cloned().unwrap_or(Ok(()))?;
        self.programs.attach(way)
    }

    /// Tries the tiers in which hooks are going to be attached, as long as there are no rules: the open hook of a
    /// lesser tier would kill whom that of a better one refuses.
    fn try_tiers(&mut self, ceiling: Option<Tier>) {
        for kind in Kind::hooked() {
            for way in ways(kind, ceiling) {
                if self.programs.check(way).is_err() {
                    continue;
                }
                // Raw tracepoints either attach and fire, or do not attach.
                if way.tier != Tier::Tracepoint && !self.trials.contains_key(&way.tier) {
                    let result = self.run_trial(way.tier);
                    if result.is_ok() {
                        self.continuity.note(way.tier);
                    }
                    self.trials.insert(way.tier, result);
                }
                if self.trials.get(&way.tier).is_none_or(Result::is_ok) {
                    break;
                }
            }
        }
    }

    /// Whether programs of `tier` fire: attaches the open hook in it, opens a file, and looks whether
    /// that was counted.
    fn run_trial(&mut self, tier: Tier) -> Result<(), String> {
        let way = plan::ways(Kind::FileOpen)
            .iter()
            .find(|way| way.tier == tier)
            .ok_or("there is no such tier")?;
        let before = self.counters(Kind::FileOpen)?;
        let links = self.programs.attach(way)?;
        locked(&self.policy).set_sensor(ProcessKey::default())?;
        let opened = std::fs::File::open("/proc/self/status").map(drop);
        let after = self.counters(Kind::FileOpen);
        locked(&self.policy).set_sensor(self.sensor)?;
        drop(links);
        opened.map_err(|error| format!("cannot open /proc/self/status: {error}"))?;
        if after?.seen > before.seen {
            return Ok(());
        }
        Err(match tier {
            Tier::Lsm => "attaches but never runs: `bpf` is not among the active LSMs; boot with \
                          it in lsm="
                .to_owned(),
            _ => "attaches but never runs".to_owned(),
        })
    }
}

/// The ways to attach `kind`, from the ceiling down. A hook whose only tier is below the ceiling is not held
/// back by it.
fn ways(kind: Kind, ceiling: Option<Tier>) -> impl Iterator<Item = &'static plan::Way> {
    let ways = plan::ways(kind).iter();
    ways.filter(move |way| ceiling.is_none_or(|ceiling| way.tier >= ceiling))
}

fn kernel_error(attempted: impl Into<String>) -> impl FnOnce(String) -> KernelError {
    let attempted = attempted.into();
    move |reason| KernelError { attempted, reason }
}

impl Kernel for Loader {
    fn attach(&self, kind: Kind) -> Result<Tier, KernelError> {
        let mut state = self.state();
        state
            .attach(kind, self.ceiling)
            .map_err(kernel_error(format!("attach {}", kind.action())))
    }

    fn detach(&self, kind: Kind) {
        let mut state = self.state();
        state.continuity.detached(kind);
        if let Some(attached) = state.hooks.get_mut(&kind) {
            attached.detach();
        }
    }

    fn report(&self, kind: Kind) -> HookReport {
        let state = self.state();
        let empty = Attached::default();
        let attached = state.hooks.get(&kind).unwrap_or(&empty);
        let reason = match (attached.way, attached.tried.last()) {
            (Some(way), Some(last)) if way.blind_to.is_empty() => {
                format!("not {}: {}", last.tier, last.error)
            }
            (Some(way), Some(last)) => {
                format!(
                    "not {}: {}; does not see {}",
                    last.tier, last.error, way.blind_to
                )
            }
            (Some(way), None) if !way.blind_to.is_empty() => {
                format!("does not see {}", way.blind_to)
            }
            (Some(_), None) => String::new(),
            (None, Some(last)) => format!("{}: {}", last.tier, last.error),
            (None, None) => "nothing asks for its events".to_owned(),
        };
        HookReport {
            action: kind.action(),
            tier: attached.way.map(|way| way.tier.name()),
            reason,
            blind_to: attached.way.map_or("", |way| way.blind_to),
            tried: attached.tried.clone(),
            outlives_sensor: matches!(attached.kept, Some(Ok(()))),
        }
    }

    fn counters(&self, kind: Kind) -> Result<(Counters, u64), KernelError> {
        let state = self.state();
        if state.sets_clock {
            let set = locked(&state.policy).set_clock();
            set.map_err(kernel_error("set the programs' clock"))?;
        }
        let counters = state.counters(kind);
        let counters = counters.map_err(kernel_error("read the kernel's counters"))?;
        let skipped = state.skipped(kind);
        Ok(state.continuity.own(kind, &counters, skipped))
    }

    fn capped(&self) -> Result<Vec<Capped>, KernelError> {
        let capped = self.state().capped();
        capped.map_err(kernel_error("read what was capped"))
    }

    fn buffer(&self) -> BufferReport {
        self.buffer.clone()
    }

    fn install(&self, tables: &Tables) -> Result<(), KernelError> {
        let mut policy = locked(&self.policy);
        let installed = policy.install(tables);
        installed.map_err(kernel_error("write the policy tables"))?;
        if let Some(account) = &self.account {
            account.set_policies(tables.epoch, tables.rules);
        }
        Ok(())
    }

    fn set_container(&self, key: ContainerKey, held: u32) -> Result<(), KernelError> {
        let told = self.containers.set(key, held);
        told.map_err(kernel_error("tell the programs of a container"))
    }

    fn forget_container(&self, key: ContainerKey) -> Result<(), KernelError> {
        let told = self.containers.forget(key);
        told.map_err(kernel_error("tell the programs of a container"))
    }

    fn set_never_kill(&self, tgids: &[u32]) -> Result<(), KernelError> {
        let mut state = self.state();
        let error =
            |error: aya::maps::MapError| kernel_error("write the never-kill list")(chain(&error));
        let old: Vec<u32> = state.never_kill.keys().filter_map(Result::ok).collect();
        for tgid in tgids {
            state.never_kill.insert(tgid, 1, 0).map_err(error)?;
        }
        for tgid in old.iter().filter(|tgid| !tgids.contains(tgid)) {
            state.never_kill.remove(tgid).map_err(error)?;
        }
        Ok(())
    }

    fn dropped(&self, kind: Kind, records: u64) {
        if let Some(account) = &self.account {
            account.lost(kind, records);
        }
    }

    fn told(&self, counted: &[Counted]) {
        self.state().continuity.told(counted);
    }

    fn predecessor(&self) -> Option<Predecessor> {
        self.predecessor
    }

    fn settle(&self) -> u64 {
        let mut state = self.state();
        // What is wanted is attached.
        state.programs.release();
        let State {
            continuity, hooks, ..
        } = &mut *state;
        continuity.settle(|kind| hooks.get(&kind).is_some_and(|hook| hook.way.is_some()))
    }

    fn outlives(&self) -> bool {
        self.outlives.load(Ordering::Relaxed)
    }

    fn end_with_sensor(&self) {
        self.outlives.store(false, Ordering::Relaxed);
        self.state().continuity.end();
    }

    fn conditions(&self) -> Vec<Condition> {
        // While a hook is being attached, which may take long, there is nothing new.
        let Ok(mut state) = self.state.try_lock() else {
            return Vec::new();
        };
        state.continuity.tidy();
        if state.programs.tidy() {
            allocator::give_back();
        }
        let hooks = state.hooks.iter();
        let not_kept: Vec<(Kind, &str)> = hooks
            .filter_map(|(kind, hook)| Some((*kind, hook.kept.as_ref()?.as_ref().err()?.as_str())))
            .collect();
        vec![("kernel.on_exit", state.continuity.fault(&not_kept))]
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("kernel", &self.facts.kernel)
            .finish_non_exhaustive()
    }
}
