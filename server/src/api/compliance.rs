//! The report on who enforces what: counted, and as a table to take away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde_json::Value;

use crate::answer::Refused;
use crate::app::App;
use crate::clock::{now, rfc3339};
use crate::compliance::{self, Host, Report};
use crate::fleet::state;
use crate::store::{self, Connection, bundles, sensors};

/// Hosts that are shown one by one; the table has all.
const SHOWN: usize = 1000;
/// Bundles that are looked into, the newest: each is compiled, which takes some tens of milliseconds. Who has an older one in force
/// is counted as not known.
const MAX_BUNDLES: usize = 64;

fn report(connection: &Connection) -> store::Result<Report> {
    let now = now();
    let mut hosts = Vec::new();
    sensors::each(connection, |sensor| {
        hosts.push(Host::of(sensor, state(sensor.seen, now)));
    })?;
    let versions: BTreeSet<i64> = hosts.iter().filter_map(|host| host.bundle).collect();
    let mut bundles = BTreeMap::new();
    for version in versions.into_iter().rev().take(MAX_BUNDLES) {
        let stored = bundles::one(connection, version)?;
        let controls = stored.and_then(|stored| compliance::controls(&stored.payload));
        bundles.extend(controls.map(|controls| (version, controls)));
    }
    Ok(Report::new(hosts, bundles))
}

/// Rules and techniques, each with the hosts that enforce them, and the hosts.
pub(super) async fn json(State(app): State<Arc<App>>) -> Result<Json<Value>, Refused> {
    let read = |connection: &Connection| {
        let mut json = report(connection)?.json(SHOWN);
        json["time"] = rfc3339(now()).into();
        Ok(json)
    };
    Ok(Json(app.store.read(read).await?))
}

/// Each rule on each host.
pub(super) async fn csv(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refused> {
    let read = |connection: &Connection| Ok(report(connection)?.csv());
    let text = app.store.read(read).await?;
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            CONTENT_DISPOSITION,
            "attachment; filename=\"holdfast-compliance.csv\"",
        ),
    ];
    Ok((headers, text))
}
