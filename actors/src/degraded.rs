//! What does not work as it should, and what the sensor has to say about itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::clock;
use crate::root::status::Degradation;

/// Notices that wait for the evaluator: far more than there are actors and hooks. Beyond it the
/// oldest is given up; `status` still shows the state.
const MAX_NOTICES: usize = 256;

/// Something that becomes a `sensor.*` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// `sensor.start`, …
    pub(crate) action: &'static str,
    /// What it is about and why, in one line.
    pub(crate) reason: String,
    /// When, nanoseconds since 1970.
    pub(crate) at: u64,
}

/// The degradations in force, and the notices not yet reported.
#[derive(Debug, Default)]
pub(crate) struct Degradations {
    state: Mutex<State>,
    arrival: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    // As many as there are actors and hooks at most; few at any time.
    in_force: Vec<Degradation>,
    notices: VecDeque<Notice>,
}

impl Degradations {
    /// `arrival` is notified of each notice.
    pub(crate) fn new(arrival: Arc<Notify>) -> Self {
        Self {
            state: Mutex::default(),
            arrival,
        }
    }

    /// `what` does not work, for this reason. Says so once, and again when the reason changes.
    pub(crate) fn set(&self, what: &str, reason: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.in_force.iter_mut().find(|entry| entry.what == what) {
            Some(entry) if entry.reason == reason => return,
            Some(entry) => reason.clone_into(&mut entry.reason),
            None => state.in_force.push(Degradation {
                what: what.to_owned(),
                reason: reason.to_owned(),
                since: clock::wall_text(),
            }),
        }
        tracing::warn!(what, reason, "degraded");
        self.push(&mut state, "sensor.degraded", format!("{what}: {reason}"));
    }

    /// `what` works.
    pub(crate) fn clear(&self, what: &str) {
        self.clear_where(|it| it == what);
    }

    /// `what`, and what is named below it by a dot, no longer are degraded, but those that are kept.
    pub(crate) fn clear_below(&self, what: &str, is_kept: impl Fn(&str) -> bool) {
        let is_below = |it: &str| {
            let rest = it.strip_prefix(what);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.clear_where(|it| is_below(it) && !is_kept(it));
    }

    fn clear_where(&self, is_over: impl Fn(&str) -> bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |entry: &mut Degradation| is_over(&entry.what);
        let over: Vec<Degradation> = state.in_force.extract_if(.., is_over).collect();
        for Degradation { what, .. } in over {
            tracing::info!(what, "recovered");
            self.push(&mut state, "sensor.recovered", what);
        }
    }

    /// Adds a notice that is no degradation.
    pub(crate) fn tell(&self, action: &'static str, reason: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.push(&mut state, action, reason);
    }

    /// What is degraded, oldest first.
    pub(crate) fn in_force(&self) -> Vec<Degradation> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .in_force
            .clone()
    }

    /// The oldest notice not yet reported.
    pub(crate) fn next_notice(&self) -> Option<Notice> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .notices
            .pop_front()
    }

    fn push(&self, state: &mut State, action: &'static str, reason: String) {
        if state.notices.len() >= MAX_NOTICES {
            state.notices.pop_front();
        }
        state.notices.push_back(Notice {
            action,
            reason,
            at: clock::wall(),
        });
        self.arrival.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let degraded = Degradations::default();
        degraded.set("sink.file", "disk full");
        degraded.set("sink.file", "disk full");
        degraded.set("sink.file", "read-only");
        assert_eq!(degraded.in_force().len(), 1);
        degraded.clear("sink.file");
        degraded.clear("sink.file");
        assert!(degraded.in_force().is_empty());
        let actions: Vec<_> = std::iter::from_fn(|| degraded.next_notice())
            .map(|notice| notice.action)
            .collect();
        assert_eq!(
            actions,
            ["sensor.degraded", "sensor.degraded", "sensor.recovered"]
        );
    }

    #[test]
    fn notices_are_bounded() {
        let degraded = Degradations::default();
        for n in 0..2 * MAX_NOTICES {
            degraded.tell("sensor.restart", n.to_string());
        }
        assert_eq!(
            degraded.next_notice().unwrap().reason,
            MAX_NOTICES.to_string()
        );
    }
}
