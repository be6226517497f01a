//! Bounds that the verifier sees. The compiler drops a mask whose effect it can prove; these it
//! cannot see through. On 5.10 a bound does not survive being spilled to the stack either, so a
//! value is bounded right where it is used as an offset or a length.

use core::arch::asm;

/// `value & MASK`, kept in the program.
#[inline(always)]
pub fn mask<const MASK: i32>(mut value: u64) -> u64 {
    // SAFETY: one ALU instruction on a register.
    unsafe { asm!("{0} &= {1}", inout(reg) value, const MASK, options(nomem, nostack)) };
    value
}
