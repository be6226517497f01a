//! `holdfast namespaces`: which there are, who is in them, and what keeps those that nobody is in.

use std::collections::BTreeMap;

use holdfast_actors::namespace::{self, Currency, Kind, Map, Namespace, mounts::Mount};
use holdfast_actors::runtime::listing;

use crate::cli::Namespaces;
use crate::config::Config;
use crate::control::client::{Client, block_on};
use crate::failure::Failure;
use crate::output::{self, Table};

/// As much of a container's id as people read.
const SHORT: usize = 12;
/// Nobody is told of what is younger, milliseconds.
const SOON: u64 = 1000;

pub(super) fn namespaces(arguments: &Namespaces) -> Result<(), Failure> {
    let config = arguments.show.settings.inputs().load()?;
    let mut map = mapped(&config, arguments.mounts)?;
    if let Some(kind) = arguments.kind.as_deref().and_then(Kind::from_name) {
        map.namespaces.retain(|_, namespace| namespace.kind == kind);
    }
    if arguments.show.json {
        return output::json(&map);
    }
    if arguments.mounts {
        return output::text(&mounts(&map).render(0));
    }
    let names = container_names(&map);
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

/// What is mounted, by mount namespace and path.
fn mounts(map: &Map) -> Table {
    let mut table = Table::new([
        "NAMESPACE",
        "MOUNT",
        "ON",
        "PATH",
        "TYPE",
        "SOURCE",
        "PROPAGATION",
        "HIDDEN",
    ]);
    let all = map.mounts.iter();
    let all = all.flat_map(|(nsid, paths)| paths.values().map(move |at| (nsid, at)));
    for (nsid, at) in all {
        for mount in &at.mounts {
            table.row([
                nsid.to_string(),
                mount.mountid.to_string(),
                mount.parentid.to_string(),
                mount.mountpoint.clone(),
                mount.fstype.clone(),
                mount.source.clone(),
                propagation(mount),
                if mount.hidden { "yes" } else { "" }.to_owned(),
            ]);
        }
    }
    table
}

/// As mount_namespaces(7) has it.
fn propagation(mount: &Mount) -> String {
    let tag = |(name, group): (&String, &String)| match &**group {
        "" => name.clone(),
        group => format!("{name}:{group}"),
    };
    let tags: Vec<String> = mount.tags.iter().map(tag).collect();
    if tags.is_empty() {
        "private".to_owned()
    } else {
        tags.join(" ")
    }
}

/// What there is, as a running sensor has it or by looking, and lines about what is not to be seen; `mounts`: with what is
/// mounted where.
pub(super) fn mapped(config: &Config, mounts: bool) -> Result<Map, Failure> {
    let root = &config.host.fs;
    let map = match held(config, mounts) {
        Some(map) => map,
        None => {
            let mut map = namespace::map(root, mounts).map_err(|error| {
                Failure::Other(
                    anyhow::Error::from(error)
                        .context(format!("list the processes below {}", root.display())),
                )
            })?;
            let told = block_on(async { Ok(listing::running(root, &config.engines()).await) })?;
            namespace::containers::add(&mut map, &told);
            map
        }
    };
    let Currency {
        hidden,
        closed,
        oldest,
        ..
    } = map.currency;
    if hidden > 0 {
        eprintln!(
            "holdfast: the namespaces of {hidden} processes may not be read: that takes CAP_SYS_PTRACE"
        );
    }
    if closed > 0 {
        eprintln!(
            "holdfast: {closed} mount namespaces could not be looked into: that takes CAP_SYS_ADMIN and CAP_SYS_CHROOT"
        );
    }
    if oldest >= SOON {
        eprintln!(
            "holdfast: open files, sockets, threads, cgroups and mounts are as they were within the last {} s",
            oldest.div_ceil(1000)
        );
    }
    Ok(map)
}

/// What the running sensor has; `None`: there is none that answers.
fn held(config: &Config, mounts: bool) -> Option<Map> {
    let client = Client::new(config);
    if !client.is_running() {
        return None;
    }
    let query = if mounts { "" } else { "?mounts=no" };
    let answer = client.get(&format!("/v1/namespaces{query}"));
    let map = answer.and_then(|map| Ok(serde_json::from_value(map).map_err(anyhow::Error::from)?));
    map.inspect_err(|error| {
        eprintln!("holdfast: the sensor does not tell, so this looks itself: {error}")
    })
    .ok()
}

/// Names of containers by id, as their engines know them.
pub(super) fn container_names(map: &Map) -> BTreeMap<String, String> {
    let named = map.containers.values().filter(|it| it.name != it.id);
    named.map(|it| (it.id.clone(), it.name.clone())).collect()
}

/// A container's name, or the beginning of its id.
pub(super) fn shown(id: &str, names: &BTreeMap<String, String>) -> String {
    match names.get(id) {
        Some(name) => name.clone(),
        None => id[..id.floor_char_boundary(SHORT)].to_owned(),
    }
}
