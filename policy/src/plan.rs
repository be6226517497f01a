//! Which terms a hook gets: the rules of one kind of event, fitted into the room there is.

use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;
use holdfast_wire::record::NO_RULE;

use crate::snapshot::Rule;
use crate::stage::{self, Allowed, StagedTerm};
use crate::table::{TERMS, Term};

/// The terms of one hook, in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// Rules that can match at this hook, in order.
    pub(crate) rules: Vec<RulePlan>,
    pub(crate) terms: Vec<PlannedTerm>,
}

/// How far the kernel gets with one rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RulePlan {
    pub(crate) rule: u16,
    pub(crate) policy: u16,
    pub(crate) reach: Reach,
    /// What it is looked up by there, a bit per `Dimension`.
    pub(crate) dimensions: u32,
}

/// How far the kernel gets with a rule by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// It evaluates all of it.
    Decides,
    /// It rules out some events.
    Filters,
    /// It evaluates nothing of it.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct PlannedTerm {
    pub(crate) staged: StagedTerm,
    pub(crate) term: Term,
}

impl Plan {
    /// Plans the hook of `kind`; `rules` are those of all policies.
    pub(crate) fn new(kind: Kind, rules: &[Rule], allowed: Allowed) -> Self {
        let mut staged = staged(kind, rules, allowed);
        staged.extend(staged_steps(kind, rules, allowed));
        fit(&mut staged);
        let mut plan = Self {
            kind,
            rules: Vec::new(),
            terms: Vec::new(),
        };
        // With more rules than room, the last two places say that user space has to look: one for
        // the rest of the policy that is cut, one for all policies behind it.
        let room = if staged.len() > TERMS {
            TERMS - 2
        } else {
            TERMS
        };
        let mut cut = None;
        for Staged { term, terms } in staged {
            let is_rule = term.rule != NO_RULE;
            let fits = cut.is_none() && plan.terms.len() + terms.len() <= room;
            if is_rule {
                plan.rules.push(RulePlan {
                    rule: term.rule,
                    policy: term.policy,
                    reach: if fits { reach(&terms) } else { Reach::Nothing },
                    dimensions: if fits { dimensions(&terms) } else { 0 },
                });
            }
            if fits {
                plan.terms
                    .extend(terms.into_iter().map(|staged| PlannedTerm { staged, term }));
                continue;
            }
            if cut.is_none_or(|policy| policy != term.policy) && plan.terms.len() < TERMS {
                cut = Some(term.policy);
                let term = unspoken(term.policy);
                plan.terms.push(PlannedTerm {
                    staged: StagedTerm::UNKNOWN,
                    term,
                });
            }
        }
        plan
    }
}

/// Whether the kernel would get further with a rule if it had the room.
pub(crate) fn lacks_room(kind: Kind, rule: &Rule, reached: Reach) -> bool {
    // More terms than a rule may have.
    let Some(terms) = terms_of_rule(kind, rule, Allowed::MAX) else {
        return true;
    };
    reach(&terms) < reached
}

/// The terms of a rule; `None` where they are too many.
fn terms_of_rule(kind: Kind, rule: &Rule, allowed: Allowed) -> Option<Vec<StagedTerm>> {
    if !kind.is_hooked() {
        return Some(unknown());
    }
    let mut terms = stage::terms(&rule.when, kind, allowed)?;
    if rule.after.is_some() {
        // The kernel does not know what happened before.
        uncertain(&mut terms);
    }
    Some(terms)
}

/// What is to be fitted in.
struct Staged {
    term: Term,
    terms: Vec<StagedTerm>,
}

/// A term that says nothing but that user space has to look.
const fn unspoken(policy: u16) -> Term {
    Term {
        policy,
        rule: NO_RULE,
        verdict: Verdict::None as u8,
        reserved: [0; 3],
    }
}

/// The terms of what the kernel can tell nothing about.
fn unknown() -> Vec<StagedTerm> {
    vec![StagedTerm::UNKNOWN]
}

/// The rules on `kind` that can match.
fn staged(kind: Kind, rules: &[Rule], allowed: Allowed) -> Vec<Staged> {
    let on_kind = rules.iter().enumerate();
    let on_kind = on_kind.filter(|(_, rule)| rule.on.contains(kind));
    let stage = |(index, rule): (usize, &Rule)| {
        let terms = terms_of_rule(kind, rule, allowed).unwrap_or_else(unknown);
        let term = Term {
            policy: rule.policy,
            // `compile` refuses more rules than there are numbers.
            rule: index as u16,
            verdict: rule.verdict as u8,
            reserved: [0; 3],
        };
        (!terms.is_empty()).then_some(Staged { term, terms })
    };
    on_kind.filter_map(stage).collect()
}

/// What rules ask to have happened before: user space has to see it. Each is as a policy of its own, so that
/// none stands in the way of a rule, nor of another.
fn staged_steps(kind: Kind, rules: &[Rule], allowed: Allowed) -> Vec<Staged> {
    let steps = rules.iter().flat_map(Rule::steps);
    let on_kind = steps.filter(|step| step.on.contains(kind));
    let terms = on_kind.map(|step| {
        let terms = stage::terms(&step.when, kind, allowed);
        let mut terms = terms.unwrap_or_else(unknown);
        uncertain(&mut terms);
        terms
    });
    // Policies count from the other end.
    let numbers = (0..u16::MAX).rev();
    let terms = terms.filter(|terms| !terms.is_empty());
    let staged = terms.zip(numbers).map(|(terms, number)| Staged {
        term: unspoken(number),
        terms,
    });
    staged.collect()
}

fn uncertain(terms: &mut [StagedTerm]) {
    terms.iter_mut().for_each(|term| term.uncertain = true);
}

/// Where the terms are more than there is room for, gives up those of the rules with the most.
fn fit(staged: &mut [Staged]) {
    let mut total: usize = staged.iter().map(|staged| staged.terms.len()).sum();
    let mut by_size: Vec<&mut Vec<_>> = staged.iter_mut().map(|it| &mut it.terms).collect();
    by_size.sort_by_key(|terms| std::cmp::Reverse(terms.len()));
    for terms in by_size {
        if total <= TERMS || terms.len() == 1 {
            return;
        }
        total -= terms.len() - 1;
        *terms = unknown();
    }
}

fn dimensions(terms: &[StagedTerm]) -> u32 {
    let tests = terms.iter().flat_map(|term| &term.tests);
    tests.fold(0, |bits, (dimension, _)| bits | 1 << *dimension as u32)
}

fn reach(terms: &[StagedTerm]) -> Reach {
    if terms.iter().all(|term| !term.uncertain) {
        Reach::Decides
    } else if terms
        .iter()
        .any(|term| term.uncertain && term.tests.is_empty())
    {
        Reach::Nothing
    } else {
        Reach::Filters
    }
}
