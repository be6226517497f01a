//! Working memory for one run of a program: more than the 512 bytes of stack.
//!
//! Programs on trampolines can be preempted (from 5.12 on), so a slot per CPU is not exclusive. A
//! slot is claimed by adding one to its count: who then reads exactly one has it alone, since every
//! later comer reads more and takes its one back. This needs no atomic that 5.10 lacks.

use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use holdfast_policy::decision::Candidates;
use holdfast_policy::table::NAME_WORDS;

use crate::counter::add;
use crate::lineage::Descent;
use crate::maps::SCRATCH;
use crate::path::PathBuffer;

pub use holdfast_wire::control::SCRATCH_SLOTS as SLOTS;

/// Room for a record: for the start of the last string up to [`crate::emit::OFFSET_MASK`], and that
/// string's longest, 4,096 bytes; a power of two, so that a mask bounds a length.
pub const RECORD_BYTES: usize = 32_768;

/// One run's memory.
#[repr(C, align(8))]
pub struct Slot {
    /// How many runs hold or try to hold the slot.
    pub claims: u64,
    /// Records written from this slot.
    pub records: u64,
    /// Bytes of the record so far; see `emit::Emitter`.
    pub length: u64,
    /// See `emit::Emitter::in_memory`.
    pub number: u64,
    /// What was decided; see `run::Run::settle`.
    pub decision: Decided,
    /// The terms that may still match.
    pub candidates: Candidates,
    /// How far back a walk to the ancestors is.
    pub descent: Descent,
    /// The last name of a path.
    pub name: [u64; NAME_WORDS],
    /// Paths, by [`Use`].
    pub paths: [PathBuffer; 4],
    /// The record being built.
    pub record: [u8; RECORD_BYTES],
}

/// A `Decision` in memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Decided {
    /// Number of the verdict.
    pub verdict: u32,
    /// The rule's index.
    pub rule: u16,
    /// 0 or 1.
    pub undecided: u16,
}

/// What each of a slot's path buffers is for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Use {
    /// The path of the operation.
    Path = 0,
    /// The new path of a rename.
    Target = 1,
    /// The executable of the process.
    Executable = 2,
    /// The working directory.
    WorkingDirectory = 3,
}

/// A slot that this run has to itself, and which one it is of the CPU's.
#[derive(Clone, Copy)]
pub struct Claimed {
    /// The slot.
    pub slot: *mut Slot,
    /// Its number on its CPU.
    pub number: u32,
    /// The CPU.
    pub cpu: u32,
}

impl Claimed {
    /// One of its path buffers.
    #[inline(always)]
    pub fn path(&self, what: Use) -> Place {
        Place::of(self.slot, self.index(), what)
    }

    /// Index of the slot in the map.
    #[inline(always)]
    pub fn index(&self) -> u32 {
        self.cpu * SLOTS + self.number
    }
}

/// A path buffer, and how a function that takes no pointers finds it.
#[derive(Clone, Copy)]
pub struct Place {
    /// The buffer.
    pub buffer: *mut PathBuffer,
    /// Index of its slot in the map.
    pub index: u32,
    /// Which of the slot's it is.
    pub what: Use,
}

impl Place {
    /// A path buffer of the slot with this index in the map.
    #[inline(always)]
    pub fn of(slot: *mut Slot, index: u32, what: Use) -> Self {
        // SAFETY: a field of the slot.
        let buffer = unsafe { &raw mut (*slot).paths[what as usize] };
        Self {
            buffer,
            index,
            what,
        }
    }
}

/// Claims a slot; `None` when all of this CPU's are in use.
#[inline(always)]
pub fn claim() -> Option<Claimed> {
    // SAFETY: no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let mut number = 0;
    while number < SLOTS {
        let slot = SCRATCH.get_ptr_mut(cpu * SLOTS + number)?;
        // SAFETY: a map value of this type.
        unsafe {
            add(&raw mut (*slot).claims, 1);
            compiler_fence(Ordering::SeqCst);
            if (&raw const (*slot).claims).read_volatile() == 1 {
                return Some(Claimed { slot, number, cpu });
            }
            add(&raw mut (*slot).claims, u64::MAX);
        }
        number += 1;
    }
    None
}

/// Gives a slot back.
#[inline(always)]
pub fn release(claimed: Claimed) {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: as in `claim`; adding 2^64 - 1 is subtracting one.
    unsafe { add(&raw mut (*claimed.slot).claims, u64::MAX) };
}
