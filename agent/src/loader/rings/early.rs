//! What was let go of for want of room in a ring, and is not known to be done with: so many records of each kind, by when
//! they were made.

use std::collections::VecDeque;

use holdfast_wire::Kind;
use holdfast_wire::kind::KINDS;

/// Records that are done with together.
const SPAN: u64 = 256;
/// Spans of a kind. When a sink hangs there would be more without end: the last one then grows.
const MAX_SPANS: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Early([VecDeque<Span>; KINDS]);

#[derive(Debug)]
struct Span {
    /// When the latest of them was made, nanoseconds of boot time.
    until: u64,
    records: u64,
}

impl Early {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| VecDeque::new()))
    }

    /// One more, made at `time`.
    pub(super) fn add(&mut self, kind: Kind, time: u64) {
        let spans = &mut self.0[kind.index()];
        let is_full = spans.len() >= MAX_SPANS;
        match spans.back_mut() {
            Some(last) if last.records < SPAN || is_full => {
                last.until = last.until.max(time);
                last.records += 1;
            }
            _ => spans.push_back(Span {
                until: time,
                records: 1,
            }),
        }
    }

    /// Everything made before `until` is done with: calls `done` with how many these were of each kind.
    pub(super) fn release(&mut self, until: u64, mut done: impl FnMut(Kind, u64)) {
        for kind in Kind::ALL {
            let spans = &mut self.0[kind.index()];
            while let Some(span) = spans.pop_front_if(|span| span.until < until) {
                done(*kind, span.records);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(early: &mut Early, until: u64) -> u64 {
        let mut all = 0;
        early.release(until, |kind, records| {
            assert_eq!(kind, Kind::FileOpen);
            all += records;
        });
        all
    }

    #[test]
    fn a_span_is_done_with_when_its_last_record_is() {
        let mut early = Early::new();
        for time in 0..SPAN + 10 {
            early.add(Kind::FileOpen, time);
        }
        assert_eq!(released(&mut early, SPAN - 1), 0);
        assert_eq!(released(&mut early, SPAN), SPAN);
        assert!(!early.is_empty());
        assert_eq!(released(&mut early, u64::MAX), 10);
        assert!(early.is_empty());
    }

    #[test]
    fn what_is_never_done_with_takes_no_more_room() {
        let mut early = Early::new();
        let records = 2 * SPAN * MAX_SPANS as u64;
        for time in 0..records {
            early.add(Kind::FileOpen, time);
        }
        assert_eq!(early.0[Kind::FileOpen.index()].len(), MAX_SPANS);
        assert_eq!(released(&mut early, records), records);
    }
}
