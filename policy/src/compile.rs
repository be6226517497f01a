//! Policies → a snapshot: the kernel's tables and the rules for user space.

use std::collections::BTreeMap;

use holdfast_wire::Kind;
use holdfast_wire::record::NO_RULE;

use crate::document::{Mode, Policy};
use crate::error::{Problem, Problems};
use crate::field::Kinds;
use crate::index::Index;
use crate::plan::Plan;
use crate::snapshot::{Rule, Snapshot};
use crate::stage::Allowed;
use crate::table::DIMENSIONS;

mod names;
mod tables;

/// What a snapshot depends on besides the policies.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of this set of policies; increases by one with every reload.
    pub epoch: u32,
    /// The sensor's mode, which caps every policy's.
    pub mode: Mode,
    /// The kinds that a subscription asks for, whatever the rules say.
    pub reported: Kinds,
}

/// Compiles the policies that are to be in force together: by their priorities, and among equals in the
/// order in which they are given.
///
/// A dimension with more keys than its map has room for is left to user space as a whole, which
/// [`crate::explain`] shows.
///
/// # Errors
/// Two policies of one name, or more rules than there are numbers for.
pub fn compile(policies: &[Policy], options: &Options) -> Result<Snapshot, Problems> {
    let rules = rules(policies, options.mode)?;
    let mut allowed: Allowed = (1 << DIMENSIONS) - 1;
    // Each round leaves out one dimension more, so there is an end.
    let (plans, tables) = loop {
        let plans: Vec<_> = Kind::ALL
            .iter()
            .map(|kind| Plan::new(*kind, &rules, allowed))
            .collect();
        match tables::build(&plans, &rules, options) {
            Ok(tables) => break (plans, tables),
            Err(tables::Full(dimension)) => allowed &= !(1 << dimension as u32),
        }
    };
    let mut by_kind = std::array::from_fn(|_| Vec::new());
    let mut indices = std::array::from_fn(|_| Index::default());
    for plan in &plans {
        let numbers: Vec<u16> = plan.rules.iter().map(|rule| rule.rule).collect();
        indices[plan.kind.index()] = Index::new(plan.kind, &rules, &numbers);
        by_kind[plan.kind.index()] = numbers;
    }
    let mut steps_by_kind = std::array::from_fn(|_| Vec::new());
    for (index, rule) in rules.iter().enumerate() {
        for (depth, step) in rule.steps().enumerate() {
            for kind in step.on.iter() {
                // At most `NO_RULE` rules and `MAX_STEPS` steps.
                steps_by_kind[kind.index()].push((index as u16, depth as u8));
            }
        }
    }
    let reported = options.reported;
    Ok(Snapshot {
        epoch: options.epoch,
        rules,
        by_kind,
        indices,
        steps_by_kind,
        reported,
        plans,
        tables,
    })
}

/// The rules of all policies, one after the other.
fn rules(policies: &[Policy], mode: Mode) -> Result<Vec<Rule>, Problems> {
    let mut problems = Vec::new();
    let mut names: BTreeMap<&str, &Policy> = BTreeMap::new();
    let mut rules = Vec::new();
    let mut by_priority: Vec<&Policy> = policies.iter().collect();
    // Among equals the order in which they were given stays.
    by_priority.sort_by_key(|policy| std::cmp::Reverse(policy.priority));
    for (number, policy) in by_priority.into_iter().enumerate() {
        if let Some(first) = names.insert(&policy.name, policy) {
            let reason = format!("the policy `{}` is in {} already", policy.name, first.file);
            problems.push(policy.problem_at_name(reason));
        }
        let mode = policy.mode.min(mode);
        rules.extend(policy.rules.iter().map(|rule| Rule {
            id: rule.id.clone(),
            name: rule.name.clone(),
            ruleset: policy.name.clone(),
            // More policies than there are numbers are refused below.
            policy: number as u16,
            mode: mode.min(rule.mode),
            action: rule.action,
            verdict: mode.min(rule.mode).cap(rule.action),
            severity: rule.severity,
            on: rule.on,
            references: rule.techniques.iter().map(|id| reference(id)).collect(),
            techniques: rule.techniques.clone(),
            message: rule.message.clone(),
            throttle: rule.throttle.clone(),
            when: rule.when.clone(),
            after: rule.after.clone(),
        }));
        if rules.len() >= usize::from(NO_RULE) || number >= usize::from(u16::MAX) {
            problems.push(too_many(policy));
            break;
        }
    }
    if problems.is_empty() {
        Ok(rules)
    } else {
        Err(Problems(problems))
    }
}

fn too_many(policy: &Policy) -> Problem {
    policy.problem_at_name(format!(
        "with this policy there are more than {NO_RULE} rules"
    ))
}

/// The ATT&CK page of a technique.
fn reference(technique: &str) -> String {
    format!(
        "https://attack.mitre.org/techniques/{}/",
        technique.replace('.', "/")
    )
}
