//! Containers that start and end, told on as records: they take the way of what the kernel's hooks tell.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_wire::encode::{bytes_of, encode};
use holdfast_wire::record::container::{Lifecycle as Fixed, NO_EXIT_CODE};
use holdfast_wire::record::{COMM_BYTES, Header, NO_CPU, NO_RULE, flags};
use holdfast_wire::{ABI_VERSION, Kind};

use crate::kernel::Ring;
use crate::ledger::Ledger;
use crate::ring::{Joined, MemoryRing, Records, Time, Weight};

/// Bytes of the ring: some thousand records.
const RING_BYTES: u32 = 1 << 20;
/// [`Header::tier`]: no program of any tier wrote it.
const NO_TIER: u8 = u8::MAX;

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// It was started.
    Start,
    /// It has ended, with this, where its engine says.
    Exit(Option<i32>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    records: Arc<Records>,
    sequence: AtomicU64,
}

impl Lifecycle {
    /// Its records, and the ring in which they come beside those of `ring`.
    ///
    /// # Errors
    /// When there is no descriptor to be had.
    pub(crate) fn beside(ring: Box<dyn Ring>) -> io::Result<(Self, Box<dyn Ring>)> {
        let records = Arc::new(Records::new(RING_BYTES)?);
        let own = Box::new(MemoryRing {
            records: records.clone(),
            completeness: None,
        });
        let this = Self {
            records,
            sequence: AtomicU64::new(0),
        };
        Ok((this, Box::new(Joined::new([own, ring])?)))
    }

    /// Tells on what happened to the container `id`, whose first process is `pid` where that is known; as of
    /// policies of `epoch`.
    pub(crate) fn tell(
        &self,
        ledger: &Ledger,
        (id, pid): (&str, Option<u32>),
        happened: Happened,
        epoch: u32,
    ) {
        let (kind, exit_code) = match happened {
            Happened::Start => (Kind::ContainerStart, None),
            Happened::Exit(code) => (Kind::ContainerExit, code),
        };
        let id = &id[..id.floor_char_boundary(usize::from(u16::MAX))];
        let fixed = Fixed {
            exit_code: exit_code.unwrap_or(NO_EXIT_CODE),
            // It was cut to fit.
            id_length: id.len() as u16,
            reserved: 0,
        };
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let header = header(kind, pid.unwrap_or(0), sequence, epoch);
        let record = encode(header, bytes_of(&fixed), &[id.as_bytes()]);
        let weight = Weight {
            matters: true,
            urgent: true,
        };
        ledger.told(kind, self.records.push(record, Time::Now, weight));
    }
}

fn header(kind: Kind, tgid: u32, sequence: u64, epoch: u32) -> Header {
    Header {
        version: ABI_VERSION,
        kind: kind as u16,
        length: 0,
        sequence,
        boottime: 0,
        start_boottime: 0,
        cgroup_id: 0,
        effective_capabilities: 0,
        exec_id: 0,
        tgid,
        tid: tgid,
        ppid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
        euid: u32::MAX,
        loginuid: u32::MAX,
        mount_namespace: 0,
        pid_namespace: 0,
        network_namespace: 0,
        flags: flags::NO_TASK_FIELDS,
        epoch,
        rule: NO_RULE,
        cpu: NO_CPU,
        comm: [0; COMM_BYTES],
        tier: NO_TIER,
        verdict: 0,
        reserved: 0,
        reserved_word: 0,
    }
}
