//! Judges events: within a policy the first rule that matches, across policies the strongest.

use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;

use crate::field::Fields;
use crate::snapshot::{Rule, Snapshot};

/// What the policies say about one event.
#[derive(Clone, Copy, Debug)]
pub struct Judgement<'s> {
    /// What is to be done, the modes considered.
    pub verdict: Verdict,
    /// The index of the rule that says so, and the rule; `None` with [`Verdict::None`].
    pub rule: Option<(u16, &'s Rule)>,
}

impl Judgement<'_> {
    /// Whether the rule would have prevented the operation, if it were not for the mode.
    #[must_use]
    pub fn would(&self) -> bool {
        self.rule
            .is_some_and(|(_, rule)| rule.action.prevents() && !self.verdict.prevents())
    }
}

impl Snapshot {
    /// Judges an event of `kind`.
    #[must_use]
    pub fn judge(&self, kind: Kind, fields: &dyn Fields) -> Judgement<'_> {
        let _ = (kind, fields);
        Judgement {
            verdict: Verdict::None,
            rule: None,
        }
    }
}
