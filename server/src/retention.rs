//! What is not kept: events that are too old, and the oldest where the store is too large.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::app::App;
use crate::clock::{DAY, now};
use crate::store::events::{self, Removed};
use crate::store::{self, Connection, StoreError};

/// Between two looks for events that are old enough to be deleted.
const AGE_INTERVAL: Duration = Duration::from_secs(60);
/// Between two looks at the size: at most some hundred MiB come meanwhile.
const SIZE_INTERVAL: Duration = Duration::from_secs(5);
/// The same where nothing could be removed.
const NO_ROOM_INTERVAL: Duration = Duration::from_secs(600);
/// Between two transactions that delete, so that what sensors send comes in between.
const PAUSE: Duration = Duration::from_millis(50);
/// A store that is too large is emptied by this part of what it may have, so that it is not too large again at once.
const SPARE: i64 = 20;

/// How many were removed for the store's size since this server started.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) events: AtomicU64,
    pub(crate) alerts: AtomicU64,
}

/// Deletes what is older than so many days, a little at a time, and has room for what comes.
pub(crate) async fn by_age(app: Arc<App>, days: i64) {
    loop {
        let before = now() - days * DAY;
        // By itself: deleting may have to wait for those who read, for long.
        let prepare = |connection: &Connection| store::prepare(connection, now());
        if let Err(error) = app.store.write(prepare).await {
            tracing::warn!("room for the next events could not be made: {error}");
        }
        let delete = move |connection: &Connection| events::delete_before(connection, before);
        let pause = match app.store.write(delete).await {
            Ok(true) => PAUSE,
            Ok(false) => AGE_INTERVAL,
            Err(error) => {
                tracing::warn!("old events could not be deleted: {error}");
                AGE_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Keeps the store's content below so many bytes.
pub(crate) async fn by_size(app: Arc<App>, most: i64) {
    let mut passed = 0;
    loop {
        let pause = match make_room(&app, most, &mut passed).await {
            Ok(true) => SIZE_INTERVAL,
            Ok(false) => {
                tracing::error!(
                    "the store is larger than --max-size, and has nothing that may be removed"
                );
                NO_ROOM_INTERVAL
            }
            Err(error) => {
                tracing::warn!("a store that is too large could not be made smaller: {error}");
                SIZE_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Removes events until there is room, if there is too little; whether there is. `passed`: see [`events::make_room`].
async fn make_room(app: &App, most: i64, passed: &mut i64) -> Result<bool, StoreError> {
    let mut size = app.store.read(events::size).await?;
    if size <= most {
        return Ok(true);
    }
    let (enough, mut sum) = (most - most / SPARE, Removed::default());
    while size > enough {
        let before = *passed;
        let make = move |connection: &Connection| {
            let mut passed = before;
            let removed = events::make_room(connection, &mut passed, now())?;
            Ok((removed, passed, events::size(connection)?))
        };
        let (removed, until, left) = app.store.write(make).await?;
        let is_empty = until == before && removed == Removed::default();
        (*passed, size) = (until, left);
        sum.events += removed.events;
        sum.alerts += removed.alerts;
        let Totals { events, alerts } = &app.removed;
        events.fetch_add(removed.events as u64, Ordering::Relaxed);
        alerts.fetch_add(removed.alerts as u64, Ordering::Relaxed);
        if is_empty {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if sum != Removed::default() {
        let Removed { events, alerts } = sum;
        tracing::warn!(
            "the store was larger than --max-size: {events} of the oldest events and {alerts} alerts were removed"
        );
    }
    Ok(size <= most)
}
