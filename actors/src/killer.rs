//! The only actor that signals processes: what policies have killed or stopped.
//!
//! Requests come over a bounded lane that the root owns; the evaluator waits for the answer for a
//! bounded time. A request that was in hand when the killer died is done by its next incarnation.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ractor::ActorProcessingErr;
use rustix::process::Signal;
use tokio::sync::oneshot;

use crate::evaluator::processes::{Key, scan};
use crate::kernel::Kernel;
use crate::lane::Lane;
use crate::root::shared::Shared;
use crate::root::status::Waiting;
use crate::supervisor::REST;
use crate::supervisor::worker::Job;

mod container;
pub(crate) mod guard;
pub(crate) mod pidfd;
mod tree;

use guard::Guard;
use pidfd::{Refusal, Target};
pub(crate) use tree::MAX_TREE;

/// Requests that wait: the evaluator has one under way at a time; the rest is for those that it no
/// longer waits for.
const REQUESTS: usize = 64;
/// How long the evaluator waits for an answer: above the delay of a killer's restart. What is killed
/// later than this is not reported as killed.
const ANSWER: Duration = Duration::from_millis(250);
/// How often the processes that are never killed are looked up: an engine that has just started is
/// in the guard's eyes at once, in the kernel programs' after this.
const REFRESH: Duration = Duration::from_secs(2);
/// Processes killed of late, by identity: enough for a request that is repeated after a failure.
const RECENT: usize = 64;
/// Processes looked at in one listing of `/proc`.
const MAX_PROCESSES: usize = 131_072;
/// Entries of the kernel's never-kill list.
const MAX_SPARED: usize = 1024;
/// Times that a request is tried: once more after a panic.
const ATTEMPTS: u8 = 2;
/// How long a request waits for descriptors or memory that the sensor does not have, and after how long it is tried again.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(10);

/// What the evaluator asks for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// To whom.
    pub(crate) target: Target,
    /// What is to be done.
    pub(crate) deed: Deed,
}

/// What is done to a process.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// It is stopped.
    Stop,
    /// It is killed.
    Kill,
    /// And its descendants; these are known.
    KillTree(Vec<Key>),
    /// And all processes of the container with this id.
    KillContainer(String),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Why it was not done to the target itself; `None`: it was.
    pub(crate) refused: Option<String>,
    /// Other processes killed.
    pub(crate) others: usize,
}

#[derive(Debug)]
struct Pending {
    request: Request,
    made: Instant,
    attempts: u8,
    /// Whom it has killed so far.
    killed: Vec<Key>,
    answer: oneshot::Sender<Reply>,
}

/// What the killer found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Nothing.
    None,
    /// A request, which it did.
    Done,
    /// A request that has to wait.
    Later,
}

/// Everything about killing that outlives the killer.
#[derive(Debug)]
pub(crate) struct Killing {
    lane: Lane<Pending>,
    hand: Mutex<Hand>,
    proc: PathBuf,
    guard: Guard,
}

#[derive(Debug, Default)]
struct Hand {
    pending: Option<Pending>,
    recent: VecDeque<Key>,
    spared: Vec<u32>,
}

impl Killing {
    pub(crate) fn new(proc: PathBuf, guard: Guard) -> Self {
        let lane = Lane::new(REQUESTS, usize::MAX, |_| 1, Arc::default());
        Self {
            lane,
            hand: Mutex::default(),
            proc,
            guard,
        }
    }

    /// What waits in the lane.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            depth: self.lane.depth(),
            capacity: self.lane.capacity(),
            unit: "kills",
        }
    }

    /// Has `request` done, and waits for the answer, bounded.
    pub(crate) async fn kill(&self, request: Request) -> Reply {
        let (answer, answered) = oneshot::channel();
        let pending = Pending {
            request,
            made: Instant::now(),
            attempts: 0,
            killed: Vec::new(),
            answer,
        };
        let reason = match self.lane.offer(pending) {
            Err(_) => "too many kills are waiting",
            Ok(()) => match tokio::time::timeout(ANSWER, answered).await {
                Ok(Ok(reply)) => return reply,
                Ok(Err(_)) => "the killer failed on it",
                Err(_) => "the killer did not answer in time",
            },
        };
        Reply {
            refused: Some(reason.to_owned()),
            others: 0,
        }
    }

    /// Does the request in hand, or the next one. Blocks on `/proc`.
    fn work(&self) -> Work {
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        let hand = &mut *hand;
        if hand
            .pending
            .as_ref()
            .is_some_and(|pending| pending.attempts >= ATTEMPTS)
        {
            hand.pending = None;
        }
        if hand.pending.is_none() {
            hand.pending = self.lane.take();
        }
        let Some(pending) = &mut hand.pending else {
            return Work::None;
        };
        pending.attempts += 1;
        let Request { target, deed } = &pending.request;
        let recently = hand
            .recent
            .iter()
            .any(|key| *key == target.key && key.start != 0);
        let killed = &mut pending.killed;
        let (proc, guard) = (&self.proc, &self.guard);
        let lacking = match deed {
            Deed::Stop | Deed::Kill => None,
            Deed::KillTree(known) => tree::kill(proc, guard, target, known, killed),
            Deed::KillContainer(id) => container::kill(proc, guard, id, killed),
        };
        let among = killed.contains(&target.key);
        let others = killed.len() - usize::from(among);
        let result = match deed {
            _ if among => Ok(()),
            Deed::Stop => pidfd::signal(proc, guard, target, Signal::STOP),
            _ => pidfd::signal(proc, guard, target, Signal::KILL),
        };
        let is_short = lacking.is_some() || matches!(result, Err(Refusal::Short(_)));
        if is_short && pending.made.elapsed() < PATIENCE {
            // To wait is not to fail.
            pending.attempts -= 1;
            return Work::Later;
        }
        let refused = match result {
            Ok(()) if matches!(deed, Deed::Stop) => None,
            Ok(()) => {
                hand.recent.push_front(target.key);
                hand.recent.truncate(RECENT);
                None
            }
            Err(Refusal::Gone) if recently => None,
            Err(refusal) => Some(refusal.to_string()),
        };
        tracing::info!(pid = target.key.tgid, ?deed, refused, others, "response");
        if let Some(pending) = hand.pending.take() {
            // An evaluator that no longer waits has said so in its event.
            let _ = pending.answer.send(Reply { refused, others });
        }
        Work::Done
    }

    /// Looks up who is never killed, and tells the kernel programs where that changed. Blocks on
    /// `/proc`.
    ///
    /// # Errors
    /// In words, when it is not known, or could not be told.
    pub(crate) fn refresh(&self, kernel: &dyn Kernel) -> Result<(), String> {
        let pids = scan::pids(&self.proc, MAX_PROCESSES).map_err(|error| error.to_string())?;
        let is_spared = |tgid: &u32| self.guard.spares(&self.proc, *tgid).is_some();
        let spared: Vec<u32> = pids
            .into_iter()
            .filter(is_spared)
            .take(MAX_SPARED)
            .collect();
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        if hand.spared != spared {
            kernel
                .set_never_kill(&spared)
                .map_err(|error| error.to_string())?;
            hand.spared = spared;
        }
        Ok(())
    }
}

/// The killer.
#[derive(Clone, Debug)]
pub(crate) struct Killer {
    pub(crate) shared: Arc<Shared>,
}

/// When the never-kill list was last looked up.
type Refreshed = Option<Instant>;

impl Job for Killer {
    type State = Refreshed;

    fn begin(&self) -> Result<Refreshed, ActorProcessingErr> {
        Ok(None)
    }

    async fn slice(
        &self,
        refreshed: &mut Refreshed,
        draining: bool,
    ) -> Result<ControlFlow<()>, ActorProcessingErr> {
        let shared = self.shared.clone();
        if refreshed.is_none_or(|then| then.elapsed() >= REFRESH) && !draining {
            let refresh = move || shared.killing.refresh(&*shared.kernel);
            match tokio::task::spawn_blocking(refresh).await? {
                Ok(()) => self.shared.degraded.clear("never-kill list"),
                Err(error) => self.shared.degraded.set("never-kill list", &error),
            }
            *refreshed = Some(Instant::now());
            return Ok(ControlFlow::Continue(()));
        }
        match tokio::task::spawn_blocking(move || shared.killing.work()).await? {
            Work::Done => {}
            Work::Later => tokio::time::sleep(RETRY).await,
            Work::None if draining => return Ok(ControlFlow::Break(())),
            Work::None => {
                let lane = &self.shared.killing.lane;
                self.shared.rest(REST, lane.arrived(REST)).await;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
