//! Which container a process is in, as its cgroup says: at once, and without asking any engine. What engines
//! know beside, they are asked for by actors of their own, and nobody waits for them.

pub(crate) mod cgroup;
pub mod engine;
pub(crate) mod entered;
pub(crate) mod hierarchy;
pub(crate) mod lifecycle;
pub mod listing;
pub(crate) mod membership;
pub(crate) mod namespaces;
pub mod table;

/// The id of the container that the cgroup with this path belongs to; `None` for the host's own.
#[must_use]
pub fn container_of(cgroup: &str) -> Option<String> {
    cgroup::container(cgroup).map(|it| it.id)
}
