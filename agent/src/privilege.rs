//! What this process may do.

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
}

/// All of them. Those that are needed have no substitute: SYS_ADMIN loads tracing programs on
/// kernels before 5.8 and opens other processes' namespaces.
const CAPABILITIES: [Capability; 7] = [
    Capability {
        name: "CAP_SYS_ADMIN",
        needed: true,
        lost: "the sensor does not start: programs are loaded and attached, and namespaces and fanotify opened by it; it contains BPF and PERFMON",
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        needed: true,
        lost: "the sensor does not start: what other users' processes are is read from /proc by it",
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        needed: true,
        lost: "the sensor does not start: other users' files are found by it",
    },
    Capability {
        name: "CAP_KILL",
        needed: true,
        lost: "the sensor does not start: it kills by it where kernel programs cannot refuse",
    },
    Capability {
        name: "CAP_SYS_RESOURCE",
        needed: false,
        lost: "before kernel 5.11 the programs, for which the fanotify tier stands in, unless the limit of locked memory was lifted: maps count towards it there",
    },
    Capability {
        name: "CAP_NET_ADMIN",
        needed: false,
        lost: "in the fanotify tier: before kernel 6.6 what tells of processes and changes of user; later, bursts beyond net.core.rmem_max",
    },
    Capability {
        name: "CAP_DAC_OVERRIDE",
        needed: false,
        lost: "the sensor does not start where its own directories belong to another user",
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
