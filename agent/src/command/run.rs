//! `holdfast run`: configuration → permissions → what is left → policies → lock → kernel →
//! confinement → run → drain.

use std::time::Duration;

use holdfast_policy::document::Mode;
use holdfast_wire::uplink::Bundle;

use crate::cli::Run;
use crate::config::Config;
use crate::confinement::{self, Confinement};
use crate::control;
use crate::failure::Failure;
use crate::instance::{Instance, InstanceError};
use crate::sensor::{Sensor, Startup};
use crate::{
    allocator, cgroup_namespace, kernel, logging, policies, privilege, protection, uplink,
};

/// Threads of the runtime: the readers and the evaluator are what works; the rest waits.
const WORKERS: usize = 2;
/// How long a thread waits for the next thing that may block. A start attaches all hooks at once, each on a thread: with what
/// is to be done a few times a second for each of them in turn, ten seconds, the default, would keep them for ever.
const IDLE_THREAD: Duration = Duration::from_secs(1);
/// How long what is still being done may take once the sensor has stopped.
const LEFT: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &Run) -> Result<(), Failure> {
    let inputs = arguments.inputs();
    let layers = inputs.layers()?;
    let config = Config::from_layers(&layers)?;
    logging::start(&config.log.level, config.log.format);
    allocator::use_one_arena();
    privilege::require()?;
    cgroup_namespace::leave(&config.host.fs);
    let capabilities = confinement::give_up_capabilities();
    let remains = kernel::remains(&config);
    let load = |bundle: Option<&Bundle>| {
        let own = protection::policy(&config, inputs.path(), Mode::Enforce)?;
        let paths = config.policy_paths();
        policies::load(&paths, own, bundle, &config, remains.first_epoch())
    };
    let (policies, bundle) =
        uplink::with_stored(&config, load).map_err(|errors| policies::refused(&errors))?;
    let _lock = Instance::acquire(&config.control.socket).map_err(cannot_start)?;
    let socket = &config.control.socket;
    let opened = kernel::open(&config, remains)?;
    let confinement = Confinement::complete(capabilities);

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_keep_alive(IDLE_THREAD)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let server = control::bind(socket).map_err(|error| {
            let text = format!(
                "cannot make the control socket {}: {error}",
                socket.display()
            );
            Failure::at_start(text, &error)
        })?;
        let startup = Startup {
            inputs,
            config: config.clone(),
            layers,
            policies,
            bundle,
            confinement,
        };
        let sensor = Sensor::start(startup, opened).await?;
        sensor.run(server).await
    });
    // What hangs in the kernel, a write to a disk that does not answer, is not waited for.
    runtime.shutdown_timeout(LEFT);
    ended
}

fn cannot_start(error: InstanceError) -> Failure {
    Failure::CannotStart(error.to_string())
}
