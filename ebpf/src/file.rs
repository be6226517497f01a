//! File operations: open, create, delete, rename.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_policy::table::Dimension;
use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use holdfast_wire::record::file::{AT_FDCWD, File};

use crate::attach::Arguments;
use crate::path::Path;
use crate::run::Run;
use crate::scratch::{Place, Use};
use crate::task::{pointer, read};
use crate::{decide, hook, offset};

// int security_file_open(struct file *file)
hook!(file_open_lsm file_open_fmod file_open_fentry file_open_kprobe, "file_open", "security_file_open", open);
// int security_path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev)
hook!(file_create_lsm file_create_fmod file_create_fentry file_create_kprobe, "path_mknod", "security_path_mknod", create);
// int security_path_unlink(const struct path *dir, struct dentry *dentry)
hook!(file_delete_lsm file_delete_fmod file_delete_fentry file_delete_kprobe, "path_unlink", "security_path_unlink", delete);
// int security_path_rename(const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry, unsigned int flags)
hook!(file_rename_lsm file_rename_fmod file_rename_fentry file_rename_kprobe, "path_rename", "security_path_rename", rename);

#[inline(always)]
fn open(arguments: &impl Arguments, tier: Tier) -> i32 {
    match Run::begin(Kind::FileOpen, tier) {
        Some(run) => opened(run, arguments.argument(0)),
        None => 0,
    }
}

#[inline(always)]
fn create(arguments: &impl Arguments, tier: Tier) -> i32 {
    let Some(run) = Run::begin(Kind::FileCreate, tier) else {
        return 0;
    };
    let path = in_directory(
        run.claimed.path(Use::Path),
        arguments.argument(0),
        arguments.argument(1),
    );
    let mode = arguments.argument(2) as u16;
    judge(
        run,
        path,
        &Facts {
            mode: u32::from(mode),
            ..Facts::NONE
        },
    )
}

#[inline(always)]
fn delete(arguments: &impl Arguments, tier: Tier) -> i32 {
    let Some(run) = Run::begin(Kind::FileDelete, tier) else {
        return 0;
    };
    let dentry = arguments.argument(1);
    let path = in_directory(run.claimed.path(Use::Path), arguments.argument(0), dentry);
    judge(
        run,
        path,
        &Facts::of_inode(pointer(dentry, offset!(dentry_inode))),
    )
}

#[inline(always)]
fn rename(arguments: &impl Arguments, tier: Tier) -> i32 {
    let Some(run) = Run::begin(Kind::FileRename, tier) else {
        return 0;
    };
    let dentry = arguments.argument(1);
    let path = in_directory(run.claimed.path(Use::Path), arguments.argument(0), dentry);
    let target = in_directory(
        run.claimed.path(Use::Target),
        arguments.argument(2),
        arguments.argument(3),
    );
    judge_rename(
        run,
        path,
        target,
        &Facts::of_inode(pointer(dentry, offset!(dentry_inode))),
    )
}

/// The path of an entry of a directory: the entry's own names, on the directory's mount.
#[inline(always)]
fn in_directory(place: Place, directory: u64, dentry: u64) -> Path {
    Path::walk(place, pointer(directory, offset!(path_mnt)), dentry)
}

/// A `struct file` that is being opened, or has been.
#[inline(always)]
fn opened(mut run: Run, file: u64) -> i32 {
    let open_flags = read(file, offset!(file_flags));
    decide::by_access(&mut run, open_flags);
    let path = Path::of_file(run.claimed.path(Use::Path), file);
    let facts = Facts::of_inode(pointer(file, offset!(file_inode)));
    judge(
        run,
        path,
        &Facts {
            open_flags,
            ..facts
        },
    )
}

/// What is known of the file besides its path.
struct Facts {
    inode: u64,
    mode: u32,
    open_flags: u32,
    directory: i32,
    target_directory: i32,
}

impl Facts {
    const NONE: Self = Self {
        inode: 0,
        mode: 0,
        open_flags: 0,
        directory: AT_FDCWD,
        target_directory: AT_FDCWD,
    };

    /// An inode, whose fields are read when a record is written.
    #[inline(always)]
    fn of_inode(inode: u64) -> Self {
        Self {
            inode,
            ..Self::NONE
        }
    }
}

#[inline(always)]
fn judge(mut run: Run, path: Path, facts: &Facts) -> i32 {
    run.narrow_by_path(Dimension::Path, &path);
    let target = Path::none(run.claimed.path(Use::Target));
    settle(run, path, target, facts)
}

#[inline(always)]
fn judge_rename(mut run: Run, path: Path, target: Path, facts: &Facts) -> i32 {
    run.narrow_by_path(Dimension::Path, &path);
    run.narrow_by_path(Dimension::TargetPath, &target);
    settle(run, path, target, facts)
}

#[inline(always)]
fn settle(mut run: Run, path: Path, target: Path, facts: &Facts) -> i32 {
    let decided = run.decide();
    if !run.is_wanted(decided) {
        run.filter();
        return 0;
    }
    run.finish(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<File>();
            let path_length = record.path(&path);
            let target_length = record.path(&target);
            let superblock = pointer(facts.inode, offset!(inode_super));
            let mode: u16 = read(facts.inode, offset!(inode_mode));
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(File {
                    inode: read(facts.inode, offset!(inode_number)),
                    device: read(superblock, offset!(super_dev)),
                    mode: facts.mode | u32::from(mode),
                    open_flags: facts.open_flags,
                    directory: facts.directory,
                    target_directory: facts.target_directory,
                    path_length,
                    target_length,
                });
            }
        },
    )
}

// The tracepoint tier. What was opened is looked at when the call returns: the path is then the
// kernel's, and a signal is delivered before the caller gets the descriptor. What removes or changes
// a name is looked at when the call begins, since the name is gone afterwards; there the path is the
// caller's argument and is flagged so.

/// Offset of the first argument in a `sys_enter_*` tracepoint, and of the result in `sys_exit_*`.
const SYSCALL_FIELDS: usize = 16;

#[inline(always)]
pub fn syscall_field(context: &TracePointContext, n: usize) -> u64 {
    // SAFETY: the verifier checks the offset against the size of the tracepoint's arguments.
    unsafe {
        context
            .as_ptr()
            .cast::<u8>()
            .add(SYSCALL_FIELDS + 8 * n)
            .cast::<u64>()
            .read()
    }
}

/// The file behind a descriptor of the current task; 0 when there is none.
#[inline(always)]
pub fn file_of_descriptor(task: u64, descriptor: u64) -> u64 {
    let table = pointer(pointer(task, offset!(task_files)), offset!(files_fdt));
    let size: u32 = read(table, offset!(fdtable_max_fds));
    if descriptor >= u64::from(size) {
        return 0;
    }
    pointer(
        pointer(table, offset!(fdtable_fd)).wrapping_add(8 * descriptor),
        0,
    )
}

/// `sys_exit_{open,openat,openat2,creat}`
#[tracepoint]
pub fn file_open_exit(context: TracePointContext) -> u32 {
    if let Some(run) = Run::begin(Kind::FileOpen, Tier::Tracepoint) {
        match file_of_descriptor(run.task, syscall_field(&context, 0)) {
            0 => run.abandon(),
            file => {
                opened(run, file);
            }
        }
    }
    0
}

/// `FMODE_CREATED` of `include/linux/fs.h`: the file came into being with this open.
const FMODE_CREATED: u32 = 0x0010_0000;

/// `sys_exit_{open,openat,openat2,creat}`, where the open created the file.
#[tracepoint]
pub fn file_create_exit(context: TracePointContext) -> u32 {
    if let Some(run) = Run::begin(Kind::FileCreate, Tier::Tracepoint) {
        let file = file_of_descriptor(run.task, syscall_field(&context, 0));
        if read::<u32>(file, offset!(file_mode)) & FMODE_CREATED == 0 {
            run.abandon();
        } else {
            opened(run, file);
        }
    }
    0
}

/// Judges a call by its path argument.
#[inline(always)]
fn by_argument(kind: Kind, path: u64, directory: i32) -> u32 {
    if let Some(run) = Run::begin(kind, Tier::Tracepoint) {
        let path = Path::argument(run.claimed.path(Use::Path), path);
        judge(
            run,
            path,
            &Facts {
                directory,
                ..Facts::NONE
            },
        );
    }
    0
}

/// Judges a rename by its path arguments.
#[inline(always)]
fn rename_by_arguments(old: (u64, i32), new: (u64, i32)) -> u32 {
    if let Some(run) = Run::begin(Kind::FileRename, Tier::Tracepoint) {
        let facts = Facts {
            directory: old.1,
            target_directory: new.1,
            ..Facts::NONE
        };
        let path = Path::argument(run.claimed.path(Use::Path), old.0);
        let target = Path::argument(run.claimed.path(Use::Target), new.0);
        judge_rename(run, path, target, &facts);
    }
    0
}

/// `sys_enter_open(filename, flags, mode)`, where offsets are not known.
#[tracepoint]
pub fn file_open_enter(context: TracePointContext) -> u32 {
    by_argument(Kind::FileOpen, syscall_field(&context, 0), AT_FDCWD)
}

/// `sys_enter_openat(dfd, filename, flags, mode)` and `openat2`, where offsets are not known.
#[tracepoint]
pub fn file_openat_enter(context: TracePointContext) -> u32 {
    let directory = syscall_field(&context, 0) as i32;
    by_argument(Kind::FileOpen, syscall_field(&context, 1), directory)
}

/// `sys_enter_unlink(pathname)`
#[tracepoint]
pub fn file_unlink_enter(context: TracePointContext) -> u32 {
    by_argument(Kind::FileDelete, syscall_field(&context, 0), AT_FDCWD)
}

/// `sys_enter_unlinkat(dfd, pathname, flag)`
#[tracepoint]
pub fn file_unlinkat_enter(context: TracePointContext) -> u32 {
    /// `AT_REMOVEDIR` of `include/uapi/linux/fcntl.h`: this is an rmdir.
    const AT_REMOVEDIR: u64 = 0x200;
    if syscall_field(&context, 2) & AT_REMOVEDIR != 0 {
        return 0;
    }
    let directory = syscall_field(&context, 0) as i32;
    by_argument(Kind::FileDelete, syscall_field(&context, 1), directory)
}

/// `sys_enter_rename(oldname, newname)`
#[tracepoint]
pub fn file_rename_enter(context: TracePointContext) -> u32 {
    rename_by_arguments(
        (syscall_field(&context, 0), AT_FDCWD),
        (syscall_field(&context, 1), AT_FDCWD),
    )
}

/// `sys_enter_renameat(olddfd, oldname, newdfd, newname)` and `renameat2`
#[tracepoint]
pub fn file_renameat_enter(context: TracePointContext) -> u32 {
    rename_by_arguments(
        (
            syscall_field(&context, 1),
            syscall_field(&context, 0) as i32,
        ),
        (
            syscall_field(&context, 3),
            syscall_field(&context, 2) as i32,
        ),
    )
}
