//! What a stored event is found by: what of an event's JSON the Team Server looks at, where the rest is kept as it came.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::event::unix_nanoseconds;

/// See the module. What an event does not say is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// When it happened: nanoseconds since 1970.
    pub time: i64,
    /// Whether it is an alert.
    pub alert: bool,
    /// `event.action`
    pub action: String,
    /// `event.severity`
    pub severity: Option<i64>,
    /// `rule.id`
    pub rule: Option<String>,
    /// `rule.ruleset`
    pub ruleset: Option<String>,
    /// `process.name`
    pub process: Option<String>,
    /// `process.executable`
    pub executable: Option<String>,
    /// `container.id`
    pub container: Option<String>,
    /// `container.name`
    pub container_name: Option<String>,
    /// Of alerts and of what tells that a process started: `process.entity_id` of that process.
    pub entity: Option<String>,
    /// The same of the process that started it.
    pub parent: Option<String>,
}

/// Why bytes are no event.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// They are no text.
    #[error("it is not UTF-8")]
    Text,
    /// They are no JSON of this form.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// Sensors write times in UTC, from 1970 on.
    #[error("its @timestamp is no time in UTC by RFC 3339")]
    Time,
}

/// An object: what is derived also takes a list of the fields' values, which nobody would find again by their names.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(OfMap(PhantomData))
    }
}

#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    event: Object<SeenEvent>,
    process: Option<Object<SeenProcess>>,
    rule: Option<Object<SeenRule>>,
    container: Option<Object<SeenContainer>>,
    holdfast: Option<Object<SeenHoldfast>>,
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
    parent: Option<Object<SeenEntity>>,
}

#[derive(Deserialize)]
struct SeenEntity {
    entity_id: Option<String>,
}

#[derive(Deserialize)]
struct SeenHoldfast {
    target: Option<Object<SeenEntity>>,
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

impl Keys {
    /// Those of an event.
    ///
    /// # Errors
    /// [`KeysError`] for what is none.
    pub fn of(event: &[u8]) -> Result<Self, KeysError> {
        // The text is stored: all of it has to be one, not just what is looked at.
        let text = std::str::from_utf8(event).map_err(|_| KeysError::Text)?;
        let Object(seen): Object<Seen> = serde_json::from_str(text)?;
        let Object(event) = seen.event;
        let time = unix_nanoseconds(&seen.timestamp).and_then(|time| i64::try_from(time).ok());
        let alert = event.kind.as_deref() == Some("alert");
        let (mut process, mut executable, mut entity, mut parent) = (None, None, None, None);
        if let Some(Object(of)) = seen.process {
            (process, executable) = (of.name, of.executable);
            (entity, parent) = (of.entity_id, of.parent.and_then(|it| it.0.entity_id));
        }
        let action = event.action;
        if action == "process.fork" {
            let child = seen.holdfast.and_then(|it| it.0.target?.0.entity_id);
            (entity, parent) = (child, entity);
        }
        // Of the rest nobody asks who started whom, and an index is written for each.
        let tells = alert || matches!(action.as_str(), "process.exec" | "process.fork");
        if !tells || entity.is_none() {
            (entity, parent) = (None, None);
        }
        let rule = seen.rule.map(|it| (it.0.id, it.0.ruleset));
        let (rule, ruleset) = rule.unwrap_or_default();
        let container = seen.container.map(|it| (it.0.id, it.0.name));
        let (container, container_name) = container.unwrap_or_default();
        Ok(Self {
            time: time.ok_or(KeysError::Time)?,
            alert,
            action,
            severity: event.severity,
            rule,
            ruleset,
            process,
            executable,
            container,
            container_name,
            entity,
            parent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_has_what_it_is_found_by() {
        let text = r#"{"@timestamp":"1970-01-01T00:00:01Z",
            "event":{"kind":"alert","action":"file.open","severity":3,"category":["file"]},
            "process":{"name":"cat","executable":"/usr/bin/cat","pid":1},
            "rule":{"id":"shadow-read","ruleset":"credentials"},
            "container":{"id":"c0ffee","name":"web"}}"#;
        let keys = Keys::of(text.as_bytes()).unwrap();
        let some = |text: &str| Some(text.to_owned());
        let expected = Keys {
            time: 1_000_000_000,
            alert: true,
            action: "file.open".to_owned(),
            severity: Some(3),
            rule: some("shadow-read"),
            ruleset: some("credentials"),
            process: some("cat"),
            executable: some("/usr/bin/cat"),
            container: some("c0ffee"),
            container_name: some("web"),
            entity: None,
            parent: None,
        };
        assert_eq!(keys, expected);
    }

    #[test]
    fn who_started_whom_is_told_by_execs_forks_and_alerts() {
        let told = |kind: &str, action: &str, target: &str| {
            let event = format!(
                r#"{{"@timestamp":"1970-01-01T00:00:01Z","event":{{"kind":"{kind}","action":"{action}"}},
                "process":{{"entity_id":"b","parent":{{"entity_id":"a"}}}},"holdfast":{{{target}}}}}"#
            );
            let keys = Keys::of(event.as_bytes()).unwrap();
            (keys.entity, keys.parent)
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
    fn what_is_no_event_is_refused() {
        let wrong: [&[u8]; 9] = [
            b"",
            b"[]",
            br#"{"event":{"action":"x"}}"#,
            br#"{"@timestamp":"now","event":{"action":"x"}}"#,
            br#"{"@timestamp":"2300-01-01T00:00:00Z","event":{"action":"x"}}"#,
            br#"{"@timestamp":"1970-01-01T00:00:01Z"}"#,
            br#"["1970-01-01T00:00:01Z",{"action":"x"},null,null,null,null]"#,
            br#"{"@timestamp":"1970-01-01T00:00:01Z","event":["alert","x",1]}"#,
            b"\xff",
        ];
        for event in wrong {
            assert!(Keys::of(event).is_err(), "{}", event.escape_ascii());
        }
    }
}
