//! Memory that may be executed, and memory that has a name but no place: maps, protections, memfds.

use core::hint::black_box;

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_policy::table::{Dimension, memory_access};
use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use holdfast_wire::record::memory::{Mapping, Memfd, NOT_KNOWN, protection, region};

use crate::attach::{Arguments, Via};
use crate::file::Facts;
use crate::maps::Piece;
use crate::path::Path;
use crate::run::Run;
use crate::scratch::Use;
use crate::syscall::{field, file_of_descriptor};
use crate::task::{own, pointer, read};
use crate::{call, decide, hook, offset};

mod process_write;

// int security_mmap_file(struct file *file, unsigned long prot, unsigned long flags)
// int bpf_lsm_mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)
hook!(memory_map_lsm memory_map_fmod memory_map_fentry memory_map_kprobe, "mmap_file", "security_mmap_file", map);
// int security_file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)
hook!(memory_protect_lsm memory_protect_fmod memory_protect_fentry memory_protect_kprobe, "file_mprotect", "security_file_mprotect", protect);
// memfd_create(const char *uname, unsigned int flags)
call!(memory_memfd_fmod memory_memfd_enter, "memfd_create", memfd);

/// `include/uapi/asm-generic/mman-common.h`
const MAP_ANONYMOUS: u32 = 0x20;

/// A part of the address space, and what is asked of it.
struct Part {
    /// The `struct file` that it is of; 0 for none, or one that is not known.
    file: u64,
    piece: Piece,
    protection: u32,
    previous: u32,
    flags: u32,
    region: u32,
}

/// Where the kernel will put a mapping, and how large it is, the security function is not told.
const NOT_TOLD: Piece = Piece {
    address: 0,
    size: 0,
};

#[inline(always)]
fn map(arguments: &impl Arguments, via: Via) -> i32 {
    // The LSM hook is also told what was made of what was asked for.
    let (protection, flags) = if via.tier as u8 == Tier::Lsm as u8 {
        (arguments.argument(2) as u32, arguments.argument(3) as u32)
    } else {
        let asked = arguments.argument(1) as u32;
        (implied(asked), arguments.argument(2) as u32)
    };
    if protection & protection::EXEC == 0 {
        return 0;
    }
    let file = arguments.argument(0);
    // Huge pages of no file are of one that the kernel has made for them.
    let is_of_file = file != 0 && flags & MAP_ANONYMOUS == 0;
    judge_map(via, file, is_of_file, NOT_TOLD, protection, flags)
}

/// `sys_enter_mmap(addr, len, prot, flags, fd, off)`
#[tracepoint]
pub fn memory_map_enter(context: TracePointContext) -> u32 {
    let protection = implied(field(&context, 2) as u32);
    if protection & protection::EXEC != 0 {
        let flags = field(&context, 3) as u32;
        let file = file_of_descriptor(u64::from(field(&context, 4) as u32));
        let piece = Piece {
            address: field(&context, 0),
            size: field(&context, 1),
        };
        let is_of_file = flags & MAP_ANONYMOUS == 0;
        let via = Via::tracepoint(&context);
        judge_map(via, file, is_of_file, piece, protection, flags);
    }
    0
}

#[inline(always)]
fn judge_map(
    via: Via,
    file: u64,
    is_of_file: bool,
    piece: Piece,
    protection: u32,
    flags: u32,
) -> i32 {
    let part = Part {
        file: if is_of_file { file } else { 0 },
        piece,
        protection: protection & protection::ALL,
        previous: NOT_KNOWN,
        flags,
        region: if is_of_file {
            region::FILE
        } else {
            region::ANONYMOUS
        },
    };
    judge(Kind::MemoryMap, via, &part)
}

/// What the kernel makes of a protection (`mmap_prot` of security/security.c): some old programs may
/// execute all that they may read. It makes an exception for files on file systems mounted `noexec`.
#[inline(always)]
fn implied(asked: u32) -> u32 {
    /// `include/uapi/linux/personality.h`
    const READ_IMPLIES_EXEC: u32 = 0x40_0000;
    if asked & (protection::READ | protection::EXEC) != protection::READ {
        return asked;
    }
    let personality: u32 = own(offset!(task_personality));
    if personality & READ_IMPLIES_EXEC == 0 {
        asked
    } else {
        asked | protection::EXEC
    }
}

#[inline(always)]
fn protect(arguments: &impl Arguments, via: Via) -> i32 {
    let protection = arguments.argument(2) as u32 & protection::ALL;
    if protection & protection::EXEC == 0 {
        return 0;
    }
    let vma = arguments.argument(0);
    let previous = read::<u32>(vma, offset!(vma_flags)) & protection::ALL;
    // What loses a right, or none, is as dangerous as it was.
    if protection & !previous == 0 {
        return 0;
    }
    let address: u64 = read(vma, offset!(vma_start));
    let end: u64 = read(vma, offset!(vma_end));
    let file = pointer(vma, offset!(vma_file));
    let part = Part {
        file,
        piece: Piece {
            address,
            size: end.wrapping_sub(address),
        },
        protection,
        previous,
        flags: 0,
        region: if file == 0 {
            region_of(pointer(vma, offset!(vma_mm)), address, end)
        } else {
            region::FILE
        },
    };
    judge(Kind::MemoryProtect, via, &part)
}

/// What part of an address space memory of no file is (`vma_is_initial_heap` and
/// `vma_is_initial_stack` of include/linux/mm.h).
#[inline(always)]
fn region_of(mm: u64, start: u64, end: u64) -> u32 {
    let stack: u64 = read(mm, offset!(mm_start_stack));
    if start <= stack && end >= stack {
        return region::STACK;
    }
    let heap: u64 = read(mm, offset!(mm_start_brk));
    let heap_end: u64 = read(mm, offset!(mm_brk));
    if start < heap_end && end > heap {
        region::HEAP
    } else {
        region::ANONYMOUS
    }
}

/// `sys_enter_mprotect(start, len, prot)` and `pkey_mprotect`: what is there is not looked up.
#[tracepoint]
pub fn memory_protect_enter(context: TracePointContext) -> u32 {
    let protection = implied(field(&context, 2) as u32) & protection::ALL;
    if protection & protection::EXEC != 0 {
        let part = Part {
            file: 0,
            piece: Piece {
                address: field(&context, 0),
                size: field(&context, 1),
            },
            protection,
            previous: NOT_KNOWN,
            flags: 0,
            region: region::UNKNOWN,
        };
        judge(Kind::MemoryProtect, Via::tracepoint(&context), &part);
    }
    0
}

#[inline(always)]
fn judge(kind: Kind, via: Via, part: &Part) -> i32 {
    let Some(mut run) = Run::begin(kind, via) else {
        return 0;
    };
    if part.region == region::UNKNOWN {
        run.unknown(Dimension::Access);
    } else {
        let access = memory_access(
            part.region != region::FILE,
            part.protection & protection::WRITE != 0,
        );
        // The compiler would make an index of what it sees is one, which 5.10 does not bound.
        decide::by_access(&mut run, black_box(access));
    }
    // Every program maps its libraries; where nobody asks for that, the walk is saved.
    let path = if part.file == 0 || run.is_idle() {
        Path::none(run.claimed.path(Use::Path))
    } else {
        Path::of_file(run.claimed.path(Use::Path), part.file)
    };
    if part.file == 0 && part.region > region::FILE {
        run.absent(Dimension::Path);
    } else {
        run.narrow_by_path(Dimension::Path, &path);
    }
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<Mapping>();
            let path_length = record.path(&path);
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Mapping {
                    file: Facts::of_file(part.file).describe(&path, path_length),
                    address: part.piece.address,
                    size: part.piece.size,
                    protection: part.protection,
                    previous: part.previous,
                    flags: part.flags,
                    region: part.region,
                });
            }
        },
    )
}

/// The name is the caller's memory, which it can change after it was read.
#[inline(always)]
fn memfd(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(mut run) = Run::begin(Kind::MemoryMemfd, via) else {
        return 0;
    };
    let name = Path::argument(run.claimed.path(Use::Path), arguments.argument(0));
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<Memfd>();
            let name_length = record.path(&name);
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Memfd {
                    flags: arguments.argument(1) as u32,
                    name_length,
                    reserved: 0,
                });
            }
        },
    )
}
