//! Alerts and events: searched, and one with all that is known of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use holdfast_policy::document::Policy;
use holdfast_wire::uplink::Bundle;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::Asked;
use super::work;
use crate::answer::Refused;
use crate::app::App;
use crate::bundle::enforced;
use crate::clock::{self, rfc3339};
use crate::store::events::{self, Filter, Found, Most};
use crate::store::{Connection, bundles, sensors};

/// Events in an answer, where none is asked for and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;
/// Bytes of the events in an answer; one may have 256 KiB.
const MAX_BYTES: usize = 8 << 20;

/// What is asked for. Times are RFC 3339.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    severity: Option<i64>,
    rule: Option<String>,
    sensor: Option<String>,
    container: Option<String>,
    action: Option<String>,
    process: Option<String>,
    text: Option<String>,
    from: Option<String>,
    to: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

impl Query {
    /// The same for the store; an empty field asks for nothing.
    pub(super) fn filter(self, alerts_only: bool) -> Result<Filter, Refused> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let time = |what: &str, text: Option<String>| match some(text) {
            None => Ok(None),
            Some(text) => clock::nanoseconds(&text)
                .map(Some)
                .ok_or_else(|| Refused::bad(format!("{what} is not RFC 3339"))),
        };
        Ok(Filter {
            alerts_only,
            severity: self.severity,
            rule: some(self.rule),
            sensor: some(self.sensor),
            container: some(self.container),
            action: some(self.action),
            process: some(self.process),
            text: some(self.text),
            from: time("from", self.from)?,
            to: time("to", self.to)?,
            before: some(self.before).map(|text| placed_at(&text)).transpose()?,
            after: None,
        })
    }
}

/// Where a page begins: the time and number of the last event of the one before.
fn placed_at(text: &str) -> Result<(i64, i64), Refused> {
    let numbers = text
        .split_once('.')
        .map(|(time, id)| (time.parse(), id.parse()));
    match numbers {
        Some((Ok(time), Ok(id))) => Ok((time, id)),
        _ => Err(Refused::bad("before is no place that an answer named")),
    }
}

/// An event as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown<'a, E> {
    id: i64,
    received: String,
    sensor: ShownSensor<'a>,
    event: E,
    /// What `before` takes to go on behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

impl<E> Shown<'_, E> {
    /// The same for a list that is gone on with.
    pub(super) fn placed(mut self, found: &Found) -> Self {
        self.place = Some(place(found));
        self
    }
}

#[derive(Serialize)]
struct ShownSensor<'a> {
    id: &'a str,
    host: &'a str,
}

/// What was found, with the event as it is told.
pub(crate) fn shown<E>(found: &Found, event: E) -> Shown<'_, E> {
    Shown {
        id: found.id,
        received: rfc3339(found.received),
        sensor: ShownSensor {
            id: &found.sensor_id,
            host: &found.host_name,
        },
        event,
        place: None,
    }
}

/// Where an event is: what [`placed_at`] reads.
fn place(found: &Found) -> String {
    format!("{}.{}", found.time, found.id)
}

/// A page of events as they are stored, and where the next one begins.
#[derive(Serialize)]
struct Answer<'a> {
    events: Vec<Shown<'a, &'a RawValue>>,
    next: Option<String>,
}

fn as_stored(found: &Found) -> Option<Shown<'_, &RawValue>> {
    // It was JSON when it came.
    let event = serde_json::from_str(&found.body).ok()?;
    Some(shown(found, event).placed(found))
}

/// The answer's JSON, made where the events are read: they may be many, and are looked at no further.
async fn search(app: &App, query: Query, alerts_only: bool) -> Result<Response, Refused> {
    let most = Most {
        events: query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE),
        bytes: MAX_BYTES,
    };
    let filter = query.filter(alerts_only)?;
    let read = move |connection: &Connection| {
        let page = events::find(connection, &filter, most)?;
        let last = page.events.last().filter(|_| page.more);
        let next = last.map(place);
        let events = page.events.iter().filter_map(as_stored).collect();
        Ok(serde_json::to_vec(&Answer { events, next }))
    };
    let answer = app.store.read(read).await?;
    let answer = answer.map_err(|_| Refused::busy())?;
    Ok(([(CONTENT_TYPE, "application/json")], answer).into_response())
}

pub(super) async fn alerts(
    State(app): State<Arc<App>>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    search(&app, query, true).await
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    search(&app, query, false).await
}

/// One event, and of its rule what this server knows: where the sensor's policies come from here.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Refused> {
    let read = move |connection: &Connection| {
        let Some(found) = events::one(connection, id)? else {
            return Ok(None);
        };
        let bundle = match sensors::one(connection, &found.sensor_id)? {
            Some(sensor) => bundle_in_force(&sensor),
            None => None,
        };
        let bundle = match bundle {
            Some(version) => bundles::one(connection, version)?,
            None => None,
        };
        Ok(Some((found, bundle)))
    };
    let found = app.store.read(read).await?;
    let (found, bundle) = found.ok_or_else(|| Refused::not_found("there is no such event"))?;
    let shown = work::done(&app, move || whole(&found, bundle.as_ref())).await?;
    Ok(Json(shown))
}

/// An event with its rule, where that is one of the bundle's.
fn whole(found: &Found, bundle: Option<&bundles::Stored>) -> Value {
    // It is texts and numbers alone.
    let mut shown = serde_json::to_value(shown(found, found.event())).unwrap_or_default();
    let rule = &shown["event"]["rule"];
    if let (Some(bundle), Some(id), Some(policy)) =
        (bundle, rule["id"].as_str(), rule["ruleset"].as_str())
    {
        shown["rule"] = serde_json::from_slice(&bundle.payload)
            .ok()
            .and_then(|bundle| explained(&bundle, policy, id))
            .unwrap_or_default();
    }
    shown
}

/// The version that a sensor said it has in force.
fn bundle_in_force(sensor: &sensors::Sensor) -> Option<i64> {
    let heartbeat: Value = serde_json::from_str(sensor.heartbeat.as_deref()?).ok()?;
    heartbeat["policy"]["bundle"].as_i64()
}

/// A rule of a bundle as it was written, and who decides on it.
fn explained(bundle: &Bundle, policy: &str, id: &str) -> Option<Value> {
    for candidate in &bundle.policies {
        let text = candidate.document.get();
        let document: Value = serde_json::from_str(text).ok()?;
        if document["name"] != policy {
            continue;
        }
        let rule = document["rules"]
            .as_array()?
            .iter()
            .find(|rule| rule["id"] == id)?;
        let parsed = Policy::parse(&candidate.file, text.as_bytes()).ok()?;
        let snapshot = enforced(&[parsed]).ok()?;
        let explanation = snapshot.explain();
        let hooks = explanation
            .rules
            .iter()
            .find(|rule| rule.id == id)
            .map(|rule| &rule.hooks);
        return Some(json!({
            "bundle": bundle.version,
            "policy": policy,
            "file": candidate.file,
            "rule": rule,
            "hooks": hooks,
        }));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_field_asks_for_nothing_and_a_wrong_one_is_refused() {
        let query = |text: &str| serde_json::from_str::<Query>(text).unwrap().filter(true);
        let filter = query(r#"{"rule":"","text":"x","before":"7.8"}"#).unwrap();
        assert_eq!((filter.rule, filter.text.as_deref()), (None, Some("x")));
        assert_eq!(filter.before, Some((7, 8)));
        assert!(query(r#"{"before":"7"}"#).is_err());
        assert!(query(r#"{"from":"yesterday"}"#).is_err());
        assert!(serde_json::from_str::<Query>(r#"{"sevrity":1}"#).is_err());
    }

    #[test]
    fn a_rule_is_shown_as_it_was_written() {
        let bundle: Bundle = serde_json::from_value(json!({
            "version": 4, "name": "b", "created": "2026-11-22T19:00:00Z",
            "policies": [{"file": "a.json", "document": {
                "apiVersion": "holdfast/v1", "kind": "Policy", "name": "shadow",
                "rules": [{"id": "r", "on": ["file.open"], "action": "deny",
                           "when": "file.path == '/etc/shadow'"}]}}],
        }))
        .unwrap();
        let rule = explained(&bundle, "shadow", "r").unwrap();
        assert_eq!(rule["rule"]["when"], "file.path == '/etc/shadow'");
        assert_eq!(rule["hooks"][0]["decided"], "kernel");
        assert_eq!(explained(&bundle, "shadow", "other"), None);
    }
}
