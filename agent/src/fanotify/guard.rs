//! Permission events beside kernel programs that cannot refuse (`kernel.fanotify`).
//!
//! In the tracepoint tier an open or exec is seen once it has happened. Where policies may refuse one,
//! it asks for permission as well: what is refused here has its one record from here, since the
//! tracepoint sees only what succeeds; what is let pass has its one record from there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_actors::kernel::{
    BufferReport, Capped, Condition, Counted, HookReport, Kernel, KernelError, Predecessor,
};
use holdfast_actors::ring::{Joined, MemoryRing};
use holdfast_policy::snapshot::Tables;
use holdfast_policy::table::ContainerKey;
use holdfast_wire::control::{Counters, Tier, Verdict};
use holdfast_wire::{Domain, Kind};

use super::base::Base;
use super::permission::{Permission, Role};
use super::{Options, Rings};

/// Kernel programs, and the permission events that help them out.
#[derive(Debug)]
pub(crate) struct Guarded {
    programs: Arc<dyn Kernel>,
    base: Arc<Base>,
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Or why there is none; made when it is needed.
    permission: Option<Result<Permission, String>>,
    /// Kinds that programs see and cannot refuse.
    helped: Vec<Kind>,
    /// Those of which a policy in force may refuse something.
    refusable: Vec<Kind>,
    /// Those that ask for permission.
    asking: Vec<Kind>,
}

/// Kinds for which permission events add something.
const KINDS: [Kind; 2] = [Kind::FileOpen, Kind::ProcessExec];

impl Guarded {
    /// Puts permission events beside `programs`; nothing is attached.
    ///
    /// # Errors
    /// In one line, when this process lacks what they stand on.
    pub(crate) fn new(
        programs: Arc<dyn Kernel>,
        rings: Rings,
        options: Options,
    ) -> Result<(Arc<Self>, Rings), String> {
        let base = Base::new(&options).map_err(|error| format!("fanotify: {error}"))?;
        let base = Arc::new(base);
        let mut joined: Rings = Vec::new();
        for (domain, ring) in rings {
            let helped = matches!(domain, Domain::Process | Domain::File);
            joined.push((
                domain,
                if helped {
                    let own = MemoryRing {
                        records: base.ring(domain).clone(),
                        completeness: None,
                    };
                    let joined = Joined::new([Box::new(own), ring]);
                    Box::new(joined.map_err(|error| format!("cannot join two rings: {error}"))?)
                } else {
                    ring
                },
            ));
        }
        let this = Self {
            programs,
            base,
            options,
            state: Mutex::default(),
        };
        Ok((Arc::new(this), joined))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is done under it can be done again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has those kinds ask for permission that should, and no other.
    fn reconcile(&self, state: &mut State) {
        for kind in KINDS {
            let wanted = state.helped.contains(&kind) && state.refusable.contains(&kind);
            if wanted == state.asking.contains(&kind) {
                continue;
            }
            let make = || Permission::new(self.base.clone(), Role::Guard, &self.options.host);
            let Ok(permission) = state.permission.get_or_insert_with(make) else {
                // Why not is a condition; the programs kill all the same.
                continue;
            };
            state.asking.retain(|asking| *asking != kind);
            if !wanted {
                permission.detach(kind);
            } else if let Err(error) = permission.attach(kind) {
                state.permission = Some(Err(error));
            } else {
                state.asking.push(kind);
            }
        }
    }
}

/// Whether a policy may refuse operations of this kind.
fn is_refusable(tables: &Tables, kind: Kind) -> bool {
    let mut hooks = tables.hooks.iter().filter(|(of, _)| *of == kind);
    hooks.any(|(_, hook)| {
        let verdicts = Verdict::ALL.iter().filter(|verdict| verdict.prevents());
        let mut terms = verdicts.flat_map(|verdict| hook.of_verdict[*verdict as usize]);
        terms.any(|word| word != 0)
    })
}

impl Kernel for Guarded {
    fn attach(&self, kind: Kind) -> Result<Tier, KernelError> {
        let tier = self.programs.attach(kind)?;
        let mut state = self.state();
        state.helped.retain(|helped| *helped != kind);
        if tier == Tier::Tracepoint {
            state.helped.push(kind);
        }
        self.reconcile(&mut state);
        Ok(tier)
    }

    fn detach(&self, kind: Kind) {
        let mut state = self.state();
        state.helped.retain(|helped| *helped != kind);
        self.reconcile(&mut state);
        drop(state);
        self.programs.detach(kind);
    }

    fn report(&self, kind: Kind) -> HookReport {
        let mut report = self.programs.report(kind);
        let state = self.state();
        let wanted = state.helped.contains(&kind) && state.refusable.contains(&kind);
        let more = match &state.permission {
            _ if !wanted => return report,
            Some(Err(error)) => format!("nothing is refused by fanotify: {error}"),
            _ => "what is denied is refused by fanotify".to_owned(),
        };
        if !report.reason.is_empty() {
            report.reason.push_str("; ");
        }
        report.reason.push_str(&more);
        report
    }

    fn counters(&self, kind: Kind) -> Result<(Counters, u64), KernelError> {
        let (programs, skipped) = self.programs.counters(kind)?;
        let own = self.base.account.counters(kind);
        let sum = Counters {
            seen: programs.seen + own.seen,
            filtered: programs.filtered + own.filtered,
            submitted: programs.submitted + own.submitted,
            ring_full: programs.ring_full + own.ring_full,
            truncated: programs.truncated + own.truncated,
            missed: programs.missed + own.missed,
            capped: programs.capped + own.capped,
        };
        Ok((sum, skipped))
    }

    fn capped(&self) -> Result<Vec<Capped>, KernelError> {
        // What is refused is never withheld.
        self.programs.capped()
    }

    fn buffer(&self) -> BufferReport {
        self.programs.buffer()
    }

    fn install(&self, tables: &Tables) -> Result<(), KernelError> {
        self.programs.install(tables)?;
        self.base.install(tables);
        let mut state = self.state();
        state.refusable = KINDS
            .into_iter()
            .filter(|kind| is_refusable(tables, *kind))
            .collect();
        self.reconcile(&mut state);
        Ok(())
    }

    fn set_container(&self, key: ContainerKey, held: u32) -> Result<(), KernelError> {
        self.programs.set_container(key, held)
    }

    fn forget_container(&self, key: ContainerKey) -> Result<(), KernelError> {
        self.programs.forget_container(key)
    }

    fn set_never_kill(&self, tgids: &[u32]) -> Result<(), KernelError> {
        self.programs.set_never_kill(tgids)
    }

    fn dropped(&self, kind: Kind, records: u64) {
        self.programs.dropped(kind, records);
    }

    fn told(&self, counted: &[Counted]) {
        self.programs.told(counted);
    }

    fn predecessor(&self) -> Option<Predecessor> {
        self.programs.predecessor()
    }

    fn settle(&self) -> u64 {
        self.programs.settle()
    }

    fn outlives(&self) -> bool {
        self.programs.outlives()
    }

    fn end_with_sensor(&self) {
        self.programs.end_with_sensor();
    }

    fn conditions(&self) -> Vec<Condition> {
        let mut conditions = self.programs.conditions();
        let trouble = match &self.state().permission {
            None => None,
            Some(Ok(permission)) => permission.trouble(),
            Some(Err(error)) => Some(error.clone()),
        };
        conditions.push(("fanotify", trouble));
        conditions
    }
}
