//! What this process may do.

use std::collections::BTreeMap;
use std::fs;

use holdfast_wire::event::capability_names;

use crate::failure::Failure;

/// A capability that the sensor uses.
#[derive(Clone, Copy)]
pub(crate) struct Capability {
    /// `CAP_…`, as capabilities(7) has it.
    pub(crate) name: &'static str,
    /// Whether the sensor refuses to start without it, whatever the kernel.
    needed: bool,
    /// What is lost without it. `docs/install/docker.md` has the same words, and the scenario `privilege-lost` tries them.
    pub(crate) lost: &'static str,
    /// What it is used for once the sensor runs; `None`: it is given up before anything is loaded.
    later: Option<&'static str>,
}

/// All of them. Those that are needed have no substitute: SYS_ADMIN loads tracing programs on
/// kernels before 5.8 and opens other processes' namespaces.
const CAPABILITIES: [Capability; 8] = [
    Capability {
        name: "CAP_SYS_ADMIN",
        needed: true,
        lost: "the sensor does not start: programs are loaded and attached, and namespaces and fanotify opened by it; it contains BPF and PERFMON",
        later: Some(
            "a reload, and an actor that starts again, load and attach programs; namespaces are entered, and fanotify is asked",
        ),
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        needed: true,
        lost: "the sensor does not start: what other users' processes are is read from /proc by it",
        later: Some("what other users' processes are is read from /proc"),
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        needed: true,
        lost: "the sensor does not start: other users' files are found by it",
        later: Some("other users' files are found"),
    },
    Capability {
        name: "CAP_KILL",
        needed: true,
        lost: "the sensor does not start: it kills by it where kernel programs cannot refuse",
        later: Some("what kernel programs cannot refuse is killed"),
    },
    Capability {
        name: "CAP_SYS_RESOURCE",
        needed: false,
        lost: "before kernel 5.11 the programs, for which the fanotify tier stands in, unless the limit of locked memory was lifted: maps count towards it there",
        later: None,
    },
    Capability {
        name: "CAP_NET_ADMIN",
        needed: false,
        lost: "in the fanotify tier: before kernel 6.6 what tells of processes and changes of user; later, bursts beyond net.core.rmem_max",
        later: Some(
            "the fanotify tier asks the process connector; the network namespaces of sockets are found",
        ),
    },
    Capability {
        name: "CAP_DAC_OVERRIDE",
        needed: false,
        lost: "the sensor does not start where its own directories belong to another user",
        later: Some("its own directories may belong to another user"),
    },
    Capability {
        name: "CAP_SYS_CHROOT",
        needed: false,
        lost: "in holdfast namespaces --mounts the mounts of namespaces that nobody is in, and of the others what their processes do not see",
        later: Some("mount namespaces are entered"),
    },
];

/// The capabilities that the sensor uses and this process lacks.
pub(crate) fn lost() -> Vec<Capability> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0);
    let names = capability_names(effective);
    CAPABILITIES
        .into_iter()
        .filter(|capability| !names.contains(&capability.name))
        .collect()
}

/// Those that a sensor goes on using, and what for.
pub(crate) fn kept() -> BTreeMap<&'static str, &'static str> {
    CAPABILITIES
        .into_iter()
        .filter_map(|capability| Some((capability.name, capability.later?)))
        .collect()
}

/// Those of them without which it does not start.
pub(crate) fn missing() -> Vec<String> {
    let needed = lost().into_iter().filter(|capability| capability.needed);
    needed
        .map(|capability| capability.name.to_owned())
        .collect()
}

/// Refuses to go on without what the sensor needs.
///
/// # Errors
/// When something is missing; it is named.
pub(crate) fn require() -> Result<(), Failure> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::NotPermitted(format!(
        "watching the kernel takes root: try `sudo holdfast run` (missing: {})",
        missing.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What else tells of the capabilities that a sensor is to be given, and tells of no others.
    #[test]
    fn whatever_starts_a_sensor_gives_it_the_same() {
        let mut table: Vec<&str> = CAPABILITIES.iter().map(|it| it.name).collect();
        table.sort_unstable();
        let unit = include_str!("../../systemd/holdfast.service");
        let quadlet = include_str!("../../packaging/container/holdfast.container");
        for (text, key) in [
            (unit, "CapabilityBoundingSet="),
            (quadlet, "AddCapability="),
        ] {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            let mut names: Vec<&str> = line.unwrap().split_whitespace().collect();
            names.sort_unstable();
            assert_eq!(names, table, "{key}");
        }
        let chart = include_str!("../../packaging/helm/holdfast/values.yaml");
        let (_, listed) = chart.split_once("\ncapabilities:\n").unwrap();
        let listed = listed.lines().map_while(|line| line.strip_prefix("  - "));
        assert_eq!(sorted(listed), table, "the chart");
        let page = include_str!("../../docs/install/docker.md");
        let given = page.split("--cap-add ").skip(1);
        let given = given.filter_map(|rest| rest.split_whitespace().next());
        assert_eq!(sorted(given), table, "docs/install/docker.md");
    }

    /// As they are called without `CAP_`.
    fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut names: Vec<String> = names.map(|name| format!("CAP_{name}")).collect();
        names.sort_unstable();
        names
    }
}
