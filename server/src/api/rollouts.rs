//! Roll-outs: begun, looked at, halted, resumed, rolled back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::guard::Actor;
use super::policies::{tag, target};
use crate::answer::Refused;
use crate::app::App;
use crate::clock::{now, rfc3339};
use crate::rollout::{self, Plan, Stage, Unfit, Wish};
use crate::store::rollouts::{self, Stored};
use crate::store::{self, Connection};

/// Roll-outs in an answer, the newest.
const PAGE: usize = 50;
/// Sensors that are named with the reason of their failing.
const MAX_NAMED: usize = 100;

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        let reason = unfit.to_string();
        match unfit {
            Unfit::Stages(_) => Self::bad(reason),
            Unfit::Unknown(_) => Self::not_found(reason),
            Unfit::Conflict(_) => Self::conflict(reason),
        }
    }
}

/// A roll-out as JSON; one that has not ended with how its sensors are.
fn shown(connection: &Connection, started: i64, stored: &Stored) -> store::Result<Value> {
    let stages = rollout::stages(stored);
    let wait = stages
        .get(stored.stage as usize)
        .map_or(0, |stage| stage.wait);
    let mut shown = json!({
        "id": stored.id,
        "target": target(&stored.tag),
        "version": stored.version,
        "former": stored.former,
        "stages": stages,
        "stage": stored.stage,
        "stage_since": rfc3339(stored.stage_since),
        "stage_until": rfc3339(stored.stage_since + wait * 1000),
        "limit_percent": stored.limit_percent,
        "state": stored.state,
        "reason": stored.reason,
        "author": stored.author,
        "created": rfc3339(stored.created),
        "ended": stored.ended.map(rfc3339),
    });
    if stored.ended.is_none() {
        let health = rollout::health(connection, stored, started, now())?;
        let failures = health.failed.iter().take(MAX_NAMED);
        let failures: Vec<_> = failures
            .map(|(member, why)| json!({"sensor": member.sensor_id, "host": member.host_name, "reason": why}))
            .collect();
        shown["sensors"] = json!({
            "all": rollouts::candidates(connection, stored)?.len(),
            "reached": health.members, "taken": health.taken, "waiting": health.waiting,
            "away": health.away, "failed": health.failed.len(), "excused": health.excused,
        });
        shown["failures"] = failures.into();
    }
    Ok(shown)
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<Value>, Refused> {
    let started = app.store.since();
    let read = move |connection: &Connection| {
        let list = rollouts::list(connection, PAGE)?;
        let list = list.iter().map(|stored| shown(connection, started, stored));
        Ok(json!({"rollouts": list.collect::<store::Result<Vec<_>>>()?}))
    };
    Ok(Json(app.store.read(read).await?))
}

pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Refused> {
    let started = app.store.since();
    let read = move |connection: &Connection| {
        let stored = rollouts::one(connection, id)?;
        stored
            .map(|stored| shown(connection, started, &stored))
            .transpose()
    };
    let found = app.store.read(read).await?;
    found
        .map(Json)
        .ok_or_else(|| Refused::not_found("there is no such roll-out"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRollout {
    target: String,
    version: i64,
    stages: Vec<Stage>,
    #[serde(default = "usual_limit")]
    limit_percent: i64,
}

/// Of a hundred sensors some are always being restarted.
fn usual_limit() -> i64 {
    5
}

pub(super) async fn start(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewRollout>,
) -> Result<Json<Value>, Refused> {
    let plan = Plan {
        tag: tag(&new.target)?.to_owned(),
        version: new.version,
        stages: new.stages,
        limit_percent: new.limit_percent,
    };
    let shared = app.clone();
    let write = move |connection: &Connection| {
        let author = &actor.identity.name;
        let started = rollout::start(connection, &shared.signer, &plan, author, now())?;
        if let Ok((id, version)) = started {
            let (target, content) = (target(&plan.tag), plan.version);
            let detail = format!("{id}: {target}, version {version}, content of {content}");
            actor.audit(connection, "rollout.start", &detail)?;
        }
        Ok(started)
    };
    let (id, version) = app.store.write(write).await??;
    Ok(Json(json!({"id": id, "version": version})))
}

async fn wish(app: Arc<App>, actor: Actor, id: i64, wish: Wish) -> Result<Json<Value>, Refused> {
    let shared = app.clone();
    let write = move |connection: &Connection| {
        let author = &actor.identity.name;
        let done = rollout::wish(
            connection,
            &shared.signer,
            id,
            wish,
            author,
            shared.store.since(),
            now(),
        )?;
        if let Ok(version) = done {
            let action = match wish {
                Wish::Halt => "rollout.halt",
                Wish::Resume => "rollout.resume",
                Wish::RollBack => "rollout.rollback",
            };
            actor.audit(connection, action, &format!("{id}: version {version}"))?;
        }
        Ok(done)
    };
    let version = app.store.write(write).await??;
    Ok(Json(json!({"version": version})))
}

pub(super) async fn halt(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Refused> {
    wish(app, actor, id, Wish::Halt).await
}

pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Refused> {
    wish(app, actor, id, Wish::Resume).await
}

/// Gives the sensors of a roll-out what they had.
pub(super) async fn roll_back(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Refused> {
    wish(app, actor, id, Wish::RollBack).await
}
