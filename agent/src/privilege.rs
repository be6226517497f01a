//! What this process may do.

use std::fs;

use holdfast_wire::event::capability_names;

use crate::failure::Failure;

/// What watching and killing takes, and why no less will do: SYS_ADMIN loads tracing programs on
/// kernels before 5.8 and opens other processes' namespaces, SYS_PTRACE reads their /proc entries,
/// DAC_READ_SEARCH their files' names, KILL ends them.
const NEEDED: [&str; 4] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_DAC_READ_SEARCH",
    "CAP_KILL",
];

/// The capabilities that the sensor needs and this process lacks.
pub(crate) fn missing() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0);
    let names = capability_names(effective);
    NEEDED
        .iter()
        .filter(|needed| !names.contains(needed))
        .map(|needed| (*needed).to_owned())
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
