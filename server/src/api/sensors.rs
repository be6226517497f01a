//! The fleet: how many are there, and each sensor.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{self, Extension, Path};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Asked, Body};
use super::guard::Actor;
use crate::answer::Refused;
use crate::app::App;
use crate::auth::check_name;
use crate::bundle;
use crate::clock::{DAY, NANOSECONDS, now};
use crate::fleet::{State, shown};
use crate::secret;
use crate::store::sensors::{self, Sensor};
use crate::store::{self, Connection, bundles, events};

/// Sensors in an answer.
const PAGE: usize = 200;
/// Sensors that a search looks at before it answers with what it has found: a tenth of a second.
const MOST_LOOKED_AT: usize = 20_000;
/// Tags of a sensor.
const MAX_TAGS: usize = 32;
/// What is said of a sensor that is not there.
const MISSING: &str = "there is no such sensor";

/// Numbers of the whole fleet, and of the alerts of a day.
pub(super) async fn overview(
    extract::State(app): extract::State<Arc<App>>,
) -> Result<Json<Value>, Refused> {
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

/// Which sensors are asked for: those that meet all that is given.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    after: i64,
    search: String,
    state: Option<State>,
    degraded: bool,
}

impl Wanted {
    /// Whether a sensor, as it is shown, is one.
    fn is_met(&self, sensor: &Sensor, shown: &Value) -> bool {
        let texts = [
            Some(sensor.host_name.as_str()),
            Some(sensor.sensor_id.as_str()),
            shown["tier"].as_str(),
            shown["mode"].as_str(),
        ];
        let tags = sensor.tags.iter().map(|tag| Some(tag.as_str()));
        let search = self.search.to_lowercase();
        let is_found = |text: &str| text.to_lowercase().contains(&search);
        let is_degraded = || {
            shown["degraded"]
                .as_array()
                .is_some_and(|it| !it.is_empty())
        };
        self.state
            .is_none_or(|state| shown["state"] == state.name())
            && (!self.degraded || is_degraded())
            && texts.into_iter().chain(tags).flatten().any(is_found)
    }
}

/// A page of sensors, and where the next one begins. Their heartbeats are looked into, so that a search may have to look at many.
pub(super) async fn list(
    extract::State(app): extract::State<Arc<App>>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Value>, Refused> {
    let read = move |connection: &Connection| {
        let (list, next) = found(connection, &wanted, now(), PAGE, MOST_LOOKED_AT)?;
        Ok(json!({"sensors": list, "next": next}))
    };
    Ok(Json(app.store.read(read).await?))
}

/// `page` sensors at most, of some more than `most` at most that are looked at; and behind which row the next are, if there may be more.
fn found(
    connection: &Connection,
    wanted: &Wanted,
    now: i64,
    page: usize,
    most: usize,
) -> store::Result<(Vec<Value>, Option<i64>)> {
    let (mut list, mut after, mut looked) = (Vec::new(), wanted.after, 0);
    loop {
        let some = sensors::list(connection, after, page)?;
        let is_last = some.len() < page;
        for sensor in some {
            let mut shown = shown(&sensor, None, now);
            looked += 1;
            after = sensor.row;
            if wanted.is_met(&sensor, &shown) {
                shown["bundle"] = bundles::of_sensor(connection, sensor.row)?.into();
                list.push(shown);
            }
            if list.len() == page {
                return Ok((list, Some(after)));
            }
        }
        if is_last {
            return Ok((list, None));
        }
        if looked >= most {
            return Ok((list, Some(after)));
        }
    }
}

/// Everything about a sensor.
pub(super) async fn one(
    extract::State(app): extract::State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let read = move |connection: &Connection| {
        let Some(sensor) = sensors::one(connection, &id)? else {
            return Ok(None);
        };
        let bundle = bundles::of_sensor(connection, sensor.row)?;
        let mut shown = shown(&sensor, bundle, now());
        let (ledger, containers) = sensors::ledger_and_containers(connection, sensor.row)?;
        // What is stored was JSON when it came.
        let value = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        shown["ledger"] = value(ledger).unwrap_or_default();
        shown["containers"] = value(containers).unwrap_or_default();
        Ok(Some(shown))
    };
    let sensor = app.store.read(read).await?;
    sensor.map(Json).ok_or_else(|| Refused::not_found(MISSING))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tags {
    tags: Vec<String>,
}

/// Replaces a sensor's tags.
pub(super) async fn tag(
    extract::State(app): extract::State<Arc<App>>,
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
    tagged.map(Json).ok_or_else(|| Refused::not_found(MISSING))
}

/// Removes a sensor: what it holds is of no use any more.
pub(super) async fn remove(
    extract::State(app): extract::State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let void = secret::random()?;
    let about = ("sensor.remove", id.clone());
    let remove = move |connection: &Connection| sensors::remove(connection, &id, &void, now());
    actor.change(&app, about, MISSING, remove).await
}

/// Lets a sensor's host enrol again without its token, as after a new installation.
pub(super) async fn allow(
    extract::State(app): extract::State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let about = ("sensor.allow-enrolment", id.clone());
    let allow = move |connection: &Connection| sensors::allow_enrolment(connection, &id);
    actor.change(&app, about, MISSING, allow).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test::{both, empty};
    use crate::store::value::params;

    /// The names of those that are found, and where the next are.
    fn names(connection: &Connection, wanted: &Wanted, most: usize) -> (Vec<String>, Option<i64>) {
        let (list, next) = found(connection, wanted, 1_000_000, 2, most).unwrap();
        let name = |one: &Value| one["host"]["name"].as_str().unwrap().to_owned();
        (list.iter().map(name).collect(), next)
    }

    #[test]
    fn sensors_are_found_page_by_page_by_what_is_shown_of_them() {
        both(|| {
            let connection = empty();
            for row in 1..=5_i64 {
                let name = format!("Web-{row}");
                let heartbeat = match row {
                    1 => json!({"tier": "lsm", "degraded": []}),
                    _ => json!({"tier": "kprobe", "degraded": [{"what": "x"}]}),
                };
                let seen: i64 = if row == 5 { 0 } else { 990_000 };
                connection
                    .execute(
                        "INSERT INTO sensor VALUES (?1, ?2, ?2, ?2, '', '', '', ?3, 0, NULL, 0, ?5, ?4, NULL, NULL, 0, NULL)",
                        params![row, name, [row as u8], heartbeat.to_string(), seen],
                    )
                    .unwrap();
            }
            sensors::tag(&connection, "Web-2", &["Prod".to_owned()]).unwrap();
            let all = |wanted: &Wanted| names(&connection, wanted, 100);
            let some = |search: &str| Wanted {
                search: search.to_owned(),
                ..Wanted::default()
            };
            let first = (vec!["Web-1".to_owned(), "Web-2".to_owned()], Some(2));
            assert_eq!(all(&some("web")), first);
            let mut wanted = some("kprobe");
            assert_eq!(
                all(&wanted),
                (vec!["Web-2".to_owned(), "Web-3".to_owned()], Some(3))
            );
            wanted.after = 3;
            assert_eq!(
                all(&wanted),
                (vec!["Web-4".to_owned(), "Web-5".to_owned()], Some(5))
            );
            wanted.after = 5;
            assert_eq!(all(&wanted), (vec![], None));
            assert_eq!(all(&some("prod")).0, ["Web-2"]);
            assert_eq!(all(&some("LSM")), (vec!["Web-1".to_owned()], None));
            let gone = Wanted {
                state: Some(State::Gone),
                ..Wanted::default()
            };
            assert_eq!(all(&gone).0, ["Web-5"]);
            let degraded = Wanted {
                degraded: true,
                ..some("web-1")
            };
            assert_eq!(all(&degraded).0, [""; 0]);
            // A search that has looked at enough says where it goes on.
            assert_eq!(names(&connection, &gone, 2), (vec![], Some(2)));
        });
    }
}
