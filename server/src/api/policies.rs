//! Bundles: checked, made, assigned.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use holdfast_wire::uplink::Bundle;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::guard::Actor;
use super::work;
use crate::answer::Refused;
use crate::app::App;
use crate::auth::check_name;
use crate::bundle::{self, Checked, Draft, Wrong};
use crate::clock::{DAY, NANOSECONDS, now};
use crate::dryrun;
use crate::store::{Connection, bundles, rollouts};

/// Bundles in an answer, the newest.
const PAGE: usize = 200;
/// Bytes of a bundle's name.
const MAX_NAME: usize = 128;
/// How a request names all sensors.
const ALL: &str = "all";
/// How it names those with a tag.
const TAG: &str = "tag:";

#[derive(Deserialize)]
pub(super) struct Drafts {
    policies: Vec<Draft>,
}

/// Says what is wrong with policies, or who decides on their rules.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    Body(Drafts { policies }): Body<Drafts>,
) -> Result<Json<Value>, Refused> {
    let check = move || match bundle::check(&policies) {
        Ok(checked) => Ok(good(&checked)),
        Err(Wrong::Policies(problems)) => Ok(json!({"ok": false, "errors": problems})),
        Err(wrong @ Wrong::Shape(_)) => Err(Refused::bad(wrong.to_string())),
    };
    work::done(&app, check).await?.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRun {
    policies: Vec<Draft>,
    #[serde(default = "all_hours")]
    hours: i64,
}

/// Hours of a dry-run, at most.
const MAX_HOURS: i64 = 24;

fn all_hours() -> i64 {
    MAX_HOURS
}

/// Says what policies would have said of the events of the last hours, or what is wrong with them.
pub(super) async fn dry_run(
    State(app): State<Arc<App>>,
    Body(DryRun { policies, hours }): Body<DryRun>,
) -> Result<Json<Value>, Refused> {
    if !(1..=MAX_HOURS).contains(&hours) {
        return Err(Refused::bad(format!("hours are 1 to {MAX_HOURS}")));
    }
    let turn = app.limits.dry_runs.try_acquire();
    let _turn = turn.map_err(|_| Refused::busy())?;
    let check = move || bundle::check(&policies);
    let checked = match work::done(&app, check).await? {
        Ok(checked) => checked,
        Err(Wrong::Policies(problems)) => {
            return Ok(Json(json!({"ok": false, "errors": problems})));
        }
        Err(wrong @ Wrong::Shape(_)) => return Err(Refused::bad(wrong.to_string())),
    };
    let from = (now() - hours * DAY / 24) * NANOSECONDS;
    let read = move |connection: &Connection| dryrun::run(connection, &checked, from);
    Ok(Json(app.store.read(read).await?))
}

fn good(Checked { policies, snapshot }: &Checked) -> Value {
    let policies: Vec<_> = policies
        .iter()
        .map(|policy| {
            let (mode, rules) = (policy.mode.name(), policy.rules.len());
            json!({"file": policy.file, "name": policy.name, "mode": mode, "rules": rules})
        })
        .collect();
    json!({"ok": true, "errors": [], "policies": policies, "rules": snapshot.explain().rules})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBundle {
    name: String,
    policies: Vec<Draft>,
}

/// Makes a bundle of policies that are good.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(NewBundle { name, policies }): Body<NewBundle>,
) -> Result<Json<Value>, Refused> {
    if name.trim().is_empty() || name.len() > MAX_NAME {
        return Err(Refused::bad(format!(
            "a bundle's name has 1 to {MAX_NAME} bytes"
        )));
    }
    let check = move || bundle::check(&policies).map(|_| policies);
    let policies = work::done(&app, check)
        .await?
        .map_err(|wrong| match wrong {
            Wrong::Policies(problems) => {
                let first = problems
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                Refused::bad(format!("{} errors, the first: {first}", problems.len()))
            }
            Wrong::Shape(reason) => Refused::bad(reason),
        })?;
    let shared = app.clone();
    let write = move |connection: &Connection| {
        let author = &actor.identity.name;
        let version = bundle::create(connection, &shared.signer, &name, &policies, author, now())?;
        actor.audit(
            connection,
            "bundle.create",
            &format!("version {version}: {name}"),
        )?;
        Ok(version)
    };
    let version = app.store.write(write).await?;
    Ok(Json(json!({"version": version})))
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<Value>, Refused> {
    let read = |connection: &Connection| {
        let assignments = bundles::assignments(connection)?;
        let assignments: Vec<_> = assignments
            .into_iter()
            .map(|(tag, version)| json!({"target": target(&tag), "version": version}))
            .collect();
        Ok(json!({"bundles": bundles::list(connection, PAGE)?, "assignments": assignments}))
    };
    Ok(Json(app.store.read(read).await?))
}

/// A bundle with its policies as they were written.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(version): Path<i64>,
) -> Result<Json<Value>, Refused> {
    let stored = app
        .store
        .read(move |connection| bundles::one(connection, version))
        .await?;
    let stored = stored.ok_or_else(|| Refused::not_found("there is no such bundle"))?;
    let shown = work::done(&app, move || written(&stored.payload)).await?;
    // It was written by this program.
    shown
        .map(Json)
        .map_err(|error| Refused::bad(error.to_string()))
}

/// A bundle's policies as they were written.
fn written(payload: &[u8]) -> serde_json::Result<Value> {
    let bundle: Bundle = serde_json::from_slice(payload)?;
    let policies: Vec<_> = bundle
        .policies
        .iter()
        .map(|policy| json!({"file": policy.file, "text": policy.document.get()}))
        .collect();
    Ok(json!({
        "version": bundle.version,
        "name": bundle.name,
        "created": bundle.created,
        "rollback": bundle.rollback,
        "policies": policies,
    }))
}

/// `all`, or `tag:` and a tag.
pub(super) fn target(tag: &str) -> String {
    if tag.is_empty() {
        ALL.to_owned()
    } else {
        format!("{TAG}{tag}")
    }
}

/// The tag that a target names; empty for all sensors.
pub(super) fn tag(target: &str) -> Result<&str, Refused> {
    if target == ALL {
        return Ok("");
    }
    let wrong = || Refused::bad("a target is `all`, or `tag:` and a tag");
    let tag = target.strip_prefix(TAG).ok_or_else(wrong)?;
    check_name(tag)?;
    Ok(tag)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assignment {
    target: String,
    version: i64,
}

/// 409: the sensors of a target have what a roll-out has come to them with.
fn goes_on(rollout: i64) -> Refused {
    Refused::conflict(format!(
        "roll-out {rollout} to this target has not ended: let it finish, or roll it back"
    ))
}

/// Assigns a bundle; going back gives its content a new version.
pub(super) async fn assign(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(Assignment { target, version }): Body<Assignment>,
) -> Result<Json<Value>, Refused> {
    let tag = tag(&target)?.to_owned();
    let shared = app.clone();
    let write = move |connection: &Connection| {
        let author = &actor.identity.name;
        if let Some(id) = rollouts::of_tag(connection, &tag)? {
            return Ok(Err(id));
        }
        let assigned = bundle::assign(connection, &shared.signer, &tag, version, author, now())?;
        if let Some(assigned) = assigned {
            let detail = format!("{target}: version {assigned}, content of {version}");
            actor.audit(connection, "bundle.assign", &detail)?;
        }
        Ok(Ok(assigned))
    };
    let assigned = app.store.write(write).await?.map_err(goes_on)?;
    let version = assigned.ok_or_else(|| Refused::not_found("there is no such bundle"))?;
    Ok(Json(json!({"version": version})))
}

/// Takes an assignment away.
pub(super) async fn unassign(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(target): Path<String>,
) -> Result<Json<Value>, Refused> {
    let tag = tag(&target)?.to_owned();
    let shared = app.clone();
    let write = move |connection: &Connection| {
        let author = &actor.identity.name;
        if let Some(id) = rollouts::of_tag(connection, &tag)? {
            return Ok(Err(id));
        }
        let there = bundle::unassign(connection, &shared.signer, &tag, author, now())?;
        if there {
            actor.audit(connection, "bundle.unassign", &target)?;
        }
        Ok(Ok(there))
    };
    match app.store.write(write).await?.map_err(goes_on)? {
        true => Ok(Json(json!({}))),
        false => Err(Refused::not_found("nothing is assigned to this target")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_all_or_a_tag() {
        assert_eq!(tag("all").unwrap(), "");
        assert_eq!(tag("tag:web").unwrap(), "web");
        assert_eq!(target("web"), "tag:web");
        for wrong in ["", "web", "tag:", "tag:a,b"] {
            assert!(tag(wrong).is_err(), "{wrong}");
        }
    }
}
