//! Rules on what comes after something else: `B` within so long after `A`, by the same process or those that
//! descend from it.
//!
//! Pure: whoever judges events keeps a [`History`], tells it when each happened and by whom, and asks it. Time
//! is that of the events, so that recorded ones are judged as they were when they happened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use holdfast_wire::Kind;

use crate::expression::Expression;
use crate::field::{Field, Fields, Kinds, Value};
use crate::snapshot::{Rule, Snapshot};

/// Events that may come before, one after the other, of one rule.
pub const MAX_STEPS: usize = 8;
/// Subjects that are remembered for one step: as many as processes of a busy host do the same within
/// minutes. Beyond that the oldest is forgotten, and counted.
pub const MAX_REMEMBERED: usize = 4096;
/// Start times of one process may differ by this much, nanoseconds: `/proc` tells them in clock ticks.
const TICK: u64 = 10_000_000;

/// What has to have happened before.
#[derive(Clone, Debug)]
pub struct Step {
    /// The kinds of events it may be.
    pub on: Kinds,
    /// At most so long before the next step, or the rule's own event.
    pub within: Duration,
    /// Whose events count.
    pub by: By,
    /// What has to have happened before this, in turn.
    pub after: Option<Arc<Step>>,
    pub(crate) when: Arc<Expression>,
}

/// Whose events belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The same process, or one that descends from the one before.
    #[default]
    Tree,
    /// The same process, whatever it executes.
    Process,
    /// A process in the same container.
    Container,
    /// A process of the same real user.
    User,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tree, Self::Process, Self::Container, Self::User];

    /// Its name in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Process => "process",
            Self::Container => "container",
            Self::User => "user",
        }
    }
}

/// A process, whatever it executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `process.pid`
    pub pid: u32,
    /// When it started, nanoseconds since any fixed instant; 0 where that is not known.
    pub start: u64,
}

impl Identity {
    fn is(self, other: Self) -> bool {
        let unknown = self.start == 0 || other.start == 0;
        self.pid == other.pid && (unknown || self.start.abs_diff(other.start) <= TICK)
    }
}

/// When an event happened, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Nanoseconds since any fixed instant.
    pub time: u64,
    /// Who did it, then the parent and its ancestors.
    pub processes: &'a [Identity],
}

/// What happened so far, as far as rules ask about it: for the rules of one snapshot.
#[derive(Clone, Debug, Default)]
pub struct History {
    by_step: HashMap<(u16, u8), Remembered>,
    forgotten: u64,
}

/// Who did a step last.
#[derive(Clone, Debug, Default)]
struct Remembered {
    last: HashMap<Subject, Done>,
    /// In the order in which they were entered; some were done again since, and stand here again.
    order: VecDeque<(u64, Subject)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Pid(u32),
    Text(Box<str>),
}

#[derive(Clone, Copy, Debug)]
struct Done {
    time: u64,
    start: u64,
}

impl History {
    /// How many were forgotten that a rule might have asked for, since there is no room for more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether `step` of a rule was done before, by those whom it is about.
    fn has(&self, key: (u16, u8), step: &Step, fields: &dyn Fields, moment: &Moment<'_>) -> bool {
        let Some(remembered) = self.by_step.get(&key) else {
            return false;
        };
        let within = u64::try_from(step.within.as_nanos()).unwrap_or(u64::MAX);
        let in_time = |done: &Done| done.time <= moment.time && moment.time - done.time <= within;
        let by_process = |process: &Identity| {
            let done = remembered.last.get(&Subject::Pid(process.pid));
            done.is_some_and(|done| {
                let start = done.start;
                let pid = process.pid;
                process.is(Identity { pid, start }) && in_time(done)
            })
        };
        match step.by {
            By::Tree => moment.processes.iter().any(by_process),
            By::Process => moment.processes.first().is_some_and(by_process),
            By::Container | By::User => text(step.by, fields)
                .and_then(|subject| remembered.last.get(&subject))
                .is_some_and(in_time),
        }
    }

    fn remember(&mut self, key: (u16, u8), step: &Step, fields: &dyn Fields, moment: &Moment<'_>) {
        let (subject, start) = match step.by {
            By::Tree | By::Process => match moment.processes.first() {
                Some(process) => (Subject::Pid(process.pid), process.start),
                None => return,
            },
            By::Container | By::User => match text(step.by, fields) {
                Some(subject) => (subject, 0),
                None => return,
            },
        };
        let within = u64::try_from(step.within.as_nanos()).unwrap_or(u64::MAX);
        let time = moment.time;
        let remembered = self.by_step.entry(key).or_default();
        remembered
            .last
            .insert(subject.clone(), Done { time, start });
        remembered.order.push_back((time, subject));
        while let Some((entered, _)) = remembered.order.front() {
            let is_over = time.saturating_sub(*entered) > within;
            if !is_over && remembered.order.len() <= MAX_REMEMBERED {
                break;
            }
            let Some((entered, subject)) = remembered.order.pop_front() else {
                break;
            };
            let is_last = |done: &&Done| done.time == entered;
            if remembered.last.get(&subject).filter(is_last).is_some() {
                remembered.last.remove(&subject);
                self.forgotten += u64::from(!is_over);
            }
        }
    }
}

/// The container or the user of an event; `None` where it has none.
fn text(by: By, fields: &dyn Fields) -> Option<Subject> {
    let field = match by {
        By::Container => Field::CONTAINER,
        _ => Field::USER,
    };
    match fields.get(field) {
        Value::String(text) if !text.is_empty() => Some(Subject::Text(text.into())),
        _ => None,
    }
}

impl Rule {
    /// Its steps, the last first.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        std::iter::successors(self.after.as_deref(), |step| step.after.as_deref())
    }
}

impl Snapshot {
    /// Whether what a rule asks to have happened before has.
    pub(crate) fn has_happened(
        &self,
        index: u16,
        rule: &Rule,
        fields: &dyn Fields,
        moment: &Moment<'_>,
        history: &History,
    ) -> bool {
        let mut steps = rule.steps();
        steps
            .next()
            .is_none_or(|step| history.has((index, 0), step, fields, moment))
    }

    /// Remembers an event that later ones may be judged by. To be called for each, after it was judged.
    pub fn remember(
        &self,
        kind: Kind,
        fields: &dyn Fields,
        moment: &Moment<'_>,
        history: &mut History,
    ) {
        for (index, depth) in &self.steps_by_kind[kind.index()] {
            let Some(rule) = self.rule(*index) else {
                continue;
            };
            // The last step first, so that no event is its own predecessor.
            let mut steps = rule.steps().skip(usize::from(*depth));
            let Some(step) = steps.next() else { continue };
            let before = (*index, depth + 1);
            let is_due = steps
                .next()
                .is_none_or(|earlier| history.has(before, earlier, fields, moment));
            if is_due && step.when.holds(fields) {
                history.remember((*index, *depth), step, fields, moment);
            }
        }
    }
}

#[cfg(test)]
mod tests;
