//! Policies → a snapshot: the kernel's tables and the rules for user space.

use crate::document::{Mode, Policy};
use crate::error::Problems;
use crate::field::Kinds;
use crate::snapshot::{Snapshot, Tables};

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

/// Compiles the policies that are to be in force together.
///
/// # Errors
/// Two policies of one name, or more rules than there are numbers for.
pub fn compile(policies: &[Policy], options: &Options) -> Result<Snapshot, Problems> {
    let _ = policies;
    Ok(Snapshot {
        epoch: options.epoch,
        rules: Vec::new(),
        by_kind: std::array::from_fn(|_| Vec::new()),
        reported: options.reported,
        tables: Tables::default(),
    })
}
