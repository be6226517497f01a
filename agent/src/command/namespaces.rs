//! `holdfast namespaces`: which there are, who is in them, and what keeps those that nobody is in.

use std::collections::BTreeMap;

use holdfast_actors::namespace::{self, Kind, Map, Namespace};
use holdfast_actors::runtime::listing;

use crate::cli::Namespaces;
use crate::config::Config;
use crate::control::client::block_on;
use crate::failure::Failure;
use crate::output::{self, Table};

/// As much of a container's id as people read.
const SHORT: usize = 12;

pub(super) fn namespaces(arguments: &Namespaces) -> Result<(), Failure> {
    let config = arguments.show.settings.inputs().load()?;
    let mut map = mapped(&config)?;
    if let Some(kind) = arguments.kind.as_deref().and_then(Kind::from_name) {
        map.namespaces.retain(|_, namespace| namespace.kind == kind);
    }
    if arguments.show.json {
        return output::json(&map);
    }
    let names = container_names(&config)?;
    let mut table = Table::new([
        "TYPE",
        "NAMESPACE",
        "OWNER",
        "PROCESSES",
        "LEADER",
        "CONTAINER",
        "HELD BY",
    ]);
    let mut sorted: Vec<&Namespace> = map.namespaces.values().collect();
    sorted.sort_by_key(|namespace| (namespace.kind, namespace.nsid));
    for namespace in sorted {
        let leader = namespace.ealdorman.and_then(|pid| map.processes.get(&pid));
        let container = leader.and_then(|leader| leader.container.as_deref());
        // Who is in it says enough.
        let held = if namespace.processes == 0 {
            namespace.reference.join(" ")
        } else {
            String::new()
        };
        table.row([
            namespace.kind.name().to_owned(),
            namespace.nsid.to_string(),
            namespace.owner.map(|it| it.to_string()).unwrap_or_default(),
            namespace.processes.to_string(),
            leader
                .map(|it| format!("{} {}", it.pid, it.name))
                .unwrap_or_default(),
            container.map(|id| shown(id, &names)).unwrap_or_default(),
            held,
        ]);
    }
    output::text(&table.render(0))
}

/// What there is, and a line about what is not to be seen.
pub(super) fn mapped(config: &Config) -> Result<Map, Failure> {
    let root = &config.host.fs;
    let map = namespace::map(root).map_err(|error| {
        Failure::Other(
            anyhow::Error::from(error)
                .context(format!("list the processes below {}", root.display())),
        )
    })?;
    if map.hidden > 0 {
        eprintln!(
            "holdfast: the namespaces of {} processes may not be read: that takes CAP_SYS_PTRACE",
            map.hidden
        );
    }
    Ok(map)
}

/// Names of containers by id, as their engines know them.
pub(super) fn container_names(config: &Config) -> Result<BTreeMap<String, String>, Failure> {
    let listing = block_on(async { Ok(listing::list(&config.host.fs, &config.engines()).await) })?;
    let named = listing
        .containers
        .into_iter()
        .filter_map(|listed| Some((listed.container.id, listed.container.name?)));
    Ok(named.collect())
}

/// A container's name, or the beginning of its id.
pub(super) fn shown(id: &str, names: &BTreeMap<String, String>) -> String {
    match names.get(id) {
        Some(name) => name.clone(),
        None => id[..id.floor_char_boundary(SHORT)].to_owned(),
    }
}
