//! What a monitoring system asks for, in the [text format of OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::answer::Refused;
use crate::app::App;
use crate::store::events;

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How large the store is, and what was removed for that.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refused> {
    let size = app.store.read(events::size).await?;
    let mut text = format!(
        "# TYPE holdfast_server_store_bytes gauge\n\
         # UNIT holdfast_server_store_bytes bytes\n\
         # HELP holdfast_server_store_bytes What the store has in it.\n\
         holdfast_server_store_bytes {size}\n"
    );
    if let Some(most) = app.max_size {
        let _ = write!(
            text,
            "# TYPE holdfast_server_store_max_bytes gauge\n\
             # UNIT holdfast_server_store_max_bytes bytes\n\
             # HELP holdfast_server_store_max_bytes What it may have, by --max-size.\n\
             holdfast_server_store_max_bytes {most}\n"
        );
    }
    text += "# TYPE holdfast_server_removed_events counter\n\
             # HELP holdfast_server_removed_events Removed since the start, for the size of the store.\n";
    let removed = [
        ("event", &app.removed.events),
        ("alert", &app.removed.alerts),
    ];
    for (kind, count) in removed {
        let count = count.load(Ordering::Relaxed);
        let _ = writeln!(
            text,
            "holdfast_server_removed_events_total{{kind=\"{kind}\"}} {count}"
        );
    }
    text += "# EOF\n";
    Ok(([(CONTENT_TYPE, TEXT)], text))
}
