//! The root: the tree, and what outlives every actor in it.

use std::sync::Arc;

use holdfast_policy::snapshot::Snapshot;
use holdfast_wire::Domain;
use ractor::RpcReplyPort;

mod handle;
mod settings;
pub mod status;

pub use handle::{Handle, HandleError};
pub use settings::{Format, Host, Log, Settings, Stdout};

use crate::kernel::{Kernel, KernelError, Ring};
use status::Status;

/// Why the tree could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tables of the first snapshot could not be installed.
    #[error("cannot install the policy tables: {0}")]
    Install(#[from] KernelError),
    /// A domain has no ring, or two.
    #[error("domain {0} needs exactly one ring, and has {1}")]
    Rings(&'static str, usize),
    /// The root actor did not start.
    #[error("cannot start the root actor: {0}")]
    Root(String),
}

/// What the root is told.
#[derive(Debug)]
pub(crate) enum Message {
    Status(RpcReplyPort<Status>),
    Reload(Arc<Snapshot>, RpcReplyPort<Result<u32, KernelError>>),
    Stop(RpcReplyPort<Status>),
    #[cfg(any(test, feature = "fault-injection"))]
    Panic(String, RpcReplyPort<bool>),
}

/// Starts the tree on the current tokio runtime: installs the tables of `snapshot`, then starts
/// every actor.
///
/// # Errors
/// See [`StartError`]; nothing is left running then.
pub async fn start(
    settings: Settings,
    kernel: Arc<dyn Kernel>,
    rings: Vec<(Domain, Box<dyn Ring>)>,
    snapshot: Snapshot,
) -> Result<Handle, StartError> {
    let _ = (settings, kernel, rings, snapshot);
    Err(StartError::Root("not yet".into()))
}
