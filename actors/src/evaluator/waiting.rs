//! Records from containers of which their engine has not told yet: they wait for it, bounded in time and number,
//! and are then judged by what is known.
//!
//! Nobody else waits for them, and a verdict that kills is not put off: only what it would be without the
//! container's name decides whether a record may wait.

use std::collections::VecDeque;

use bytes::Bytes;
use holdfast_wire::decode::claimed_time;

use super::processes::{Process, Program};
use crate::killer::Reply;
use crate::runtime::cgroup::Container;
use crate::runtime::table::Containers;

/// Records that wait at one time; what comes beyond goes on as it is. A burst of starts on a crowded node.
const MAX_WAITING: usize = 1024;
/// Bytes of them.
const MAX_BYTES: usize = 8 << 20;

/// A record that waits, with whom it is about: by the time it goes on, the table may say something else.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) record: Bytes,
    pub(crate) process: Process,
    pub(crate) program: Program,
    pub(crate) container: Container,
    /// When it goes on in any case, nanoseconds of boot time.
    pub(crate) until: u64,
}

/// One that goes on.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) waiter: Waiter,
    /// How often it was begun.
    pub(crate) attempts: u8,
    /// The killer's answer about it.
    pub(crate) killed: Option<Reply>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: VecDeque<Waiter>,
    bytes: usize,
    /// When all of the queue was last looked at in vain: what engines had told by then, and until when nobody
    /// is late.
    looked: Option<(u64, u64)>,
}

impl Waiting {
    /// Puts a record off; `false` where there is no room for it.
    pub(crate) fn add(&mut self, waiter: Waiter) -> bool {
        let bytes = waiter.record.len();
        if self.queue.len() >= MAX_WAITING || self.bytes + bytes > MAX_BYTES {
            return false;
        }
        self.bytes += bytes;
        // What was told since it was judged is not missed.
        self.looked = None;
        self.queue.push_back(waiter);
        true
    }

    /// Takes the first record whose container is told of, or that has waited for long enough by `now`. `all`:
    /// nothing more will be told.
    pub(crate) fn take(
        &mut self,
        containers: &Containers,
        now: u64,
        all: bool,
    ) -> Option<Released> {
        let told = containers.told();
        let is_news = |(known, until): (u64, u64)| known != told || now >= until;
        if self.queue.is_empty() || !all && !self.looked.is_none_or(is_news) {
            return None;
        }
        let is_due = |waiter: &Waiter| {
            if !containers.awaits(&waiter.container) {
                return true;
            }
            let is_late = all || now >= waiter.until;
            if is_late {
                containers.give_up(&waiter.container);
            }
            is_late
        };
        let Some(index) = self.queue.iter().position(is_due) else {
            self.looked = self.first_late().map(|until| (told, until));
            return None;
        };
        let waiter = self.queue.remove(index)?;
        self.bytes -= waiter.record.len();
        Some(Released {
            waiter,
            attempts: 0,
            killed: None,
        })
    }

    /// When the first of them was made; `None`: none waits.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let times = self.queue.iter().map(|waiter| claimed_time(&waiter.record));
        times.min()
    }

    /// How long until the next must go on, nanoseconds; `None`: none waits.
    pub(crate) fn next(&self, now: u64) -> Option<u64> {
        self.first_late().map(|until| until.saturating_sub(now))
    }

    /// When the first that is late goes on, nanoseconds of boot time.
    fn first_late(&self) -> Option<u64> {
        self.queue.iter().map(|waiter| waiter.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::processes::{Found, Image, Key, Table};
    use crate::runtime::table::Details;
    use holdfast_wire::event;

    fn waiter(id: &str, until: u64) -> Waiter {
        let table = Table::new("boot");
        let process = table.describe(Found {
            key: Key { tgid: 1, start: 1 },
            ppid: 0,
            exec_id: None,
            image: Image::default(),
            credentials: None,
            terminal: None,
            capabilities: None,
        });
        Waiter {
            record: Bytes::from_static(b"record"),
            program: process.program.clone(),
            process,
            container: Container {
                id: id.to_owned(),
                runtime: Some("docker"),
                pod: None,
            },
            until,
        }
    }

    fn taken(waiting: &mut Waiting, containers: &Containers, now: u64) -> Option<String> {
        let released = waiting.take(containers, now, false)?;
        Some(released.waiter.container.id)
    }

    #[test]
    fn who_is_told_of_goes_on_at_once_and_others_when_it_is_time() {
        let containers = Containers::default();
        let _watched = containers.watched("docker");
        let mut waiting = Waiting::default();
        for (id, until) in [("a", 10), ("b", 20), ("c", 30)] {
            let waiter = waiter(id, until);
            containers.shown(&waiter.container);
            assert!(containers.awaits(&waiter.container));
            assert!(waiting.add(waiter));
        }
        assert_eq!(waiting.next(4), Some(6));
        assert_eq!(taken(&mut waiting, &containers, 4), None);
        let details = Details {
            container: event::Container {
                id: "b".to_owned(),
                ..Default::default()
            },
            ..Default::default()
        };
        containers.tell("engine", details);
        assert_eq!(taken(&mut waiting, &containers, 4).as_deref(), Some("b"));
        assert_eq!(taken(&mut waiting, &containers, 10).as_deref(), Some("a"));
        // It was waited for once; what it does next does not wait.
        assert!(!containers.awaits(&waiter("a", 0).container));
        assert!(waiting.take(&containers, 11, true).is_some());
        assert_eq!((waiting.next(0), waiting.bytes), (None, 0));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut waiting = Waiting::default();
        for number in 0..MAX_WAITING {
            assert!(waiting.add(waiter(&number.to_string(), 1)));
        }
        assert!(!waiting.add(waiter("one more", 1)));
    }
}
