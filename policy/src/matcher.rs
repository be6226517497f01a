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
    /// Judges an event of `kind`, by plain evaluation of the rules in order. Allocates nothing unless
    /// a rule joins strings.
    #[must_use]
    pub fn judge(&self, kind: Kind, fields: &dyn Fields) -> Judgement<'_> {
        let mut judgement = Judgement {
            verdict: Verdict::None,
            rule: None,
        };
        let mut settled = None;
        for index in &self.by_kind[kind.index()] {
            let Some(rule) = self.rule(*index) else {
                continue;
            };
            if settled == Some(rule.policy) || !rule.when.holds(fields) {
                continue;
            }
            settled = Some(rule.policy);
            if rule.verdict > judgement.verdict {
                judgement = Judgement {
                    verdict: rule.verdict,
                    rule: Some((*index, rule)),
                };
            }
        }
        judgement
    }
}
