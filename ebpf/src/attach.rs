//! One body, several ways to attach it: where its arguments come from, and the programs of a hook.

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::programs::{
    FEntryContext, FExitContext, LsmContext, ProbeContext, TracePointContext,
};
use holdfast_wire::control::Tier;
use holdfast_wire::layout::ABSENT;

use crate::syscall::field;
use crate::task::read;

/// How a program came to run.
#[derive(Clone, Copy)]
pub struct Via {
    /// How it is attached.
    pub tier: Tier,
    /// What the kernel called it with, which some helpers want back.
    pub context: *mut c_void,
}

impl Via {
    /// A program of this tier, and its context.
    #[inline(always)]
    pub fn new(tier: Tier, context: &impl EbpfContext) -> Self {
        Self {
            tier,
            context: context.as_ptr(),
        }
    }

    /// A program on a tracepoint, raw or not.
    #[inline(always)]
    pub fn tracepoint(context: &impl EbpfContext) -> Self {
        Self::new(Tier::Tracepoint, context)
    }
}

/// Where a hook's body finds the arguments of the hooked function.
pub trait Arguments {
    /// The `n`th argument, from 0, as the 64 bits it was passed in.
    fn argument(&self, n: usize) -> u64;

    /// The field at `offset` of the struct that the `n`th argument points to; `T` is an integer.
    #[inline(always)]
    fn field<T: Copy>(&self, n: usize, offset: u32) -> T {
        read(self.argument(n), offset)
    }

    /// The field at `offset` of the struct that the field at `pointer` of the `n`th argument points to.
    #[inline(always)]
    fn behind<T: Copy>(&self, n: usize, pointer: u32, offset: u32) -> T {
        read(self.field(n, pointer), offset)
    }
}

/// One argument, which was found elsewhere.
pub struct Given(pub u64);

impl Arguments for Given {
    #[inline(always)]
    fn argument(&self, _n: usize) -> u64 {
        self.0
    }
}

/// Trampoline programs get an array of u64. To the verifier those that are pointers are of the types in the
/// kernel's BTF: what they point to is loaded without a helper, which would cost eighty instructions.
struct Array(*const u8);

impl Array {
    #[inline(always)]
    fn of(context: &impl EbpfContext) -> Self {
        Self(context.as_ptr().cast_const().cast())
    }

    #[inline(always)]
    fn pointer(&self, n: usize) -> *const u8 {
        load(self.0, 8 * n as u32)
    }

    #[inline(always)]
    fn argument(&self, n: usize) -> u64 {
        number(load(self.0, 8 * n as u32))
    }

    #[inline(always)]
    fn field<T: Copy>(&self, n: usize, offset: u32) -> T {
        member(self.pointer(n), offset)
    }

    #[inline(always)]
    fn behind<T: Copy>(&self, n: usize, pointer: u32, offset: u32) -> T {
        if pointer == ABSENT {
            return zero();
        }
        member(load(self.pointer(n), pointer), offset)
    }
}

/// A field of a struct that the verifier knows the type of.
#[inline(always)]
fn member<T: Copy>(base: *const u8, offset: u32) -> T {
    if offset == ABSENT {
        return zero();
    }
    if size_of::<T>() == size_of::<u64>() {
        let word = number(load(base, offset));
        // SAFETY: of the same size, and T is an integer.
        return unsafe { core::mem::transmute_copy(&word) };
    }
    load(base, offset)
}

#[inline(always)]
fn zero<T: Copy>() -> T {
    // SAFETY: T is an integer at every call.
    unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
}

#[inline(always)]
fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the verifier checks that it is a field, and the kernel reads zeros where there is none.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// What may be a pointer to the verifier, as a number: only that may be given to a function that takes
/// numbers. The negation of a pointer is a number to it (`check_alu_op`, to programs of whom
/// `bpf_allow_ptr_leaks` holds).
#[inline(always)]
fn number(mut word: u64) -> u64 {
    // SAFETY: two ALU instructions on a register.
    unsafe { asm!("{0} = -{0}", "{0} = -{0}", inout(reg) word, options(nomem, nostack)) };
    word
}

macro_rules! in_array {
    ($($context:ty),*) => {
        $(impl Arguments for $context {
            #[inline(always)]
            fn argument(&self, n: usize) -> u64 {
                Array::of(self).argument(n)
            }

            #[inline(always)]
            fn field<T: Copy>(&self, n: usize, offset: u32) -> T {
                Array::of(self).field(n, offset)
            }

            #[inline(always)]
            fn behind<T: Copy>(&self, n: usize, pointer: u32, offset: u32) -> T {
                Array::of(self).behind(n, pointer, offset)
            }
        })*
    };
}

// At the return of a function, its result stands behind its arguments.
in_array!(LsmContext, FEntryContext, FExitContext);

impl Arguments for ProbeContext {
    #[inline(always)]
    fn argument(&self, n: usize) -> u64 {
        self.arg(n).unwrap_or(0)
    }
}

/// Arguments of a system call: `sys_enter_*` has them one by one.
impl Arguments for TracePointContext {
    #[inline(always)]
    fn argument(&self, n: usize) -> u64 {
        field(self, n)
    }
}

/// Arguments of a system call, whose function is given the caller's registers (`struct pt_regs`).
pub struct Registers(u64);

impl Registers {
    /// Those that the function was called with.
    #[inline(always)]
    pub fn of(context: &FEntryContext) -> Self {
        Self(context.argument(0))
    }
}

/// Where `struct pt_regs` has the arguments of a system call: rdi, rsi, rdx, r10, r8, r9
/// (`arch/x86/include/uapi/asm/ptrace.h`, `SC_X86_64_REGS_TO_ARGS`).
#[cfg(not(bpf_target_arch = "aarch64"))]
const REGISTERS: [u32; 6] = [112, 104, 96, 56, 72, 64];
/// The same: x0 to x5 (`arch/arm64/include/uapi/asm/ptrace.h`, `SC_ARM64_REGS_TO_ARGS`).
#[cfg(bpf_target_arch = "aarch64")]
const REGISTERS: [u32; 6] = [0, 8, 16, 24, 32, 40];

impl Arguments for Registers {
    #[inline(always)]
    fn argument(&self, n: usize) -> u64 {
        read(self.0, REGISTERS[n])
    }
}

/// The programs of one system call that no security function is asked about:
/// `call!(names of the programs, "name", body)`. The call's own function can be made to return an
/// error (`ALLOW_ERROR_INJECTION` in `SYSCALL_DEFINEx`); the loader knows what it is called.
#[macro_export]
macro_rules! call {
    ($fmod_ret:ident $enter:ident, $call:literal, $body:path) => {
        #[doc = concat!("`fmod_ret`: the function of `", $call, "`")]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = concat!("fentry/", $call))]
        pub extern "C" fn $fmod_ret(context: *mut ::core::ffi::c_void) -> i32 {
            let context = ::aya_ebpf::programs::FEntryContext::new(context);
            let via = $crate::attach::Via::new(::holdfast_wire::control::Tier::FmodRet, &context);
            $body(&$crate::attach::Registers::of(&context), via)
        }

        #[doc = concat!("`sys_enter_", $call, "`")]
        #[::aya_ebpf::macros::tracepoint]
        #[inline(always)]
        pub fn $enter(context: ::aya_ebpf::programs::TracePointContext) -> u32 {
            $body(&context, $crate::attach::Via::tracepoint(&context));
            0
        }
    };
}

/// The programs of one security hook: `hook!(names of the programs, "LSM hook", "function", body)`.
///
/// `fmod_ret` programs stand in an fentry section, since aya knows no other for them; the loader
/// loads them as what they are. A BPF program that refuses ends the chain of those on the same hook
/// (`invoke_bpf_mod_ret` of the kernel's trampolines), so a previous verdict need not be looked at.
#[macro_export]
macro_rules! hook {
    ($lsm:ident $fmod_ret:ident $fentry:ident $kprobe:ident, $hook:literal, $function:literal, $body:path) => {
        $crate::hook!(@refuse $lsm $fmod_ret, $hook, $function, $body);
        $crate::hook!(@watch $fentry $kprobe, $function, $body);
    };
    (@run $body:path, $tier:ident, $context:ident) => {
        $body(&$context, $crate::attach::Via::new(::holdfast_wire::control::Tier::$tier, &$context))
    };
    (@refuse $lsm:ident $fmod_ret:ident, $hook:literal, $function:literal, $body:path) => {
        #[doc = concat!("`lsm`: `", $hook, "`")]
        #[::aya_ebpf::macros::lsm(hook = $hook)]
        // The attribute makes two functions of it, and the stack has room for one.
        #[inline(always)]
        pub fn $lsm(context: ::aya_ebpf::programs::LsmContext) -> i32 {
            $crate::hook!(@run $body, Lsm, context)
        }

        #[doc = concat!("`fmod_ret`: `", $function, "`")]
        // Not aya's `fentry` attribute: its programs return 0 whatever the body says.
        #[unsafe(no_mangle)]
        #[unsafe(link_section = concat!("fentry/", $function))]
        pub extern "C" fn $fmod_ret(context: *mut ::core::ffi::c_void) -> i32 {
            let context = ::aya_ebpf::programs::FEntryContext::new(context);
            $crate::hook!(@run $body, FmodRet, context)
        }
    };
    (@watch $fentry:ident $kprobe:ident, $function:literal, $body:path) => {
        #[doc = concat!("`fentry`: `", $function, "`")]
        #[::aya_ebpf::macros::fentry(function = $function)]
        #[inline(always)]
        pub fn $fentry(context: ::aya_ebpf::programs::FEntryContext) -> i32 {
            $crate::hook!(@run $body, Fentry, context);
            0
        }

        #[doc = concat!("`kprobe`: `", $function, "`")]
        #[::aya_ebpf::macros::kprobe(function = $function)]
        #[inline(always)]
        pub fn $kprobe(context: ::aya_ebpf::programs::ProbeContext) -> u32 {
            $crate::hook!(@run $body, Kprobe, context);
            0
        }
    };
}
