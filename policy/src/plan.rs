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
}

/// How far the kernel gets with a rule by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let mut staged = Vec::new();
        for (index, rule) in rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.on.contains(kind))
        {
            let terms = stage::terms(&rule.when, kind, allowed);
            let terms = terms.unwrap_or_else(|| vec![StagedTerm::UNKNOWN]);
            if !terms.is_empty() {
                // `compile` refuses more rules than there are numbers.
                staged.push((index as u16, rule, terms));
            }
        }
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
        for (index, rule, terms) in staged {
            let fits = cut.is_none() && plan.terms.len() + terms.len() <= room;
            if fits {
                plan.rules.push(RulePlan {
                    rule: index,
                    policy: rule.policy,
                    reach: reach(&terms),
                });
                let term = Term {
                    policy: rule.policy,
                    rule: index,
                    verdict: rule.verdict as u8,
                    reserved: [0; 3],
                };
                plan.terms
                    .extend(terms.into_iter().map(|staged| PlannedTerm { staged, term }));
                continue;
            }
            plan.rules.push(RulePlan {
                rule: index,
                policy: rule.policy,
                reach: Reach::Nothing,
            });
            if cut.is_none_or(|policy| policy != rule.policy) && plan.terms.len() < TERMS {
                cut = Some(rule.policy);
                let verdict = Verdict::None as u8;
                let term = Term {
                    policy: rule.policy,
                    rule: NO_RULE,
                    verdict,
                    reserved: [0; 3],
                };
                plan.terms.push(PlannedTerm {
                    staged: StagedTerm::UNKNOWN,
                    term,
                });
            }
        }
        plan
    }
}

/// Where the terms are more than there is room for, gives up those of the rules with the most.
fn fit(staged: &mut [(u16, &Rule, Vec<StagedTerm>)]) {
    let mut total: usize = staged.iter().map(|(_, _, terms)| terms.len()).sum();
    let mut by_size: Vec<&mut Vec<_>> = staged.iter_mut().map(|(_, _, terms)| terms).collect();
    by_size.sort_by_key(|terms| std::cmp::Reverse(terms.len()));
    for terms in by_size {
        if total <= TERMS || terms.len() == 1 {
            return;
        }
        total -= terms.len() - 1;
        *terms = vec![StagedTerm::UNKNOWN];
    }
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
