//! What system call tracepoints give: arguments, results, and the files behind descriptors.

use aya_ebpf::EbpfContext;
use aya_ebpf::programs::TracePointContext;

use crate::offset;
use crate::task::{own_behind, pointer, read};

/// Offset of the first argument in a `sys_enter_*` tracepoint, and of the result in `sys_exit_*`.
const FIELDS: usize = 16;

#[inline(always)]
/// The `n`th argument, from 0; in `sys_exit_*`, 0 is the result.
pub fn field(context: &TracePointContext, n: usize) -> u64 {
    // SAFETY: the verifier checks the offset against the size of the tracepoint's arguments.
    unsafe {
        context
            .as_ptr()
            .cast::<u8>()
            .add(FIELDS + 8 * n)
            .cast::<u64>()
            .read()
    }
}

/// The file behind a descriptor of the current task; 0 when there is none.
#[inline(always)]
pub fn file_of_descriptor(descriptor: u64) -> u64 {
    let table = own_behind(offset!(task_files), offset!(files_fdt));
    let size: u32 = read(table, offset!(fdtable_max_fds));
    if descriptor >= u64::from(size) {
        return 0;
    }
    pointer(
        pointer(table, offset!(fdtable_fd)).wrapping_add(8 * descriptor),
        0,
    )
}
