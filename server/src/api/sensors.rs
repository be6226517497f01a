//! The fleet: how many are there, and each sensor.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Asked, Body};
use super::guard::Actor;
use crate::answer::Refused;
use crate::app::App;
use crate::auth::check_name;
use crate::bundle;
use crate::clock::{DAY, NANOSECONDS, now};
use crate::fleet::shown;
use crate::secret;
use crate::store::{Connection, bundles, events, sensors};

/// Sensors in an answer.
const PAGE: usize = 200;
/// Tags of a sensor.
const MAX_TAGS: usize = 32;

/// Numbers of the whole fleet, and of the alerts of a day.
pub(super) async fn overview(State(app): State<Arc<App>>) -> Result<Json<Value>, Refused> {
    let read = |connection: &Connection| {
        let now = now();
        let mut counts: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        let mut total = 0;
        sensors::each(connection, |sensor| {
            let shown = shown(sensor, None, now);
            total += 1;
            let degraded = shown["degraded"]
                .as_array()
                .is_some_and(|list| !list.is_empty());
            let health = if degraded { "degraded" } else { "fine" };
            let mut count = |what, value: &Value| {
                if let Some(value) = value.as_str() {
                    *counts
                        .entry(what)
                        .or_default()
                        .entry(value.to_owned())
                        .or_default() += 1;
                }
            };
            for what in ["state", "tier", "mode", "version"] {
                count(what, &shown[what]);
            }
            // Of one that is gone nothing is known.
            if shown["tier"].is_string() {
                count("health", &health.into());
            }
        })?;
        let alerts = events::alerts_by_severity(connection, (now - DAY) * NANOSECONDS)?;
        let alerts: BTreeMap<_, _> = alerts
            .into_iter()
            .map(|(severity, count)| (severity.to_string(), count))
            .collect();
        Ok(json!({"sensors": {"total": total, "by": counts}, "alerts_of_a_day": alerts}))
    };
    Ok(Json(app.store.read(read).await?))
}

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    after: i64,
}

/// A page of sensors, and where the next one begins.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Asked(Page { after }): Asked<Page>,
) -> Result<Json<Value>, Refused> {
    let read = move |connection: &Connection| {
        let now = now();
        let page = sensors::list(connection, after, PAGE)?;
        let next = if page.len() == PAGE {
            page.last().map(|last| last.row)
        } else {
            None
        };
        let mut list = Vec::new();
        for sensor in &page {
            list.push(shown(
                sensor,
                bundles::of_sensor(connection, sensor.row)?,
                now,
            ));
        }
        Ok(json!({"sensors": list, "next": next}))
    };
    Ok(Json(app.store.read(read).await?))
}

/// Everything about a sensor.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let read = move |connection: &Connection| {
        let Some(sensor) = sensors::one(connection, &id)? else {
            return Ok(None);
        };
        let bundle = bundles::of_sensor(connection, sensor.row)?;
        let mut shown = shown(&sensor, bundle, now());
        let ledger = sensors::ledger(connection, sensor.row)?;
        // What is stored was JSON when it came.
        let ledger = ledger.and_then(|text| serde_json::from_str(&text).ok());
        shown["ledger"] = ledger.unwrap_or_default();
        Ok(Some(shown))
    };
    let sensor = app.store.read(read).await?;
    sensor
        .map(Json)
        .ok_or_else(|| Refused::not_found("there is no such sensor"))
}

#[derive(Deserialize)]
pub(super) struct Tags {
    tags: Vec<String>,
}

/// Replaces a sensor's tags.
pub(super) async fn tag(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    Body(Tags { tags }): Body<Tags>,
) -> Result<Json<Value>, Refused> {
    check_tags(&tags)?;
    let shared = app.clone();
    let write = move |connection: &Connection| {
        let Some(sensor) = sensors::one(connection, &id)? else {
            return Ok(None);
        };
        let before = bundles::of_sensor(connection, sensor.row)?;
        sensors::tag(connection, &id, &tags)?;
        let author = &actor.identity.name;
        bundle::settle(
            connection,
            &shared.signer,
            sensor.row,
            before,
            author,
            now(),
        )?;
        actor.audit(
            connection,
            "sensor.tag",
            &format!("{id}: {}", tags.join(", ")),
        )?;
        Ok(Some(json!({"tags": tags})))
    };
    let tagged = app.store.write(write).await?;
    tagged
        .map(Json)
        .ok_or_else(|| Refused::not_found("there is no such sensor"))
}

/// Removes a sensor: what it holds is of no use any more.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let void = secret::random()?;
    let write = move |connection: &Connection| {
        let there = sensors::remove(connection, &id, &void, now())?;
        if there {
            actor.audit(connection, "sensor.remove", &id)?;
        }
        Ok(there)
    };
    match app.store.write(write).await? {
        true => Ok(Json(json!({}))),
        false => Err(Refused::not_found("there is no such sensor")),
    }
}

/// Lets a sensor's host enrol again without its token, as after a new installation.
pub(super) async fn allow(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let write = move |connection: &Connection| {
        let there = sensors::allow_enrolment(connection, &id)?;
        if there {
            actor.audit(connection, "sensor.allow-enrolment", &id)?;
        }
        Ok(there)
    };
    match app.store.write(write).await? {
        true => Ok(Json(json!({}))),
        false => Err(Refused::not_found("there is no such sensor")),
    }
}

/// Whether sensors may have these tags.
pub(super) fn check_tags(tags: &[String]) -> Result<(), Refused> {
    if tags.len() > MAX_TAGS {
        return Err(Refused::bad(format!(
            "a sensor has {MAX_TAGS} tags at most"
        )));
    }
    for tag in tags {
        check_name(tag)?;
    }
    Ok(())
}
