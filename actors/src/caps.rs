//! Which cgroups are being capped: what the kernel withheld of each, told as it happens.
//!
//! The kernel forgets a cgroup that has been quiet while many others were not, and then counts anew;
//! the sums here go on. What is withheld in all is in the ledger, which forgets nothing.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_wire::Domain;

use crate::clock;
use crate::kernel::Capped;
use crate::root::status;
use crate::runtime::hierarchy::Hierarchy;

/// Cgroups that are shown: more than anybody reads. Beyond it the one that was quiet for longest is
/// left out.
const MAX_CGROUPS: usize = 256;
/// How long a cgroup of which nothing was withheld still counts as being capped: some looks.
const NOW: Duration = Duration::from_secs(2);
/// Cgroups that a notice names; the others are in `status`.
const NAMED: usize = 4;

/// What is known. Belongs to the root: who looks may be restarted, and tells nothing twice.
#[derive(Debug, Default)]
pub(crate) struct Caps(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What the kernel has counted: no more entries than its own map has.
    counted: HashMap<(u64, Domain), u64>,
    known: Vec<Known>,
    /// The ledger's sum when it was last looked.
    total: u64,
}

/// One cgroup in one domain.
#[derive(Debug)]
struct Known {
    cgroup: u64,
    domain: Domain,
    path: Option<String>,
    events: u64,
    since: String,
    last: Instant,
}

impl Caps {
    /// Whether something was withheld since this was asked before; `total` is the ledger's sum.
    pub(crate) fn is_more(&self, total: u64) -> bool {
        std::mem::replace(&mut self.lock().total, total) != total
    }

    /// Takes over what the kernel has counted; what is new of it, in words for a notice: empty when
    /// nothing is.
    pub(crate) fn look(&self, capped: &[Capped], cgroups: Option<&Hierarchy>) -> String {
        let mut state = self.lock();
        let mut news = Vec::new();
        let mut counted = HashMap::new();
        for one in capped {
            let key = (one.cgroup, one.domain);
            let before = state.counted.get(&key).copied().unwrap_or(0);
            counted.insert(key, one.events);
            // Fewer than before: it was forgotten, and is counted anew.
            let more = one.events.checked_sub(before).unwrap_or(one.events);
            if more > 0 {
                news.push((more, state.add(*one, more, cgroups)));
            }
        }
        state.counted = counted;
        state.known.sort_by_key(|known| Reverse(known.last));
        state.known.truncate(MAX_CGROUPS);
        news.sort_by_key(|(more, _)| Reverse(*more));
        let others = news.len().saturating_sub(NAMED);
        let mut named: Vec<_> = news.into_iter().take(NAMED).map(|(_, text)| text).collect();
        if others > 0 {
            named.push(format!("{others} others"));
        }
        named.join(", ")
    }

    /// As `status` shows it: those being capped now first.
    pub(crate) fn status(&self) -> Vec<status::CappedCgroup> {
        let state = self.lock();
        let known = state.known.iter();
        known
            .map(|known| status::CappedCgroup {
                cgroup: known.cgroup,
                path: known.path.clone(),
                domain: known.domain.name(),
                events: known.events,
                now: known.last.elapsed() < NOW,
                since: known.since.clone(),
            })
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every step leaves it consistent, or wrong by what is told once more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds to what is known of a cgroup; says so in words.
    fn add(&mut self, one: Capped, more: u64, cgroups: Option<&Hierarchy>) -> String {
        let Capped { cgroup, domain, .. } = one;
        let of_it = |known: &Known| (known.cgroup, known.domain) == (cgroup, domain);
        let index = self.known.iter().position(of_it).unwrap_or_else(|| {
            self.known.push(Known {
                cgroup,
                domain,
                path: cgroups.and_then(|cgroups| cgroups.path_of(cgroup)),
                events: 0,
                since: clock::wall_text(),
                last: Instant::now(),
            });
            self.known.len() - 1
        });
        let known = &mut self.known[index];
        known.events += more;
        known.last = Instant::now();
        let (domain, path) = (domain.name(), known.path.as_deref());
        let path = path.unwrap_or("path unknown");
        format!("{more} {domain} events of cgroup {cgroup} ({path})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capped(cgroup: u64, events: u64) -> Capped {
        Capped {
            cgroup,
            domain: Domain::File,
            events,
        }
    }

    #[test]
    fn what_is_new_is_told_once_and_summed_up() {
        let caps = Caps::default();
        let look = |capped: &[Capped]| caps.look(capped, None);
        assert_eq!(look(&[]), "");
        let first = look(&[capped(7, 5), capped(8, 9)]);
        assert_eq!(
            first,
            "9 file events of cgroup 8 (path unknown), 5 file events of cgroup 7 (path unknown)"
        );
        assert_eq!(look(&[capped(7, 5), capped(8, 9)]), "");
        assert!(look(&[capped(7, 6)]).starts_with("1 file events of cgroup 7 "));
        // The kernel forgot it, and counts anew.
        assert!(look(&[capped(8, 2)]).starts_with("2 file events of cgroup 8 "));
        let status = caps.status();
        let events = |cgroup| {
            let found = status.iter().find(|one| one.cgroup == cgroup);
            found.map(|one| one.events)
        };
        assert_eq!((events(7), events(8)), (Some(6), Some(11)));
        assert!(status.iter().all(|one| one.now && one.domain == "file"));
    }

    #[test]
    fn it_is_bounded_and_a_notice_is_short() {
        let caps = Caps::default();
        let all: Vec<_> = (0..2 * MAX_CGROUPS as u64)
            .map(|id| capped(id, id + 1))
            .collect();
        let text = caps.look(&all, None);
        assert!(
            text.ends_with(&format!(", {} others", all.len() - NAMED)),
            "{text}"
        );
        assert_eq!(caps.status().len(), MAX_CGROUPS);
        // Those that are not shown are not told again either.
        assert_eq!(caps.look(&all, None), "");
        assert!(caps.is_more(3) && !caps.is_more(3) && caps.is_more(4));
    }
}
