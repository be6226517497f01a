//! `holdfast-server sensor`

use anyhow::bail;

use super::changed;
use crate::cli::Sensor;
use crate::store::sensors;

pub(super) fn sensor(command: Sensor) -> anyhow::Result<()> {
    let Sensor::AllowEnrol { id, data, .. } = command;
    changed(&data, "sensor.allow-enrolment", |connection| {
        let Some(id) = id else {
            let allowed = sensors::allow_all_enrolments(connection)?;
            return Ok(((), format!("all {allowed}")));
        };
        if !sensors::allow_enrolment(connection, &id)? {
            bail!("there is no sensor {id}; its page and the audit log show ids");
        }
        Ok(((), id))
    })
}
