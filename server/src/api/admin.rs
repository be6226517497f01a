//! Keys, tokens, users, and the log of what was changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Asked, Body};
use super::guard::Actor;
use super::sensors::check_tags;
use super::session::{NewUser, hashed};
use crate::answer::Refused;
use crate::app::App;
use crate::auth::{Role, check_name};
use crate::clock::{DAY, now};
use crate::secret::{self, Kind};
use crate::store::accounts::{self, Changed};
use crate::store::keys::{self, NewKey};
use crate::store::{self, Connection};
use holdfast_wire::uplink::Secret;

/// Lines of the audit log in an answer.
const PAGE: usize = 100;
/// Bytes of a key's note.
const MAX_NOTE: usize = 256;
/// Days that a key or token may be valid: ten years.
pub(crate) const MAX_DAYS: i64 = 3650;

pub(super) async fn keys(State(app): State<Arc<App>>) -> Result<Json<Value>, Refused> {
    let list = app
        .store
        .read(|connection| keys::list(connection, now()))
        .await?;
    Ok(Json(json!({"keys": list})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyWanted {
    #[serde(default)]
    note: String,
    #[serde(default)]
    tags: Vec<String>,
    uses: Option<i64>,
    /// `null`: until it is revoked.
    #[serde(default = "week")]
    days: Option<i64>,
}

/// Who does not say how long a key is valid gets none that is forgotten.
const fn week() -> Option<i64> {
    Some(7)
}

/// Milliseconds since 1970 at which something ends that is valid for so many days.
fn end(days: Option<i64>) -> Result<Option<i64>, Refused> {
    match days {
        None => Ok(None),
        Some(days) if (1..=MAX_DAYS).contains(&days) => Ok(Some(now() + days * DAY)),
        Some(_) => Err(Refused::bad(format!("days are 1 to {MAX_DAYS}"))),
    }
}

pub(super) async fn create_key(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(KeyWanted {
        note,
        tags,
        uses,
        days,
    }): Body<KeyWanted>,
) -> Result<Json<Value>, Refused> {
    check_tags(&tags)?;
    if note.len() > MAX_NOTE || uses.is_some_and(|uses| uses < 1) {
        return Err(Refused::bad(
            "the note is too long, or uses are less than 1",
        ));
    }
    let key = NewKey {
        note,
        tags,
        uses,
        expires: end(days)?,
    };
    let secret = secret::new(Kind::InstallationKey)?;
    let hash = secret::hash(&secret);
    let write = move |connection: &Connection| {
        let id = keys::create(connection, &hash, &key, now())?;
        actor.audit(connection, "key.create", &format!("{id}: {}", key.note))?;
        Ok(id)
    };
    let id = app.store.write(write).await?;
    Ok(Json(json!({"id": id, "key": secret})))
}

pub(super) async fn revoke_key(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Refused> {
    let about = ("key.revoke", id.to_string());
    let revoke = move |connection: &Connection| keys::revoke(connection, id);
    let missing = "there is no such key";
    actor.change(&app, about, missing, revoke).await
}

pub(super) async fn tokens(State(app): State<Arc<App>>) -> Result<Json<Value>, Refused> {
    let list = app.store.read(accounts::tokens).await?;
    Ok(Json(json!({"tokens": list})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenWanted {
    name: String,
    role: Role,
    days: Option<i64>,
}

pub(super) async fn create_token(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(TokenWanted { name, role, days }): Body<TokenWanted>,
) -> Result<Json<Value>, Refused> {
    check_name(&name)?;
    let expires = end(days)?;
    let secret = secret::new(Kind::Api)?;
    let hash = secret::hash(&secret);
    let write = move |connection: &Connection| {
        let id = accounts::add_token(connection, &name, &hash, role, expires, now())?;
        actor.audit(
            connection,
            "token.create",
            &format!("{id}: {name}, {}", role.name()),
        )?;
        Ok(id)
    };
    let id = app.store.write(write).await?;
    Ok(Json(json!({"id": id, "token": secret})))
}

pub(super) async fn revoke_token(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Refused> {
    let about = ("token.revoke", id.to_string());
    let revoke = move |connection: &Connection| accounts::revoke_token(connection, id);
    let missing = "there is no such token";
    actor.change(&app, about, missing, revoke).await
}

pub(super) async fn users(State(app): State<Arc<App>>) -> Result<Json<Value>, Refused> {
    let list = app.store.read(accounts::users).await?;
    Ok(Json(json!({"users": list})))
}

pub(super) async fn add_user(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(NewUser {
        name,
        password,
        role,
    }): Body<NewUser>,
) -> Result<Json<Value>, Refused> {
    check_name(&name)?;
    let hash = hashed(&app, password).await?;
    let write = move |connection: &Connection| {
        let added = accounts::add_user(connection, &name, &hash, role, now())?;
        if added {
            actor.audit(connection, "user.add", &format!("{name}, {}", role.name()))?;
        }
        Ok(added)
    };
    match app.store.write(write).await? {
        true => Ok(Json(json!({}))),
        false => Err(Refused::conflict("there is a user of this name")),
    }
}

pub(super) async fn remove_user(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let about = ("user.remove", name.clone());
    let remove = move |connection: &Connection| accounts::remove_user(connection, &name);
    let last = "the last admin cannot be removed";
    change_user(&app, actor, about, last, remove).await
}

/// Does `write` to a user, and notes it with it; `last` is why it is not done to the last admin.
async fn change_user(
    app: &App,
    actor: Actor,
    (action, detail): (&'static str, String),
    last: &'static str,
    write: impl FnOnce(&Connection) -> store::Result<Changed> + Send + 'static,
) -> Result<Json<Value>, Refused> {
    let write = move |connection: &Connection| {
        let changed = write(connection)?;
        if changed == Changed::Yes {
            actor.audit(connection, action, &detail)?;
        }
        Ok(changed)
    };
    match app.store.write(write).await? {
        Changed::Yes => Ok(Json(json!({}))),
        Changed::Unknown => Err(Refused::not_found("there is no such user")),
        Changed::LastAdmin => Err(Refused::conflict(last)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    role: Role,
}

pub(super) async fn set_role(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(NewRole { role }): Body<NewRole>,
) -> Result<Json<Value>, Refused> {
    let about = ("user.role", format!("{name}, {}", role.name()));
    let set = move |connection: &Connection| accounts::set_role(connection, &name, role);
    let last = "the last admin has to stay one";
    change_user(&app, actor, about, last, set).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    password: Secret,
}

pub(super) async fn set_password(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(NewPassword { password }): Body<NewPassword>,
) -> Result<Json<Value>, Refused> {
    let hash = hashed(&app, password).await?;
    let about = ("user.password", name.clone());
    let set = move |connection: &Connection| accounts::set_password(connection, &name, &hash);
    let missing = "there is no such user";
    actor.change(&app, about, missing, set).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    before: Option<i64>,
}

pub(super) async fn audit(
    State(app): State<Arc<App>>,
    Asked(Before { before }): Asked<Before>,
) -> Result<Json<Value>, Refused> {
    let before = before.unwrap_or(i64::MAX);
    let lines = app
        .store
        .read(move |connection| accounts::audited(connection, before, PAGE))
        .await?;
    let next = if lines.len() == PAGE {
        lines.last().map(|line| line.id)
    } else {
        None
    };
    Ok(Json(json!({"lines": lines, "next": next})))
}

/// Where events are forwarded to, how far, and what of them was lost.
pub(super) async fn forwarding(State(app): State<Arc<App>>) -> Result<Json<Value>, Refused> {
    let forwards = app.forwards.clone();
    let read = move |connection: &Connection| {
        let shown = forwards.iter().map(|status| status.shown(connection));
        shown.collect::<store::Result<Vec<_>>>()
    };
    let destinations = app.store.read(read).await?;
    Ok(Json(json!({"destinations": destinations})))
}
