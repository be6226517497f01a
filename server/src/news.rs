//! That there are new alerts, of whichever server they came to.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::store::events;

/// Between two looks for what other servers stored.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks for what this one stored: a follower waits for longer than that.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells followers of alerts until the server ends.
pub(crate) async fn watch(app: Arc<App>) {
    loop {
        let _ = tokio::time::timeout(LOOK, app.news.notified()).await;
        // Where the store fails there is another look.
        if let Ok(last) = app.store.read(events::last_alert).await {
            app.last_alert.send_if_modified(|known| {
                let later = last > *known;
                *known = last.max(*known);
                later
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
