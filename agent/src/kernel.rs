//! The kernel side as this configuration wants it: the one place that turns settings into what the
//! loader and the preflight are told.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use holdfast_actors::kernel::{HookReport, Kernel, Ring};
use holdfast_policy::document::Mode;
use holdfast_wire::control::{Cap, Tier};
use holdfast_wire::{Domain, Kind};
use serde_json::{Value, json};

use crate::config::Config;
use crate::failure::Failure;
use crate::fanotify::guard::Guarded;
use crate::fanotify::{self, Fanotify};
use crate::loader::{Buffer, LoadError, Loader, OnExit, Options, Remains, mount_bpffs, pins};
use crate::preflight;

/// The loaded kernel programs, nothing attached.
pub(crate) struct Opened {
    /// Programs, maps and links.
    pub(crate) kernel: Arc<dyn Kernel>,
    /// The readers' ends of the rings.
    pub(crate) rings: Vec<(Domain, Box<dyn Ring>)>,
    /// Facts about this kernel, for `doctor`.
    pub(crate) facts: Value,
}

/// What earlier sensors have left here, and whether this one is to leave something.
pub(crate) fn remains(config: &Config) -> Remains {
    let on_exit = match config.kernel.on_exit.as_str() {
        FAIL_CLOSED => OnExit::MustStay,
        AUTO if config.mode == Mode::Enforce.name() => OnExit::Stay,
        _ => OnExit::Go,
    };
    // What a container mounts ends with it.
    let may_mount = config.host.fs == Path::new("/");
    if on_exit != OnExit::Go && may_mount {
        mount_bpffs(&config.kernel.pin_dir);
    }
    Remains::open(&config.kernel.pin_dir, on_exit)
}

/// Loads the kernel programs, or begins without them where that is asked for, or there can be none.
///
/// # Errors
/// When this kernel, or what this process may do, does not allow it.
pub(crate) fn open(config: &Config, remains: Remains) -> Result<Opened, Failure> {
    let is_followed = remains.are_there() && !remains.may_go();
    match with_programs(config, remains)? {
        Ok(opened) => Ok(opened),
        // What goes on in the kernel shows that there can be maps: this may pass, and until then it refuses.
        Err(Some(reason)) if is_followed => Err(Failure::Other(anyhow!(
            "{reason}: the kernel programs of the sensor before go on, and are not given up for that"
        ))),
        Err(reason) => {
            // Nobody would read their records, nor tell them of other policies.
            match pins::unload(&config.kernel.pin_dir) {
                Ok(true) => tracing::info!("the kernel programs of the sensor before are detached"),
                Ok(false) => {}
                Err(reason) => {
                    tracing::error!(reason, "kernel programs of a sensor before stay attached");
                }
            }
            without_programs(config, reason)
        }
    }
}

/// The kernel programs; inside, why it is to be without them, where something but the settings says so.
fn with_programs(
    config: &Config,
    remains: Remains,
) -> Result<Result<Opened, Option<String>>, Failure> {
    if config.tier == Tier::Fanotify.name() {
        return Ok(Err(None));
    }
    let (loader, rings) = match Loader::open(&options(config), remains) {
        Ok(opened) => opened,
        Err(error @ (LoadError::Maps(_) | LoadError::Buffers(_))) if config.tier == AUTO => {
            return Ok(Err(Some(error.to_string())));
        }
        Err(error) => return Err(cannot_load(&error)),
    };
    let mut facts = json!(loader.facts());
    facts["buffer"] = json!(loader.buffer());
    let (kernel, rings): (Arc<dyn Kernel>, _) = if config.kernel.fanotify == "auto" {
        let (guarded, rings) = Guarded::new(loader, rings, fanotify_options(config, None))
            .map_err(Failure::CannotStart)?;
        (guarded, rings)
    } else {
        (loader, rings)
    };
    Ok(Ok(Opened {
        kernel,
        rings,
        facts,
    }))
}

fn cannot_load(error: &LoadError) -> Failure {
    Failure::CannotStart(format!(
        "cannot load the kernel programs: {error}: see `holdfast doctor`"
    ))
}

/// What leaves it to the sensor, of the settings `tier` and `kernel.on_exit`.
const AUTO: &str = "auto";
/// Of the setting `kernel.on_exit`.
const FAIL_CLOSED: &str = "fail-closed";

/// The kernel side without eBPF; `reason`: why there is none, where it was wanted.
fn without_programs(config: &Config, reason: Option<String>) -> Result<Opened, Failure> {
    let mut facts = preflight::read(options(config).btf.as_deref()).facts;
    facts.ebpf_error = reason.clone().unwrap_or_default();
    let (kernel, rings) =
        Fanotify::open(fanotify_options(config, reason)).map_err(Failure::CannotStart)?;
    let mut facts = json!(facts);
    facts["buffer"] = json!(kernel.buffer());
    Ok(Opened {
        kernel,
        rings,
        facts,
    })
}

fn fanotify_options(config: &Config, reason: Option<String>) -> fanotify::Options {
    fanotify::Options {
        host: config.host.fs.clone(),
        ring_bytes: options(config).ring_bytes,
        cap: cap(config),
        environment: !config.events.environment.is_empty(),
        instead_of_ebpf: reason.map(|reason| format!("no eBPF: {reason}")),
        must_outlive: config.kernel.on_exit == FAIL_CLOSED,
    }
}

fn options(config: &Config) -> Options {
    let kernel = &config.kernel;
    Options {
        btf: Some(kernel.btf.clone()).filter(|path| !path.as_os_str().is_empty()),
        // `auto` is the name of no tier.
        ceiling: Tier::from_name(&config.tier),
        ring_bytes: [
            kernel.process_ring,
            kernel.file_ring,
            kernel.network_ring,
            kernel.memory_ring,
            kernel.capability_ring,
        ],
        // `auto` is the name of none.
        buffer: Buffer::from_name(&kernel.buffer),
        cap: cap(config),
        environment: !config.events.environment.is_empty(),
        proc: config.host.fs.join("proc"),
    }
}

/// The most events of a cgroup.
pub(crate) fn cap(config: &Config) -> Option<Cap> {
    let limits = &config.limits;
    let events_per_second = limits.cgroup_events_per_second;
    let burst = match limits.cgroup_burst {
        0 => events_per_second,
        burst => burst,
    };
    (events_per_second > 0).then_some(Cap {
        events_per_second,
        burst,
    })
}

/// Facts about this kernel, without trying anything.
pub(crate) fn facts(config: &Config) -> Value {
    json!(preflight::read(options(config).btf.as_deref()).facts)
}

/// Facts, and how each hook can be attached: attaches every one and detaches it again. Nothing is
/// refused or killed meanwhile, since there are no rules; what a sensor has left goes on.
///
/// # Errors
/// When not even the maps can be made.
pub(crate) fn probe(config: &Config) -> Result<Value, Failure> {
    // The rings stay open: programs that use them are loaded only when they are attached.
    let Opened {
        kernel,
        rings: _rings,
        facts,
    } = match with_programs(config, Remains::default())? {
        Ok(opened) => opened,
        Err(reason) => without_programs(config, reason)?,
    };
    let hooks: Vec<HookReport> = Kind::hooked()
        .map(|kind| {
            // Why it failed is in the report.
            let _ = kernel.attach(kind);
            kernel.report(kind)
        })
        .collect();
    Ok(json!({"facts": facts, "hooks": hooks}))
}

/// What each hook sees in each tier on this kernel: attaches every one and detaches it again.
///
/// # Errors
/// When not even the maps can be made.
pub(crate) fn survey(config: &Config) -> Result<Value, Failure> {
    let (loader, _rings) =
        Loader::open(&options(config), Remains::default()).map_err(|error| cannot_load(&error))?;
    let mut sights = json!(loader.survey());
    if let Some(sights) = sights.as_array_mut() {
        sights.extend(fanotify::sights().map(|(kind, blind_to)| {
            json!({"action": kind.action(), "tier": Tier::Fanotify.name(), "blind_to": blind_to})
        }));
    }
    Ok(sights)
}

/// What the verifier makes of every kernel program, whatever tier it is for.
///
/// # Errors
/// When not even the maps can be made.
pub(crate) fn verify(config: &Config) -> Result<Value, Failure> {
    let (loader, _rings) =
        Loader::open(&options(config), Remains::default()).map_err(|error| cannot_load(&error))?;
    Ok(json!(loader.verify()))
}
