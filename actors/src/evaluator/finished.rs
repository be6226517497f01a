//! Up to when everything is done with: judged, and written where it is to last. Pure.
//!
//! What was made before that time need not be kept in the rings for a process after this one.

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Finished {
    until: u64,
    /// What was judged, and is being written.
    writing: Option<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Everything before this time was judged.
    judged: u64,
    /// When so many were settled.
    offered: u64,
}

impl Finished {
    /// Everything before `judged` was judged; the sink was offered so many events until now, of which so many are
    /// settled: written or given up. Returns up to when everything is done with.
    pub(crate) fn advance(&mut self, judged: u64, offered: u64, settled: u64) -> u64 {
        if let Some(mark) = self.writing.filter(|mark| settled >= mark.offered) {
            self.until = mark.judged;
            self.writing = None;
        }
        if settled >= offered {
            self.until = self.until.max(judged);
        } else if self.writing.is_none() {
            self.writing = Some(Mark { judged, offered });
        }
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_judged_is_done_once_it_is_written() {
        let mut finished = Finished::default();
        assert_eq!(finished.advance(10, 3, 3), 10);
        assert_eq!(finished.advance(20, 5, 3), 10);
        // More is judged while the first is being written.
        assert_eq!(finished.advance(30, 9, 4), 10);
        assert_eq!(finished.advance(40, 9, 5), 20);
        assert_eq!(finished.advance(50, 9, 8), 20);
        assert_eq!(finished.advance(60, 9, 9), 60);
    }
}
