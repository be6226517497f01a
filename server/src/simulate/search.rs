//! Looks for the highest rate that holds, as pure arithmetic.

/// Events a second of the first attempt, by the whole fleet.
const FIRST: f64 = 500.0;
/// Where it ends: no single machine goes that far.
const MOST: f64 = 10_000_000.0;
/// It has been found when the lowest that did not hold is so little above the highest that did.
const CLOSE: f64 = 1.15;
/// Below this nothing holds at all.
const LEAST: f64 = 1.0;

/// What is known so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Search {
    /// The highest that held.
    held: Option<f64>,
    /// The lowest that did not.
    failed: Option<f64>,
}

impl Search {
    /// The rate to try next, events a second; `None` when it has been found.
    pub(super) fn next(&self) -> Option<f64> {
        let next = match (self.held, self.failed) {
            (None, None) => FIRST,
            (Some(held), None) => held * 2.0,
            (None, Some(failed)) => failed / 4.0,
            (Some(held), Some(failed)) if failed / held <= CLOSE => return None,
            (Some(held), Some(failed)) => (held * failed).sqrt(),
        };
        (LEAST..=MOST).contains(&next).then_some(next)
    }

    /// What came of trying `rate`.
    pub(super) fn tried(&mut self, rate: f64, holds: bool) {
        if holds {
            self.held = Some(self.held.map_or(rate, |held| held.max(rate)));
        } else {
            self.failed = Some(self.failed.map_or(rate, |failed| failed.min(rate)));
        }
    }

    /// The highest that held.
    pub(super) const fn found(&self) -> Option<f64> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_found_in_a_few_attempts() {
        for limit in [3.0, 499.0, 7_300.0, 200_000.0] {
            let mut search = Search::default();
            let mut attempts = 0;
            while let Some(rate) = search.next() {
                search.tried(rate, rate <= limit);
                attempts += 1;
            }
            let found = search.found().unwrap();
            assert!(found <= limit && found * CLOSE >= limit, "{limit}: {found}");
            assert!(attempts <= 16, "{limit}: {attempts}");
        }
    }

    #[test]
    fn it_ends_where_nothing_holds_and_where_all_does() {
        for holds in [false, true] {
            let mut search = Search::default();
            while let Some(rate) = search.next() {
                search.tried(rate, holds);
            }
            assert_eq!(search.found().is_some(), holds);
        }
    }
}
