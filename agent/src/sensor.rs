//! The running sensor: the tree of actors, and the one loop that handles signals and the requests of
//! the control socket, one after the other.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use holdfast_actors::kernel::Kernel;
use holdfast_actors::root::{self, Format, Host, Log, Settings, Stdout, Waits};
use holdfast_actors::uplink::{Offer, Verified};
use holdfast_policy::document::Mode;
use holdfast_policy::redact::Redaction;
use holdfast_wire::event;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::{Config, ConfigError, Inputs, Layers};
use crate::confinement::{self, Confinement};
use crate::control::{MAX_REQUESTS, Request, Server, Shared, scrape};
use crate::failure::Failure;
use crate::kernel::Opened;
use crate::policies::{self, Set};
use crate::uplink::{self, Stored};
use crate::{allocator, kernel, logging, protection, reload};

/// When a window could not be ended, since a policy is wrong meanwhile, that is tried again after this.
const WINDOW_RETRY: Duration = Duration::from_secs(10);

/// What a sensor starts with.
pub(crate) struct Startup {
    /// Where the configuration comes from, to read it again.
    pub(crate) inputs: Inputs,
    /// The configuration, and where each of its values comes from.
    pub(crate) config: Config,
    /// See `config`.
    pub(crate) layers: Layers,
    /// The first policies.
    pub(crate) policies: Set,
    /// The server's, which are among them.
    pub(crate) bundle: Stored,
    /// What this process has given up.
    pub(crate) confinement: Confinement,
}

/// Gives back what the start took and nothing needs any more.
async fn save_memory(shared: Arc<Shared>) {
    shared.handle.ready().await;
    // A panic in it is in the log.
    let _ = tokio::task::spawn_blocking(allocator::give_back).await;
}

/// The running sensor.
pub(crate) struct Sensor {
    inputs: Inputs,
    started: Layers,
    config: Config,
    shared: Arc<Shared>,
    kernel: Arc<dyn Kernel>,
    requests: mpsc::Receiver<Request>,
    signals: Signals,
    epoch: u32,
    /// Until when others may do to the sensor what they like.
    window: Option<Instant>,
    /// The server's policies, as far as they are in force.
    bundle: Option<Verified>,
    /// Where bundles come from; `None`: there is no server.
    offers: Option<mpsc::Receiver<Offer>>,
}

/// The signals that mean something. Taken before anything starts, so that none is missed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What the loop does next.
enum Next {
    Reload,
    WindowOver,
    Request(Request),
    Offer(Offer),
    Stop(&'static str),
    Ended,
}

impl Sensor {
    /// Starts the tree of actors.
    ///
    /// # Errors
    /// When something that it stands on is not to be had here.
    pub(crate) async fn start(startup: Startup, opened: Opened) -> Result<Self, Failure> {
        let Startup {
            inputs,
            config,
            layers: started,
            policies,
            bundle,
            confinement,
        } = startup;
        let Opened {
            kernel,
            rings,
            facts,
        } = opened;
        let signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        };
        // A write beyond RLIMIT_FSIZE is then an error as any other, and does not end the sensor: setrlimit(2).
        drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
        let (uplink, offers) = uplink::settings(&config, &bundle).unzip();
        let settings = settings(&config, uplink)?;
        let epoch = policies.snapshot.epoch();
        let rules = policies.snapshot.rules().len();
        let handle = root::start(settings, kernel.clone(), rings, policies.snapshot)
            .await
            .map_err(|error| Failure::CannotStart(format!("cannot start the sensor: {error}")))?;
        tracing::info!(
            "started in mode {} with {} policies, {rules} rules",
            config.mode,
            policies.summaries.len()
        );
        handle.degraded(protection::NAME, unprotected(&config));
        handle.degraded(confinement::NAME, confinement.lacks());
        let (sender, requests) = mpsc::channel(MAX_REQUESTS);
        let shared = Arc::new(Shared {
            handle,
            facts,
            confinement: json!(confinement),
            policies: Mutex::new(policies.summaries),
            requests: sender,
        });
        Ok(Self {
            inputs,
            started,
            config,
            shared,
            kernel,
            requests,
            signals,
            epoch,
            window: None,
            bundle: bundle.verified,
            offers,
        })
    }

    /// Runs until a signal or a request stops it, then drains what is under way.
    ///
    /// # Errors
    /// When the tree ended by itself, or would not end.
    pub(crate) async fn run(mut self, server: Server) -> Result<(), Failure> {
        let mut serving = JoinSet::new();
        serving.spawn(server.serve(self.shared.clone()));
        if let Some(listener) = metrics(&self.config.metrics.listen).await? {
            serving.spawn(scrape::serve(listener, self.shared.clone()));
        }
        serving.spawn(save_memory(self.shared.clone()));
        loop {
            match self.next().await {
                Next::Reload => {
                    // Why it failed is in the log.
                    let _ = self.reload().await;
                }
                Next::WindowOver => {
                    let _ = self.maintain(None).await;
                }
                Next::Request(Request::Maintain(duration, reply)) => {
                    let _ = reply.send(self.maintain(duration).await);
                }
                Next::Request(Request::Reload(reply)) => {
                    let report = self.reload().await;
                    // Whoever asked may have gone.
                    let _ = reply.send(report);
                }
                Next::Offer(Offer { bundle, reply }) => {
                    let applied = self.take(bundle).await;
                    let _ = reply.send(applied);
                }
                Next::Request(Request::Log(reply)) => {
                    let _ = reply.send(self.read_log_level());
                }
                Next::Request(Request::Stop { unload }) => {
                    if unload {
                        let kernel = self.kernel.clone();
                        tokio::task::spawn_blocking(move || kernel.end_with_sensor())
                            .await
                            .map_err(anyhow::Error::from)?;
                    }
                    return self.stop("a request", serving).await;
                }
                Next::Stop(why) => return self.stop(why, serving).await,
                Next::Ended => {
                    return Err(anyhow::anyhow!("the sensor's actors ended by themselves").into());
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        let Self {
            shared,
            requests,
            signals,
            window,
            offers,
            ..
        } = self;
        let offer = async {
            match offers {
                Some(offers) => offers.recv().await,
                None => std::future::pending().await,
            }
        };
        let window = async {
            match *window {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = window => Next::WindowOver,
            _ = signals.terminate.recv() => Next::Stop("SIGTERM"),
            _ = signals.interrupt.recv() => Next::Stop("SIGINT"),
            _ = signals.hang_up.recv() => Next::Reload,
            // `shared` holds a sender, so that there is always a next request.
            Some(request) = requests.recv() => Next::Request(request),
            Some(offer) = offer => Next::Offer(offer),
            () = shared.handle.ended() => Next::Ended,
        }
    }

    async fn reload(&mut self) -> Result<Value, Vec<String>> {
        let bundle = self.bundle.clone();
        self.reload_with(bundle.as_ref()).await
    }

    /// Puts a bundle into force, beside the policies of files, and keeps it for the next start.
    async fn take(&mut self, bundle: Verified) -> Result<(), String> {
        self.reload_with(Some(&bundle))
            .await
            .map_err(|errors| errors.join("; "))?;
        let directory = self.config.state.dir.clone();
        let kept = bundle.clone();
        self.bundle = Some(bundle);
        let kept = tokio::task::spawn_blocking(move || kept.keep(&directory)).await;
        let kept = kept.map_err(io::Error::other).and_then(|kept| kept);
        // It is in force; without the server it would not be after the next start.
        let failed = kept
            .err()
            .map(|error| format!("cannot keep the bundle: {error}"));
        self.shared.handle.degraded(uplink::KEPT, failed);
        Ok(())
    }

    async fn reload_with(&mut self, bundle: Option<&Verified>) -> Result<Value, Vec<String>> {
        let Self {
            inputs,
            started,
            config,
            shared,
            epoch,
            window,
            ..
        } = self;
        // A number that was refused may have been used halfway: it is not used again.
        *epoch += 1;
        let is_open = window.is_some();
        match reload::reload(inputs, started, config, shared, is_open, bundle, *epoch).await {
            Ok(reloaded) => {
                self.config = reloaded.config;
                tracing::info!("reloaded: {}", reloaded.report);
                Ok(reloaded.report)
            }
            Err(errors) => {
                for error in &errors {
                    tracing::error!("reload refused, the old policies stay in force: {error}");
                    self.shared.handle.policy_refused(error);
                }
                Err(errors)
            }
        }
    }

    /// Opens a window in which the sensor is not protected (`self.protect`), for so long; `None`: ends it.
    async fn maintain(&mut self, duration: Option<Duration>) -> Result<Value, Vec<String>> {
        if !self.config.own.protect {
            return Err(vec![
                "self.protect is false: others are not kept from the sensor anyway".into(),
            ]);
        }
        let before = self.window;
        self.window = duration.map(|duration| Instant::now() + duration);
        if let Err(errors) = self.reload().await {
            // What is in force is as it was; what is over is tried again.
            self.window = match duration {
                Some(_) => before,
                None => before.map(|_| Instant::now() + WINDOW_RETRY),
            };
            return Err(errors);
        }
        let until = duration.map(|duration| {
            let end = SystemTime::now() + duration;
            let since = end
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            // Years of which a number of nanoseconds has room.
            event::rfc3339(since.as_nanos() as u64).to_string()
        });
        let reason = until.as_ref().map(|until| {
            format!("a maintenance window until {until}: others are not kept from the sensor")
        });
        self.shared.handle.degraded(
            protection::NAME,
            reason.or_else(|| unprotected(&self.config)),
        );
        Ok(json!({"until": until}))
    }

    /// Takes over what `log.level` is now, and nothing else.
    fn read_log_level(&mut self) -> Result<Value, Vec<String>> {
        let told = |error: ConfigError| vec![error.to_string()];
        let layers = self.inputs.layers().map_err(told)?;
        let level = Config::from_layers(&layers).map_err(told)?.log.level;
        logging::change(&level);
        tracing::info!("log.level is {level}");
        self.config.log.level = level;
        Ok(json!(layers.get("log.level")))
    }

    async fn stop(self, why: &str, mut serving: JoinSet<()>) -> Result<(), Failure> {
        tracing::info!("stopping: {why}");
        let stopped = self.shared.handle.stop().await;
        // The socket goes last: who waits for it to vanish waits for the whole sensor.
        serving.shutdown().await;
        let status = stopped.map_err(|error| anyhow::anyhow!("cannot stop cleanly: {error}"))?;
        let lost: u64 = status
            .ledger
            .kinds
            .values()
            .map(|kind| kind.ring_full + kind.missed + kind.dropped)
            .sum();
        if let Some(directory) = self.config.derived() {
            let untold: u64 = status
                .sinks
                .iter()
                .filter(|sink| sink.name == "sink.derive")
                .map(|sink| sink.dropped)
                .sum();
            tracing::info!(
                "what was seen is allowed by the policies in {}",
                directory.display()
            );
            if lost + untold > 0 {
                tracing::warn!(
                    "{} events are missing in them, since they were lost",
                    lost + untold
                );
            }
        }
        let emitted: u64 = status.ledger.kinds.values().map(|kind| kind.emitted).sum();
        tracing::info!("stopped: {emitted} events emitted, {lost} lost");
        if self.kernel.outlives() {
            tracing::warn!(
                "the kernel programs stay and go on deciding (kernel.on_exit): `holdfast stop --unload` detaches them"
            );
        }
        Ok(())
    }
}

/// Why `self.protect` does not do all that it says, if it does not.
fn unprotected(config: &Config) -> Option<String> {
    let is_idle = config.own.protect && policies::mode(config) != Mode::Enforce;
    is_idle.then(|| {
        format!(
            "mode is {}: what others do to the sensor is told of, and not refused",
            config.mode
        )
    })
}

/// The configuration as the actors want it.
fn settings(
    config: &Config,
    uplink: Option<holdfast_actors::uplink::Settings>,
) -> Result<Settings, Failure> {
    let format = match config.output.as_str() {
        "json" => Some(Format::Json),
        "pretty" => Some(Format::Pretty {
            colour: logging::colour(&io::stdout()),
        }),
        _ => None,
    };
    let stdout = format.map(Stdout::own).transpose()?;
    let log = (config.log.files > 0).then(|| Log {
        directory: config.log.dir.clone(),
        max_bytes: config.log.max_size,
        keep: config.log.files,
    });
    if let Some(log) = &log {
        make_directory(&log.directory)?;
    }
    let host = Host::read(&config.host.fs).map_err(|error| {
        Failure::CannotStart(format!(
            "cannot read /proc below host.fs ({}): {error}",
            config.host.fs.display()
        ))
    })?;
    // They were checked one by one when the configuration was read.
    let redaction = Redaction::new(config.events.redact.iter().map(String::as_str))
        .map_err(|error| Failure::CannotStart(format!("events.redact: {error}")))?;
    Ok(Settings {
        mode: policies::mode(config),
        report: config.events.report.clone(),
        environment: config.events.environment.clone(),
        redaction,
        stdout,
        log,
        derive: config.derived(),
        uplink,
        engines: config.engines(),
        waits: Waits {
            event: Duration::from_millis(config.runtime.event_wait),
            alert: Duration::from_millis(config.runtime.alert_wait),
        },
        never_kill: config.never_kill.clone(),
        cap: kernel::cap(config),
        host,
    })
}

/// Listens for those who scrape metrics, if that is asked for.
async fn metrics(listen: &str) -> Result<Option<TcpListener>, Failure> {
    // It was checked when it was read.
    let Ok(address) = listen.parse::<SocketAddr>() else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let text = format!("cannot listen at metrics.listen ({address}): {error}");
        Failure::at_start(text, &error)
    })?;
    Ok(Some(listener))
}

/// Makes a directory that only its owner and group may look into.
fn make_directory(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .map_err(|error| {
            let text = format!("cannot make the directory {}: {error}", path.display());
            Failure::at_start(text, &error)
        })
}
