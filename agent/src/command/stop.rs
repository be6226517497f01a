//! `holdfast stop`: stops the running sensor and waits for it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::Settings;
use crate::failure::Failure;

/// Longer than the sensor gives itself to drain.
const LIMIT: Duration = Duration::from_secs(80);
const POLL: Duration = Duration::from_millis(50);

pub(super) fn stop(arguments: &Settings) -> Result<(), Failure> {
    let client = super::client(arguments)?;
    let answer = client.post("/v1/stop")?;
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
