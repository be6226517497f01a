//! Holdfast's kernel programs: one body per hook, one program per way to attach it.
//!
//! The list of programs is the list of `hook!` and tracepoint functions in [`process`], [`file`],
//! [`network`], [`memory`], [`capability`], [`kernel`] and [`ipc`]; everything else here serves them. No policy stands in code: what to report and what
//! to prevent comes from the maps (`holdfast_policy::table`).
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod attach;
mod bound;
mod cap;
mod capability;
mod counter;
mod decide;
mod emit;
mod file;
mod ipc;
mod kernel;
mod lineage;
mod maps;
mod memory;
mod network;
mod path;
mod process;
mod run;
mod scratch;
mod superblock;
mod syscall;
mod task;
mod transport;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this can be reached.
    loop {}
}

/// Lets the programs call GPL-only helpers (`bpf_probe_read_kernel`, `bpf_send_signal`, …).
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";
