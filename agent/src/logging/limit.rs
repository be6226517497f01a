//! How many lines one place in the code may log, so that what happens a thousand times a second fills no disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one place within [`WINDOW`]: more than there are hooks, each of which may say once why it is not attached.
const MOST: u32 = 100;
const WINDOW: Duration = Duration::from_secs(10);

/// Lets the first lines of each window through; how many it left out is said with the place's next line. What is below
/// `info` is logged in full: somebody asked for it.
#[derive(Debug, Default)]
pub(super) struct Limit(Mutex<HashMap<Identifier, Window>>);

/// What one place logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    began: Instant,
    lines: u32,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is logged.
    Logged,
    /// It is logged, and so many before it were not.
    LoggedAfter(u32),
    LeftOut,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            lines: 0,
        }
    }

    /// One more line.
    fn add(&mut self, now: Instant) -> Fate {
        let before = self.lines.saturating_sub(MOST);
        if now.saturating_duration_since(self.began) >= WINDOW {
            *self = Self::new(now);
            self.lines = 1;
            return match before {
                0 => Fate::Logged,
                left_out => Fate::LoggedAfter(left_out),
            };
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines > MOST {
            Fate::LeftOut
        } else {
            Fate::Logged
        }
    }
}

impl<S: Subscriber> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // The order of levels is that of how much they say.
        if *metadata.level() > Level::INFO {
            return true;
        }
        let now = Instant::now();
        let fate = {
            // As many as there are places in the code.
            let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let window = windows.entry(metadata.callsite());
            window.or_insert_with(|| Window::new(now)).add(now)
        };
        if let Fate::LoggedAfter(left_out) = fate {
            tracing::warn!(left_out, "lines like the next were left out");
        }
        fate != Fate::LeftOut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_window_are_logged_and_the_rest_is_counted() {
        let begin = Instant::now();
        let mut window = Window::new(begin);
        let fates: Vec<Fate> = (0..MOST + 7).map(|_| window.add(begin)).collect();
        let (logged, left_out) = fates.split_at(MOST as usize);
        assert!(logged.iter().all(|fate| *fate == Fate::Logged));
        assert!(left_out.iter().all(|fate| *fate == Fate::LeftOut));
        let later = begin + WINDOW;
        assert_eq!(window.add(later), Fate::LoggedAfter(7));
        assert_eq!(window.add(later), Fate::Logged);
        assert_eq!(window.add(later + WINDOW), Fate::Logged);
    }
}
