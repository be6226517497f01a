//! Alerts and events: searched, and one with all that is known of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use holdfast_policy::document::Policy;
use holdfast_wire::uplink::Bundle;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Asked;
use crate::answer::Refused;
use crate::app::App;
use crate::bundle::enforced;
use crate::clock::{self, rfc3339};
use crate::store::events::{self, Filter, Found};
use crate::store::{Connection, bundles, sensors};

/// Events in an answer, where none is asked for and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;

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
            before: some(self.before).map(|text| place(&text)).transpose()?,
            after: None,
        })
    }
}

/// Where a page begins: the time and number of the last event of the one before.
fn place(text: &str) -> Result<(i64, i64), Refused> {
    let numbers = text
        .split_once('.')
        .map(|(time, id)| (time.parse(), id.parse()));
    match numbers {
        Some((Ok(time), Ok(id))) => Ok((time, id)),
        _ => Err(Refused::bad("before is no place that an answer named")),
    }
}

/// An event as JSON.
pub(crate) fn shown(found: &Found) -> Value {
    shown_with(found, found.event())
}

/// The same of an event that is told otherwise than it is stored.
pub(crate) fn shown_with(found: &Found, event: Value) -> Value {
    json!({
        "id": found.id,
        "received": rfc3339(found.received),
        "sensor": {"id": found.sensor_id, "host": found.host_name},
        "event": event,
    })
}

async fn search(app: &App, query: Query, alerts_only: bool) -> Result<Json<Value>, Refused> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let filter = query.filter(alerts_only)?;
    let found = app
        .store
        .read(move |connection| events::find(connection, &filter, limit))
        .await?;
    let last = if found.len() == limit {
        found.last()
    } else {
        None
    };
    let next = last.map(|last| format!("{}.{}", last.time, last.id));
    let list: Vec<_> = found.iter().map(shown).collect();
    Ok(Json(json!({"events": list, "next": next})))
}

pub(super) async fn alerts(
    State(app): State<Arc<App>>,
    Asked(query): Asked<Query>,
) -> Result<Json<Value>, Refused> {
    search(&app, query, true).await
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    Asked(query): Asked<Query>,
) -> Result<Json<Value>, Refused> {
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
    let mut shown = shown(&found);
    let rule = &shown["event"]["rule"];
    if let (Some(bundle), Some(id), Some(policy)) =
        (bundle, rule["id"].as_str(), rule["ruleset"].as_str())
    {
        shown["rule"] = serde_json::from_slice(&bundle.payload)
            .ok()
            .and_then(|bundle| explained(&bundle, policy, id))
            .unwrap_or_default();
    }
    Ok(Json(shown))
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
