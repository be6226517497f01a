//! What changes the kernel itself or looks into it: modules, kernels to boot, BPF programs,
//! performance counters.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_policy::table::Dimension;
use holdfast_wire::Kind;
use holdfast_wire::record::capability::{Bpf, Load, NAME_BYTES, NOT_GIVEN, source};

use crate::attach::{Arguments, Via};
use crate::bound::mask;
use crate::file::Facts;
use crate::path::Path;
use crate::run::Run;
use crate::scratch::Use;
use crate::syscall::{field, file_of_descriptor};
use crate::task::read;
use crate::{hook, offset};

// int security_kernel_read_file(struct file *file, enum kernel_read_file_id id, bool contents), the last since 5.10
hook!(kernel_module_lsm kernel_module_fmod kernel_module_fentry kernel_module_kprobe, "kernel_read_file", "security_kernel_read_file", read_module);
hook!(kernel_kexec_lsm kernel_kexec_fmod kernel_kexec_fentry kernel_kexec_kprobe, "kernel_read_file", "security_kernel_read_file", read_image);
// int security_kernel_load_data(enum kernel_load_data_id id, bool contents), the last since 5.10
hook!(kernel_module_data_lsm kernel_module_data_fmod kernel_module_data_fentry kernel_module_data_kprobe, "kernel_load_data", "security_kernel_load_data", load_module);
hook!(kernel_kexec_data_lsm kernel_kexec_data_fmod kernel_kexec_data_fentry kernel_kexec_data_kprobe, "kernel_load_data", "security_kernel_load_data", load_image);
// int security_bpf(int cmd, union bpf_attr *attr, unsigned int size), before 6.15
// int security_bpf(int cmd, union bpf_attr *attr, unsigned int size, bool kernel)
hook!(kernel_bpf_lsm kernel_bpf_fmod kernel_bpf_fentry kernel_bpf_kprobe, "bpf", "security_bpf", bpf);
// int security_perf_event_open(struct perf_event_attr *attr, int type), still in 6.12
// int security_perf_event_open(int type)
hook!(kernel_perf_lsm kernel_perf_fmod kernel_perf_fentry kernel_perf_kprobe, "perf_event_open", "security_perf_event_open", perf);

#[inline(always)]
fn read_module(arguments: &impl Arguments, via: Via) -> i32 {
    let id = arguments.argument(1) as u32;
    if id != offset!(reading_module) && id != offset!(reading_module_compressed) {
        return 0;
    }
    from_file(
        Kind::KernelModule,
        via,
        source::READING_MODULE,
        arguments.argument(0),
    )
}

#[inline(always)]
fn read_image(arguments: &impl Arguments, via: Via) -> i32 {
    if arguments.argument(1) as u32 != offset!(reading_kexec_image) {
        return 0;
    }
    from_file(
        Kind::KernelKexec,
        via,
        source::READING_KEXEC_IMAGE,
        arguments.argument(0),
    )
}

#[inline(always)]
fn load_module(arguments: &impl Arguments, via: Via) -> i32 {
    if arguments.argument(0) as u32 != offset!(loading_module) {
        return 0;
    }
    from_memory(Kind::KernelModule, via, source::LOADING_MODULE)
}

#[inline(always)]
fn load_image(arguments: &impl Arguments, via: Via) -> i32 {
    if arguments.argument(0) as u32 != offset!(loading_kexec_image) {
        return 0;
    }
    from_memory(Kind::KernelKexec, via, source::LOADING_KEXEC_IMAGE)
}

/// `sys_enter_finit_module(fd, uargs, flags)`
#[tracepoint]
pub fn kernel_finit_module_enter(context: TracePointContext) -> u32 {
    let file = file_of_descriptor(field(&context, 0));
    from_file(
        Kind::KernelModule,
        Via::tracepoint(&context),
        source::READING_MODULE,
        file,
    );
    0
}

/// `sys_enter_init_module(umod, len, uargs)`
#[tracepoint]
pub fn kernel_init_module_enter(context: TracePointContext) -> u32 {
    from_memory(
        Kind::KernelModule,
        Via::tracepoint(&context),
        source::LOADING_MODULE,
    );
    0
}

/// `sys_enter_kexec_file_load(kernel_fd, initrd_fd, cmdline_len, cmdline, flags)`
#[tracepoint]
pub fn kernel_kexec_file_enter(context: TracePointContext) -> u32 {
    /// `include/uapi/linux/kexec.h`
    const KEXEC_FILE_UNLOAD: u64 = 1;
    if field(&context, 4) & KEXEC_FILE_UNLOAD == 0 {
        let file = file_of_descriptor(field(&context, 0));
        from_file(
            Kind::KernelKexec,
            Via::tracepoint(&context),
            source::READING_KEXEC_IMAGE,
            file,
        );
    }
    0
}

/// `sys_enter_kexec_load(entry, nr_segments, segments, flags)`
#[tracepoint]
pub fn kernel_kexec_enter(context: TracePointContext) -> u32 {
    from_memory(
        Kind::KernelKexec,
        Via::tracepoint(&context),
        source::LOADING_KEXEC_IMAGE,
    );
    0
}

#[inline(always)]
fn from_file(kind: Kind, via: Via, source: u32, file: u64) -> i32 {
    let Some(mut run) = Run::begin(kind, via) else {
        return 0;
    };
    let path = Path::of_file(run.claimed.path(Use::Path), file);
    run.narrow_by_path(Dimension::Path, &path);
    let facts = Facts::of_file(file);
    loaded(run, source, path, &facts)
}

#[inline(always)]
fn from_memory(kind: Kind, via: Via, source: u32) -> i32 {
    let Some(mut run) = Run::begin(kind, via) else {
        return 0;
    };
    let path = Path::none(run.claimed.path(Use::Path));
    run.absent(Dimension::Path);
    loaded(run, source, path, &Facts::NONE)
}

#[inline(always)]
fn loaded(mut run: Run, source: u32, path: Path, facts: &Facts) -> i32 {
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<Load>();
            let path_length = record.path(&path);
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Load {
                    file: facts.describe(&path, path_length),
                    source,
                    reserved: 0,
                });
            }
        },
    )
}

/// The head of `union bpf_attr`, up to `expected_attach_type` of what loads a program.
type Attributes = [u64; 9];

/// Numbers of `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const MAP_GET_FD_BY_ID: u32 = 14;
const RAW_TRACEPOINT_OPEN: u32 = 17;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_GET_FD_BY_ID: u32 = 30;
const LINK_DETACH: u32 = 34;

/// The commands that are told of, a bit each: what loads, attaches and detaches programs, and what
/// gets hold of others' programs and maps. Reading and writing one's own maps is what everybody who
/// uses BPF does all the time.
const TOLD: u64 = 1 << PROG_LOAD
    | 1 << PROG_ATTACH
    | 1 << PROG_DETACH
    | 1 << PROG_GET_FD_BY_ID
    | 1 << MAP_GET_FD_BY_ID
    | 1 << RAW_TRACEPOINT_OPEN
    | 1 << LINK_CREATE
    | 1 << LINK_UPDATE
    | 1 << LINK_GET_FD_BY_ID
    | 1 << LINK_DETACH;

/// The command without `BPF_COMMON_ATTRS`, which newer kernels take beside it.
#[inline(always)]
fn command(argument: u64) -> u32 {
    u32::from(argument as u16)
}

#[inline(always)]
fn is_told(command: u32) -> bool {
    command < u64::BITS && TOLD >> command & 1 == 1
}

#[inline(always)]
fn bpf(arguments: &impl Arguments, via: Via) -> i32 {
    let command = command(arguments.argument(0));
    if !is_told(command) {
        return 0;
    }
    // `__sys_bpf` has copied it, and cleared what the caller did not give.
    let attributes = read(arguments.argument(1), 0);
    judge_bpf(via, command, &attributes)
}

/// `sys_enter_bpf(cmd, uattr, size)`: the attributes are the caller's memory, which it can change
/// after they were read.
#[tracepoint]
pub fn kernel_bpf_enter(context: TracePointContext) -> u32 {
    let command = command(field(&context, 0));
    if !is_told(command) {
        return 0;
    }
    let mut attributes: Attributes = [0; 9];
    // Up to `attach_type` of what attaches; behind what was given nothing need be readable.
    const LEAST: u64 = 12;
    let bytes = if field(&context, 2) < size_of::<Attributes>() as u64 {
        LEAST
    } else {
        size_of::<Attributes>() as u64
    };
    // SAFETY: the helper writes at most the array; where it fails, zeros are what is known.
    unsafe {
        bpf_probe_read_user(
            attributes.as_mut_ptr().cast(),
            bytes as u32,
            field(&context, 1) as *const _,
        )
    };
    judge_bpf(Via::tracepoint(&context), command, &attributes);
    0
}

#[inline(always)]
fn judge_bpf(via: Via, command: u32, attributes: &Attributes) -> i32 {
    let Some(mut run) = Run::begin(Kind::KernelBpf, via) else {
        return 0;
    };
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            // Where each command has them: `union bpf_attr` of include/uapi/linux/bpf.h.
            let (mut program_type, mut attach_type, mut name) = (NOT_GIVEN, NOT_GIVEN, [0; 2]);
            if command == PROG_LOAD {
                program_type = attributes[0] as u32;
                name = [attributes[6], attributes[7]];
                // Zero is also what programs have that are not loaded for a place.
                let expected = (attributes[8] >> 32) as u32;
                if expected != 0 {
                    attach_type = expected;
                }
            } else if command == PROG_ATTACH || command == PROG_DETACH || command == LINK_CREATE {
                attach_type = attributes[1] as u32;
            }
            // SAFETY: the fixed part of this record's buffer; an array of integers is one of bytes.
            unsafe {
                record.fixed::<Bpf>().write(Bpf {
                    command,
                    program_type,
                    attach_type,
                    reserved: 0,
                    name: core::mem::transmute::<[u64; 2], [u8; NAME_BYTES]>(name),
                });
            }
        },
    )
}

#[inline(always)]
fn perf(arguments: &impl Arguments, via: Via) -> i32 {
    /// The first check of each call; others ask for more (`include/linux/perf_event.h`).
    const PERF_SECURITY_OPEN: u32 = 0;
    // Each by itself: a trampoline's program is refused where it looks at an argument that is not there. The masks
    // differ so that the compiler does not make one load at a place that is computed, which is refused in kprobes.
    let kind = match offset!(perf_event_type) {
        0 => mask::<0x7fff_ffff>(arguments.argument(0)),
        1 => mask::<0x3fff_ffff>(arguments.argument(1)),
        // Before the type stands a pointer in kernels that have both; those are negative as numbers.
        _ => {
            let first = arguments.argument(0);
            if (first as i64) < 0 {
                mask::<0x1fff_ffff>(arguments.argument(1))
            } else {
                first
            }
        }
    };
    if kind as u32 == PERF_SECURITY_OPEN {
        Run::tell(Kind::KernelPerf, via, 0, ())
    } else {
        0
    }
}

/// `sys_enter_perf_event_open(attr_uptr, pid, cpu, group_fd, flags)`
#[tracepoint]
pub fn kernel_perf_enter(context: TracePointContext) -> u32 {
    Run::tell(Kind::KernelPerf, Via::tracepoint(&context), 0, ());
    0
}
