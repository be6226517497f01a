//! The decision: which terms match, and what follows. One source for kernel and user space.
//!
//! Two vectors are kept. A term is in *may* if nothing known rules it out; it is in *must* if, in
//! addition, everything it asks is known. Truth lies between: must ⊆ matching ⊆ may.

#![allow(clippy::needless_range_loop)] // Loops over indices with constant bounds: what verifiers follow.

use crate::table::{Dimension, HookTable, Vector, WORDS};
use holdfast_wire::control::Verdict;
use holdfast_wire::record::NO_RULE;

/// The terms that are still possible, narrowed dimension by dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Candidates {
    /// Terms that nothing known rules out.
    pub may: Vector,
    /// Those of them about which everything is known.
    pub must: Vector,
}

impl Candidates {
    /// All terms of the hook.
    #[must_use]
    pub fn all(hook: &HookTable) -> Self {
        let mut all = Self {
            may: [0; WORDS],
            must: [0; WORDS],
        };
        all.begin(hook);
        all
    }

    /// Makes it all terms of the hook. Word by word: as a value, the kernel programs would copy it byte by
    /// byte, which is 300 instructions.
    #[inline(always)]
    pub fn begin(&mut self, hook: &HookTable) {
        for word in 0..WORDS {
            self.may[word] = hook.all[word];
            self.must[word] = hook.all[word] & !hook.uncertain[word];
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

    /// Whether any of `terms` can match.
    #[must_use]
    #[inline(always)]
    pub fn any_in(&self, terms: &Vector) -> bool {
        let mut any = 0;
        for word in 0..WORDS {
            any |= self.may[word] & terms[word];
        }
        any != 0
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
/// Without a loop, and with the same work whatever the number of terms and policies.
#[must_use]
#[inline(always)]
pub fn decide(hook: &HookTable, candidates: &Candidates) -> Decision {
    let first = first_of_each_policy(hook, &candidates.may);
    let mut certain = first;
    let mut uncertain = 0;
    for word in 0..WORDS {
        certain[word] &= candidates.must[word];
        uncertain |= first[word] & !candidates.must[word];
    }
    let mut decision = Decision {
        verdict: Verdict::None,
        rule: NO_RULE,
        undecided: uncertain != 0,
    };
    for verdict in STRONGEST_FIRST {
        if let Some(rule) = first_rule(hook, &certain, verdict) {
            decision.verdict = verdict;
            decision.rule = rule;
            break;
        }
    }
    decision
}

const STRONGEST_FIRST: [Verdict; 8] = [
    Verdict::KillContainer,
    Verdict::KillTree,
    Verdict::Kill,
    Verdict::Deny,
    Verdict::Stop,
    Verdict::Alert,
    Verdict::Audit,
    Verdict::Allow,
];

/// The first term of each policy among `terms`.
///
/// The lowest bit of a number is `x & (!x + 1)`. The terms of a policy are a run of bits, so one
/// 256-bit addition finds the lowest bit of all of them: one is added at the start of each run. It
/// does not carry out of a run, since the last bit of each is taken for set meanwhile.
#[inline(always)]
fn first_of_each_policy(hook: &HookTable, terms: &Vector) -> Vector {
    let mut first = [0; WORDS];
    let mut carry = 0;
    for word in 0..WORDS {
        let filled = terms[word] | hook.ends[word];
        let (a, b) = (!filled, hook.starts[word]);
        let sum = a.wrapping_add(b).wrapping_add(carry);
        // By bits and not by comparison: a branch here would double the verifier's work each time.
        carry = ((a & b) | ((a | b) & !sum)) >> 63;
        first[word] = filled & sum & terms[word];
    }
    first
}

/// The rule of the first of `terms` that has this verdict.
#[inline(always)]
fn first_rule(hook: &HookTable, terms: &Vector, verdict: Verdict) -> Option<u16> {
    let of_verdict = &hook.of_verdict[verdict as usize];
    for word in 0..WORDS {
        let found = terms[word] & of_verdict[word];
        if found != 0 {
            // `black_box`: the compiler knows that the index is in range and would drop the mask,
            // which the verifier needs to see.
            let bit = core::hint::black_box(found.trailing_zeros() as usize) & 63;
            return Some(hook.term[word * 64 + bit].rule);
        }
    }
    None
}
