//! Alerts as they are stored: server-sent events
//! ([HTML](https://html.spec.whatwg.org/multipage/server-sent-events.html)).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::alerts::{Query, shown};
use super::body::Asked;
use super::guard::{self, Actor};
use crate::answer::Refused;
use crate::app::App;
use crate::store::Connection;
use crate::store::events::{self, Filter, Found, Most};

/// Alerts that are read at a time: a follower may have as many bytes in memory.
const PAGE: Most = Most {
    events: 100,
    bytes: 1 << 20,
};
/// Between two looks: nobody reads faster.
const PAUSE: Duration = Duration::from_millis(250);
/// For so long a session that has ended keeps its place at most.
const LOOK: Duration = Duration::from_secs(60);
/// Between two comments that keep proxies from ending a quiet connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Follower {
    app: Arc<App>,
    filter: Filter,
    last: watch::Receiver<i64>,
    /// Read, and to be sent.
    read: VecDeque<Event>,
    /// What says for whom.
    headers: HeaderMap,
    _place: OwnedSemaphorePermit,
}

/// The alerts that meet the query, from now on, or from behind the one that `Last-Event-ID` names.
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Asked(query): Asked<Query>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refused> {
    let mut filter = query.filter(true)?;
    let place = app
        .limits
        .followers
        .clone()
        .try_acquire_owned()
        .map_err(|_| Refused::busy())?;
    let mut last = app.last_alert.subscribe();
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    filter.after = Some(seen.unwrap_or_else(|| *last.borrow()));
    // What came while the browser was away is looked for at once.
    last.mark_changed();
    tracing::debug!("{} follows the alerts", actor.identity.name);
    let follower = Follower {
        app,
        filter,
        last,
        read: VecDeque::new(),
        headers,
        _place: place,
    };
    let comments = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(unfold(follower, next)).keep_alive(comments))
}

/// The next alert, when there is one; `None` when the session, the token or the server ends.
async fn next(mut follower: Follower) -> Option<(Result<Event, Infallible>, Follower)> {
    while follower.read.is_empty() {
        let news = tokio::time::timeout(LOOK, follower.last.changed()).await;
        if let Ok(news) = &news {
            news.as_ref().ok()?;
            tokio::time::sleep(PAUSE).await;
        }
        let last = *follower.last.borrow_and_update();
        // It may have been taken away meanwhile.
        guard::identify(&follower.app, &follower.headers)
            .await
            .ok()??;
        if news.is_err() {
            continue;
        }
        let filter = follower.filter.clone();
        let find = move |connection: &Connection| {
            let page = events::find(connection, &filter, PAGE)?;
            let until = page.events.last().map(|found| found.id);
            Ok((page.more, until, page.events.iter().map(told).collect()))
        };
        // Where the store fails the browser asks again, with the last one that it got.
        let (more, until, read) = follower.app.store.read(find).await.ok()?;
        if more {
            follower.last.mark_changed();
            follower.filter.after = until;
        } else {
            // Nothing before this is of interest any more.
            follower.filter.after = Some(last.max(until.unwrap_or(0)));
        }
        follower.read = read;
    }
    follower.read.pop_front().map(|event| (Ok(event), follower))
}

/// An alert as it is sent.
fn told(found: &Found) -> Event {
    let shown = serde_json::to_value(shown(found, found.event()).placed(found)).unwrap_or_default();
    // Written anew: the sensor's own text may have line breaks.
    let event = Event::default().id(found.id.to_string()).event("alert");
    event.data(shown.to_string())
}
