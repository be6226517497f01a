//! Engines of users: what they say is believed of their own containers alone.
//!
//! Whoever has a socket where one is looked for can say anything there, also of containers that are not theirs.

use std::fs::{self, File};
use std::path::Path;

use super::Details;
use crate::namespace;
use crate::runtime::membership::{Membership, membership};

/// Whether a container runs in a user namespace that this user has made: its first process is there, and in the
/// cgroup that is called as the container is.
pub(super) fn is_of(proc: &Path, details: &Details, user: u32) -> bool {
    let Some(pid) = details.pid else {
        return false;
    };
    let process = proc.join(pid.to_string());
    let Ok(namespace) = File::open(process.join("ns/user")) else {
        return false;
    };
    let cgroup = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
    let is_called_so = matches!(membership(&cgroup), Membership::Container(named) if named.id == details.container.id);
    is_called_so && namespace::owner_uid(namespace) == Some(user)
}
