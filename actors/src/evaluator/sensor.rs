//! Events about the sensor itself: `sensor.*`.

use std::fmt::Write as _;

use holdfast_wire::event::{self, Event};

use super::common::Common;
use super::glob;
use crate::degraded::Notice;

/// Builds the event of a notice; `None` when nobody asks for such events. `number` makes its id
/// unique within this run.
pub(crate) fn event<'a>(
    notice: &'a Notice,
    number: u64,
    report: &[String],
    common: &'a Common,
) -> Option<Event<'a>> {
    if !report
        .iter()
        .any(|pattern| glob::matches(pattern, notice.action))
    {
        return None;
    }
    let pid = std::process::id();
    let mut id = event::EventId::new();
    // It has room.
    let _ = write!(id, "sensor-{pid:x}-{:x}-{number:x}", notice.at);
    Some(Event {
        timestamp: event::rfc3339(notice.at),
        event: event::EventFields {
            id,
            kind: "state",
            action: notice.action,
            category: &["host"],
            types: if notice.action == "sensor.policy" {
                &["change"]
            } else {
                &["info"]
            },
            outcome: "success",
            reason: Some(notice.reason.as_str().into()),
            ..Default::default()
        },
        host: Some(&common.host),
        cloud: common.cloud.as_ref(),
        process: Some(event::Process {
            pid: pid.cast_signed(),
            name: Some("holdfast".into()),
            ..Default::default()
        }),
        ..Default::default()
    })
}
