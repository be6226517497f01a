//! What takes a core for a while: policies that are compiled, bundles that are read.

use std::time::Duration;

use crate::answer::Refused;
use crate::app::App;

/// How long somebody waits for a turn.
const TURN: Duration = Duration::from_secs(5);

/// Does `work` off the threads that serve, a bounded number at a time, so that the store and frames have theirs.
pub(super) async fn done<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    let turn = app.limits.compiled_at_once.clone().acquire_owned();
    let turn = tokio::time::timeout(TURN, turn).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Refused::busy());
    };
    let work = move || {
        let done = work();
        // Not earlier, also when whoever asked has gone away.
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Refused::busy())
}
