//! The host's side of guest kernels: which are booted, with what inside, and what came of it.

pub mod coverage;
pub mod hooks;
pub mod initramfs;
pub mod kept;
pub mod machine;
pub mod matrix;
pub mod verifier;

/// Where a guest finds its plan: the place on the first line, a scenario's name on each further one.
pub const PLAN: &str = "/plan";
/// Where a guest finds what `make package` has made.
pub const DIST: &str = "/root/dist";
/// Where a guest finds the modules of its kernel that scenarios load.
pub const MODULES: &str = "/lib/modules";
