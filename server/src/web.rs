//! What browsers and programs get: the pages, the API, and what is true of every answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};

use crate::answer::Refused;
use crate::app::App;
use crate::auth::limit::network;
use crate::serve::Peer;
use crate::{api, uplink};

/// How long a request may take until its answer begins; a frame that comes slowly and waits for the store is within.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// For how long the store is taken for ready once it was.
const READY_TIME: Duration = Duration::from_secs(1);

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Everything that is served.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for asset in &ASSETS {
        router = router.route(asset.path, get(|| async { page(asset) }));
    }
    router
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .nest(holdfast_wire::uplink::PREFIX, uplink::routes(&app))
        .nest("/api/v1", api::routes(&app))
        .fallback(|| async { Refused::not_found("there is nothing at this path") })
        .layer(from_fn_with_state(app.clone(), guessing_limited))
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(app.clone(), with_headers))
        .layer(from_fn_with_state(app.clone(), from_client))
        .with_state(app)
}

/// A file that is part of the program.
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const IMAGE: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            text: include_str!(concat!("../web/", $file)),
        }
    };
}

const ASSETS: [Asset; 14] = [
    asset!("/", HTML, "index.html"),
    asset!("/assets/style.css", CSS, "style.css"),
    asset!("/assets/icon.svg", IMAGE, "icon.svg"),
    asset!("/assets/main.js", SCRIPT, "main.js"),
    asset!("/assets/api.js", SCRIPT, "api.js"),
    asset!("/assets/element.js", SCRIPT, "element.js"),
    asset!("/assets/fleet.js", SCRIPT, "fleet.js"),
    asset!("/assets/alerts.js", SCRIPT, "alerts.js"),
    asset!("/assets/events.js", SCRIPT, "events.js"),
    asset!("/assets/policies.js", SCRIPT, "policies.js"),
    asset!("/assets/dryrun.js", SCRIPT, "dryrun.js"),
    asset!("/assets/compliance.js", SCRIPT, "compliance.js"),
    asset!("/assets/rollouts.js", SCRIPT, "rollouts.js"),
    asset!("/assets/admin.js", SCRIPT, "admin.js"),
];

fn page(asset: &'static Asset) -> Response {
    ([(CONTENT_TYPE, asset.kind)], asset.text).into_response()
}

/// Anybody may ask: the store is asked once a second, by one of them.
async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Refused> {
    let mut was_ready = app.was_ready.lock().await;
    if was_ready.is_none_or(|at| at.elapsed() > READY_TIME) {
        *was_ready = None;
        app.store
            .read(|connection| connection.batch("SELECT 1"))
            .await?;
        *was_ready = Some(Instant::now());
    }
    Ok("ready\n")
}

/// Refuses addresses that show too many tokens which nobody has, sensors' as programs'. A token that somebody has is never refused
/// for what others at its address show.
async fn guessing_limited(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let shows_token = uplink::bearer(request.headers()).is_some();
    let answer = next.run(request).await;
    if !shows_token || answer.status() != StatusCode::UNAUTHORIZED {
        return answer;
    }
    let address = network(peer.ip());
    match app.limits.unknown_tokens.take(address) {
        Ok(()) => answer,
        Err(wait) => {
            if app.limits.guesses_noted.take(address).is_ok() {
                tracing::warn!("{} shows many tokens that nobody has", peer.ip());
            }
            Refused::too_often(wait).into_response()
        }
    }
}

/// Has a request come from the client rather than from the proxy.
async fn from_client(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if app.behind_proxy
        && let Some(client) = forwarded_for(request.headers())
    {
        // Its port is not told.
        let client = Peer(SocketAddr::new(client, 0));
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

/// The last address: the proxy's own word, where those before may be the client's.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Refused::busy().into_response(),
    }
}

/// What the framework refuses by itself, in this server's form.
fn in_words(answer: Response) -> Response {
    let status = answer.status();
    let is_json = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == JSON);
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let reason = status
        .canonical_reason()
        .unwrap_or("refused")
        .to_lowercase();
    let mut refused = Refused::new(status, reason).into_response();
    if let Some(allowed) = answer.headers().get(ALLOW) {
        refused.headers_mut().insert(ALLOW, allowed.clone());
    }
    refused
}

async fn with_headers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut answer = in_words(next.run(request).await);
    let headers = answer.headers_mut();
    let always: [(HeaderName, &'static str); 7] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        // Neither what is secret nor the pages of an earlier version.
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if app.secure {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
    answer
}
