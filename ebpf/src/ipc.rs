//! System V shared memory and POSIX message queues.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;
use holdfast_wire::record::ipc::{IPC_CREAT, Mq, Shm, operation};

use crate::attach::{Arguments, Via};
use crate::path::Path;
use crate::run::Run;
use crate::scratch::Use;
use crate::syscall::field;
use crate::task::read;
use crate::{call, hook, offset};

// int security_shm_alloc(struct kern_ipc_perm *shp)
hook!(ipc_shm_lsm ipc_shm_fmod ipc_shm_fentry ipc_shm_kprobe, "shm_alloc_security", "security_shm_alloc", make);
// int security_shm_associate(struct kern_ipc_perm *shp, int shmflg)
hook!(ipc_shm_get_lsm ipc_shm_get_fmod ipc_shm_get_fentry ipc_shm_get_kprobe, "shm_associate", "security_shm_associate", get);
// int security_shm_shmat(struct kern_ipc_perm *shp, char *shmaddr, int shmflg)
hook!(ipc_shm_attach_lsm ipc_shm_attach_fmod ipc_shm_attach_fentry ipc_shm_attach_kprobe, "shm_shmat", "security_shm_shmat", attach);
// mq_open(const char *u_name, int oflag, umode_t mode, struct mq_attr *u_attr)
call!(ipc_mq_fmod ipc_mq_enter, "mq_open", mq_open);

/// `S_IRWXUGO` of `include/linux/stat.h`.
const PERMISSIONS: u32 = 0o777;

/// `newseg`: key and permissions are in place, the rest is not.
#[inline(always)]
fn make(arguments: &impl Arguments, via: Via) -> i32 {
    let segment = arguments.argument(0);
    let known = Shm {
        id: -1,
        owner: u32::MAX,
        ..of_segment(operation::SHMGET, IPC_CREAT, segment)
    };
    Run::tell(Kind::IpcShm, via, 0, known)
}

#[inline(always)]
fn get(arguments: &impl Arguments, via: Via) -> i32 {
    let flags = arguments.argument(1) as u32;
    Run::tell(
        Kind::IpcShm,
        via,
        0,
        of_segment(operation::SHMGET, flags, arguments.argument(0)),
    )
}

#[inline(always)]
fn attach(arguments: &impl Arguments, via: Via) -> i32 {
    let flags = arguments.argument(2) as u32;
    Run::tell(
        Kind::IpcShm,
        via,
        0,
        of_segment(operation::SHMAT, flags, arguments.argument(0)),
    )
}

/// A segment by its `struct kern_ipc_perm`.
#[inline(always)]
fn of_segment(operation: u32, flags: u32, segment: u64) -> Shm {
    let mode: u16 = read(segment, offset!(ipc_mode));
    Shm {
        operation,
        flags,
        key: read(segment, offset!(ipc_key)),
        id: read(segment, offset!(ipc_id)),
        owner: read(segment, offset!(ipc_owner)),
        mode: u32::from(mode) & PERMISSIONS,
    }
}

/// `sys_enter_shmget(key, size, shmflg)`
#[tracepoint]
pub fn ipc_shmget_enter(context: TracePointContext) -> u32 {
    let flags = field(&context, 2) as u32;
    let called = Shm {
        operation: operation::SHMGET,
        flags,
        key: field(&context, 0) as i32,
        id: -1,
        owner: u32::MAX,
        mode: u32::MAX,
    };
    Run::tell(Kind::IpcShm, Via::tracepoint(&context), 0, called);
    0
}

/// `sys_enter_shmat(shmid, shmaddr, shmflg)`
#[tracepoint]
pub fn ipc_shmat_enter(context: TracePointContext) -> u32 {
    let called = Shm {
        operation: operation::SHMAT,
        flags: field(&context, 2) as u32,
        key: 0,
        id: field(&context, 0) as i32,
        owner: u32::MAX,
        mode: u32::MAX,
    };
    Run::tell(Kind::IpcShm, Via::tracepoint(&context), 0, called);
    0
}

/// The name is read before the kernel reads it; nothing but that name is looked up.
#[inline(always)]
fn mq_open(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(mut run) = Run::begin(Kind::IpcMq, via) else {
        return 0;
    };
    let name = Path::argument(run.claimed.path(Use::Path), arguments.argument(0));
    let flags = arguments.argument(1) as u32;
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<Mq>();
            let name_length = record.path(&name);
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Mq {
                    flags,
                    name_length,
                    reserved: 0,
                });
            }
        },
    )
}
