//! Terms → what is written into the kernel's maps.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use holdfast_wire::Kind;

use super::{Options, names};
use crate::expression::Cidr;
use crate::plan::{Plan, PlannedTerm};
use crate::snapshot::{
    AddressEntry, ClassEntry, NumberEntry, PathBytes, PathEntry, Rule, SuffixEntry, Tables,
};
use crate::stage::{ContainerCondition, Key, Probe, Test};
use crate::table::{
    ADDRESS_ENTRIES, ANCESTOR_CONDITIONS, CLASS_ENTRIES, CLASSES, CONTAINER_CONDITIONS, Dimension,
    HookTable, NUMBER_ENTRIES, PATH_ENTRIES, SUFFIX_ENTRIES, Vector, WORDS, hook_flags,
};

/// There is no room for all keys of this dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full(pub(super) Dimension);

/// Fills the tables.
pub(super) fn build(plans: &[Plan], rules: &[Rule], options: &Options) -> Result<Tables, Full> {
    let mut tables = Tables {
        epoch: options.epoch,
        rules: rules_digest(rules),
        ..Tables::default()
    };
    let ancestors = conditions(
        plans,
        Dimension::Ancestors,
        of_ancestors,
        ANCESTOR_CONDITIONS,
    )?;
    tables.container_conditions = conditions(
        plans,
        Dimension::Container,
        of_container,
        CONTAINER_CONDITIONS,
    )?;
    tables.container_digest = digest(&tables.container_conditions);
    for plan in plans {
        let mut hook = hook(plan, rules, options);
        hook.ancestor_conditions = asked(plan, Dimension::Ancestors, of_ancestors, &ancestors);
        let containers = &tables.container_conditions;
        hook.container_conditions = asked(plan, Dimension::Container, of_container, containers);
        hook.container_digest = tables.container_digest;
        names::enter(plan, &mut hook, &mut tables.names);
        paths(plan, Dimension::Path, &mut tables.paths)?;
        paths(plan, Dimension::TargetPath, &mut tables.paths)?;
        suffixes(plan, &mut tables.suffixes)?;
        addresses(plan, &mut tables.addresses)?;
        numbers(plan, Dimension::Port, &mut tables.numbers)?;
        numbers(plan, Dimension::User, &mut tables.numbers)?;
        held(
            plan,
            Dimension::Ancestors,
            hook.ancestor_conditions,
            |held| Probe::Ancestors(&ancestors, held),
            &mut tables.numbers,
        )?;
        held(
            plan,
            Dimension::Container,
            hook.container_conditions,
            |held| Probe::Container(containers, held),
            &mut tables.numbers,
        )?;
        tables.hooks.push((plan.kind, Box::new(hook)));
    }
    executables(plans, &ancestors, &mut tables)?;
    let classes = tables.classes.iter().map(|it| (&it.path, it.class));
    let class_digest = digest(&classes.collect::<Vec<_>>()) as u32 | 1;
    for (_, hook) in &mut tables.hooks {
        hook.class_digest = class_digest;
    }
    let lineage = 1 << Dimension::Parent as u32 | 1 << Dimension::Ancestors as u32;
    if tables
        .hooks
        .iter()
        .any(|(_, hook)| hook.dimensions & lineage != 0)
    {
        let hooks = tables.hooks.iter_mut();
        hooks.for_each(|(_, hook)| hook.flags |= hook_flags::LINEAGE);
    }
    Ok(tables)
}

/// See [`Tables::rules`].
fn rules_digest(rules: &[Rule]) -> u64 {
    let named = rules
        .iter()
        .map(|rule| (&rule.ruleset, &rule.id, rule.verdict as u8));
    digest(&named.collect::<Vec<_>>())
}

/// The same in every process.
fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn hook(plan: &Plan, rules: &[Rule], options: &Options) -> HookTable {
    let mut hook = HookTable {
        epoch: options.epoch,
        ..HookTable::EMPTY
    };
    if options.reported.contains(plan.kind) {
        hook.flags |= hook_flags::REPORT;
    }
    if matches!(
        plan.kind,
        Kind::ProcessExec | Kind::ProcessFork | Kind::ProcessExit
    ) {
        hook.flags |= hook_flags::TRACK;
    }
    // Where nothing asks for them, their hooks are not attached.
    if matches!(plan.kind, Kind::ProcessSetns | Kind::ProcessUnshare) {
        hook.flags |= hook_flags::FOLLOW;
    }
    // Any lookup may fail to know its value, so user space may have to step in for any such rule.
    let mut in_force = plan
        .rules
        .iter()
        .filter_map(|rule| rules.get(usize::from(rule.rule)));
    if in_force.any(|rule| rule.verdict.acts()) {
        hook.flags |= hook_flags::USER_MAY_PREVENT;
    }
    // A plan has at most `TERMS`.
    hook.terms = plan.terms.len() as u32;
    for (index, PlannedTerm { staged, term }) in plan.terms.iter().enumerate() {
        hook.term[index] = *term;
        set(&mut hook.all, index);
        if staged.uncertain {
            set(&mut hook.uncertain, index);
        }
        for (dimension, _) in &staged.tests {
            hook.dimensions |= 1 << *dimension as u32;
            set(&mut hook.conditioned[*dimension as usize], index);
        }
    }
    for dimension in DIMENSIONS {
        hook.unlisted[dimension as usize] = vector(plan, dimension, Probe::Unlisted);
    }
    for (mode, access) in hook.access.iter_mut().enumerate() {
        *access = vector(plan, Dimension::Access, Probe::Access(mode));
    }
    hook.seal();
    hook
}

const DIMENSIONS: [Dimension; crate::table::DIMENSIONS] = [
    Dimension::Path,
    Dimension::TargetPath,
    Dimension::Executable,
    Dimension::Address,
    Dimension::Port,
    Dimension::Access,
    Dimension::Suffix,
    Dimension::User,
    Dimension::Parent,
    Dimension::Ancestors,
    Dimension::Name,
    Dimension::Container,
    Dimension::TargetExecutable,
];

/// The terms that a value of `dimension` does not rule out.
fn vector(plan: &Plan, dimension: Dimension, probe: Probe<'_>) -> Vector {
    let mut vector = [0; WORDS];
    for (index, term) in plan.terms.iter().enumerate() {
        let test = term.staged.tests.iter().find(|(d, _)| *d == dimension);
        if test.is_none_or(|(_, test)| test.holds(probe) != Some(false)) {
            set(&mut vector, index);
        }
    }
    vector
}

pub(super) const fn set(vector: &mut Vector, index: usize) {
    vector[index / 64] |= 1 << (index % 64);
}

/// Calls `visit` with every key of a dimension.
fn keys<'p>(plan: &'p Plan, dimension: Dimension, mut visit: impl FnMut(&'p Key)) {
    let tests = plan.terms.iter().flat_map(|term| &term.staged.tests);
    let tests = tests.filter(|(d, _)| *d == dimension);
    tests.for_each(|(_, test): &(_, Test)| test.keys(&mut visit));
}

fn paths(plan: &Plan, dimension: Dimension, entries: &mut Vec<PathEntry>) -> Result<(), Full> {
    let mut listed: BTreeSet<PathBytes> = BTreeSet::new();
    keys(plan, dimension, |key| key.path_entries(&mut listed));
    room(entries.len() + listed.len(), PATH_ENTRIES, dimension)?;
    entries.extend(listed.into_iter().map(|path| {
        let vector = vector(plan, dimension, Probe::Path(&path));
        PathEntry {
            kind: plan.kind,
            dimension,
            path,
            vector,
        }
    }));
    Ok(())
}

fn addresses(plan: &Plan, entries: &mut Vec<AddressEntry>) -> Result<(), Full> {
    let mut listed: BTreeSet<Cidr> = BTreeSet::new();
    keys(plan, Dimension::Address, |key| {
        key.address_entries(&mut listed)
    });
    room(
        entries.len() + listed.len(),
        ADDRESS_ENTRIES,
        Dimension::Address,
    )?;
    entries.extend(listed.into_iter().map(|network| AddressEntry {
        kind: plan.kind,
        address: network.network.to_be_bytes(),
        prefix: network.bits.into(),
        vector: vector(plan, Dimension::Address, Probe::Address(network)),
    }));
    Ok(())
}

fn numbers(plan: &Plan, dimension: Dimension, entries: &mut Vec<NumberEntry>) -> Result<(), Full> {
    let mut listed: BTreeSet<u32> = BTreeSet::new();
    keys(plan, dimension, |key| key.number_entries(&mut listed));
    room(entries.len() + listed.len(), NUMBER_ENTRIES, dimension)?;
    entries.extend(listed.into_iter().map(|number| NumberEntry {
        kind: plan.kind,
        dimension,
        number,
        vector: vector(plan, dimension, Probe::Number(number)),
    }));
    Ok(())
}

fn suffixes(plan: &Plan, entries: &mut Vec<SuffixEntry>) -> Result<(), Full> {
    const DIMENSION: Dimension = Dimension::Suffix;
    let mut listed: BTreeSet<&[u8]> = BTreeSet::new();
    keys(plan, DIMENSION, |key| key.suffix_entries(&mut listed));
    room(entries.len() + listed.len(), SUFFIX_ENTRIES, DIMENSION)?;
    entries.extend(listed.into_iter().map(|suffix| SuffixEntry {
        kind: plan.kind,
        suffix: suffix.into(),
        vector: vector(plan, DIMENSION, Probe::Suffix(suffix)),
    }));
    Ok(())
}

/// What a key asks of ancestors.
const fn of_ancestors(key: &Key) -> Option<&Arc<Test>> {
    match key {
        Key::Ancestor(test) => Some(test),
        _ => None,
    }
}

/// What a key asks of the container.
const fn of_container(key: &Key) -> Option<&ContainerCondition> {
    match key {
        Key::Container(condition) => Some(condition),
        _ => None,
    }
}

/// Every condition that any term has on `dimension`, by what its keys ask; at most so many.
fn conditions<T: Clone + PartialEq>(
    plans: &[Plan],
    dimension: Dimension,
    of: fn(&Key) -> Option<&T>,
    most: usize,
) -> Result<Vec<T>, Full> {
    let mut all: Vec<T> = Vec::new();
    for plan in plans {
        keys(plan, dimension, |key| {
            all.extend(of(key).filter(|it| !all.contains(it)).cloned());
        });
    }
    room(all.len(), most, dimension)?;
    Ok(all)
}

/// Which of `all` conditions on a dimension the plan's terms have, a bit each.
fn asked<T: PartialEq>(
    plan: &Plan,
    dimension: Dimension,
    of: fn(&Key) -> Option<&T>,
    all: &[T],
) -> u32 {
    let mut bits = 0;
    keys(plan, dimension, |key| {
        let bit = of(key).and_then(|asked| all.iter().position(|it| it == asked));
        bits |= bit.map_or(0, |bit| 1 << bit);
    });
    bits
}

/// Each way in which the conditions that are asked for can hold or not.
fn held<'p>(
    plan: &Plan,
    dimension: Dimension,
    asked: u32,
    probe: impl Fn(u32) -> Probe<'p>,
    entries: &mut Vec<NumberEntry>,
) -> Result<(), Full> {
    // Where none holds, none is listed. Bits beyond the highest are in none.
    let held = (1..=asked).filter(|held| held & !asked == 0);
    let held: Vec<u32> = held.collect();
    room(entries.len() + held.len(), NUMBER_ENTRIES, dimension)?;
    entries.extend(held.into_iter().map(|number| NumberEntry {
        kind: plan.kind,
        dimension,
        number,
        vector: vector(plan, dimension, probe(number)),
    }));
    Ok(())
}

/// What is looked up by the class of an executable.
const BY_EXECUTABLE: [Dimension; 4] = [
    Dimension::Executable,
    Dimension::Parent,
    Dimension::TargetExecutable,
    Dimension::Ancestors,
];

/// One class for all executables that nothing tells apart: no hook by the executable, the parent's or the
/// target's, and no condition on ancestors.
fn executables(plans: &[Plan], ancestors: &[Arc<Test>], tables: &mut Tables) -> Result<(), Full> {
    const BY_CLASS: [Dimension; 3] = [
        Dimension::Executable,
        Dimension::Parent,
        Dimension::TargetExecutable,
    ];
    // What a class stands for.
    let told = |probe: Probe<'_>| -> (Vec<[Vector; 3]>, u32) {
        let vectors = plans
            .iter()
            .map(|plan| BY_CLASS.map(|dimension| vector(plan, dimension, probe)));
        let held = ancestors
            .iter()
            .enumerate()
            .map(|(bit, condition)| u32::from(condition.holds(probe) == Some(true)) << bit);
        (vectors.collect(), held.sum())
    };
    let mut listed: BTreeSet<PathBytes> = BTreeSet::new();
    for plan in plans {
        for dimension in BY_EXECUTABLE {
            keys(plan, dimension, |key| key.path_entries(&mut listed));
        }
    }
    // The dimension to leave out is one that is in use.
    let full = || {
        let is_in_use = |dimension: &&Dimension| {
            let mut used = false;
            plans
                .iter()
                .for_each(|plan| keys(plan, **dimension, |_| used = true));
            used
        };
        BY_EXECUTABLE
            .iter()
            .find(is_in_use)
            .copied()
            .unwrap_or(Dimension::Executable)
    };
    room(listed.len(), CLASS_ENTRIES, full())?;

    let unlisted = told(Probe::Unlisted);
    let mut classes = HashMap::from([(unlisted.clone(), 0)]);
    for path in listed {
        // At most `CLASS_ENTRIES`.
        let next = classes.len() as u32;
        let class = *classes.entry(told(Probe::Path(&path))).or_insert(next);
        tables.classes.push(ClassEntry { path, class });
    }
    room(classes.len(), CLASSES, full())?;
    tables.ancestor_conditions = vec![0; classes.len()];
    for ((vectors, held), class) in classes {
        tables.ancestor_conditions[class as usize] = held;
        for ((plan, vectors), unlisted) in plans.iter().zip(vectors).zip(&unlisted.0) {
            for ((dimension, vector), unlisted) in BY_CLASS.into_iter().zip(vectors).zip(unlisted) {
                if vector != *unlisted {
                    tables.numbers.push(NumberEntry {
                        kind: plan.kind,
                        dimension,
                        number: class,
                        vector,
                    });
                }
            }
        }
    }
    room(tables.numbers.len(), NUMBER_ENTRIES, full())
}

const fn room(needed: usize, there_is: usize, dimension: Dimension) -> Result<(), Full> {
    if needed <= there_is {
        Ok(())
    } else {
        Err(Full(dimension))
    }
}
