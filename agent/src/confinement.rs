//! What the sensor gives up for as long as it runs: the capabilities that it has no use for, new privileges by an
//! exec, and the system calls that it never makes. Who takes it over does not get these back.

use std::collections::BTreeMap;

use holdfast_wire::event::capability_names;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use serde::Serialize;

use crate::loader::lift_memlock_limit;
use crate::privilege;

mod seccomp;

/// What `status` names a degradation by, where not all of it could be done.
pub(crate) const NAME: &str = "confinement";

/// What the capability is for that nobody needs where limits can be lifted (`perf_mmap` of `kernel/events/core.c`).
const PERF_BUFFERS: &str = "perf buffers lock memory, and the limit of it could not be lifted";

/// What was given up, as `status` and `doctor` show it.
#[derive(Debug, Serialize)]
pub(crate) struct Confinement {
    capabilities: Capabilities,
    /// Whether an exec can bring no privileges (`PR_SET_NO_NEW_PRIVS`).
    no_new_privs: bool,
    seccomp: Seccomp,
}

/// Capabilities of each thread, by their names in capabilities(7).
#[derive(Debug, Serialize)]
pub(crate) struct Capabilities {
    /// What the sensor has and goes on using, and what for.
    kept: BTreeMap<&'static str, &'static str>,
    /// What it was started with beyond that, and has no longer.
    dropped: Vec<&'static str>,
    /// What the bounding set has beyond that: taking it out there takes CAP_SETPCAP. It is of no use without an exec.
    left_in_bounding_set: Vec<&'static str>,
    /// Why they were not given up.
    error: Option<String>,
}

/// The filter of system calls, see [`seccomp`].
#[derive(Debug, Serialize)]
struct Seccomp {
    /// What is refused with EPERM, and the calls that do it.
    refused: BTreeMap<&'static str, Vec<&'static str>>,
    /// Why nothing is refused.
    error: Option<String>,
}

/// Gives up the capabilities that the sensor has no use for, in all sets of this thread, and what an exec would bring.
/// To be called before there is another thread, which inherits it.
pub(crate) fn give_up_capabilities() -> Capabilities {
    let mut kept = privilege::kept();
    // CAP_SYS_RESOURCE is for this, and for nothing else.
    if !lift_memlock_limit() {
        kept.insert("CAP_IPC_LOCK", PERF_BUFFERS);
    }
    let mask = (0..u64::BITS)
        .map(|bit| 1 << bit)
        .filter(|bit| {
            capability_names(*bit)
                .iter()
                .any(|name| kept.contains_key(name))
        })
        .fold(0, |mask: u64, bit| mask | bit);
    let before = capabilities(None).map_or(0, |sets| sets.permitted.bits());
    let lowered = lower(CapabilitySet::from_bits_retain(mask));
    let now = capabilities(None).map_or(0, |sets| sets.permitted.bits());
    let names = capability_names(now);
    Capabilities {
        kept: kept
            .into_iter()
            .filter(|(name, _)| names.contains(name))
            .collect(),
        dropped: capability_names(before & !now),
        left_in_bounding_set: capability_names(bounding() & !mask),
        error: lowered.err().map(|error| error.to_string()),
    }
}

fn lower(mask: CapabilitySet) -> rustix::io::Result<()> {
    // First, since it takes CAP_SETPCAP.
    for bit in bits(bounding() & !mask.bits()) {
        match remove_capability_from_bounding_set(bit) {
            // A container engine or service manager has left what it wanted to leave.
            Err(Errno::PERM) => break,
            removed => removed?,
        }
    }
    clear_ambient_capability_set()?;
    let now = capabilities(None)?;
    let sets = CapabilitySets {
        effective: now.effective & mask,
        permitted: now.permitted & mask,
        // For an exec only, of which there is none.
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    set_no_new_privs(true)
}

/// The bounding set of this thread.
fn bounding() -> u64 {
    bits(u64::MAX)
        // One that this kernel does not know is an error.
        .filter(|bit| capability_is_in_bounding_set(*bit).unwrap_or(false))
        .fold(0, |mask, bit| mask | bit.bits())
}

fn bits(mask: u64) -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS)
        .map(|bit| 1 << bit)
        .filter(move |bit| mask & bit != 0)
        .map(CapabilitySet::from_bits_retain)
}

impl Confinement {
    /// Refuses all threads the system calls that the sensor never makes once its kernel side is there. A kernel that
    /// has no filters for system calls (`CONFIG_SECCOMP_FILTER`) is no reason not to run: see [`Self::lacks`].
    pub(crate) fn complete(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            no_new_privs: rustix::thread::no_new_privs().unwrap_or(false),
            seccomp: match seccomp::put_in_force() {
                Ok(()) => Seccomp {
                    refused: seccomp::refused(),
                    error: None,
                },
                Err(error) => Seccomp {
                    refused: BTreeMap::new(),
                    error: Some(error.to_string()),
                },
            },
        }
    }

    /// What could not be given up, and why.
    pub(crate) fn lacks(&self) -> Option<String> {
        let of = |what: &str, error: &Option<String>| {
            let error = error.as_ref()?;
            Some(format!("{what}: {error}"))
        };
        let lacking = [
            of("capabilities of no use are kept", &self.capabilities.error),
            of("no system call is refused", &self.seccomp.error),
        ];
        let lacking: Vec<String> = lacking.into_iter().flatten().collect();
        (!lacking.is_empty()).then(|| lacking.join("; "))
    }
}
