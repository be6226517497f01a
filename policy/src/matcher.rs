//! Judges events: within a policy the first rule that matches, across policies the strongest.

use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;

use crate::field::Fields;
use crate::sequence::{History, Moment};
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
            .is_some_and(|(_, rule)| rule.action.acts() && !self.verdict.acts())
    }
}

impl Snapshot {
    /// Judges an event of `kind` by itself: rules on what comes after something else do not match. Evaluates in
    /// order the rules that can match by the values they ask for. Allocates nothing unless a rule joins
    /// strings.
    #[must_use]
    pub fn judge(&self, kind: Kind, fields: &dyn Fields) -> Judgement<'_> {
        self.judge_by_index(kind, fields, &|_, rule| rule.after.is_none())
    }

    /// The same, by what happened before. Whoever asks then has to [`Self::remember`] the event.
    #[must_use]
    pub fn judge_after(
        &self,
        kind: Kind,
        fields: &dyn Fields,
        moment: &Moment<'_>,
        history: &History,
    ) -> Judgement<'_> {
        self.judge_by_index(kind, fields, &|index, rule| {
            self.has_happened(index, rule, fields, moment, history)
        })
    }

    fn judge_by_index(
        &self,
        kind: Kind,
        fields: &dyn Fields,
        is_due: &dyn Fn(u16, &Rule) -> bool,
    ) -> Judgement<'_> {
        match self.indices[kind.index()].find(fields) {
            Some(found) => self.judge_by(found, fields, is_due),
            None => self.judge_by(self.by_kind[kind.index()].iter().copied(), fields, is_due),
        }
    }

    /// The same by evaluating every rule on the kind, in order: what [`Self::judge`] has to agree with.
    #[must_use]
    pub fn judge_by_all(&self, kind: Kind, fields: &dyn Fields) -> Judgement<'_> {
        let all = self.by_kind[kind.index()].iter().copied();
        self.judge_by(all, fields, &|_, rule| rule.after.is_none())
    }

    /// `is_due`: whether what has to have happened before a rule has.
    fn judge_by(
        &self,
        rules: impl Iterator<Item = u16>,
        fields: &dyn Fields,
        is_due: &dyn Fn(u16, &Rule) -> bool,
    ) -> Judgement<'_> {
        let mut judgement = Judgement {
            verdict: Verdict::None,
            rule: None,
        };
        let mut settled = None;
        for index in rules {
            let Some(rule) = self.rule(index) else {
                continue;
            };
            if settled == Some(rule.policy) || !rule.when.holds(fields) || !is_due(index, rule) {
                continue;
            }
            settled = Some(rule.policy);
            if rule.verdict > judgement.verdict {
                judgement = Judgement {
                    verdict: rule.verdict,
                    rule: Some((index, rule)),
                };
            }
        }
        judgement
    }
}
