//! Policy documents: JSON with expressions in it, read into checked policies.

use std::ops::RangeInclusive;
use std::sync::Arc;

use holdfast_wire::control::Verdict;

use crate::error::{Problem, Problems};
use crate::expression::Expression;
use crate::field::Kinds;
use crate::message::Template;
use crate::sequence::Step;
use crate::throttle::Throttle;

mod list;
mod read;

/// Largest policy file, in bytes. Whoever reads a file reads at most one byte more, and
/// [`Policy::parse`] refuses what is larger.
pub const MAX_BYTES: usize = 1 << 20;
/// Largest file with a list, in bytes: some hundred thousand hashes. Whoever reads one reads at most one
/// byte more, and what is larger is refused.
pub const MAX_LIST_BYTES: usize = 16 << 20;
/// All the files of a policy's lists together, in bytes.
pub const MAX_LISTS_BYTES: usize = 4 * MAX_LIST_BYTES;
/// Longest name of a policy and id of a rule, in bytes: they stand in every event.
pub const MAX_NAME_BYTES: usize = 128;

/// What a policy's priority may be; 0 where it names none.
pub const PRIORITIES: RangeInclusive<i32> = -1000..=1000;

/// Whether a policy acts or only says what it would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing is prevented.
    #[default]
    Observe,
    /// Rules do what they say.
    Enforce,
}

impl Mode {
    /// Both, the weaker first.
    pub const ALL: [Self; 2] = [Self::Observe, Self::Enforce];

    /// `observe` or `enforce`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }

    /// The mode of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// What becomes of a rule's action in this mode: one that acts is an alert when observing.
    #[must_use]
    pub const fn cap(self, action: Verdict) -> Verdict {
        match self {
            Self::Observe if action.acts() => Verdict::Alert,
            _ => action,
        }
    }
}

/// A policy that was read and checked.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file, as it was named to the parser.
    pub file: String,
    /// Its name: unique among the policies in force.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its own mode; the sensor's caps it.
    pub mode: Mode,
    /// Where several policies say the same, an event names the rule of the one with the highest, and
    /// with more rules than the kernel has room for, it decides those first. Within [`PRIORITIES`].
    pub priority: i32,
    /// Its rules in the order in which they are tried; `defaults` are the last ones.
    pub rules: Vec<Rule>,
    /// Where its name stands: for the error that says that there are two of it.
    pub(crate) name_at: (usize, usize),
}

/// One rule of a policy.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in the policy. That of a default is `default.` and the kind.
    pub id: String,
    /// For people; the id where there is none.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The kinds of events it is tried on.
    pub on: Kinds,
    /// What it does when it matches.
    pub action: Verdict,
    /// Its own mode; the policy's caps it.
    pub mode: Mode,
    /// 1 low, 2 medium, 3 high, 4 critical.
    pub severity: u8,
    /// What the event says.
    pub message: Option<Template>,
    /// ATT&CK ids.
    pub techniques: Vec<String>,
    /// How often it may report.
    pub throttle: Option<Throttle>,
    /// What else looks like this.
    pub false_positives: Option<String>,
    /// The policy's scope, the rule's own condition and its exceptions.
    pub(crate) when: Arc<Expression>,
    /// What has to have happened before.
    pub after: Option<Arc<Step>>,
}

impl Policy {
    /// Reads and checks a policy. `file` is only for the errors.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, Problems> {
        Self::parse_with(file, text, &mut |_| {
            Err("there are no files here".to_owned())
        })
    }

    /// The same, where lists may be in files: `list_file` reads one by the path that the policy gives, or
    /// says why it cannot.
    ///
    /// # Errors
    /// Everything that is wrong with it or with such a file, each with its place in the policy.
    pub fn parse_with(
        file: &str,
        text: &[u8],
        list_file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, Problems> {
        read::policy(file, text, list_file)
    }

    pub(crate) fn problem_at_name(&self, reason: String) -> Problem {
        let (line, column) = self.name_at;
        Problem {
            file: self.file.clone(),
            line,
            column,
            reason,
            nearest: None,
        }
    }
}
