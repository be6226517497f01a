//! The API of browsers and programs, below `/api/v1`. Who may use which route stands in [`routes`].

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use holdfast_wire::uplink::MAX_BUNDLE_BYTES;

use crate::app::App;
use crate::auth::Role;

mod admin;
mod alerts;
mod body;
mod compliance;
mod guard;
mod metrics;
mod policies;
mod processes;
mod rollouts;
mod sensors;
mod session;
mod stream;
mod work;

pub(crate) use admin::MAX_DAYS;
pub(crate) use alerts::shown;
use guard::{Required, required};

/// Bytes of a request's body, bundles aside.
const MAX_BODY: usize = 64 << 10;

/// Of all routes, what they take and answer; a test holds both together.
async fn described() -> impl IntoResponse {
    let description = include_str!("../../docs/openapi.json");
    ([(CONTENT_TYPE, "application/json")], description)
}

/// The routes, each with the least role that may use it.
pub(crate) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let with = |role, routes: Router<Arc<App>>| {
        let required_role = Required {
            app: app.clone(),
            role,
        };
        routes.route_layer(from_fn_with_state(required_role, required))
    };
    let anybody = Router::new()
        .route("/openapi.json", get(described))
        .route("/login", post(session::login));
    let read_only = Router::new()
        .route("/logout", post(session::logout))
        .route("/me", get(session::me))
        .route("/me/password", put(session::change_password))
        .route("/overview", get(sensors::overview))
        .route("/sensors", get(sensors::list))
        .route("/sensors/{id}", get(sensors::one))
        .route("/alerts", get(alerts::alerts))
        .route("/alerts/stream", get(stream::stream))
        .route("/alerts/{id}", get(alerts::one))
        .route("/alerts/{id}/processes", get(processes::of_alert))
        .route("/events", get(alerts::events))
        .route("/bundles", get(policies::list))
        .route("/bundles/{version}", get(policies::one))
        .route("/metrics", get(metrics::metrics))
        .route("/compliance", get(compliance::json))
        .route("/compliance.csv", get(compliance::csv))
        .route("/rollouts", get(rollouts::list))
        .route("/rollouts/{id}", get(rollouts::one));
    let analyst = Router::new()
        .route("/policies/check", post(policies::check))
        .route("/policies/dry-run", post(policies::dry_run))
        .route("/bundles", post(policies::create))
        // Twice what a bundle's policies may have: as strings in JSON they are longer.
        .layer(DefaultBodyLimit::max(2 * MAX_BUNDLE_BYTES));
    let admin = Router::new()
        .route("/assignments", put(policies::assign))
        .route("/assignments/{target}", delete(policies::unassign))
        .route("/rollouts", post(rollouts::start))
        .route("/rollouts/{id}/halt", post(rollouts::halt))
        .route("/rollouts/{id}/resume", post(rollouts::resume))
        .route("/rollouts/{id}/rollback", post(rollouts::roll_back))
        .route("/sensors/{id}", delete(sensors::remove))
        .route("/sensors/{id}/allow-enrolment", post(sensors::allow))
        .route("/sensors/{id}/tags", put(sensors::tag))
        .route("/keys", get(admin::keys).post(admin::create_key))
        .route("/keys/{id}", delete(admin::revoke_key))
        .route("/tokens", get(admin::tokens).post(admin::create_token))
        .route("/tokens/{id}", delete(admin::revoke_token))
        .route("/users", get(admin::users).post(admin::add_user))
        .route("/users/{name}", delete(admin::remove_user))
        .route("/users/{name}/role", put(admin::set_role))
        .route("/users/{name}/password", put(admin::set_password))
        .route("/audit", get(admin::audit))
        .route("/forwarding", get(admin::forwarding));
    let limited = DefaultBodyLimit::max(MAX_BODY);
    anybody
        .merge(with(Role::ReadOnly, read_only))
        .merge(with(Role::Admin, admin))
        .layer(limited)
        .merge(with(Role::Analyst, analyst))
}
