//! In which order the records of several domains are handled: that of their times, as far as a
//! bounded wait allows. Pure: times come in, a choice goes out.
//!
//! The records of one domain keep the order of their ring. A record is due when no other domain can
//! still deliver an earlier one: each other domain has a record waiting, or its watermark (every
//! record before it has been delivered) has passed. A domain that does not deliver within
//! [`MAX_WAIT`] is not waited for again until its watermark moves: its reader may be restarting.

/// Longest time a record waits for the watermark of another domain, in nanoseconds. A reader that
/// was asked to sweep answers within a fraction of it; where the machine is overloaded it may get no CPU
/// for some 10 ms, and what is told before it answers may be out of order.
pub(crate) const MAX_WAIT: u64 = 50_000_000;

/// What is known of a domain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Input {
    /// Time of its first record that waits, if one does.
    pub(crate) head: Option<u64>,
    /// Every record made before this time has been delivered.
    pub(crate) watermark: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Handle the first record of this domain.
    Take(usize),
    /// Nothing is due; ask again when something was delivered, or after so many nanoseconds.
    Wait(u64),
    /// Nothing waits.
    Empty,
}

/// Merges `N` domains.
#[derive(Clone, Debug)]
pub(crate) struct Merge<const N: usize> {
    /// The latest time handed out of each domain. Times within a ring can go back a little, since a
    /// CPU takes the time before it takes its place in the ring.
    floor: [u64; N],
    /// Domains not waited for, while their watermark is this.
    excused: [Option<u64>; N],
    stalled_since: Option<u64>,
}

impl<const N: usize> Default for Merge<N> {
    fn default() -> Self {
        Self {
            floor: [0; N],
            excused: [None; N],
            stalled_since: None,
        }
    }
}

impl<const N: usize> Merge<N> {
    /// Chooses, at `now` (the clock of the watermarks). The caller handles the record before it asks
    /// again.
    pub(crate) fn next(&mut self, inputs: &[Input; N], now: u64) -> Next {
        let due = |index: usize| {
            inputs[index]
                .head
                .map(|time| (time.max(self.floor[index]), index))
        };
        let Some((time, first)) = (0..N).filter_map(due).min() else {
            self.stalled_since = None;
            return Next::Empty;
        };
        let mut waiting = false;
        let mut late = [false; N];
        for (index, input) in inputs.iter().enumerate() {
            if self.excused[index].is_some_and(|then| then != input.watermark) {
                self.excused[index] = None;
            }
            late[index] = input.head.is_none() && input.watermark < time;
            waiting |= late[index] && self.excused[index].is_none();
        }
        if waiting {
            let since = *self.stalled_since.get_or_insert(now);
            let waited = now.saturating_sub(since);
            if waited < MAX_WAIT {
                return Next::Wait(MAX_WAIT - waited);
            }
            for (index, input) in inputs.iter().enumerate() {
                if late[index] {
                    self.excused[index] = Some(input.watermark);
                }
            }
        }
        self.stalled_since = None;
        self.floor[first] = time;
        Next::Take(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn input(head: Option<u64>, watermark: u64) -> Input {
        Input { head, watermark }
    }

    #[test]
    fn the_earliest_is_taken_once_nothing_earlier_can_come() {
        let mut merge = Merge::default();
        assert_eq!(
            merge.next(&[input(None, 0), input(None, 9)], 0),
            Next::Empty
        );
        assert_eq!(
            merge.next(&[input(Some(7), 0), input(Some(5), 0)], 0),
            Next::Take(1)
        );
        assert_eq!(
            merge.next(&[input(Some(7), 0), input(None, 6)], 0),
            Next::Wait(MAX_WAIT)
        );
        assert_eq!(
            merge.next(&[input(Some(7), 0), input(None, 7)], 1),
            Next::Take(0)
        );
    }

    #[test]
    fn a_wait_is_bounded_and_a_silent_domain_is_waited_for_once() {
        let mut merge = Merge::default();
        let silent = |time| [input(Some(time), 0), input(None, 3)];
        assert_eq!(merge.next(&silent(5), 100), Next::Wait(MAX_WAIT));
        assert_eq!(
            merge.next(&silent(5), 100 + MAX_WAIT / 2),
            Next::Wait(MAX_WAIT - MAX_WAIT / 2)
        );
        assert_eq!(merge.next(&silent(5), 100 + MAX_WAIT), Next::Take(0));
        assert_eq!(merge.next(&silent(6), 101 + MAX_WAIT), Next::Take(0));
        // It is back: from now on it is waited for.
        let back = [input(Some(9), 0), input(None, 8)];
        assert_eq!(merge.next(&back, 102 + MAX_WAIT), Next::Wait(MAX_WAIT));
    }

    proptest! {
        /// Deliveries in arbitrary portions: what comes out is sorted by time, and is everything.
        #[test]
        fn output_is_ordered_and_complete(
            steps in proptest::collection::vec((0usize..3, 1u64..50), 1..200),
            portions in proptest::collection::vec((0usize..3, 1usize..9), 0..100),
        ) {
            let mut rings: [Vec<u64>; 3] = Default::default();
            let mut time = 0;
            for (domain, step) in steps {
                time += step;
                rings[domain].push(time);
            }
            let end = time + 1;
            let expected = { let mut all = rings.concat(); all.sort_unstable(); all };
            let mut merge = Merge::<3>::default();
            let (mut delivered, mut taken, mut out) = ([0; 3], [0; 3], vec![]);
            let all = [(0, usize::MAX), (1, usize::MAX), (2, usize::MAX)];
            for (domain, portion) in portions.into_iter().chain(all) {
                let length = rings[domain].len();
                delivered[domain] = length.min(portion.saturating_add(delivered[domain]));
                loop {
                    let inputs = std::array::from_fn(|d| {
                        let ring: &Vec<u64> = &rings[d];
                        Input {
                            head: (taken[d] < delivered[d]).then(|| ring[taken[d]]),
                            watermark: *ring.get(delivered[d]).unwrap_or(&end),
                        }
                    });
                    match merge.next(&inputs, 0) {
                        Next::Take(d) => { out.push(rings[d][taken[d]]); taken[d] += 1; }
                        Next::Wait(_) | Next::Empty => break,
                    }
                }
            }
            prop_assert_eq!(out, expected);
        }

        /// Whatever the inputs, a waiting record comes out after at most `MAX_WAIT`.
        #[test]
        fn nothing_waits_longer_than_the_bound(
            heads in proptest::array::uniform3(proptest::option::of(0u64..100)),
            watermarks in proptest::array::uniform3(0u64..100),
        ) {
            let inputs = std::array::from_fn(|d| input(heads[d], watermarks[d]));
            let mut merge = Merge::<3>::default();
            let first = merge.next(&inputs, 1000);
            if let Next::Wait(limit) = first {
                prop_assert!(matches!(merge.next(&inputs, 1000 + limit), Next::Take(_)));
            } else {
                prop_assert_eq!(first == Next::Empty, heads.iter().all(Option::is_none));
            }
        }
    }
}
