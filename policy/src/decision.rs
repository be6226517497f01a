//! The decision: which terms match, and what follows. One source for kernel and user space.
//!
//! Two vectors are kept. A term is in *may* if nothing known rules it out; it is in *must* if, in
//! addition, everything it asks is known. Truth lies between: must ⊆ matching ⊆ may.

use crate::table::{Dimension, HookTable, TERMS, Vector, WORDS};
use holdfast_wire::control::Verdict;
use holdfast_wire::record::NO_RULE;

/// The terms that are still possible, narrowed dimension by dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Terms that nothing known rules out.
    pub may: Vector,
    /// Those of them about which everything is known.
    pub must: Vector,
}

impl Candidates {
    /// All terms of the hook.
    #[must_use]
    #[inline(always)]
    pub fn all(hook: &HookTable) -> Self {
        let mut must = hook.all;
        for word in 0..WORDS {
            must[word] &= !hook.uncertain[word];
        }
        Self { may: hook.all, must }
    }

    /// Keeps the terms in `vector`: the result of a lookup.
    #[inline(always)]
    pub fn keep(&mut self, vector: &Vector) {
        for word in 0..WORDS {
            self.may[word] &= vector[word];
            self.must[word] &= vector[word];
        }
    }

    /// The value of `dimension` is listed in no table entry.
    #[inline(always)]
    pub fn unlisted(&mut self, hook: &HookTable, dimension: Dimension) {
        self.keep(&hook.unlisted[dimension as usize]);
    }

    /// The value of `dimension` is not known: terms that ask about it become uncertain.
    #[inline(always)]
    pub fn unknown(&mut self, hook: &HookTable, dimension: Dimension) {
        for word in 0..WORDS {
            self.must[word] &= !hook.conditioned[dimension as usize][word];
        }
    }

    /// Whether no term can match.
    #[must_use]
    #[inline(always)]
    pub fn none(&self) -> bool {
        self.may[0] | self.may[1] | self.may[2] | self.may[3] == 0
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The strongest verdict that is certain.
    pub verdict: Verdict,
    /// The index over all policies of its rule, or [`NO_RULE`].
    pub rule: u16,
    /// A policy's first possible term is uncertain, so user space has to look: its verdict may be
    /// stronger than the one here.
    pub undecided: bool,
}

/// Within a policy the first term that matches decides; across policies the strongest verdict does.
///
/// Runs over the set bits only, at most [`TERMS`] of them.
#[must_use]
#[inline(always)]
pub fn decide(hook: &HookTable, candidates: &Candidates) -> Decision {
    let mut decision = Decision { verdict: Verdict::None, rule: NO_RULE, undecided: false };
    let mut strongest = Verdict::None as u8;
    // No policy has this number: a term's is the index of its policy, below `TERMS`.
    let mut settled = u16::MAX;
    let mut word = 0;
    let mut may = candidates.may[0];
    // One loop over words and bits, so that the verifier sees one bound.
    for _ in 0..TERMS + WORDS {
        if may == 0 {
            word += 1;
            if word >= WORDS {
                break;
            }
            may = candidates.may[word];
            continue;
        }
        let bit = may.trailing_zeros() as usize;
        may &= may - 1;
        let term = &hook.term[(word * 64 + bit) & (TERMS - 1)];
        if term.policy == settled {
            continue;
        }
        settled = term.policy;
        if candidates.must[word & (WORDS - 1)] >> bit & 1 == 0 {
            decision.undecided = true;
        } else if term.verdict > strongest {
            strongest = term.verdict;
            decision.rule = term.rule;
        }
    }
    if let Some(verdict) = Verdict::from_number(strongest) {
        decision.verdict = verdict;
    }
    decision
}
