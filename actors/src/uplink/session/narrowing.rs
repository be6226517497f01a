//! One event that the server never takes should not take others with it: what is refused is sent again by halves, until
//! the one is found.

/// How many entries of a priority go at a time.
#[derive(Debug, Default)]
pub(super) struct Narrowing(Option<Narrowed>);

#[derive(Debug)]
struct Narrowed {
    most: usize,
    /// The last sequence of what was refused first.
    until: u64,
}

impl Narrowing {
    /// How many, where `most` would go otherwise.
    pub(super) fn most(&self, most: usize) -> usize {
        self.0.as_ref().map_or(most, |it| it.most.min(most))
    }

    /// Everything up to this sequence is with the server.
    pub(super) fn sent(&mut self, last: u64) {
        self.0.take_if(|it| last >= it.until);
    }

    /// So many entries up to this sequence are refused; whether it is one, which is to be given up.
    pub(super) fn refused(&mut self, count: usize, last: u64) -> bool {
        if count <= 1 {
            self.0 = None;
            return true;
        }
        let until = self.0.as_ref().map_or(last, |it| it.until);
        let most = count / 2;
        self.0 = Some(Narrowed { most, until });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is lost of `count` events, and how many requests it takes, where the server refuses those that meet `refuses`.
    fn lost(count: u64, refuses: impl Fn(&[u64]) -> bool) -> (Vec<u64>, u32) {
        let (mut waiting, mut lost): (Vec<u64>, _) = ((1..=count).collect(), Vec::new());
        let (mut narrowing, mut requests) = (Narrowing::default(), 0);
        while !waiting.is_empty() {
            let batch = &waiting[..narrowing.most(1000).min(waiting.len())];
            let (count, last) = (batch.len(), batch[batch.len() - 1]);
            requests += 1;
            if !refuses(batch) {
                narrowing.sent(last);
            } else if narrowing.refused(count, last) {
                lost.push(last);
            } else {
                continue;
            }
            waiting.drain(..count);
        }
        (lost, requests)
    }

    #[test]
    fn only_what_is_refused_by_itself_is_lost() {
        let bad = [7, 8, 999, 1000, 2500];
        let (lost, requests) = lost(3000, |batch| batch.iter().any(|it| bad.contains(it)));
        assert_eq!(lost, bad);
        assert!(requests < 120, "{requests}");
    }

    #[test]
    fn what_is_too_large_together_goes_in_parts() {
        let (lost, requests) = lost(2000, |batch| batch.len() > 300);
        assert_eq!(lost, [0; 0]);
        assert!(requests < 20, "{requests}");
    }
}
