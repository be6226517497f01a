//! The service manager's protocol (sd_notify(3)), and when its watchdog is fed: only while every
//! actor gets on. Without a service manager all of it does nothing.

use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Without word from the root for this long that all get on, only a restart of the sensor helps. The root looks every five
/// seconds, and gives an actor that it has to end as long.
pub(crate) const STUCK: Duration = Duration::from_secs(15);

/// When to feed the watchdog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watchdog {
    /// Half of what the service manager allows, as sd_watchdog_enabled(3) advises; `None`: it does
    /// not watch.
    interval: Option<Duration>,
    fed: Option<Instant>,
}

impl Watchdog {
    /// As `WATCHDOG_USEC` says.
    pub(crate) fn of_environment() -> Self {
        Self {
            interval: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            fed: None,
        }
    }

    /// How long until the next look may be put off.
    pub(crate) fn interval(&self) -> Duration {
        // A look costs a few system calls; more than ten a second would be a mistake.
        self.interval
            .unwrap_or(Duration::MAX)
            .max(Duration::from_millis(100))
    }

    /// Whether to feed it now; takes it for fed if so.
    pub(crate) fn is_due(&mut self, now: Instant, progresses: bool) -> bool {
        let Some(interval) = self.interval.filter(|_| progresses) else {
            return false;
        };
        // A little early rather than late: looks come at intervals of their own.
        let due = self
            .fed
            .is_none_or(|fed| now.duration_since(fed) + interval / 4 >= interval);
        if due {
            self.fed = Some(now);
        }
        due
    }
}

/// The hooks are attached, or it is known why not.
pub(crate) fn tell_ready() {
    tell(NotifyState::Ready);
}

/// The sensor is stopping.
pub(crate) fn tell_stopping() {
    tell(NotifyState::Stopping);
}

/// Progress was made.
pub(crate) fn tell_alive() {
    tell(NotifyState::Watchdog);
}

/// One line for people.
pub(crate) fn tell_status(line: &str) {
    tell(NotifyState::Status(line));
}

/// Messages that wait for a service manager that does not read; more are not sent.
const WAITING: usize = 16;

/// The way to the thread that sends. Sending blocks while the service manager's socket is full, and
/// no worker of the runtime may wait for that. `None` without a service manager.
static MESSENGER: LazyLock<Option<SyncSender<String>>> = LazyLock::new(|| {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (sender, receiver) = sync_channel::<String>(WAITING);
    let send = move || {
        for message in receiver {
            // The service manager restarts what it does not hear of: nothing else is to be done.
            if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&message)]) {
                tracing::debug!(%error, "cannot reach the service manager");
            }
        }
    };
    let thread = std::thread::Builder::new().name("sd-notify".to_owned());
    thread.spawn(send).ok().map(|_| sender)
});

fn tell(state: NotifyState<'_>) {
    if let Some(messenger) = &*MESSENGER
        && messenger.try_send(state.to_string()).is_err()
    {
        tracing::debug!("the service manager does not read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fed_in_time_and_only_on_progress() {
        let start = Instant::now();
        let mut watchdog = Watchdog {
            interval: Some(Duration::from_secs(10)),
            fed: None,
        };
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!watchdog.is_due(at(0), false));
        assert!(watchdog.is_due(at(0), true));
        assert!(!watchdog.is_due(at(7), true));
        assert!(watchdog.is_due(at(8), true));
        assert!(!watchdog.is_due(at(30), false));
        assert!(watchdog.is_due(at(31), true));
        let mut none = Watchdog {
            interval: None,
            fed: None,
        };
        assert!(!none.is_due(at(0), true));
    }
}
