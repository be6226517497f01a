//! `holdfast stop`: stops the running sensor and waits for it, or takes away what one has left.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::Stop;
use crate::control::client::Client;
use crate::failure::Failure;
use crate::loader::pins;
use crate::output;

/// Longer than the sensor gives itself to drain.
const LIMIT: Duration = Duration::from_secs(80);
const POLL: Duration = Duration::from_millis(50);

pub(super) fn stop(arguments: &Stop) -> Result<(), Failure> {
    let config = arguments.settings.inputs().load()?;
    let client = Client::new(&config);
    if !arguments.unload {
        return stop_running(&client, "/v1/stop");
    }
    let stopped = stop_running(&client, "/v1/stop?unload");
    if matches!(&stopped, Err(Failure::NotRunning(_))) {
        let directory = &config.kernel.pin_dir;
        let any = pins::unload(directory).map_err(|reason| anyhow::anyhow!("{reason}"))?;
        if any {
            return output::text(&format!(
                "detached the kernel programs that a sensor had left in {}\n",
                directory.display()
            ));
        }
    }
    stopped
}

fn stop_running(client: &Client, request: &str) -> Result<(), Failure> {
    let answer = client.post(request)?;
    let begun = Instant::now();
    while client.is_running() {
        if begun.elapsed() > LIMIT {
            return Err(anyhow::anyhow!(
                "the sensor (pid {}) has not stopped within {} s",
                answer["pid"],
                LIMIT.as_secs()
            )
            .into());
        }
        sleep(POLL);
    }
    Ok(())
}
