//! Which sequences of a stream were stored, as ranges: what came twice is known by them, whichever partition has it.

/// Ranges that are kept. A sensor's sequences have a gap where it lost something, and increase: the lowest gaps are those that
/// nothing comes for any more.
const MAX_RANGES: usize = 1000;

/// A set of sequences: its ranges, both ends included, increasing and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    /// Of its text, such as `1-50 60-60`; `None` for what is none.
    pub(super) fn of(text: &str) -> Option<Self> {
        let range = |text: &str| {
            let (first, last) = text.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        text.split_ascii_whitespace()
            .map(range)
            .collect::<Option<_>>()
            .map(Self)
    }

    pub(super) fn text(&self) -> String {
        let ranges = self.0.iter().map(|(first, last)| format!("{first}-{last}"));
        ranges.collect::<Vec<_>>().join(" ")
    }

    /// Takes a sequence in; false where it was in already.
    pub(super) fn insert(&mut self, sequence: i64) -> bool {
        // The first range that ends at the one before it, or later.
        let at = self.0.partition_point(|(_, last)| *last < sequence - 1);
        match self.0.get_mut(at) {
            Some((first, last)) if (*first..=*last).contains(&sequence) => return false,
            Some((_, last)) if *last == sequence - 1 => {
                *last = sequence;
                if let Some((first, end)) = self.0.get(at + 1).copied()
                    && first == sequence + 1
                {
                    self.0[at].1 = end;
                    self.0.remove(at + 1);
                }
            }
            Some((first, _)) if *first == sequence + 1 => *first = sequence,
            _ => self.0.insert(at, (sequence, sequence)),
        }
        self.close_lowest_gap();
        true
    }

    /// Takes in a range that is above all others, and apart from them.
    pub(super) fn append(&mut self, first: i64, last: i64) {
        self.0.push((first, last));
        self.close_lowest_gap();
    }

    fn close_lowest_gap(&mut self) {
        if self.0.len() > MAX_RANGES {
            self.0[1].0 = self.0[0].0;
            self.0.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_is_taken_once_in_any_order() {
        let mut ranges = Ranges::default();
        let mut known = BTreeSet::new();
        let mut state = 7_u64;
        for _ in 0..5000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let sequence = (state >> 33) as i64 % 900 + 1;
            assert_eq!(
                ranges.insert(sequence),
                known.insert(sequence),
                "{sequence}"
            );
            assert_eq!(Ranges::of(&ranges.text()).as_ref(), Some(&ranges));
        }
        let apart = ranges.0.windows(2).all(|two| two[0].1 + 1 < two[1].0);
        assert!(apart && ranges.0.iter().all(|(first, last)| first <= last));
        let all = ranges.0.iter().map(|(first, last)| last - first + 1);
        assert_eq!(all.sum::<i64>(), known.len() as i64);
    }

    #[test]
    fn they_are_bounded() {
        let mut ranges = Ranges::default();
        for sequence in (1..).step_by(2).take(MAX_RANGES * 2) {
            assert!(ranges.insert(sequence));
        }
        assert_eq!(ranges.0.len(), MAX_RANGES);
        assert!(
            !ranges.insert(2) && !ranges.insert(1999),
            "the lowest gaps are closed"
        );
        assert!(ranges.insert(3998));
    }

    #[test]
    fn a_text_that_is_none_is_none() {
        assert_eq!(Ranges::of(""), Some(Ranges::default()));
        assert_eq!(Ranges::of("1-2 x"), None);
    }
}
