//! Logging in and out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::{HeaderMap, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use holdfast_wire::uplink::Secret;
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::guard::{self, Actor, COOKIE_NAME};
use crate::answer::Refused;
use crate::app::App;
use crate::auth::limit::network;
use crate::auth::{self, MAX_NAME, MAX_PASSWORD, Role};
use crate::clock::now;
use crate::secret::{self, Kind};
use crate::serve::Peer;
use crate::store::Connection;
use crate::store::accounts::{self, Identity};

/// Seconds of a session: a working day.
const SESSION: i64 = 12 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    name: String,
    password: Secret,
}

pub(super) async fn login(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    Body(Login { name, password }): Body<Login>,
) -> Result<Response, Refused> {
    // Else another site could log a browser in as somebody else.
    if headers.contains_key("origin") && !guard::is_same_origin(&headers) {
        return Err(Refused::forbidden("the request comes from another site"));
    }
    if name.len() > MAX_NAME || password.expose().len() > MAX_PASSWORD {
        return Err(Refused::unknown("the name or the password is wrong"));
    }
    let address = network(peer.ip());
    app.limits
        .login_by_address
        .take(address)
        .map_err(Refused::too_often)?;
    app.limits
        .login_by_name
        .take((&name, address))
        .map_err(Refused::too_often)?;
    app.limits
        .login_by_name_anywhere
        .take(&name)
        .map_err(Refused::too_often)?;
    let asked = name.clone();
    let user = app
        .store
        .read(move |connection| accounts::user(connection, &asked))
        .await?;
    let hash = user.as_ref().map(|(_, hash, _)| hash.clone());
    if !verified(&app, password, hash).await? {
        tracing::warn!("logging in as {name:?} from {} failed", peer.ip());
        note_failure(&app, peer.ip(), user.map(|_| name)).await?;
        return Err(Refused::unknown("the name or the password is wrong"));
    }
    let Some(user) = user else {
        return Err(Refused::unknown("the name or the password is wrong"));
    };
    app.limits.login_by_address.give_back(address);
    app.limits.login_by_name.give_back((&name, address));
    app.limits.login_by_name_anywhere.give_back(&name);
    let session = secret::new(Kind::Session)?;
    let hash = secret::hash(&session);
    let actor = Actor {
        identity: Identity { name, role: user.2 },
        address: peer.ip(),
    };
    let identity = actor.identity.clone();
    let begun = app
        .store
        .write(move |connection| {
            // A password that was changed meanwhile ended all sessions, and so this one.
            if accounts::user(connection, &actor.identity.name)?.as_ref() != Some(&user) {
                return Ok(false);
            }
            let now = now();
            accounts::begin_session(connection, &hash, user.0, now + SESSION * 1000, now)?;
            actor.audit(connection, "login", "")?;
            Ok(true)
        })
        .await?;
    if !begun {
        return Err(Refused::unknown("the name or the password is wrong"));
    }
    Ok((cookie(&app, &session, SESSION), Json(identity)).into_response())
}

/// Notes that somebody did not log in, as often as it is of use. A name that is no user's may be a password.
async fn note_failure(app: &App, address: IpAddr, user: Option<String>) -> Result<(), Refused> {
    if app.limits.failures_noted.take(network(address)).is_err() {
        return Ok(());
    }
    let note = move |connection: &Connection| {
        let who = user.as_deref().unwrap_or("somebody unknown");
        let address = address.to_string();
        accounts::audit(connection, who, &address, "login.failed", "", now())
    };
    Ok(app.store.write(note).await?)
}

/// What the browser is to keep, for so many seconds.
fn cookie(app: &App, value: &str, seconds: i64) -> [(axum::http::HeaderName, String); 1] {
    let secure = if app.secure { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    [(SET_COOKIE, text)]
}

/// Whether `password` is the one of `hash`; a few at a time.
async fn verified(app: &App, password: Secret, hash: Option<String>) -> Result<bool, Refused> {
    let _turn = app
        .limits
        .passwords_at_once
        .acquire()
        .await
        .map_err(|_| Refused::busy())?;
    let verify = move || auth::verify_password(password.expose(), hash.as_deref());
    tokio::task::spawn_blocking(verify)
        .await
        .map_err(|_| Refused::busy())
}

/// The hash of a new password.
pub(super) async fn hashed(app: &App, password: Secret) -> Result<String, Refused> {
    let _turn = app
        .limits
        .passwords_at_once
        .acquire()
        .await
        .map_err(|_| Refused::busy())?;
    let hash = move || auth::hash_password(password.expose());
    let hash = tokio::task::spawn_blocking(hash)
        .await
        .map_err(|_| Refused::busy())?;
    Ok(hash?)
}

pub(super) async fn logout(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if let Some(session) = guard::session(&headers) {
        let hash = secret::hash(session);
        app.store
            .write(move |connection| {
                accounts::end_session(connection, &hash)?;
                actor.audit(connection, "logout", "")
            })
            .await?;
    }
    Ok((cookie(&app, "", 0), Json(json!({}))).into_response())
}

pub(super) async fn me(Extension(actor): Extension<Actor>) -> Json<Identity> {
    Json(actor.identity)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePassword {
    old: Secret,
    new: Secret,
}

pub(super) async fn change_password(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(ChangePassword { old, new }): Body<ChangePassword>,
) -> Result<Json<serde_json::Value>, Refused> {
    let name = actor.identity.name.clone();
    let address = network(actor.address);
    app.limits
        .login_by_name
        .take((&name, address))
        .map_err(Refused::too_often)?;
    let asked = name.clone();
    let user = app
        .store
        .read(move |connection| accounts::user(connection, &asked))
        .await?;
    let Some((_, hash, _)) = user else {
        return Err(Refused::bad("an API token has no password"));
    };
    if !verified(&app, old, Some(hash)).await? {
        return Err(Refused::forbidden("the old password is wrong"));
    }
    app.limits.login_by_name.give_back((&name, address));
    let hash = hashed(&app, new).await?;
    app.store
        .write(move |connection| {
            accounts::set_password(connection, &name, &hash)?;
            actor.audit(connection, "password.change", "")
        })
        .await?;
    Ok(Json(json!({"sessions": "ended"})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    pub(super) name: String,
    pub(super) password: Secret,
    pub(super) role: Role,
}
