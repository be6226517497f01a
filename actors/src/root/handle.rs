//! What the agent holds of the running tree.

use std::sync::Arc;
use std::time::Duration;

use holdfast_policy::snapshot::Snapshot;
use ractor::rpc::CallResult;
use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::watch;

#[cfg(any(test, feature = "fault-injection"))]
use super::Fault;
use super::Message;
use super::status::Status;
use crate::kernel::KernelError;
use crate::namespace::Map;
use crate::sink::tail::{Tail, Tails};

/// For an answer out of memory: far longer than the root's longest handler.
const ANSWER: Duration = Duration::from_secs(2);
/// For a look at everything: of 10,000 processes it takes a second or two, and others may be before it.
const LOOK: Duration = Duration::from_secs(60);
/// For a reload: thousands of map writes, each some microseconds, on a loaded machine.
const RELOAD: Duration = Duration::from_secs(10);
/// For the hooks to be as a reload wants them, after its answer: the kernel verifies each program that is attached
/// anew, which takes some hundred milliseconds for the longest.
const SETTLED: Duration = Duration::from_secs(8);
/// For a stop: above the sum of the times that the stages of a stop are given.
const STOP: Duration = Duration::from_secs(70);

/// The running tree. Cheap to clone; dropping it does not stop the tree.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) root: ActorRef<Message>,
    pub(super) ready: watch::Receiver<bool>,
    pub(super) tails: Arc<Tails>,
}

/// Why the tree did not answer.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The root has ended.
    #[error("{0}: the sensor is stopping or has stopped")]
    Stopped(&'static str),
    /// It took too long.
    #[error("{0}: no answer within {1:?}")]
    Timeout(&'static str, Duration),
    /// It could not be read.
    #[error("look at the namespaces: {0}")]
    Look(#[from] std::io::Error),
    /// The tables could not be installed; the policies in force stay in force.
    #[error("the policies in force stay in force: {0}")]
    Install(#[from] KernelError),
    /// There are as many followers as there may be.
    #[error("there are {0} followers of events already")]
    TooManyTails(usize),
    /// There is no actor of this name.
    #[error("there is no actor `{0}`")]
    NoActor(String),
}

impl Handle {
    /// How the sensor stands.
    ///
    /// # Errors
    /// When the root does not answer within two seconds.
    pub async fn status(&self) -> Result<Status, HandleError> {
        self.call("status", ANSWER, Message::Status).await
    }

    /// The namespaces of the host; `mounts`: with what is mounted where.
    ///
    /// # Errors
    /// When the root does not answer within a minute, or there is no `/proc`.
    pub async fn namespaces(&self, mounts: bool) -> Result<Map, HandleError> {
        let message = |reply| Message::Namespaces(mounts, reply);
        Ok(self.call("namespaces", LOOK, message).await??)
    }

    /// Puts `snapshot` into force: the kernel's tables first, then the evaluator, then the hooks. Its epoch must be
    /// greater than that of every snapshot before. Returns that epoch, once every hook is as `snapshot` wants it, or
    /// it is known why not; at the latest after eight more seconds, since hooks that are not there yet refuse nothing
    /// but the policies are in force.
    ///
    /// # Errors
    /// When the tables cannot be installed (then nothing has changed), or the evaluator does not
    /// answer within ten seconds.
    pub async fn reload(&self, snapshot: Snapshot) -> Result<u32, HandleError> {
        let snapshot = Arc::new(snapshot);
        let epoch = self
            .call("reload", RELOAD, |reply| Message::Reload(snapshot, reply))
            .await?
            .map_err(HandleError::Install)?;
        match self.call("reload", SETTLED, Message::Settled).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "policies are in force, some hooks are not attached yet")
            }
        }
        Ok(epoch)
    }

    /// Has the sensor report, as `sensor.policy`, that policies were refused before they came here.
    pub fn policy_refused(&self, reason: &str) {
        // A tree that has ended reports nothing any more.
        let _ = self.root.cast(Message::PolicyRefused(reason.to_owned()));
    }

    /// Has the sensor report that `what` is not as it should be, and why; `None`: it is again.
    pub fn degraded(&self, what: &'static str, reason: Option<String>) {
        // A tree that has ended reports nothing any more.
        let _ = self.root.cast(Message::Degraded(what, reason));
    }

    /// Follows the events from now on.
    ///
    /// # Errors
    /// When there are too many followers.
    pub fn tail(&self) -> Result<Tail, HandleError> {
        self.tails
            .subscribe()
            .ok_or(HandleError::TooManyTails(crate::sink::tail::MAX_TAILS))
    }

    /// Returns when every hook that is wanted was attached, or it is known why not; and when the
    /// tree has ended.
    pub async fn ready(&self) {
        // An error means that the sender is gone, and with it the tree.
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Returns when the tree has ended, by [`Handle::stop`] or by itself.
    pub async fn ended(&self) {
        let mut ready = self.ready.clone();
        while ready.changed().await.is_ok() {}
    }

    /// Stops the tree: detaches the hooks, drains rings, evaluator and sinks, and ends every actor.
    /// Returns how everything stood at the very end.
    ///
    /// # Errors
    /// When the tree has already been stopped, or does not end within seventy seconds.
    pub async fn stop(&self) -> Result<Status, HandleError> {
        let status = self.call("stop", STOP, Message::Stop).await?;
        // The root ends right after its answer.
        let _ = tokio::time::timeout(ANSWER, self.ended()).await;
        Ok(status)
    }

    /// Makes the named actor fail in its next message.
    ///
    /// # Errors
    /// When there is no such actor.
    #[cfg(any(test, feature = "fault-injection"))]
    pub async fn fail_actor(&self, name: &str, fault: Fault) -> Result<(), HandleError> {
        let named = name.to_owned();
        let found = self
            .call("fail", ANSWER, |reply| Message::Fail(named, fault, reply))
            .await?;
        if found {
            Ok(())
        } else {
            Err(HandleError::NoActor(name.to_owned()))
        }
    }

    async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        limit: Duration,
        message: impl FnOnce(RpcReplyPort<T>) -> Message,
    ) -> Result<T, HandleError> {
        match self.root.call(message, Some(limit)).await {
            Ok(CallResult::Success(answer)) => Ok(answer),
            Ok(CallResult::Timeout) => Err(HandleError::Timeout(what, limit)),
            Ok(CallResult::SenderError) | Err(_) => Err(HandleError::Stopped(what)),
        }
    }
}
