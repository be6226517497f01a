//! `holdfast processes`: which run, in which container, and who made them.

use std::collections::BTreeMap;

use holdfast_actors::namespace::{Map, Process};

use super::namespaces::{container_names, mapped, shown};
use crate::cli::Processes;
use crate::failure::Failure;
use crate::output::{self, Table};

pub(super) fn processes(arguments: &Processes) -> Result<(), Failure> {
    let config = arguments.show.settings.inputs().load()?;
    let map = mapped(&config, false)?;
    if arguments.show.json {
        return output::json(&map.processes);
    }
    let names = container_names(&map);
    let mut table = Table::new(["PID", "PARENT", "CONTAINER", "COMMAND"]);
    for (depth, process) in ordered(&map, arguments.tree) {
        let container = process.container.as_deref();
        table.row([
            process.pid.to_string(),
            process.ppid.to_string(),
            container.map(|id| shown(id, &names)).unwrap_or_default(),
            format!("{}{}", "  ".repeat(depth), command(process)),
        ]);
    }
    output::text(&table.render(0))
}

/// What it was started as; of kernel threads, which have none, the name.
fn command(process: &Process) -> String {
    if process.cmdline.is_empty() {
        return format!("[{}]", process.name);
    }
    // What is in an argument stays in its line.
    process
        .cmdline
        .join(" ")
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect()
}

/// In the order of their ids, or each below its parent; with how deep it is.
fn ordered(map: &Map, tree: bool) -> Vec<(usize, &Process)> {
    if !tree {
        return map.processes.values().map(|process| (0, process)).collect();
    }
    let mut children: BTreeMap<u32, Vec<&Process>> = BTreeMap::new();
    let mut open = Vec::new();
    for process in map.processes.values().rev() {
        // One whose parent is not to be seen stands at the top; nobody is its own parent.
        if map.processes.contains_key(&process.ppid) && process.ppid != process.pid {
            children.entry(process.ppid).or_default().push(process);
        } else {
            open.push((0, process));
        }
    }
    let mut all = Vec::with_capacity(map.processes.len());
    while let Some((depth, process)) = open.pop() {
        all.push((depth, process));
        let below = children.remove(&process.pid).unwrap_or_default();
        open.extend(below.into_iter().map(|child| (depth + 1, child)));
    }
    all
}
