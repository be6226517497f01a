//! The uplink: what goes to a Team Server, and what comes from it. It is there only where `uplink.url` is set.
//!
//! ```text
//!  evaluator ──lane──▶ sink.uplink ──▶ ╔═══════╗ ──▶ uplink ──HTTPS──▶ Team Server
//!                      (intake)        ║ spool ║     (session)            │
//!                                      ╚═══════╝        ◀──── bundle ─────┘
//!                                                       │ verified
//!                                                       ▼ offered to the agent, as a reload
//! ```
//!
//! Both ends of the spool are actors of their own, so that a server that hangs holds up nobody.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_wire::frame::Priority;
use holdfast_wire::uplink::Secret;
use tokio::sync::{Notify, mpsc};

use crate::clock;
use crate::root::status;

pub mod bundle;
mod client;
mod identity;
pub(crate) mod intake;
mod pace;
pub(crate) mod sender;
pub mod server;
mod session;
mod spool;
mod tls;

pub use bundle::{Offer, Verified};
pub use server::Server;
pub use spool::{Limits, Lost, Reason};

use spool::{Spool, Totals};

/// The directory of the spool in that of the state.
const SPOOL: &str = "spool";

/// What is set of the uplink.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the Team Server is, and how it is reached.
    pub server: Server,
    /// What permits to enrol.
    pub key: Option<Secret>,
    /// A file that has it.
    pub key_file: Option<PathBuf>,
    /// Where identity, spool and bundle are kept.
    pub directory: PathBuf,
    /// Globs of the actions whose events go up though no rule matched. Alerts do always.
    pub events: Vec<String>,
    /// The bounds of the spool.
    pub spool: Limits,
    /// The most events of a request.
    pub batch_events: usize,
    /// The most bytes of them, before compression; a single event may have more.
    pub batch_bytes: usize,
    /// How long events wait for others; alerts do not.
    pub batch_interval: Duration,
    /// The most bytes a second of events, as they are sent; 0: any number.
    pub bandwidth: u64,
    /// Version of the bundle that the sensor starts with.
    pub bundle: Option<u64>,
    /// Why it does not start with the one that it has.
    pub bundle_error: Option<String>,
    /// Who puts bundles into force.
    pub offers: mpsc::Sender<Offer>,
}

/// Everything about the uplink that outlives its actors.
#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) settings: Settings,
    boot_id: String,
    /// Opened when it is first used.
    spool: Mutex<Option<Spool>>,
    /// Notified when something was put into the spool.
    arrival: Notify,
    /// Of each priority, how much waits in the spool.
    waiting: [AtomicU64; 2],
    /// Nothing will be put into the spool any more.
    finished: AtomicBool,
    standing: Mutex<Standing>,
}

/// How it stands.
#[derive(Clone, Debug, Default)]
struct Standing {
    sensor_id: Option<String>,
    last_success: Option<String>,
    bundle: Option<u64>,
    bundle_error: Option<String>,
    totals: Totals,
}

impl Uplink {
    /// `boot_id`: of this boot of the machine.
    pub(crate) fn new(settings: Settings, boot_id: &str) -> Self {
        let standing = Standing {
            bundle: settings.bundle,
            bundle_error: settings.bundle_error.clone(),
            ..Standing::default()
        };
        Self {
            settings,
            boot_id: boot_id.to_owned(),
            spool: Mutex::default(),
            arrival: Notify::new(),
            waiting: Default::default(),
            finished: AtomicBool::new(false),
            standing: Mutex::new(standing),
        }
    }

    /// Does something with the spool, which is opened first where it is not open. Blocks, as disks do.
    fn with_spool<T>(&self, act: impl FnOnce(&mut Spool) -> io::Result<T>) -> io::Result<T> {
        let mut held = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let spool = match &mut *held {
            Some(spool) => spool,
            none => {
                let directory = self.settings.directory.join(SPOOL);
                none.insert(Spool::open(&directory, self.settings.spool, &self.boot_id)?)
            }
        };
        let done = act(spool);
        let totals = spool.totals();
        for (waiting, count) in self.waiting.iter().zip(totals.waiting) {
            waiting.store(count, Ordering::Relaxed);
        }
        self.stand(|standing| standing.totals = totals);
        done
    }

    /// Records of a priority that wait in the spool.
    fn waiting(&self, priority: Priority) -> u64 {
        self.waiting[usize::from(priority.number())].load(Ordering::Relaxed)
    }

    fn stand<T>(&self, change: impl FnOnce(&mut Standing) -> T) -> T {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn standing(&self) -> Standing {
        self.stand(|standing| standing.clone())
    }

    /// The server has answered as it should.
    fn succeeded(&self) {
        self.stand(|standing| standing.last_success = Some(clock::wall_text()));
    }

    /// As `status` shows it.
    pub(crate) fn status(&self) -> status::Uplink {
        let standing = self.standing();
        let totals = standing.totals;
        let both = |[alert, event]: [u64; 2]| status::ByPriority { alert, event };
        let [alert, event] = totals.lost;
        status::Uplink {
            url: self.settings.server.url().to_string(),
            sensor_id: standing.sensor_id,
            last_success: standing.last_success,
            spooled: both(totals.waiting),
            spooled_bytes: totals.bytes,
            sent: both(totals.sent),
            lost: status::ByPriority { alert, event },
            bundle: standing.bundle,
            bundle_error: standing.bundle_error,
        }
    }
}
