//! Reading configuration and policies again, while the old ones stay in force until the new are good.

use holdfast_actors::uplink::Verified;
use holdfast_policy::document::Mode;
use serde_json::{Value, json};

use crate::config::{Config, Inputs, Layers, Log};
use crate::control::Shared;
use crate::{logging, policies, protection};

/// Settings that a reload takes over. The actors were started with the others, which wait for the
/// next start; so does what `events.report` says of `sensor.*`.
pub(crate) const TAKEN_OVER: [&str; 3] = ["policy.paths", "events.report", "log.level"];

/// What a reload came to.
pub(crate) struct Reloaded {
    /// The configuration in force.
    pub(crate) config: Config,
    /// The answer for whoever asked: `revision`, `policies`, `rules`, and the keys of settings that
    /// changed and wait for the next start.
    pub(crate) report: Value,
}

/// Reads everything again and puts it into force as number `epoch`. `started` is what the sensor was
/// started with; `window`: others may do to the sensor what they like; `bundle`: the server's policies.
///
/// # Errors
/// Everything that is wrong; nothing has changed then.
pub(crate) async fn reload(
    inputs: &Inputs,
    started: &Layers,
    running: &Config,
    shared: &Shared,
    window: bool,
    bundle: Option<&Verified>,
    epoch: u32,
) -> Result<Reloaded, Vec<String>> {
    let layers = inputs.layers().map_err(|error| vec![error.to_string()])?;
    let wanted = Config::from_layers(&layers).map_err(|error| vec![error.to_string()])?;
    let mut waiting = layers.differing(started);
    waiting.retain(|key| !TAKEN_OVER.contains(key));
    let config = Config {
        policy: wanted.policy,
        events: wanted.events,
        log: Log {
            level: wanted.log.level,
            ..running.log.clone()
        },
        ..running.clone()
    };
    // Reading and compiling take long enough to be kept off the runtime's threads.
    let file = inputs.path().to_owned();
    let bundle = bundle.cloned();
    let (config, set) = tokio::task::spawn_blocking(move || {
        let mode = if window { Mode::Observe } else { Mode::Enforce };
        let own = protection::policy(&config, &file, mode);
        let set = own.and_then(|own| {
            let bundle = bundle.as_ref().map(|it| &it.bundle);
            policies::load(&config.policy_paths(), own, bundle, &config, epoch)
        });
        (config, set)
    })
    .await
    .map_err(|error| vec![format!("cannot read the policies: {error}")])?;
    let set = set.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let report = json!({
        "revision": epoch, "policies": set.summaries.len(), "rules": set.snapshot.rules().len(),
        "waiting_for_restart": waiting,
    });
    shared
        .handle
        .reload(set.snapshot)
        .await
        .map_err(|error| vec![error.to_string()])?;
    shared.set_policies(set.summaries);
    logging::change(&config.log.level);
    Ok(Reloaded { config, report })
}
