//! The decision: which terms match, and what follows. One source for kernel and user space.
//!
//! Two vectors are kept. A term is in *may* if nothing known rules it out; it is in *must* if, in
//! addition, everything it asks is known. Truth lies between: must ⊆ matching ⊆ may.

use crate::table::{Dimension, HookTable, Vector, WORDS};
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
        Self {
            may: hook.all,
            must,
        }
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
/// Runs over the set bits only, at most [`crate::table::TERMS`] of them.
#[must_use]
#[inline(always)]
pub fn decide(hook: &HookTable, candidates: &Candidates) -> Decision {
    let mut scan = Scan {
        settled: u16::MAX,
        strongest: Verdict::None as u8,
        rule: NO_RULE,
        undecided: false,
    };
    // Word by word and not by index: the verifier follows no variable index into the stack (5.10).
    let Candidates { may, must } = candidates;
    scan.word(hook, 0, may[0], must[0]);
    scan.word(hook, 1, may[1], must[1]);
    scan.word(hook, 2, may[2], must[2]);
    scan.word(hook, 3, may[3], must[3]);
    Decision {
        verdict: Verdict::from_number(scan.strongest).unwrap_or(Verdict::None),
        rule: scan.rule,
        undecided: scan.undecided,
    }
}

/// State of the search through the terms, in order.
struct Scan {
    /// The policy whose first possible term was met; a policy's number is far below, so that
    /// `u16::MAX` is none.
    settled: u16,
    strongest: u8,
    rule: u16,
    undecided: bool,
}

impl Scan {
    #[inline(always)]
    fn word(&mut self, hook: &HookTable, word: usize, mut may: u64, must: u64) {
        // One round per set bit; the bound is for the verifier.
        for _ in 0..64 {
            if may == 0 {
                break;
            }
            let lowest = may & may.wrapping_neg();
            may ^= lowest;
            // `black_box`: the compiler knows that the index is in range and would drop the mask,
            // which the verifier needs to see.
            let bit = core::hint::black_box(lowest.trailing_zeros() as usize) & 63;
            let term = &hook.term[word * 64 + bit];
            if term.policy == self.settled {
                continue;
            }
            self.settled = term.policy;
            if must & lowest == 0 {
                self.undecided = true;
            } else if term.verdict > self.strongest {
                self.strongest = term.verdict;
                self.rule = term.rule;
            }
        }
    }
}
