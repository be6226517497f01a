//! Who asks, and whether they may.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use crate::answer::Refused;
use crate::app::App;
use crate::auth::Role;
use crate::clock::now;
use crate::secret;
use crate::serve::Peer;
use crate::store::StoreError;
use crate::store::accounts::{self, Identity};
use crate::store::{self, Connection};
use crate::uplink::bearer;

/// Name of the session's cookie.
pub(super) const COOKIE_NAME: &str = "holdfast_session";

/// What a route asks for.
#[derive(Clone)]
pub(super) struct Required {
    pub(super) app: Arc<App>,
    pub(super) role: Role,
}

/// Whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) identity: Identity,
    pub(super) address: IpAddr,
}

impl Actor {
    /// Notes what this actor changed, within the transaction that changes it.
    pub(super) fn audit(
        &self,
        connection: &Connection,
        action: &str,
        detail: &str,
    ) -> store::Result<()> {
        let address = self.address.to_string();
        accounts::audit(
            connection,
            &self.identity.name,
            &address,
            action,
            detail,
            now(),
        )
    }

    /// Does `write`, and notes it with it, where what it is about is there; where it is not, says that it is `missing`.
    pub(super) async fn change(
        self,
        app: &App,
        (action, detail): (&'static str, String),
        missing: &'static str,
        write: impl FnOnce(&Connection) -> store::Result<bool> + Send + 'static,
    ) -> Result<Json<Value>, Refused> {
        let write = move |connection: &Connection| {
            let there = write(connection)?;
            if there {
                self.audit(connection, action, &detail)?;
            }
            Ok(there)
        };
        if app.store.write(write).await? {
            Ok(Json(json!({})))
        } else {
            Err(Refused::not_found(missing))
        }
    }
}

/// Lets a request on to its route, with its [`Actor`].
pub(super) async fn required(
    State(Required { app, role }): State<Required>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let headers = request.headers();
    // Browsers send the cookie by themselves, whoever made them ask.
    let by_cookie = bearer(headers).is_none() && session(headers).is_some();
    if by_cookie && changes(request.method()) && !is_same_origin(headers) {
        return Err(Refused::forbidden("the request comes from another site"));
    }
    let identity = identify(&app, headers).await?;
    let identity = identity.ok_or_else(|| Refused::unknown("log in first"))?;
    if identity.role < role {
        let name = identity.role.name();
        return Err(Refused::forbidden(format!(
            "this takes the role {}, yours is {name}",
            role.name()
        )));
    }
    app.limits
        .requests
        .take(&identity.name)
        .map_err(Refused::too_often)?;
    let peer = request.extensions().get::<Peer>();
    let address = peer
        .map(|peer| peer.0.ip())
        .ok_or_else(|| Refused::unknown("no address"))?;
    request.extensions_mut().insert(Actor { identity, address });
    Ok(next.run(request).await)
}

/// Who has the token, or else the session, that a request shows.
pub(super) async fn identify(
    app: &App,
    headers: &HeaderMap,
) -> Result<Option<Identity>, StoreError> {
    if let Some(token) = bearer(headers) {
        let hash = secret::hash(token);
        let find = move |connection: &_| accounts::by_token(connection, &hash, now());
        return app.store.identify(find).await;
    }
    let Some(session) = session(headers) else {
        return Ok(None);
    };
    let hash = secret::hash(session);
    let find = move |connection: &_| accounts::by_session(connection, &hash, now());
    app.store.identify(find).await
}

/// The session's secret of the cookie (RFC 6265, section 4.2).
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?.split(';');
    let mut pairs = cookies.filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, value)| value)
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the page that asked is this server's. Browsers name it with all requests that change something.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(ORIGIN), text(HOST)) else {
        return false;
    };
    // The scheme may be a proxy's affair; the host and port are as the browser sees them.
    origin
        .split_once("://")
        .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(axum::http::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn another_sites_request_is_known_by_its_origin() {
        let same = |origin: &str| is_same_origin(&headers(&[(ORIGIN, origin), (HOST, "a:5150")]));
        assert!(same("http://a:5150") && same("https://A:5150"));
        assert!(!same("http://a") && !same("http://evil/a:5150") && !same("null"));
        assert!(!is_same_origin(&headers(&[(HOST, "a:5150")])));
    }

    #[test]
    fn the_session_is_found_among_cookies() {
        let cookies = headers(&[(COOKIE, "a=1; holdfast_session=hfb_x; b=2")]);
        assert_eq!(session(&cookies), Some("hfb_x"));
        assert_eq!(session(&headers(&[(COOKIE, "xholdfast_session=1")])), None);
    }
}
