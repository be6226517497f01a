//! Terms → what is written into the kernel's maps.

use std::collections::{BTreeSet, HashMap};

use holdfast_wire::Kind;

use super::Options;
use crate::expression::Cidr;
use crate::plan::{Plan, PlannedTerm};
use crate::snapshot::{
    AddressEntry, ClassEntry, ExecutableVector, PathBytes, PathEntry, PortEntry, Rule, Tables,
};
use crate::stage::{Key, Probe, Test};
use crate::table::{
    ADDRESS_ENTRIES, CLASS_ENTRIES, CLASSES, Dimension, HookTable, PATH_ENTRIES, PORT_ENTRIES,
    Vector, WORDS, hook_flags,
};

/// There is no room for all keys of this dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full(pub(super) Dimension);

/// Fills the tables.
pub(super) fn build(plans: &[Plan], rules: &[Rule], options: &Options) -> Result<Tables, Full> {
    let mut tables = Tables::default();
    for plan in plans {
        tables
            .hooks
            .push((plan.kind, Box::new(hook(plan, rules, options))));
        paths(plan, Dimension::Path, &mut tables.paths)?;
        paths(plan, Dimension::TargetPath, &mut tables.paths)?;
        addresses(plan, &mut tables.addresses)?;
        ports(plan, &mut tables.ports)?;
    }
    executables(plans, &mut tables)?;
    Ok(tables)
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
    // Any lookup may fail to know its value, so user space may have to step in for any such rule.
    let mut in_force = plan
        .rules
        .iter()
        .filter_map(|rule| rules.get(usize::from(rule.rule)));
    if in_force.any(|rule| rule.verdict.prevents()) {
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

const fn set(vector: &mut Vector, index: usize) {
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

fn ports(plan: &Plan, entries: &mut Vec<PortEntry>) -> Result<(), Full> {
    let mut listed: BTreeSet<u16> = BTreeSet::new();
    keys(plan, Dimension::Port, |key| key.port_entries(&mut listed));
    room(entries.len() + listed.len(), PORT_ENTRIES, Dimension::Port)?;
    entries.extend(listed.into_iter().map(|port| PortEntry {
        kind: plan.kind,
        port,
        vector: vector(plan, Dimension::Port, Probe::Port(port)),
    }));
    Ok(())
}

/// One class for all executables that no hook tells apart.
fn executables(plans: &[Plan], tables: &mut Tables) -> Result<(), Full> {
    const DIMENSION: Dimension = Dimension::Executable;
    let asks = |plan: &&Plan| {
        let mut tests = plan.terms.iter().flat_map(|term| &term.staged.tests);
        tests.any(|(dimension, _)| *dimension == DIMENSION)
    };
    let plans: Vec<&Plan> = plans.iter().filter(asks).collect();
    let vectors = |probe: Probe<'_>| -> Vec<Vector> {
        plans
            .iter()
            .map(|plan| vector(plan, DIMENSION, probe))
            .collect()
    };
    let mut listed: BTreeSet<PathBytes> = BTreeSet::new();
    plans
        .iter()
        .for_each(|plan| keys(plan, DIMENSION, |key| key.path_entries(&mut listed)));
    room(listed.len(), CLASS_ENTRIES, DIMENSION)?;

    let mut classes = HashMap::from([(vectors(Probe::Unlisted), 0)]);
    for path in listed {
        // At most `CLASS_ENTRIES`.
        let next = classes.len() as u32;
        let class = *classes.entry(vectors(Probe::Path(&path))).or_insert(next);
        tables.classes.push(ClassEntry { path, class });
    }
    room(classes.len(), CLASSES, DIMENSION)?;
    let kinds: Vec<Kind> = plans.iter().map(|plan| plan.kind).collect();
    for (vectors, class) in classes {
        let of_class = kinds.iter().zip(vectors);
        tables
            .executable_vectors
            .extend(of_class.map(|(kind, vector)| ExecutableVector {
                kind: *kind,
                class,
                vector,
            }));
    }
    Ok(())
}

const fn room(needed: usize, there_is: usize, dimension: Dimension) -> Result<(), Full> {
    if needed <= there_is {
        Ok(())
    } else {
        Err(Full(dimension))
    }
}
