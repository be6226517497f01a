//! One run of a program: from "is this the sensor itself" to the verdict that is returned.

use aya_ebpf::helpers::generated::bpf_send_signal;
use holdfast_policy::decision::Candidates;
use holdfast_policy::table::{Dimension, HOOKS as HOOK_SLOTS, HookTable, hook_flags};
use holdfast_wire::Kind;
use holdfast_wire::control::{Control, ProcessKey, Verdict};
use holdfast_wire::record::{NO_RULE, flags};

use crate::attach::Via;
use crate::cap;
use crate::counter::{Count, count, count_filtered};
use crate::decide;
use crate::emit::Emitter;
use crate::maps::{CONTROL, HOOKS, NEVER_KILL, SCRATCH};
use crate::path::Path;
use crate::scratch::{self, Claimed, Decided};
use crate::task;

const EPERM: i32 = 1;
const SIGKILL: u32 = 9;
const SIGSTOP: u32 = 19;

/// A run that goes on: not the sensor's own, and with memory to work in.
pub struct Run {
    /// What is happening.
    pub kind: Kind,
    /// How the program came to run.
    pub via: Via,
    /// The half of the tables that is in force.
    pub generation: u32,
    /// What is asked of this hook.
    pub hook: &'static HookTable,
    /// This run's memory.
    pub claimed: Claimed,
    /// Flags of the record.
    pub flags: u32,
}

/// Where a kind's table is.
#[inline(always)]
fn hook_index(generation: u32, kind: Kind) -> u32 {
    generation * HOOK_SLOTS as u32 + kind as u32
}

/// Decides by the terms that are left, into the slot. A global function, which the verifier walks once for a
/// program, and not again for every way to it.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn decide_terms(index: u32, hook: u32) -> u64 {
    let (Some(slot), Some(hook)) = (SCRATCH.get_ptr_mut(index), HOOKS.get(hook)) else {
        return 0;
    };
    // SAFETY: fields of a map value, which is the run's alone.
    unsafe {
        let decision = holdfast_policy::decision::decide(hook, &(*slot).candidates);
        (*slot).decision = Decided {
            verdict: decision.verdict as u32,
            rule: decision.rule,
            undecided: u16::from(decision.undecided),
        };
    }
    0
}

/// Whether the current process, which has the sensor's number, is the sensor.
#[inline(always)]
fn is_sensor(control: &Control) -> bool {
    control.sensor_start == 0 || control.sensor_start == ProcessKey::new(0, task::own_start()).start
}

impl Run {
    /// Begins a run; `None` when there is nothing to do. Counts nothing but a missed run.
    #[inline(always)]
    pub fn begin(kind: Kind, via: Via) -> Option<Self> {
        let control = CONTROL.get(0)?;
        if control.sensor_tgid == task::current_tgid() && is_sensor(control) {
            return None;
        }
        let generation = control.generation & 1;
        let hook = HOOKS.get(hook_index(generation, kind))?;
        let Some(claimed) = scratch::claim() else {
            count(kind, Count::Missed);
            return None;
        };
        // SAFETY: a field of this run's slot.
        unsafe { (*claimed.slot).candidates.begin(hook) };
        Some(Self {
            kind,
            via,
            generation,
            hook,
            claimed,
            flags: 0,
        })
    }

    /// The terms that may still match. In the slot's memory: global functions narrow them, too, and the stack
    /// has no room for them.
    #[allow(clippy::mut_from_ref)] // The slot is the run's alone.
    #[inline(always)]
    pub fn candidates(&self) -> &mut Candidates {
        // SAFETY: a field of this run's slot, which nobody else uses meanwhile.
        unsafe { &mut (*self.claimed.slot).candidates }
    }

    /// Whether any term that may still match has a condition on `dimension`.
    #[inline(always)]
    pub fn asks(&self, dimension: Dimension) -> bool {
        self.hook.dimensions >> dimension as u32 & 1 == 1
    }

    /// Whether no rule can match any more and nobody asks for the record either.
    #[inline(always)]
    pub fn is_idle(&self) -> bool {
        self.candidates().none() && !self.is_reported()
    }

    /// Whether the record is wanted whatever the rules say.
    #[inline(always)]
    pub fn is_reported(&self) -> bool {
        self.hook.flags & hook_flags::REPORT != 0
    }

    /// Whether the last name of the path may rule out all that is left, so that the path need not be known.
    #[inline(always)]
    pub fn is_told_by_name(&self) -> bool {
        let unlisted = &self.hook.unlisted[Dimension::Name as usize];
        self.asks(Dimension::Name) && !self.is_reported() && !self.candidates().any_in(unlisted)
    }

    /// Narrows the candidates by a path.
    #[inline(always)]
    pub fn narrow_by_path(&mut self, dimension: Dimension, path: &Path) {
        if self.asks(dimension) {
            decide::by_path(self, dimension, path);
        }
        if matches!(dimension, Dimension::Path) && self.asks(Dimension::Suffix) {
            decide::by_suffix(self, path);
        }
    }

    /// The operation has no value of `dimension`: what asks for one does not match.
    #[inline(always)]
    pub fn absent(&mut self, dimension: Dimension) {
        if self.asks(dimension) {
            self.candidates().unlisted(self.hook, dimension);
        }
        if matches!(dimension, Dimension::Path) && self.asks(Dimension::Suffix) {
            self.candidates().unlisted(self.hook, Dimension::Suffix);
        }
    }

    /// The value of `dimension` is not known.
    #[inline(always)]
    pub fn unknown(&mut self, dimension: Dimension) {
        if self.asks(dimension) {
            self.candidates().unknown(self.hook, dimension);
        }
        if matches!(dimension, Dimension::Path) && self.asks(Dimension::Suffix) {
            self.candidates().unknown(self.hook, Dimension::Suffix);
        }
    }

    /// Narrows the candidates by the current process, and decides: the last step, since the executable
    /// and the ancestors cost most.
    #[inline(always)]
    pub fn decide(&mut self) -> Decided {
        if self.asks(Dimension::Executable) && !self.candidates().none() {
            decide::by_executable(self);
        }
        self.decide_by_others()
    }

    /// Narrows the candidates by what the current process is besides its executable, and decides.
    #[inline(always)]
    pub fn decide_by_others(&mut self) -> Decided {
        if self.asks(Dimension::User) {
            decide::by_user(self);
        }
        if self.asks(Dimension::Container) && !self.candidates().none() {
            decide::by_container(self);
        }
        let lineage = self.asks(Dimension::Parent) || self.asks(Dimension::Ancestors);
        if lineage && !self.candidates().none() {
            decide::by_lineage(self);
        }
        self.decide_as_narrowed()
    }

    /// Decides by what the candidates were narrowed by so far.
    ///
    /// The decision goes through the slot's memory: as a value in registers it would be a path of
    /// its own through the rest of the program for each verdict and word of the terms, some twenty
    /// times the verifier's work.
    #[inline(always)]
    fn decide_as_narrowed(&self) -> Decided {
        // SAFETY: a field of this run's slot.
        let place = unsafe { &raw mut (*self.claimed.slot).decision };
        // SAFETY: as above.
        unsafe {
            place.write_volatile(Decided {
                verdict: 0,
                rule: NO_RULE,
                undecided: 0,
            });
        }
        if !self.candidates().none() {
            decide_terms(self.claimed.index(), hook_index(self.generation, self.kind));
        }
        // SAFETY: as above.
        unsafe { place.read_volatile() }
    }

    /// A whole run of an operation that is judged by who does it alone, and whose record has the fixed
    /// part alone. Returns what [`Self::finish`] does.
    #[inline(always)]
    pub fn tell<T: Copy>(kind: Kind, via: Via, record_flags: u32, fixed: T) -> i32 {
        match Self::begin(kind, via) {
            Some(run) => run.tell_rest(record_flags, fixed),
            None => 0,
        }
    }

    /// The same of an operation upon the process that the task `target` is of; `None` where it is not known.
    #[inline(always)]
    pub fn tell_of_target<T: Copy>(
        kind: Kind,
        via: Via,
        record_flags: u32,
        target: Option<u64>,
        fixed: T,
    ) -> i32 {
        let Some(mut run) = Self::begin(kind, via) else {
            return 0;
        };
        match target {
            None => run.unknown(Dimension::TargetExecutable),
            Some(target) => {
                if run.asks(Dimension::TargetExecutable) {
                    decide::by_target(&mut run, target);
                }
            }
        }
        run.tell_rest(record_flags, fixed)
    }

    #[inline(always)]
    fn tell_rest<T: Copy>(mut self, record_flags: u32, fixed: T) -> i32 {
        let decided = self.decide();
        self.settle(
            decided,
            #[inline(always)]
            |record, _| {
                record.set_flags(record_flags);
                // SAFETY: the fixed part of this record's buffer.
                unsafe { record.fixed::<T>().write(fixed) };
            },
        )
    }

    /// Ends the run as was decided: filtered when nobody wants it, else acted upon and recorded.
    /// Returns what [`Self::finish`] does.
    #[inline(always)]
    pub fn settle(self, decided: Decided, fill: impl FnOnce(&mut Emitter, &Self)) -> i32 {
        if !self.is_wanted(decided) {
            self.filter();
            0
        } else if self.may_be_capped(decided) && !cap::admits(&self) {
            let kind = self.kind;
            self.filter();
            count(kind, Count::Capped);
            0
        } else {
            self.finish(decided, fill)
        }
    }

    /// Ends a run whose like was told of a moment ago: acted upon all the same, and counted as filtered.
    /// Returns what [`Self::finish`] does.
    #[inline(always)]
    pub fn repeat(mut self, decided: Decided) -> i32 {
        let act = self.act(decided);
        self.filter();
        act.carry_out()
    }

    /// Whether user space is to see it.
    #[inline(always)]
    pub fn is_wanted(&self, decided: Decided) -> bool {
        const WHATEVER: u32 = hook_flags::REPORT | hook_flags::TRACK | hook_flags::FOLLOW;
        self.hook.flags & WHATEVER != 0 || decided.speaks()
    }

    /// Whether nobody but a subscription asks for it. Rules do not ask in vain, and the table of
    /// processes, by which every other event is told whose it is, is kept whole.
    #[inline(always)]
    fn may_be_capped(&self, decided: Decided) -> bool {
        self.hook.flags & hook_flags::TRACK == 0 && !decided.speaks()
    }

    /// Ends a run that is not wanted, or not admitted: counted as filtered.
    #[inline(always)]
    pub fn filter(self) {
        count_filtered(self.kind);
        scratch::release(self.claimed);
    }

    /// Ends a run that has nothing to say and was not looked at: the same operation is counted by
    /// another program.
    #[inline(always)]
    pub fn abandon(self) {
        scratch::release(self.claimed);
    }

    /// Acts on the verdict and begins the record; `fill` appends what the kind has. Returns what an
    /// attachment that can refuse returns to the kernel.
    #[inline(always)]
    pub fn finish(mut self, decided: Decided, fill: impl FnOnce(&mut Emitter, &Self)) -> i32 {
        count(self.kind, Count::Seen);
        let act = self.act(decided);
        if decided.undecided != 0 {
            self.flags |= flags::UNDECIDED;
        }
        if self.is_reported() {
            self.flags |= flags::REPORTED;
        }
        let mut emitter = Emitter::begin(&self, decided);
        fill(&mut emitter, &self);
        emitter.submit(&self, decided);
        scratch::release(self.claimed);
        act.carry_out()
    }

    /// What follows from the verdict; the flags of the record say it.
    #[inline(always)]
    fn act(&mut self, decided: Decided) -> Act {
        let mut act = Act {
            result: 0,
            signal: 0,
        };
        if decided.acts() {
            let refuses = decided.prevents() && self.via.tier.refuses(self.kind);
            if refuses {
                act.result = -EPERM;
                self.flags |= flags::REFUSED;
            }
            if !refuses || decided.verdict != Verdict::Deny as u32 {
                // SAFETY: a lookup by value.
                if unsafe { NEVER_KILL.get(task::current_tgid()) }.is_some() {
                    self.flags |= flags::SPARED;
                } else {
                    self.flags |= flags::SIGNALLED;
                    act.signal = if decided.prevents() { SIGKILL } else { SIGSTOP };
                }
            }
        }
        act
    }
}

/// What follows from a verdict.
struct Act {
    /// What an attachment that can refuse returns to the kernel.
    result: i32,
    /// What the process is sent; 0 for nothing.
    signal: u32,
}

impl Act {
    #[inline(always)]
    fn carry_out(self) -> i32 {
        if self.signal != 0 {
            // SAFETY: no preconditions. On failure the record says what was attempted; the agent's
            // killer takes over when the process is still there.
            unsafe { bpf_send_signal(self.signal) };
        }
        self.result
    }
}

impl Decided {
    /// Whether a rule that says more than `allow` matched, or may have.
    #[inline(always)]
    pub fn speaks(self) -> bool {
        self.undecided != 0 || self.verdict > Verdict::Allow as u32
    }

    /// See `Verdict::acts`: verdicts are numbered from the weakest to the strongest.
    #[inline(always)]
    pub fn acts(self) -> bool {
        self.verdict >= Verdict::Stop as u32
    }

    /// See `Verdict::prevents`: verdicts are numbered from the weakest to the strongest.
    #[inline(always)]
    pub fn prevents(self) -> bool {
        self.verdict >= Verdict::Deny as u32
    }
}
