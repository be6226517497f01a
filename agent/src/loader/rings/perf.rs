//! A domain's perf buffers as one ring: for kernels that have no ring buffers (before 5.8).
//!
//! The programs write to the buffers of the CPU they run on, two for each domain: one that wakes the
//! reader by a watermark, and one for the records on which a kill depends, which wakes it for each.
//! What one ring has by itself, the order of what happened, is made here from the records' times.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::MapData;
use holdfast_actors::clock;
use holdfast_actors::kernel::Ring;
use rustix::event::epoll;

use super::buffer::{Buffer, MIN_BYTES, Wake};
use crate::loader::sys;

/// Of a domain's memory, the part that only wakes the reader when it is full, and the part kept for
/// urgent records beside it, as the programs keep it of a ring.
const EIGHTH: u32 = 8;
/// Looks at all buffers for one record at most. The second finds everything that was made before the
/// record which the first found; a third would only be for clocks that do not agree.
const LOOKS: usize = 2;

/// One domain's buffers.
pub(crate) struct PerfRing {
    buffers: Vec<Buffer>,
    /// Readable when one of the buffers is.
    readiness: OwnedFd,
    /// Whatever was submitted before this time (`CLOCK_BOOTTIME`, nanoseconds) has been looked at.
    looked: u64,
    /// The kernel takes the buffers out of an array whose last descriptor is closed.
    arrays: [MapData; 2],
}

impl PerfRing {
    /// Opens buffers of `bytes` together (and an eighth more for urgent records), and enters them into
    /// the arrays of the programs.
    ///
    /// # Errors
    /// What was attempted, and what the kernel said.
    pub(crate) fn open(bulk: MapData, urgent: MapData, bytes: u32) -> Result<Self, String> {
        let cpus = aya::util::online_cpus().map_err(|(what, error)| format!("{what}: {error}"))?;
        let each = share(bytes, cpus.len());
        let readiness = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from);
        let mut ring = Self {
            buffers: Vec::new(),
            readiness: readiness.map_err(|error| format!("epoll: {error}"))?,
            looked: 0,
            arrays: [bulk, urgent],
        };
        for cpu in cpus {
            let kinds = [
                (each, Wake::Bytes(each / EIGHTH)),
                ((each / EIGHTH).max(MIN_BYTES), Wake::Always),
            ];
            for (array, (bytes, wake)) in kinds.into_iter().enumerate() {
                ring.add(array, cpu, bytes, wake)
                    .map_err(|error| format!("perf buffer of CPU {cpu}: {error}"))?;
            }
        }
        Ok(ring)
    }

    fn add(&mut self, array: usize, cpu: u32, bytes: u32, wake: Wake) -> io::Result<()> {
        let buffer = Buffer::open(cpu, bytes, wake)?;
        let map = self.arrays[array].fd().as_fd();
        sys::set_element(map, cpu, &buffer.number().to_ne_bytes())?;
        let (data, events) = (epoll::EventData::new_u64(0), epoll::EventFlags::IN);
        epoll::add(&self.readiness, &buffer, data, events)?;
        self.buffers.push(buffer);
        Ok(())
    }
}

/// Bytes of each CPU's buffer.
fn share(bytes: u32, cpus: usize) -> u32 {
    let share = bytes / u32::try_from(cpus.max(1)).unwrap_or(u32::MAX);
    // The largest power of two in it.
    (1 << share.max(1).ilog2()).max(MIN_BYTES)
}

/// Looks at every buffer; the time before which everything has then been looked at.
fn look(buffers: &mut [Buffer]) -> u64 {
    let now = clock::boottime();
    buffers.iter_mut().for_each(Buffer::look);
    now
}

/// The time of the earliest record, and its buffer.
fn earliest(buffers: &[Buffer]) -> Option<(u64, usize)> {
    let buffers = buffers.iter().enumerate();
    let firsts = buffers.filter_map(|(index, buffer)| Some((buffer.first()?, index)));
    firsts.min()
}

/// The buffer whose record is next. A record is due when everything that was made before it has been
/// looked at: what led to it on another CPU was submitted before it was, so it comes first.
fn due(buffers: &mut [Buffer], looked: &mut u64) -> Option<usize> {
    let mut first = earliest(buffers);
    for _ in 0..LOOKS {
        if first.is_some_and(|(time, _)| time <= *looked) {
            break;
        }
        *looked = look(buffers);
        first = earliest(buffers);
        if first.is_none() {
            break;
        }
    }
    first.map(|(_, index)| index)
}

impl Ring for PerfRing {
    fn fd(&self) -> BorrowedFd<'_> {
        self.readiness.as_fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        match due(&mut self.buffers, &mut self.looked) {
            Some(index) => {
                self.buffers[index].take(take);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::testing::{buffer, record, write};
    use super::*;
    use aya_obj::generated::perf_event_type::PERF_RECORD_SAMPLE;

    const SAMPLE: u32 = PERF_RECORD_SAMPLE as u32;

    fn taken(buffers: &mut [Buffer], looked: &mut u64) -> Option<Vec<u8>> {
        let index = due(buffers, looked)?;
        let mut taken = Vec::new();
        buffers[index].take(&mut |bytes| taken.extend_from_slice(bytes));
        Some(taken)
    }

    #[test]
    fn records_come_in_the_order_of_their_times() {
        let mut buffers = [buffer(0), buffer(8), buffer(65_528)];
        let times: [&[u64]; 3] = [&[1, 4, 5], &[2, 3, 9], &[6, 7, 8]];
        for (buffer, times) in buffers.iter().zip(times) {
            for time in times {
                assert!(write(buffer, SAMPLE, &record(*time, 140)));
            }
        }
        let mut looked = 0;
        for time in 1..10 {
            assert_eq!(taken(&mut buffers, &mut looked), Some(record(time, 140)));
        }
        assert_eq!(taken(&mut buffers, &mut looked), None);
    }

    #[test]
    fn what_led_to_a_record_on_another_cpu_comes_before_it() {
        let mut buffers = [buffer(0), buffer(0)];
        let mut looked = look(&mut buffers);
        // A process acts on the first CPU, then on the second, whose buffer is the first to be looked at.
        assert!(write(&buffers[0], SAMPLE, &record(looked + 1, 140)));
        assert!(write(&buffers[1], SAMPLE, &record(looked + 2, 140)));
        buffers[1].look();
        let before = looked;
        assert_eq!(
            taken(&mut buffers, &mut looked),
            Some(record(before + 1, 140))
        );
        assert_eq!(
            taken(&mut buffers, &mut looked),
            Some(record(before + 2, 140))
        );
    }

    #[test]
    fn a_record_of_the_future_is_not_waited_for() {
        let mut buffers = [buffer(0)];
        assert!(write(&buffers[0], SAMPLE, &record(u64::MAX, 140)));
        assert_eq!(taken(&mut buffers, &mut 0), Some(record(u64::MAX, 140)));
    }

    #[test]
    fn memory_is_shared_among_the_cpus_in_powers_of_two() {
        assert_eq!(share(8 << 20, 2), 4 << 20);
        assert_eq!(share(8 << 20, 3), 2 << 20);
        assert_eq!(share(1 << 20, 128), MIN_BYTES);
        assert_eq!(share(1 << 30, 1), 1 << 30);
    }
}
