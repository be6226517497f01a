//! How the sensor is, and which policies it is to have.

use std::io;
use std::time::Duration;

use holdfast_wire::uplink::{
    Degraded, Heartbeat, HeartbeatAnswer, PolicyState, SignedBundle, UplinkTotals,
};
use hyper::Method;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::bundle::{BundleError, MAX_SIGNED_BYTES, Offer, Verified};
use super::super::client::Ask;
use super::super::identity::Identity;
use super::{Session, Trouble, containers};
use crate::root::status;

/// What `status` calls it when the bundle that was assigned is not in force.
pub(super) const BUNDLE: &str = "uplink.bundle";
/// The least and the most that a server can ask for.
const HEARTBEATS: (u64, u64) = (1, 3600);
/// One that failed is tried again after this, and what is to be sent goes meanwhile.
const AGAIN: Duration = Duration::from_secs(5);
/// A bundle that was refused is fetched again after this, or once other policies are in force: what it clashed with may
/// be gone.
const REFUSED_REST: Duration = Duration::from_secs(600);
/// For a bundle to come into force: as long as a reload over the control socket may take.
const APPLY_LIMIT: Duration = Duration::from_secs(20);

/// A bundle that was refused.
pub(super) struct Refused {
    version: u64,
    at: Instant,
    /// By which policies.
    epoch: u32,
}

impl Session {
    /// Says how the sensor is, and learns what it should do.
    pub(super) async fn heartbeat(&mut self) -> Result<(), Trouble> {
        self.heartbeat_at = Instant::now() + AGAIN;
        let heartbeat = self.state();
        let body = serde_json::to_vec(&heartbeat).map_err(io::Error::other)?;
        let answer: HeartbeatAnswer = self
            .ask(|token| Ask::json("/heartbeat", Some(token), body.clone()))
            .await?;
        let (least, most) = HEARTBEATS;
        let seconds = answer.heartbeat_seconds.clamp(least, most);
        self.heartbeat_at = Instant::now() + Duration::from_secs(seconds);
        if let Some(identity) = &self.identity
            && let Some(token) = answer.token
        {
            let identity = Identity {
                token,
                ..identity.clone()
            };
            self.keep(identity).await?;
        }
        let in_force = self.uplink.standing().bundle;
        match answer.bundle {
            Some(wanted) if Some(wanted) != in_force && !self.is_refused(wanted) => {
                self.fetch(wanted, in_force).await
            }
            _ => Ok(()),
        }
    }

    /// Whether this bundle was refused, and nothing speaks for trying it again.
    fn is_refused(&self, version: u64) -> bool {
        let epoch = self.shared.policies.current().epoch();
        self.refused.as_ref().is_some_and(|refused| {
            refused.version == version
                && refused.epoch == epoch
                && refused.at.elapsed() < REFUSED_REST
        })
    }

    /// Fetches a bundle and has it put into force.
    async fn fetch(&mut self, version: u64, in_force: Option<u64>) -> Result<(), Trouble> {
        let path = format!("/bundle/{version}");
        let signed: SignedBundle = self
            .ask(|token| Ask {
                method: Method::GET,
                most: MAX_SIGNED_BYTES,
                ..Ask::json(&path, Some(token), Vec::new())
            })
            .await?;
        let key = self.identity.as_ref().map(|it| it.bundle_key.0.clone());
        let verified = Verified::new(signed, &key.unwrap_or_default()).and_then(|bundle| {
            bundle.may_follow(version, in_force)?;
            Ok(bundle)
        });
        let applied = match verified {
            Ok(bundle) => self.apply(bundle).await,
            Err(error) => Err(one_line(&error)),
        };
        match &applied {
            Ok(()) => {
                tracing::info!("bundle {version} is in force");
                self.refused = None;
                self.shared.degraded.clear(BUNDLE);
            }
            Err(error) => {
                self.refused = Some(Refused {
                    version,
                    at: Instant::now(),
                    epoch: self.shared.policies.current().epoch(),
                });
                let reason = format!("bundle {version} is refused: {error}");
                self.shared.degraded.set(BUNDLE, &reason);
            }
        }
        self.uplink.stand(|standing| match applied {
            Ok(()) => {
                standing.bundle = Some(version);
                standing.bundle_error = None;
            }
            Err(error) => standing.bundle_error = Some(error),
        });
        // The server is told at once.
        self.heartbeat_at = Instant::now();
        Ok(())
    }

    async fn apply(&self, bundle: Verified) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let offered = self.settings().offers.send(Offer { bundle, reply });
        let applied = async {
            offered.await.map_err(|_| "the sensor stops".to_owned())?;
            answer.await.map_err(|_| "the sensor stops".to_owned())?
        };
        tokio::time::timeout(APPLY_LIMIT, applied)
            .await
            .unwrap_or_else(|_| Err(format!("it did not come into force within {APPLY_LIMIT:?}")))
    }

    /// How the sensor is.
    fn state(&self) -> Heartbeat {
        let shared = &self.shared;
        let standing = self.uplink.standing();
        let totals = standing.totals;
        let sum = |counts: [u64; 2]| counts.iter().sum();
        let lost: u64 = totals.lost.iter().flat_map(|lost| lost.values()).sum();
        let degraded = shared.degraded.in_force().into_iter().map(
            |status::Degradation {
                 what,
                 reason,
                 since,
             }| Degraded {
                what,
                reason,
                since,
            },
        );
        let running = shared.containers.all_running().into_iter();
        Heartbeat {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tier: shared.tier().to_owned(),
            mode: shared.mode().to_owned(),
            degraded: degraded.collect(),
            policy: PolicyState {
                revision: shared.policies.current().epoch().into(),
                bundle: standing.bundle,
                error: standing.bundle_error,
            },
            // Its keys are actions.
            ledger: serde_json::to_value(shared.ledger.status()).unwrap_or_default(),
            uplink: UplinkTotals {
                spooled: sum(totals.waiting),
                lost: lost + shared.sinks.refused_by_uplink(),
                sent: sum(totals.sent),
            },
            containers: Some(containers::told(running.map(|(_, details)| details))),
        }
    }
}

fn one_line(error: &BundleError) -> String {
    error.to_string().replace(['\n', '\r'], " ")
}
