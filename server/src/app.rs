//! What all requests share.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify, Semaphore, watch};

use crate::auth::limit::{Limiter, Rate};
use crate::bundle::Signer;
use crate::forward::Status;
use crate::retention::Totals;
use crate::store::Store;

/// Buckets of the limits by name and address: sharing one by chance is rare, and costs little.
const BUCKETS: usize = 4096;
/// Buckets of the limits by sensor: as many sensors have one of their own.
const SENSOR_BUCKETS: usize = 1 << 16;
/// Seconds whose bytes a sensor may send at once, as after a time without its server.
const BURST: u32 = 15;
/// KiB of frames that are in memory as they come: of 32 sensors with the largest, or of thousands with usual ones.
const BODIES: usize = 128 << 10;
/// MiB of frames that are in memory at a time, unpacked.
const FRAMES: usize = 256;
/// Passwords that are hashed at a time, which takes 19 MiB and a core each.
const PASSWORDS: usize = 2;
/// Policies that are compiled and bundles that are read at a time, which takes a core and the memory of a bundle's form in JSON.
const COMPILED: usize = 2;
/// Dry-runs at a time, which take a core for seconds each.
const DRY_RUNS: usize = 1;
/// Browsers that follow the alerts at a time.
const FOLLOWERS: usize = 64;

/// What all requests share.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) signer: Signer,
    /// Number of the last alert that followers may read.
    pub(crate) last_alert: watch::Sender<i64>,
    /// Told when this server has stored alerts.
    pub(crate) news: Notify,
    /// Whether browsers come by TLS.
    pub(crate) secure: bool,
    /// Whether clients come by a proxy, which says who they are.
    pub(crate) behind_proxy: bool,
    /// Whether sensors have to show a certificate.
    pub(crate) certified_sensors: bool,
    /// Milliseconds after which a sensor gets a new token.
    pub(crate) token_age: i64,
    /// Where events are forwarded to.
    pub(crate) forwards: Vec<Arc<Status>>,
    /// Bytes that the store may have, if that is bounded.
    pub(crate) max_size: Option<i64>,
    /// What was removed for that.
    pub(crate) removed: Totals,
    /// When the store was last found to be ready.
    pub(crate) was_ready: Mutex<Option<Instant>>,
    pub(crate) limits: Limits,
}

/// How often what may be tried, and how much is done at a time.
pub(crate) struct Limits {
    /// Logging in, by name and address: who guesses a user's password keeps the user from logging in from there alone.
    pub(crate) login_by_name: Limiter,
    /// Logging in, by name from anywhere: for guesses from many addresses.
    pub(crate) login_by_name_anywhere: Limiter,
    /// Lines of the audit log on attempts to log in, by address.
    pub(crate) failures_noted: Limiter,
    /// Logging in, by address.
    pub(crate) login_by_address: Limiter,
    /// Tokens that nobody has, by address.
    pub(crate) unknown_tokens: Limiter,
    /// Lines of the log on addresses that show too many of these, by address.
    pub(crate) guesses_noted: Limiter,
    /// Requests to the API, by user or token: a page asks for a few at a time, a program as fast as it is answered.
    pub(crate) requests: Limiter,
    /// Enrolling, by address: behind one there may be a whole rack that starts.
    pub(crate) enrol: Limiter,
    /// Lines of the audit log on hosts that are refused, by sensor.
    pub(crate) refusals_noted: Limiter,
    /// Frames, by sensor.
    pub(crate) frames: Limiter,
    /// KiB of events, by sensor.
    pub(crate) event_bytes: Limiter,
    /// Heartbeats and bundles, by sensor.
    pub(crate) messages: Limiter,
    /// The rows of sensors of which a frame is on its way.
    pub(crate) sending: std::sync::Mutex<HashSet<i64>>,
    /// A permit for each KiB of frames that has come.
    pub(crate) bodies: Semaphore,
    /// A permit for each MiB that frames may have once they are unpacked.
    pub(crate) frames_at_once: Semaphore,
    pub(crate) passwords_at_once: Semaphore,
    pub(crate) compiled_at_once: Arc<Semaphore>,
    pub(crate) dry_runs: Semaphore,
    pub(crate) followers: Arc<Semaphore>,
}

impl Limits {
    /// `sensor_rate`: bytes a second of a sensor's events.
    pub(crate) fn new(sensor_rate: i64) -> Self {
        // One at least: the command line bounds it, and a second has a billion nanoseconds.
        let kib = u32::try_from(sensor_rate >> 10).unwrap_or(u32::MAX).max(1);
        let limiter = |buckets, burst, every| Limiter::new(buckets, Rate { burst, every });
        Self {
            login_by_name: limiter(BUCKETS, 10, Duration::from_secs(60)),
            login_by_name_anywhere: limiter(BUCKETS, 1000, Duration::from_secs(6)),
            failures_noted: limiter(BUCKETS, 10, Duration::from_secs(600)),
            login_by_address: limiter(BUCKETS, 30, Duration::from_secs(10)),
            // Behind one address there may be a whole rack whose tokens a restored backup does not know.
            unknown_tokens: limiter(BUCKETS, 100, Duration::from_secs(1)),
            guesses_noted: limiter(BUCKETS, 1, Duration::from_secs(60)),
            requests: limiter(BUCKETS, 300, Duration::from_millis(50)),
            enrol: limiter(BUCKETS, 100, Duration::from_secs(1)),
            refusals_noted: limiter(BUCKETS, 1, Duration::from_secs(3600)),
            frames: limiter(SENSOR_BUCKETS, 200, Duration::from_millis(20)),
            event_bytes: limiter(
                SENSOR_BUCKETS,
                kib.saturating_mul(BURST),
                Duration::from_secs(1) / kib,
            ),
            messages: limiter(SENSOR_BUCKETS, 20, Duration::from_secs(1)),
            sending: std::sync::Mutex::default(),
            bodies: Semaphore::new(BODIES),
            frames_at_once: Semaphore::new(FRAMES),
            passwords_at_once: Semaphore::new(PASSWORDS),
            compiled_at_once: Arc::new(Semaphore::new(COMPILED)),
            dry_runs: Semaphore::new(DRY_RUNS),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
        }
    }
}
