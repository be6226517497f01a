//! What is delivered at a time.

use std::time::Duration;

use crate::store::events::Found;

/// Milliseconds of an hour.
const HOUR: i64 = 60 * 60 * 1000;

/// How much a destination takes at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Events at most, …
    pub(super) events: usize,
    /// … and bytes of them, unless a single one is larger.
    pub(super) bytes: usize,
    /// How long an event is kept for more to come.
    pub(super) patience: Duration,
    /// Whether all of a batch is of one hour, by when it was received.
    pub(super) by_hour: bool,
}

/// Events that are delivered together, in their order. Once it is closed it is the same at each attempt.
#[derive(Default)]
pub(super) struct Batch {
    events: Vec<Found>,
    bytes: usize,
    is_closed: bool,
}

impl Batch {
    pub(super) fn events(&self) -> &[Found] {
        &self.events
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the next event, if there is room; else the batch is closed.
    pub(super) fn take(&mut self, found: Found, terms: &Terms) {
        if let Some(first) = self.events.first() {
            let is_of_another_hour = found.received / HOUR != first.received / HOUR;
            self.is_closed |= self.events.len() >= terms.events
                || self.bytes + found.body.len() > terms.bytes
                || (terms.by_hour && is_of_another_hour);
        }
        if self.is_closed {
            return;
        }
        self.bytes += found.body.len();
        self.events.push(found);
        self.is_closed = self.events.len() >= terms.events || self.bytes >= terms.bytes;
    }

    /// Closes it where its first event has waited for long enough at `now`, in milliseconds since 1970, or came from what is
    /// the future by a clock that was put back.
    pub(super) fn close_if_due(&mut self, terms: &Terms, now: i64) {
        let patience = i64::try_from(terms.patience.as_millis()).unwrap_or(i64::MAX);
        if let Some(first) = self.events.first() {
            let waited = now.saturating_sub(first.received);
            self.is_closed |= !(0..patience).contains(&waited);
        }
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        events: 3,
        bytes: 10,
        patience: Duration::from_secs(5),
        by_hour: true,
    };

    fn found(id: i64, received: i64, bytes: usize) -> Found {
        Found {
            id,
            time: 0,
            received,
            sensor_id: String::new(),
            host_name: String::new(),
            body: "x".repeat(bytes),
        }
    }

    /// How many of these events, by when they were received and their bytes, become a batch, and whether it is closed.
    fn of(events: &[(i64, usize)]) -> (usize, bool) {
        let mut batch = Batch::default();
        for (id, (received, bytes)) in (1..).zip(events) {
            batch.take(found(id, *received, *bytes), &TERMS);
        }
        (batch.events().len(), batch.is_closed())
    }

    #[test]
    fn it_ends_where_there_is_no_room() {
        assert_eq!(of(&[(0, 1), (0, 1)]), (2, false));
        assert_eq!(of(&[(0, 1), (0, 1), (0, 1), (0, 1)]), (3, true));
        assert_eq!(of(&[(0, 6), (0, 6), (0, 1)]), (1, true));
        assert_eq!(of(&[(0, 6), (0, 4)]), (2, true));
        assert_eq!(of(&[(0, 99)]), (1, true));
    }

    #[test]
    fn it_ends_with_the_hour() {
        assert_eq!(of(&[(HOUR - 1, 1), (HOUR, 1), (HOUR - 1, 1)]), (1, true));
        assert_eq!(of(&[(HOUR, 1), (HOUR + 1, 1)]), (2, false));
    }

    #[test]
    fn it_waits_no_longer_than_it_may() {
        let mut batch = Batch::default();
        batch.close_if_due(&TERMS, HOUR);
        assert!(!batch.is_closed());
        batch.take(found(1, 1000, 1), &TERMS);
        batch.close_if_due(&TERMS, 5_999);
        assert!(!batch.is_closed());
        batch.close_if_due(&TERMS, 6_000);
        assert!(batch.is_closed());
        let mut batch = Batch::default();
        batch.take(found(1, 1000, 1), &TERMS);
        batch.close_if_due(&TERMS, 999);
        assert!(batch.is_closed());
    }
}
