//! The way into the spool: a sink that takes what is wanted of the events, and says which are urgent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_wire::frame::Priority;
use serde::Deserialize;

use super::Uplink;
use crate::clock;
use crate::evaluator::glob;
use crate::sink::Write;

/// See the module.
#[derive(Debug)]
pub(crate) struct Intake(pub(crate) Arc<Uplink>);

/// The part of an event's line that decides.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: Fields<'a>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    kind: &'a str,
    action: &'a str,
}

/// With which priority an event goes up; `None`: it does not.
fn priority(line: &[u8], globs: &[String]) -> Option<Priority> {
    // The sensor wrote it.
    let Ok(Line { event }) = serde_json::from_slice::<Line<'_>>(line) else {
        return Some(Priority::Event);
    };
    if event.kind == "alert" {
        return Some(Priority::Alert);
    }
    let is_wanted = globs.iter().any(|it| glob::matches(it, event.action));
    is_wanted.then_some(if event.kind == "state" {
        Priority::Alert
    } else {
        Priority::Event
    })
}

impl Write for Intake {
    /// `bytes` are whole lines always, since only whole lines are taken.
    fn write(&mut self, bytes: &[u8], _whole: bool) -> io::Result<usize> {
        let (mut lines, mut starts, mut start) = (Vec::new(), Vec::new(), 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let content = line.strip_suffix(b"\n").unwrap_or(line);
            if let Some(priority) = priority(content, &self.0.settings.events) {
                lines.push((priority, content));
                starts.push(start);
            }
            start += line.len();
        }
        if lines.is_empty() {
            return Ok(bytes.len());
        }
        let now = clock::wall() / 1_000_000_000;
        let done = self.0.with_spool(|spool| spool.store(&lines, now))?;
        self.0.arrival.notify_one();
        Ok(starts.get(done).copied().unwrap_or(bytes.len()))
    }

    fn finish(&mut self) -> io::Result<()> {
        let synced = self.0.with_spool(|spool| spool.sync());
        self.0.finished.store(true, Ordering::Release);
        self.0.arrival.notify_one();
        synced
    }

    /// A disk can be emptied.
    fn is_final(&self, _error: &io::Error) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_and_what_the_sensor_says_of_itself_go_first_and_the_rest_as_asked_for() {
        let globs = ["container.*".to_owned(), "sensor.*".to_owned()];
        for (kind, action, expected) in [
            ("alert", "file.open", Some(Priority::Alert)),
            ("event", "file.open", None),
            ("event", "container.start", Some(Priority::Event)),
            ("state", "sensor.start", Some(Priority::Alert)),
        ] {
            let line = format!(
                r#"{{"@timestamp":"t","event":{{"id":"\u0041","kind":"{kind}","action":"{action}"}},"a":[1]}}"#
            );
            assert_eq!(priority(line.as_bytes(), &globs), expected, "{line}");
        }
        assert_eq!(
            priority(
                br#"{"event":{"kind":"state","action":"sensor.start"}}"#,
                &[]
            ),
            None
        );
    }
}
