//! The fleet, as it is shown: which sensors are there, and what they last said.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::store::sensors::Sensor;

/// Seconds between two heartbeats: a fleet of a thousand asks 33 times a second.
pub(crate) const HEARTBEAT: u64 = 30;
/// A sensor is late after this many heartbeats that did not come: one may be lost on its way.
pub(crate) const LATE: u64 = 3;
/// After this many it is gone: longer than a host takes to be restarted.
const GONE: u64 = 20;

/// Whether a sensor is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It was heard in time.
    Online,
    /// It should have been heard.
    Late,
    /// It was not heard for minutes.
    Gone,
}

impl State {
    /// As it is shown.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Late => "late",
            Self::Gone => "gone",
        }
    }
}

/// The state of a sensor that was last heard at `seen`, in milliseconds since 1970.
pub(crate) fn state(seen: i64, now: i64) -> State {
    let silent = u64::try_from(now - seen).unwrap_or(0) / 1000;
    if silent < LATE * HEARTBEAT {
        State::Online
    } else if silent < GONE * HEARTBEAT {
        State::Late
    } else {
        State::Gone
    }
}

/// A sensor as JSON, without its ledger. `bundle` is the version that it is to have.
pub(crate) fn shown(sensor: &Sensor, bundle: Option<i64>, now: i64) -> Value {
    let said = |text: &String| serde_json::from_str(text).ok();
    // What is stored was parsed when it came.
    let heartbeat: Value = sensor.heartbeat.as_ref().and_then(said).unwrap_or_default();
    json!({
        "id": sensor.sensor_id,
        "host": {"id": sensor.host_id, "name": sensor.host_name},
        "version": sensor.version,
        "architecture": sensor.architecture,
        "kernel": sensor.kernel,
        "tags": sensor.tags,
        "enrolled": rfc3339(sensor.enrolled),
        "seen": rfc3339(sensor.seen),
        "state": state(sensor.seen, now),
        "tier": heartbeat["tier"],
        "mode": heartbeat["mode"],
        "degraded": heartbeat["degraded"],
        "policy": heartbeat["policy"],
        "uplink": heartbeat["uplink"],
        "bundle": bundle,
        "may_enrol": sensor.may_enrol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_is_late_and_then_gone() {
        let state = |seconds: i64| state(1_000_000, 1_000_000 + seconds * 1000);
        assert_eq!([-5, 0, 89].map(state), [State::Online; 3]);
        assert_eq!([90, 599].map(state), [State::Late; 2]);
        assert_eq!(state(600), State::Gone);
    }
}
