//! What was read of processes, for when they are gone.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fanotify::proc::Facts;

/// Processes there is room for: twice the default `pid_max` of 32,768. One beyond is read from `/proc`
/// for each of its events.
const PROCESSES: usize = 65_536;

/// A process.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// As they were when they were last read.
    pub(crate) facts: Facts,
    /// Number of the program it runs.
    pub(crate) program: u32,
    /// Path of its executable, if it was needed already.
    pub(crate) executable: Option<Arc<[u8]>>,
    /// Its first thread has ended.
    pub(crate) ended: Option<Ended>,
}

/// How the threads of a process have ended so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// As `wait(2)` sees it.
    pub(crate) status: u32,
    /// When the last of them did.
    pub(crate) time: u64,
}

impl Ended {
    /// One more thread has ended. What ended all at once is the status of each of them, and of the
    /// process; else it is that of the first thread.
    pub(crate) fn and(self, status: u32, time: u64) -> Self {
        let status = if status == 0 { self.status } else { status };
        Self { status, time }
    }
}

/// The processes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    processes: HashMap<u32, Known>,
    /// Those of which the first thread has ended, and others may not have.
    lingering: Vec<u32>,
}

impl Table {
    pub(crate) fn get(&self, tgid: u32) -> Option<&Known> {
        self.processes.get(&tgid)
    }

    pub(crate) fn get_mut(&mut self, tgid: u32) -> Option<&mut Known> {
        self.processes.get_mut(&tgid)
    }

    /// Enters a process, or what is new of it.
    pub(crate) fn put(&mut self, known: Known) {
        let tgid = known.facts.tgid;
        if self.processes.len() < PROCESSES || self.processes.contains_key(&tgid) {
            self.processes.insert(tgid, known);
        }
    }

    /// Its first thread has ended.
    pub(crate) fn linger(&mut self, tgid: u32, ended: Ended) {
        if let Some(known) = self.processes.get_mut(&tgid) {
            known.ended = Some(ended);
            if !self.lingering.contains(&tgid) {
                self.lingering.push(tgid);
            }
        }
    }

    /// It goes on under another thread, which has taken the place of the first.
    pub(crate) fn goes_on(&mut self, tgid: u32) {
        if let Some(known) = self.processes.get_mut(&tgid)
            && known.ended.take().is_some()
        {
            self.lingering.retain(|it| *it != tgid);
        }
    }

    /// Processes whose first thread has ended.
    pub(crate) fn lingering(&self) -> &[u32] {
        &self.lingering
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, tgid: u32) -> Option<Known> {
        self.lingering.retain(|it| *it != tgid);
        self.processes.remove(&tgid)
    }

    /// Keeps those that are there; returns the others.
    pub(crate) fn retain(&mut self, there: &[u32]) -> Vec<u32> {
        let gone = |tgid: &&u32| there.binary_search(tgid).is_err();
        let gone: Vec<u32> = self.processes.keys().filter(gone).copied().collect();
        for tgid in &gone {
            self.remove(*tgid);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(tgid: u32) -> Known {
        Known {
            facts: Facts::unknown(tgid),
            program: 1,
            executable: None,
            ended: None,
        }
    }

    #[test]
    fn a_process_lingers_until_it_is_gone_or_goes_on() {
        let mut table = Table::default();
        let ended = Ended { status: 0, time: 5 };
        for tgid in [1, 2] {
            table.put(known(tgid));
            table.linger(tgid, ended);
            table.linger(tgid, ended.and(3 << 8, 6));
        }
        table.linger(3, ended);
        assert_eq!(table.lingering(), [1, 2]);
        table.goes_on(1);
        assert_eq!(table.get(1).unwrap().ended, None);
        let gone = table.remove(2).unwrap();
        let (status, time) = (3 << 8, 6);
        assert_eq!(gone.ended, Some(Ended { status, time }));
        assert!(table.lingering().is_empty());
    }

    #[test]
    fn the_first_threads_status_counts_unless_all_ended_at_once() {
        let first = Ended {
            status: 2 << 8,
            time: 1,
        };
        assert_eq!(first.and(0, 2).status, 2 << 8);
        assert_eq!(first.and(9, 2).status, 9);
    }

    #[test]
    fn numbers_are_bounded_and_what_is_gone_is_forgotten() {
        let mut table = Table::default();
        for tgid in 0..PROCESSES as u32 + 10 {
            table.put(known(tgid));
        }
        assert_eq!(table.processes.len(), PROCESSES);
        assert_eq!(table.retain(&[4, 7]).len(), PROCESSES - 2);
        assert!(table.get(4).is_some() && table.get(5).is_none());
    }
}
