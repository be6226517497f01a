//! The most events of one cgroup, as the kernel programs keep to it (`ebpf/src/cap.rs`).

use std::sync::{Mutex, PoisonError};

use holdfast_actors::clock;
use holdfast_actors::kernel::Capped;
use holdfast_wire::Domain;
use holdfast_wire::control::{Bucket, CAPPED_CGROUPS, Cap};

use super::recent::Recent;

/// Id of the root of a hierarchy (`kernfs_create_root`), where nothing is in a container; 0: unknown.
const ROOT: u64 = 1;

type Buckets = Recent<(u64, Domain), Bucket, { CAPPED_CGROUPS as usize }>;

/// The buckets of all cgroups.
#[derive(Debug)]
pub(crate) struct Caps {
    /// What an event costs, and how far ahead a bucket may be; 0 for no cap.
    cost: u64,
    ahead: u64,
    buckets: Mutex<Buckets>,
}

impl Caps {
    /// Full buckets.
    pub(crate) fn new(cap: Option<Cap>) -> Self {
        let [cost, ahead] = Cap::constants(cap);
        Self {
            cost,
            ahead,
            buckets: Mutex::default(),
        }
    }

    /// Whether a cgroup may have one more event of a domain; if so, it has it.
    pub(crate) fn admit(&self, cgroup: u64, domain: Domain) -> bool {
        if self.cost == 0 || cgroup <= ROOT {
            return true;
        }
        let now = clock::boottime();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry((cgroup, domain), Bucket::default);
        if bucket.full_at.saturating_sub(now) > self.ahead {
            bucket.capped += 1;
            return false;
        }
        bucket.full_at = bucket.full_at.max(now) + self.cost;
        true
    }

    /// What was withheld, by cgroup.
    pub(crate) fn withheld(&self) -> Vec<Capped> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let capped = buckets.iter().filter(|(_, bucket)| bucket.capped > 0);
        capped
            .map(|((cgroup, domain), bucket)| Capped {
                cgroup: *cgroup,
                domain: *domain,
                events: bucket.capped,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_has_its_burst_and_others_theirs() {
        let caps = Caps::new(Some(Cap {
            events_per_second: 1,
            burst: 3,
        }));
        let admitted = |cgroup, domain| (0..9).filter(|_| caps.admit(cgroup, domain)).count();
        let first = admitted(7, Domain::File);
        assert!((3..=4).contains(&first), "{first}");
        assert_eq!(admitted(7, Domain::Network), first);
        assert_eq!(admitted(8, Domain::File), first);
        assert_eq!(admitted(ROOT, Domain::File), 9);
        let withheld: u64 = caps.withheld().iter().map(|capped| capped.events).sum();
        assert_eq!(withheld as usize, 3 * (9 - first));
        assert!(Caps::new(None).admit(7, Domain::File));
    }
}
