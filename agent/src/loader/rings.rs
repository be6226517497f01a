//! What carries records from the kernel programs to the readers: ring buffers, or perf buffers.

use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData, MapType, RingBuf};
use aya::sys::is_map_supported;
use holdfast_actors::kernel::{BufferReport, Ring};
use holdfast_wire::Domain;

use super::object::{ring_name, urgent_name};
use super::reason::chain;
use super::sys;

mod buffer;
mod perf;

use perf::PerfRing;

/// The readers' ends, by domain.
pub(crate) type Rings = Vec<(Domain, Box<dyn Ring>)>;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// Takes the readers' ends out of the loaded object; `bytes` by domain.
    ///
    /// # Errors
    /// When a map is missing, or perf buffers cannot be opened.
    pub(crate) fn take(
        self,
        ebpf: &mut Ebpf,
        bytes: [u32; Domain::ALL.len()],
    ) -> Result<Rings, String> {
        if self == Self::Perf {
            sys::lift_file_limit();
        }
        let mut take = |name: &str| ebpf.take_map(name).ok_or_else(|| format!("no map {name}"));
        let mut rings: Rings = Vec::new();
        for (domain, bytes) in Domain::ALL.into_iter().zip(bytes) {
            let map = take(ring_name(domain))?;
            let ring: Box<dyn Ring> = match self {
                Self::Ring => {
                    let ring = RingBuf::try_from(map).map_err(|error| chain(&error))?;
                    Box::new(KernelRing(ring))
                }
                Self::Perf => {
                    let urgent = array(take(urgent_name(domain))?)?;
                    Box::new(PerfRing::open(array(map)?, urgent, bytes)?)
                }
            };
            rings.push((domain, ring));
        }
        Ok(rings)
    }
}

fn array(map: Map) -> Result<MapData, String> {
    match map {
        Map::PerfEventArray(data) => Ok(data),
        other => Err(format!("{other:?} is no array of perf buffers")),
    }
}

/// One domain's ring buffer.
struct KernelRing(RingBuf<MapData>);

impl Ring for KernelRing {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        // The consumer position moves when the item is dropped, which is after `take`.
        self.0.next().is_some_and(|item| {
            take(&item);
            true
        })
    }
}
