//! Frames: bytes → events with what they are searched by.

use holdfast_wire::frame::{Entry, Frame};
use serde::Deserialize;

use crate::clock;
use crate::store::events::NewEvent;

/// Why a frame will never be taken.
#[derive(Debug, thiserror::Error)]
#[error("event {sequence} of the frame: {reason}")]
pub(crate) struct Malformed {
    /// Which of its events.
    pub(crate) sequence: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// What of an event's JSON is looked at; the rest is stored as it came.
#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    event: SeenEvent,
    process: Option<SeenProcess>,
    rule: Option<SeenRule>,
    container: Option<SeenContainer>,
    holdfast: Option<SeenHoldfast>,
}

#[derive(Deserialize)]
struct SeenEvent {
    kind: Option<String>,
    action: String,
    severity: Option<i64>,
}

#[derive(Deserialize)]
struct SeenProcess {
    name: Option<String>,
    executable: Option<String>,
    entity_id: Option<String>,
    parent: Option<SeenEntity>,
}

#[derive(Deserialize)]
struct SeenEntity {
    entity_id: Option<String>,
}

#[derive(Deserialize)]
struct SeenHoldfast {
    target: Option<SeenEntity>,
}

#[derive(Deserialize)]
struct SeenRule {
    id: Option<String>,
    ruleset: Option<String>,
}

#[derive(Deserialize)]
struct SeenContainer {
    id: Option<String>,
    name: Option<String>,
}

/// The events of a frame. One that is malformed makes all of it be refused: a sensor writes all of them by the same
/// code, and counts them.
///
/// # Errors
/// [`Malformed`], for the first that is.
pub(crate) fn events(frame: Frame) -> Result<Vec<NewEvent>, Malformed> {
    frame.entries.into_iter().map(event).collect()
}

fn event(Entry { sequence, event }: Entry) -> Result<NewEvent, Malformed> {
    let malformed = |reason: String| Malformed { sequence, reason };
    let body = String::from_utf8(event).map_err(|_| malformed("it is not UTF-8".into()))?;
    let seen: Seen = serde_json::from_str(&body).map_err(|error| malformed(error.to_string()))?;
    let time = clock::nanoseconds(&seen.timestamp)
        .ok_or_else(|| malformed("its @timestamp is not RFC 3339".into()))?;
    let alert = seen.event.kind.as_deref() == Some("alert");
    let (mut process, mut executable, mut entity, mut parent) = (None, None, None, None);
    if let Some(of) = seen.process {
        (process, executable) = (of.name, of.executable);
        (entity, parent) = (of.entity_id, of.parent.and_then(|it| it.entity_id));
    }
    let action = seen.event.action.as_str();
    if action == "process.fork" {
        let child = seen.holdfast.and_then(|it| it.target?.entity_id);
        (entity, parent) = (child, entity);
    }
    // Of the rest nobody asks who started whom, and the index is written for each.
    if !(alert || matches!(action, "process.exec" | "process.fork")) || entity.is_none() {
        (entity, parent) = (None, None);
    }
    let (rule, ruleset) = seen
        .rule
        .map_or((None, None), |rule| (rule.id, rule.ruleset));
    let (container, container_name) = seen
        .container
        .map_or((None, None), |container| (container.id, container.name));
    Ok(NewEvent {
        // `Frame` bounds it.
        sequence: sequence.cast_signed(),
        time,
        alert,
        action: seen.event.action,
        severity: seen.event.severity,
        rule,
        ruleset,
        process,
        executable,
        container,
        container_name,
        body,
        entity,
        parent,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Result<NewEvent, Malformed> {
        event(Entry {
            sequence: 7,
            event: text.into(),
        })
    }

    #[test]
    fn an_alert_has_what_it_is_searched_by() {
        let text = r#"{"@timestamp":"1970-01-01T00:00:01Z",
            "event":{"kind":"alert","action":"file.open","severity":3,"category":["file"]},
            "process":{"name":"cat","executable":"/usr/bin/cat","pid":1},
            "rule":{"id":"shadow-read","ruleset":"credentials"},
            "container":{"id":"c0ffee","name":"web"}}"#;
        let event = of(text).unwrap();
        assert_eq!(
            (event.sequence, event.time, event.alert),
            (7, 1_000_000_000, true)
        );
        assert_eq!(
            (event.action.as_str(), event.severity),
            ("file.open", Some(3))
        );
        assert_eq!(event.rule.as_deref(), Some("shadow-read"));
        assert_eq!(event.executable.as_deref(), Some("/usr/bin/cat"));
        assert_eq!(event.container_name.as_deref(), Some("web"));
        assert_eq!(event.body, text);
    }

    #[test]
    fn who_started_whom_is_told_by_execs_forks_and_alerts() {
        let told = |kind: &str, action: &str, target: &str| {
            let event = of(&format!(
                r#"{{"@timestamp":"1970-01-01T00:00:01Z","event":{{"kind":"{kind}","action":"{action}"}},
                "process":{{"entity_id":"b","parent":{{"entity_id":"a"}}}},"holdfast":{{{target}}}}}"#
            ))
            .unwrap();
            (event.entity, event.parent)
        };
        let pair = |child: &str, parent: &str| (Some(child.to_owned()), Some(parent.to_owned()));
        let target = r#""target":{"pid":3,"entity_id":"c"}"#;
        assert_eq!(told("event", "process.exec", ""), pair("b", "a"));
        assert_eq!(told("alert", "file.open", ""), pair("b", "a"));
        assert_eq!(told("event", "process.fork", target), pair("c", "b"));
        assert_eq!(told("event", "process.fork", ""), (None, None));
        assert_eq!(told("event", "file.open", target), (None, None));
    }

    #[test]
    fn what_is_no_event_is_refused_by_its_number() {
        let wrong = [
            "",
            "[]",
            r#"{"event":{"action":"x"}}"#,
            r#"{"@timestamp":"now","event":{"action":"x"}}"#,
            r#"{"@timestamp":"1970-01-01T00:00:01Z"}"#,
        ];
        for text in wrong {
            assert_eq!(of(text).unwrap_err().sequence, 7, "{text}");
        }
        let entry = Entry {
            sequence: 8,
            event: vec![0xff],
        };
        assert_eq!(event(entry).unwrap_err().sequence, 8);
    }

    proptest! {
        /// What a sensor with a token may send: nothing of it makes the server panic, and what is taken is stored as it came.
        #[test]
        fn any_bytes_are_an_event_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            timestamp in "[0-9TZ:.+-]{0,40}",
            rest in "[a-z0-9\\[\\]{}\",:. \\\\-]{0,60}",
        ) {
            let close = format!(r#"{{"@timestamp":"{timestamp}","event":{{"action":"a"}},"rule":{rest}}}"#);
            for event in [bytes, close.into_bytes()] {
                let entry = Entry { sequence: 7, event: event.clone() };
                match super::event(entry) {
                    Ok(taken) => prop_assert_eq!(taken.body.into_bytes(), event),
                    Err(Malformed { sequence, reason }) => prop_assert!(sequence == 7 && !reason.is_empty()),
                }
            }
        }
    }
}
