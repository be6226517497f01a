//! What kernel and programs have counted.

use std::collections::BTreeSet;

use aya::maps::MapError;
use holdfast_actors::kernel::Capped;
use holdfast_wire::control::Counters;
use holdfast_wire::{Domain, Kind};

use super::State;
use super::attach::Link;
use super::pod::Plain;
use super::reason::chain;

/// Where a hook's runs were missed, counted by the kernel.
#[derive(Default)]
pub(super) struct Missed {
    /// The programs that ever served it: each stays loaded, and its count with it.
    pub(super) programs: BTreeSet<&'static str>,
    /// By kprobes whose links are gone, with which their counts went.
    pub(super) kprobes: u64,
}

impl State {
    /// What the programs have counted of `kind`, over all CPUs.
    pub(super) fn counters(&self, kind: Kind) -> Result<Counters, String> {
        let index = kind.index() as u32;
        let values = self
            .counters
            .get(&index, 0)
            .map_err(|error| chain(&error))?;
        let mut sum = Counters::default();
        for Plain(cpu) in values.iter() {
            sum.seen += cpu.seen;
            sum.filtered += cpu.filtered;
            sum.submitted += cpu.submitted;
            sum.ring_full += cpu.ring_full;
            sum.truncated += cpu.truncated;
            sum.missed += cpu.missed;
            sum.capped += cpu.capped;
        }
        Ok(sum)
    }

    /// Runs of the programs of `kind` that the kernel skipped.
    pub(super) fn skipped(&self, kind: Kind) -> u64 {
        let Some(attached) = self.hooks.get(&kind) else {
            return 0;
        };
        let programs = attached.missed.programs.iter();
        programs
            .map(|program| self.programs.recursion_misses(program))
            .chain(attached.links.iter().map(Link::kprobe_misses))
            .sum::<u64>()
            + attached.missed.kprobes
    }

    /// Begins anew with what the cap has withheld, of which an earlier sensor has told.
    pub(super) fn forget_capped(&mut self) -> Result<(), String> {
        let keys: Vec<_> = self.buckets.keys().filter_map(Result::ok).collect();
        for key in keys {
            match self.buckets.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(chain(&error)),
            }
        }
        Ok(())
    }

    /// What the cap has withheld, of the cgroups whose buckets there are.
    pub(super) fn capped(&self) -> Result<Vec<Capped>, String> {
        let mut all = Vec::new();
        // Not by an iterator over both: a bucket may be evicted between its key and its value.
        for key in self.buckets.keys() {
            let Plain(key) = key.map_err(|error| chain(&error))?;
            let Ok(Plain(bucket)) = self.buckets.get(&Plain(key), 0) else {
                continue;
            };
            let domain = Domain::ALL.get(key.domain as usize);
            if let Some(domain) = domain.filter(|_| bucket.capped > 0) {
                all.push(Capped {
                    cgroup: key.cgroup,
                    domain: *domain,
                    events: bucket.capped,
                });
            }
        }
        Ok(all)
    }
}
