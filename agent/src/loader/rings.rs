//! What carries records from the kernel programs to the readers: ring buffers, or perf buffers.

use std::sync::Arc;

use aya::maps::{MapData, MapType};
use aya::sys::is_map_supported;
use holdfast_actors::kernel::{BufferReport, Ring};
use holdfast_wire::Domain;

use super::account::Account;
use super::maps::Maps;
use super::object::{ring_name, urgent_name};
use super::pins::Generation;
use super::reason::chain;

mod buffer;
mod early;
mod kernel;
mod perf;
mod succession;

use kernel::KernelRing;
use perf::PerfRing;
use succession::Succession;
pub(super) use succession::Takeover;

/// The readers' ends, by domain.
pub(crate) type Rings = Vec<(Domain, Box<dyn Ring>)>;

/// What [`Buffer::take`] gives.
pub(super) struct Taken {
    pub(super) rings: Rings,
    /// When the first record was made that is in them already, nanoseconds of boot time.
    pub(super) oldest: Option<u64>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Buffer {
    /// One for all CPUs, from 5.8 on.
    Ring,
    /// Some for each CPU.
    Perf,
}

impl Buffer {
    const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Perf => "perf",
        }
    }

    /// The one with this name, if there is one.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Ring, Self::Perf];
        all.into_iter().find(|buffer| buffer.name() == name)
    }

    /// The one that was asked for, else the best that the kernel has, which is found by trying; and why.
    ///
    /// # Errors
    /// When rings are asked for and not to be had, or when it cannot be tried.
    pub(crate) fn choose(asked: Option<Self>) -> Result<(Self, String), String> {
        if asked == Some(Self::Perf) {
            return Ok((Self::Perf, "kernel.buffer asks for it".to_owned()));
        }
        match (is_map_supported(MapType::RingBuf), asked) {
            (Ok(true), _) => Ok((Self::Ring, String::new())),
            (Ok(false), None) => Ok((
                Self::Perf,
                "the kernel has no ring buffers, which came with 5.8".to_owned(),
            )),
            (Ok(false), Some(_)) => Err(
                "kernel.buffer asks for ring buffers, which the kernel does not have".to_owned(),
            ),
            (Err(error), _) => Err(format!("cannot make a ring buffer: {}", chain(&error))),
        }
    }

    /// As `doctor` and `status` show it.
    pub(crate) const fn report(self, reason: String) -> BufferReport {
        BufferReport {
            kind: self.name(),
            reason,
        }
    }

    /// Takes the readers' ends out of the maps; `bytes` by domain. What is read is entered into the
    /// account, if there is one.
    ///
    /// # Errors
    /// When a map is missing, or perf buffers cannot be opened.
    pub(super) fn take(
        self,
        maps: &mut Maps,
        bytes: [u32; Domain::ALL.len()],
        account: Option<&Arc<Account>>,
        earlier: &Earlier,
    ) -> Result<Taken, String> {
        let mut rings: Rings = Vec::new();
        let mut oldest = None;
        for (domain, bytes) in Domain::ALL.into_iter().zip(bytes) {
            let map = maps.take_data(ring_name(domain))?;
            let ring: Box<dyn Ring> = match self {
                Self::Ring => {
                    let new = KernelRing::new(map, account.cloned())
                        .map_err(|error| format!("cannot map a ring: {error}"))?;
                    let old = earlier.rings(domain);
                    let rings = old.iter().map(|(ring, _)| ring).chain([&new]);
                    let unread = rings.filter_map(KernelRing::oldest);
                    oldest = unread.chain(oldest).min();
                    if old.is_empty() {
                        Box::new(new)
                    } else {
                        Box::new(Succession::new(old, new, earlier.takeover.clone()))
                    }
                }
                Self::Perf => {
                    let urgent = maps.take_data(urgent_name(domain))?;
                    Box::new(PerfRing::open(map, urgent, bytes)?)
                }
            };
            rings.push((domain, ring));
        }
        Ok(Taken { rings, oldest })
    }
}

/// What earlier programs of other versions have left.
pub(super) struct Earlier {
    /// Those whose records can be read, and what became of them.
    pub(super) generations: Vec<(Generation, Arc<Account>)>,
    pub(super) takeover: Arc<Takeover>,
}

impl Earlier {
    /// Where their maps are.
    pub(super) fn maps(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().map(|(generation, _)| generation)
    }

    fn rings(&self, domain: Domain) -> Vec<(KernelRing, Arc<Account>)> {
        let open = |(generation, account): &(Generation, Arc<Account>)| {
            let map = MapData::from_pin(generation.map(ring_name(domain))).ok()?;
            let ring = KernelRing::new(map, Some(account.clone())).ok()?;
            Some((ring, account.clone()))
        };
        self.generations.iter().filter_map(open).collect()
    }
}

/// How many records are in the rings of these programs. It takes no account of them, and their meaning is not asked for:
/// they may be another version's.
pub(super) fn left(generation: &Generation) -> u64 {
    let maps = generation.maps().unwrap_or_default();
    let records = maps.into_iter().filter_map(|(_, path)| {
        let map = MapData::from_pin(path).ok()?;
        let kind = map.info().ok()?.map_type().ok()?;
        let ring = (kind == MapType::RingBuf).then(|| KernelRing::new(map, None));
        Some(ring?.ok()?.waiting())
    });
    records.sum()
}

/// What is done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// It is handed on.
    Take,
    /// It is not, and is done with.
    Pass,
    /// It stays where it is.
    Leave,
}
