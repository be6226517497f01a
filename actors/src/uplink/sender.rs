//! The actor that has a [`Session`] with the server, and ends it when the sensor stops.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorProcessingErr;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Uplink;
use super::session::Session;
use crate::root::shared::Shared;
use crate::supervisor::SLICE;
use crate::supervisor::worker::Job;

/// Its name in the tree.
pub(crate) const NAME: &str = "uplink";
/// How long a sensor that stops goes on sending: half of what its stage has. What is left is in the spool.
const DRAIN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) shared: Arc<Shared>,
    pub(crate) uplink: Arc<Uplink>,
}

/// A session that ends with its actor, however that ends.
#[derive(Debug)]
pub(crate) struct Running {
    session: JoinHandle<()>,
    drain: watch::Sender<bool>,
    until: Option<Instant>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.session.abort();
    }
}

impl Job for Sender {
    type State = Running;

    fn begin(&self) -> Result<Running, ActorProcessingErr> {
        let (drain, drained) = watch::channel(false);
        let session = Session::new(self.shared.clone(), self.uplink.clone(), drained);
        Ok(Running {
            session: tokio::spawn(session.run()),
            drain,
            until: None,
        })
    }

    async fn slice(
        &self,
        running: &mut Running,
        draining: bool,
    ) -> Result<ControlFlow<()>, ActorProcessingErr> {
        if draining && running.until.is_none() {
            running.until = Some(Instant::now() + DRAIN);
            running.drain.send_replace(true);
        }
        match tokio::time::timeout(SLICE, &mut running.session).await {
            Ok(Ok(())) if draining => Ok(ControlFlow::Break(())),
            Ok(Ok(())) => Err("the session ended by itself".into()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) if running.until.is_some_and(|until| Instant::now() >= until) => {
                Ok(ControlFlow::Break(()))
            }
            Err(_) => Ok(ControlFlow::Continue(())),
        }
    }
}
