//! Which container a process is in, as its cgroup says: at once, and without asking any engine.

pub(crate) mod cgroup;
pub(crate) mod hierarchy;
pub(crate) mod membership;
