//! Mounts, and the root of a mount namespace.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_policy::table::Dimension;
use holdfast_wire::Kind;
use holdfast_wire::record::file::{AT_FDCWD, MS_MOVE, Mount, NO_DIRECTORY};

use super::syscall::by_both;
use super::{Facts, judge_both};
use crate::attach::{Arguments, Via};
use crate::bound::mask;
use crate::emit::Emitter;
use crate::path::Path;
use crate::run::Run;
use crate::scratch::Use;
use crate::syscall::field;
use crate::task::pointer;
use crate::{hook, offset};

// int security_sb_mount(const char *dev_name, const struct path *path, const char *type, unsigned long flags, void *data)
hook!(file_mount_lsm file_mount_fmod file_mount_fentry file_mount_kprobe, "sb_mount", "security_sb_mount", mount);
// int security_move_mount(const struct path *from_path, const struct path *to_path)
hook!(file_move_mount_lsm file_move_mount_fmod file_move_mount_fentry file_move_mount_kprobe, "move_mount", "security_move_mount", move_mount);
// int security_sb_umount(struct vfsmount *mnt, int flags)
hook!(file_umount_lsm file_umount_fmod file_umount_fentry file_umount_kprobe, "sb_umount", "security_sb_umount", umount);
// int security_sb_pivotroot(const struct path *old_path, const struct path *new_path)
hook!(file_pivot_root_lsm file_pivot_root_fmod file_pivot_root_fentry file_pivot_root_kprobe, "sb_pivotroot", "security_sb_pivotroot", pivot_root);

/// What is known of a mount besides its mount point and its source.
struct Described {
    flags: u64,
    file_system: Name,
    directory: i32,
    source_directory: i32,
}

/// Where the name of a file system's type stands.
enum Name {
    Kernel(u64),
    User(u64),
    None,
}

impl Described {
    /// Of paths that the kernel has resolved, and a source that is a text.
    #[inline(always)]
    fn resolved(flags: u64, file_system: Name) -> Self {
        Self {
            flags,
            file_system,
            directory: AT_FDCWD,
            source_directory: NO_DIRECTORY,
        }
    }
}

#[inline(always)]
fn mount(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::FileMount, via) else {
        return 0;
    };
    let path = Path::of(run.claimed.path(Use::Path), arguments.argument(1));
    let source = Path::content(run.claimed.path(Use::Target), arguments.argument(0));
    let file_system = Name::Kernel(arguments.argument(2));
    let described = Described::resolved(arguments.argument(3), file_system);
    judge(run, path, source, &described)
}

#[inline(always)]
fn move_mount(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::FileMount, via) else {
        return 0;
    };
    let from = arguments.argument(0);
    let path = Path::of(run.claimed.path(Use::Path), arguments.argument(1));
    let vfsmount = pointer(from, offset!(path_mnt));
    let place = run.claimed.path(Use::Target);
    let mount = mount_of(vfsmount);
    // What is mounted nowhere yet (fsmount(2), open_tree(2)) is its own parent, and has no path.
    let is_new = pointer(mount, offset!(mount_parent)) == mount;
    let (source, flags) = if is_new {
        (Path::content(place, device_name(mount)), 0)
    } else {
        (Path::of(place, from), MS_MOVE)
    };
    let described = Described::resolved(flags, Name::Kernel(type_name(vfsmount)));
    judge(run, path, source, &described)
}

#[inline(always)]
fn umount(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::FileUmount, via) else {
        return 0;
    };
    let vfsmount = arguments.argument(0);
    let root = pointer(vfsmount, offset!(vfsmount_root));
    let path = Path::walk(run.claimed.path(Use::Path), vfsmount, root);
    let device = device_name(mount_of(vfsmount));
    let source = Path::content(run.claimed.path(Use::Target), device);
    let flags = u64::from(arguments.argument(1) as u32);
    let described = Described::resolved(flags, Name::Kernel(type_name(vfsmount)));
    judge(run, path, source, &described)
}

/// The old path is the one at which the old root is put, the new one that of the new root.
#[inline(always)]
fn pivot_root(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::FilePivotRoot, via) else {
        return 0;
    };
    let (old, new) = (arguments.argument(0), arguments.argument(1));
    let path = Path::of(run.claimed.path(Use::Path), new);
    let target = Path::of(run.claimed.path(Use::Target), old);
    let dentry = pointer(new, offset!(path_dentry));
    judge_both(
        run,
        path,
        target,
        #[inline(always)]
        || Facts::of_dentry(dentry),
    )
}

/// The `struct mount` around a `struct vfsmount`.
#[inline(always)]
fn mount_of(vfsmount: u64) -> u64 {
    vfsmount.wrapping_sub(u64::from(offset!(mount_mnt)))
}

#[inline(always)]
fn device_name(mount: u64) -> u64 {
    pointer(mount, offset!(mount_devname))
}

#[inline(always)]
fn type_name(vfsmount: u64) -> u64 {
    let superblock = pointer(vfsmount, offset!(vfsmount_super));
    pointer(
        pointer(superblock, offset!(super_type)),
        offset!(file_system_name),
    )
}

/// `sys_enter_mount(dev_name, dir_name, type, flags, data)`
#[tracepoint]
pub fn file_mount_enter(context: TracePointContext) -> u32 {
    /// `MS_MGC_VAL` and its mask of `include/uapi/linux/mount.h`: a mark of callers from before 2.4,
    /// which `path_mount` takes off.
    const MAGIC: u64 = 0xc0ed_0000;
    const MAGIC_MASK: u64 = 0xffff_0000;
    if let Some(run) = Run::begin(Kind::FileMount, Via::tracepoint(&context)) {
        let mut flags = field(&context, 3);
        if flags & MAGIC_MASK == MAGIC {
            flags &= !MAGIC_MASK;
        }
        let path = Path::argument(run.claimed.path(Use::Path), field(&context, 1));
        let source = Path::content_argument(run.claimed.path(Use::Target), field(&context, 0));
        let described = Described::resolved(flags, Name::User(field(&context, 2)));
        judge(run, path, source, &described);
    }
    0
}

/// `sys_enter_move_mount(from_dfd, from_pathname, to_dfd, to_pathname, flags)`
#[tracepoint]
pub fn file_move_mount_enter(context: TracePointContext) -> u32 {
    if let Some(run) = Run::begin(Kind::FileMount, Via::tracepoint(&context)) {
        let source = Path::argument(run.claimed.path(Use::Target), field(&context, 1));
        let path = Path::argument(run.claimed.path(Use::Path), field(&context, 3));
        let described = Described {
            flags: 0,
            file_system: Name::None,
            directory: field(&context, 2) as i32,
            source_directory: field(&context, 0) as i32,
        };
        judge(run, path, source, &described);
    }
    0
}

/// `sys_enter_umount(name, flags)`
#[tracepoint]
pub fn file_umount_enter(context: TracePointContext) -> u32 {
    if let Some(run) = Run::begin(Kind::FileUmount, Via::tracepoint(&context)) {
        let path = Path::argument(run.claimed.path(Use::Path), field(&context, 0));
        let source = Path::none(run.claimed.path(Use::Target));
        let flags = u64::from(field(&context, 1) as u32);
        judge(run, path, source, &Described::resolved(flags, Name::None));
    }
    0
}

/// `sys_enter_pivot_root(new_root, put_old)`
#[tracepoint]
pub fn file_pivot_root_enter(context: TracePointContext) -> u32 {
    by_both(
        &context,
        Kind::FilePivotRoot,
        (field(&context, 0), AT_FDCWD),
        (field(&context, 1), AT_FDCWD),
    )
}

#[inline(always)]
fn judge(mut run: Run, path: Path, source: Path, described: &Described) -> i32 {
    run.narrow_by_path(Dimension::Path, &path);
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<Mount>();
            let path_length = record.path(&path);
            let source_length = record.path(&source);
            let type_length = append(record, &described.file_system);
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Mount {
                    flags: described.flags,
                    directory: described.directory,
                    source_directory: described.source_directory,
                    path_length,
                    source_length,
                    type_length,
                    reserved: 0,
                });
            }
        },
    )
}

/// Appends the name of a type; its length.
#[inline(always)]
fn append(record: &mut Emitter, name: &Name) -> u16 {
    /// Longer than any type's name; with its NUL.
    const BYTES: u32 = 64;
    let to = record.tail().cast();
    // SAFETY: the record has room for a string of this size behind any offset.
    let read = unsafe {
        match *name {
            Name::Kernel(from) => bpf_probe_read_kernel_str(to, BYTES, from as *const _),
            Name::User(from) => bpf_probe_read_user_str(to, BYTES, from as *const _),
            Name::None => 0,
        }
    };
    let length = if read > 0 {
        mask::<{ BYTES as i32 - 1 }>(read as u64 - 1)
    } else {
        0
    };
    record.advance(length);
    length as u16
}
