//! The control API: HTTP/1 over a Unix socket, for this machine's root only.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | how the sensor stands |
//! | `GET /v1/hooks` | facts about the kernel, what the sensor has given up, and each hook |
//! | `GET /v1/actors` | the supervision tree |
//! | `GET /v1/metrics` | the same as metrics, in the text format of OpenMetrics |
//! | `GET /v1/policies` | the policies in force |
//! | `GET /v1/namespaces` | the host's namespaces, processes and mounts; this and the next two have the keys of lxkns |
//! | `GET /v1/namespaces?mounts=no` | the same without what is mounted, which is read anew each time |
//! | `GET /v1/processes` | the processes, and which namespaces they are in |
//! | `GET /v1/pidmap` | of each process its ids in the pid namespaces that see it |
//! | `GET /v1/events` | events from now on, one JSON object a line |
//! | `POST /v1/reload` | reads configuration and policies again |
//! | `POST /v1/log` | reads `log.level` again, and nothing else |
//! | `POST /v1/stop`, `POST /v1/stop?unload` | stops the sensor; with all that it has in the kernel |
//! | `POST /v1/debug/fail?fault=panic&actor=NAME` | test builds only: makes an actor panic, fail (`error`), hang for a second or for ever (`stall`) |
//! | `POST /v1/maintenance?minutes=N` | opens a window in which `self.protect` refuses nothing; 0 ends it |
//!
//! An answer that is not 200 has a JSON object with `error`. Filters are not evaluated here: the
//! sensor runs nothing that a client sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_actors::root::Handle;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::policies::Summary;

pub(crate) mod client;
mod http;
mod peer;
mod route;
pub(crate) mod scrape;
mod server;

pub(crate) use server::{Server, bind};

/// What a client asks of the one loop that runs the sensor, so that reloads and stops come one after
/// the other whoever asks.
#[derive(Debug)]
pub(crate) enum Request {
    /// Read configuration and policies again.
    Reload(oneshot::Sender<Result<Value, Vec<String>>>),
    /// Read `log.level` again; the answer is what it is now, and where that comes from.
    Log(oneshot::Sender<Result<Value, Vec<String>>>),
    /// Let others do to the sensor what `self.protect` keeps them from, for so long; `None`: no longer.
    Maintain(
        Option<Duration>,
        oneshot::Sender<Result<Value, Vec<String>>>,
    ),
    /// Stop.
    Stop {
        /// Leave nothing in the kernel, whatever `kernel.on_exit` says.
        unload: bool,
    },
}

/// The longest maintenance window, in minutes: what takes longer is to be asked for again.
pub(crate) const MAX_WINDOW_MINUTES: u32 = 240;

/// Requests that wait for the loop: more than that are people hammering at it.
pub(crate) const MAX_REQUESTS: usize = 4;

/// What the API's answers are made from.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The running tree.
    pub(crate) handle: Handle,
    /// Facts about this kernel, as `doctor` shows them.
    pub(crate) facts: Value,
    /// What this process has given up, for `status` and `doctor`.
    pub(crate) confinement: Value,
    /// The policies in force.
    pub(crate) policies: Mutex<Vec<Summary>>,
    /// The way to the loop.
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Shared {
    /// The policies in force.
    pub(crate) fn policies(&self) -> Vec<Summary> {
        self.policies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Other policies came into force.
    pub(crate) fn set_policies(&self, policies: Vec<Summary>) {
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = policies;
    }
}

/// Shared by all connections.
pub(crate) type SharedRef = Arc<Shared>;
