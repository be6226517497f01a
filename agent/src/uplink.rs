//! The Team Server as it is set, and the bundle of policies that it gave.

use std::time::Duration;

use holdfast_actors::uplink::{Limits, Offer, Settings, Verified};
use holdfast_wire::uplink::Bundle;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::policies::{PolicyError, Set};

/// What `status` calls it when a bundle could not be kept for the next start.
pub(crate) const KEPT: &str = "uplink.bundle.kept";

/// Bundles that wait to come into force: the session offers one, and waits for what becomes of it.
const MAX_OFFERS: usize = 1;

/// The last good bundle, as far as it is.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The bundle.
    pub(crate) verified: Option<Verified>,
    /// Why it is not used.
    pub(crate) error: Option<String>,
}

/// Loads policies with those of the last bundle, or without where these cannot be: a sensor starts all the same, and
/// says so. Without a server there is no bundle.
///
/// # Errors
/// When the other policies cannot be loaded.
pub(crate) fn with_stored(
    config: &Config,
    load: impl Fn(Option<&Bundle>) -> Result<Set, Vec<PolicyError>>,
) -> Result<(Set, Stored), Vec<PolicyError>> {
    let mut stored = Stored::default();
    if config.uplink.url.is_empty() {
        return Ok((load(None)?, stored));
    }
    match Verified::load(&config.state.dir) {
        Ok(verified) => stored.verified = verified,
        Err(error) => stored.error = Some(error.to_string()),
    }
    if let Some(verified) = &stored.verified {
        match load(Some(&verified.bundle)) {
            Ok(set) => return Ok((set, stored)),
            Err(errors) => {
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                stored.error = Some(errors.join("; "));
                stored.verified = None;
            }
        }
    }
    Ok((load(None)?, stored))
}

/// The uplink as the actors want it, and where they offer bundles; `None`: there is to be none.
pub(crate) fn settings(
    config: &Config,
    stored: &Stored,
) -> Option<(Settings, mpsc::Receiver<Offer>)> {
    // It was checked when the configuration was read.
    let server = config.server().ok().flatten()?;
    let of = &config.uplink;
    let (offers, offered) = mpsc::channel(MAX_OFFERS);
    let settings = Settings {
        server,
        key: (!of.key.expose().is_empty()).then(|| of.key.clone()),
        key_file: (!of.key_file.as_os_str().is_empty()).then(|| of.key_file.clone()),
        directory: config.state.dir.clone(),
        events: of.events.clone(),
        spool: Limits {
            max_bytes: of.spool_max_size,
            max_age: Duration::from_millis(of.spool_max_age),
        },
        batch_events: of.batch_events,
        batch_bytes: of.batch_bytes,
        batch_interval: Duration::from_millis(of.batch_interval),
        bandwidth: of.bandwidth,
        bundle: stored.verified.as_ref().map(|it| it.bundle.version),
        bundle_error: stored.error.clone(),
        offers,
    };
    Some((settings, offered))
}
