//! Limits of the sensor's process, changed while it runs: getrlimit(2).

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::sensor::Sensor;

/// Changes a soft limit of the sensor (`None`: to no limit); what it was. `None`: it has ended.
pub fn set(sensor: &Sensor<'_>, resource: Resource, soft: Option<u64>) -> Result<Option<Rlimit>> {
    let pid = Pid::from_raw(sensor.pid().cast_signed());
    // The hard limit is the tests' own: the sensor was started by them.
    let new = Rlimit {
        current: soft,
        ..getrlimit(resource)
    };
    match prlimit(pid, resource, new) {
        Ok(before) => Ok(Some(before)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("change the limit {resource:?}")),
    }
}
