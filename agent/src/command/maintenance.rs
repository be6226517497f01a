//! `holdfast maintenance`

use crate::cli::Maintenance;
use crate::failure::Failure;
use crate::output;

pub(super) fn maintenance(arguments: &Maintenance) -> Result<(), Failure> {
    let minutes = if arguments.end { 0 } else { arguments.minutes };
    let client = super::client(&arguments.show.settings)?;
    let answer = client.post(&format!("/v1/maintenance?minutes={minutes}"))?;
    if arguments.show.json {
        return output::json(&answer);
    }
    output::text(&match answer["until"].as_str() {
        Some(until) => format!("others may change the sensor until {until}\n"),
        None => "others are kept from the sensor\n".into(),
    })
}
