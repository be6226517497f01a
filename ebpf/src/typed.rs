//! Loading from kernel structs that the verifier knows the types of, by the kernel's BTF: a few instructions each, while
//! `bpf_probe_read_kernel` costs eighty. The kernel reads zeros where nothing can be read.

use core::arch::asm;
use core::mem::{MaybeUninit, transmute_copy};

use holdfast_wire::layout::ABSENT;

/// A field of a struct; zero where the kernel does not have it. `T` is an integer.
#[inline(always)]
pub fn member<T: Copy>(base: *const u8, offset: u32) -> T {
    if offset == ABSENT {
        return zero();
    }
    if size_of::<T>() == size_of::<u64>() {
        let word = number(load(base, offset));
        // SAFETY: of the same size, and T is an integer.
        return unsafe { transmute_copy(&word) };
    }
    load(base, offset)
}

/// A field of the struct that is found by following these pointers, each a field of what the one before points to;
/// zero where one points nowhere.
///
/// The verifier wants to see a pointer compared with zero that is marked `__rcu`, which it knows of kernels that were
/// built by clang (`PTR_MAYBE_NULL` of `check_ptr_to_btf_access`, since 6.4).
#[inline(always)]
pub fn member_behind<T: Copy, const STEPS: usize>(
    mut base: *const u8,
    way: [u32; STEPS],
    offset: u32,
) -> T {
    let mut step = 0;
    while step < STEPS {
        if way[step] == ABSENT {
            return zero();
        }
        base = load(base, way[step]);
        if base.is_null() {
            return zero();
        }
        step += 1;
    }
    member(base, offset)
}

#[inline(always)]
fn zero<T: Copy>() -> T {
    // SAFETY: T is an integer at every call.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A field, or one that is a pointer, which it stays to the verifier.
#[inline(always)]
pub fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the verifier checks that it is a field, and the kernel reads zeros where there is none.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// What may be a pointer to the verifier, as a number: only that may be given to a function that takes
/// numbers. The negation of a pointer is a number to it (`check_alu_op`, to programs of whom
/// `bpf_allow_ptr_leaks` holds).
#[inline(always)]
pub fn number(mut word: u64) -> u64 {
    // SAFETY: two ALU instructions on a register.
    unsafe { asm!("{0} = -{0}", "{0} = -{0}", inout(reg) word, options(nomem, nostack)) };
    word
}
