//! The tracepoint tier of file operations. What was opened is looked at when the call returns: the
//! path is then the kernel's, and a signal is delivered before the caller gets the descriptor. What
//! makes, removes or changes a name is looked at when the call begins, since a name that goes is gone
//! afterwards; there the path is the caller's argument and is flagged so.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;
use holdfast_wire::record::file::AT_FDCWD;

use super::{Change, Facts, S_IFDIR, changed, judge, judge_both, judge_text, opened};
use crate::attach::{Given, Via};
use crate::offset;
use crate::path::Path;
use crate::run::Run;
use crate::scratch::Use;
use crate::syscall::{field, file_of_descriptor};
use crate::task::{embedded, read};

/// `sys_exit_{open,openat,openat2,creat}`
#[tracepoint]
pub fn file_open_exit(context: TracePointContext) -> u32 {
    if let Some(run) = Run::begin(Kind::FileOpen, Via::tracepoint(&context)) {
        match file_of_descriptor(field(&context, 0)) {
            0 => run.abandon(),
            file => {
                opened(run, &Given(file));
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
    if let Some(run) = Run::begin(Kind::FileCreate, Via::tracepoint(&context)) {
        let file = file_of_descriptor(field(&context, 0));
        if read::<u32>(file, offset!(file_mode)) & FMODE_CREATED == 0 {
            run.abandon();
        } else {
            opened(run, &Given(file));
        }
    }
    0
}

/// Judges a call by its path argument.
#[inline(always)]
fn by_argument(context: &TracePointContext, kind: Kind, path: u64, facts: Facts) -> u32 {
    if let Some(run) = Run::begin(kind, Via::tracepoint(context)) {
        let path = Path::argument(run.claimed.path(Use::Path), path);
        judge(run, path, || facts);
    }
    0
}

/// Judges a rename or a link by its path arguments.
#[inline(always)]
pub fn by_both(context: &TracePointContext, kind: Kind, old: (u64, i32), new: (u64, i32)) -> u32 {
    if let Some(run) = Run::begin(kind, Via::tracepoint(context)) {
        let facts = Facts {
            directory: old.1,
            target_directory: new.1,
            ..Facts::NONE
        };
        let path = Path::argument(run.claimed.path(Use::Path), old.0);
        let target = Path::argument(run.claimed.path(Use::Target), new.0);
        judge_both(run, path, target, || facts);
    }
    0
}

/// `sys_enter_open(filename, flags, mode)`, where offsets are not known.
#[tracepoint]
pub fn file_open_enter(context: TracePointContext) -> u32 {
    by_argument(&context, Kind::FileOpen, field(&context, 0), Facts::NONE)
}

/// `sys_enter_openat(dfd, filename, flags, mode)` and `openat2`, where offsets are not known.
#[tracepoint]
pub fn file_openat_enter(context: TracePointContext) -> u32 {
    let directory = field(&context, 0) as i32;
    by_argument(
        &context,
        Kind::FileOpen,
        field(&context, 1),
        Facts::at(directory),
    )
}

/// `AT_REMOVEDIR` of `include/uapi/linux/fcntl.h`: this `unlinkat` is an rmdir.
const AT_REMOVEDIR: u64 = 0x200;

/// `sys_enter_unlink(pathname)`
#[tracepoint]
pub fn file_unlink_enter(context: TracePointContext) -> u32 {
    by_argument(&context, Kind::FileDelete, field(&context, 0), Facts::NONE)
}

/// `sys_enter_unlinkat(dfd, pathname, flag)`
#[tracepoint]
pub fn file_unlinkat_enter(context: TracePointContext) -> u32 {
    if field(&context, 2) & AT_REMOVEDIR != 0 {
        return 0;
    }
    let directory = field(&context, 0) as i32;
    by_argument(
        &context,
        Kind::FileDelete,
        field(&context, 1),
        Facts::at(directory),
    )
}

/// `sys_enter_rename(oldname, newname)`
#[tracepoint]
pub fn file_rename_enter(context: TracePointContext) -> u32 {
    by_both(
        &context,
        Kind::FileRename,
        (field(&context, 0), AT_FDCWD),
        (field(&context, 1), AT_FDCWD),
    )
}

/// `sys_enter_renameat(olddfd, oldname, newdfd, newname)` and `renameat2`
#[tracepoint]
pub fn file_renameat_enter(context: TracePointContext) -> u32 {
    by_both(
        &context,
        Kind::FileRename,
        (field(&context, 1), field(&context, 0) as i32),
        (field(&context, 3), field(&context, 2) as i32),
    )
}

/// `sys_enter_link(oldname, newname)`
#[tracepoint]
pub fn file_link_enter(context: TracePointContext) -> u32 {
    by_both(
        &context,
        Kind::FileLink,
        (field(&context, 0), AT_FDCWD),
        (field(&context, 1), AT_FDCWD),
    )
}

/// `sys_enter_linkat(olddfd, oldname, newdfd, newname, flags)`
#[tracepoint]
pub fn file_linkat_enter(context: TracePointContext) -> u32 {
    by_both(
        &context,
        Kind::FileLink,
        (field(&context, 1), field(&context, 0) as i32),
        (field(&context, 3), field(&context, 2) as i32),
    )
}

/// `sys_enter_symlink(content, path)`
#[tracepoint]
pub fn file_symlink_enter(context: TracePointContext) -> u32 {
    symlink_by_argument(&context, field(&context, 0), field(&context, 1), AT_FDCWD)
}

/// `sys_enter_symlinkat(content, newdfd, path)`
#[tracepoint]
pub fn file_symlinkat_enter(context: TracePointContext) -> u32 {
    let directory = field(&context, 1) as i32;
    symlink_by_argument(&context, field(&context, 0), field(&context, 2), directory)
}

#[inline(always)]
fn symlink_by_argument(
    context: &TracePointContext,
    content: u64,
    path: u64,
    directory: i32,
) -> u32 {
    if let Some(run) = Run::begin(Kind::FileSymlink, Via::tracepoint(context)) {
        let facts = Facts::at(directory);
        let path = Path::argument(run.claimed.path(Use::Path), path);
        let content = Path::content_argument(run.claimed.path(Use::Target), content);
        judge_text(run, path, content, || facts);
    }
    0
}

/// `sys_enter_mkdir(pathname, mode)`
#[tracepoint]
pub fn file_mkdir_enter(context: TracePointContext) -> u32 {
    let mode = u32::from(field(&context, 1) as u16) | S_IFDIR;
    by_argument(
        &context,
        Kind::FileMkdir,
        field(&context, 0),
        Facts {
            mode,
            ..Facts::NONE
        },
    )
}

/// `sys_enter_mkdirat(dfd, pathname, mode)`
#[tracepoint]
pub fn file_mkdirat_enter(context: TracePointContext) -> u32 {
    let facts = Facts {
        mode: u32::from(field(&context, 2) as u16) | S_IFDIR,
        directory: field(&context, 0) as i32,
        ..Facts::NONE
    };
    by_argument(&context, Kind::FileMkdir, field(&context, 1), facts)
}

/// `sys_enter_rmdir(pathname)`
#[tracepoint]
pub fn file_rmdir_enter(context: TracePointContext) -> u32 {
    by_argument(&context, Kind::FileRmdir, field(&context, 0), Facts::NONE)
}

/// `sys_enter_unlinkat(dfd, pathname, flag)`, where it removes a directory.
#[tracepoint]
pub fn file_rmdirat_enter(context: TracePointContext) -> u32 {
    if field(&context, 2) & AT_REMOVEDIR == 0 {
        return 0;
    }
    let directory = field(&context, 0) as i32;
    by_argument(
        &context,
        Kind::FileRmdir,
        field(&context, 1),
        Facts::at(directory),
    )
}

/// `sys_enter_chmod(filename, mode)`
#[tracepoint]
pub fn file_chmod_enter(context: TracePointContext) -> u32 {
    let facts = Facts {
        mode: regular(field(&context, 1)),
        ..Facts::NONE
    };
    by_argument(&context, Kind::FileChmod, field(&context, 0), facts)
}

/// `sys_enter_fchmodat(dfd, filename, mode)` and `fchmodat2`
#[tracepoint]
pub fn file_fchmodat_enter(context: TracePointContext) -> u32 {
    let facts = Facts {
        mode: regular(field(&context, 2)),
        directory: field(&context, 0) as i32,
        ..Facts::NONE
    };
    by_argument(&context, Kind::FileChmod, field(&context, 1), facts)
}

/// A mode that is asked for by path. Its type is not known; that of a regular file stands for it, so
/// that mode 0 is told from none.
#[inline(always)]
fn regular(mode: u64) -> u32 {
    const S_IFREG: u32 = 0o100_000;
    mode as u32 & 0o7777 | S_IFREG
}

/// `sys_enter_fchmod(fd, mode)`
#[tracepoint]
pub fn file_fchmod_enter(context: TracePointContext) -> u32 {
    let mode = field(&context, 1) as u16 & 0o7777;
    of_descriptor(
        &context,
        Kind::FileChmod,
        field(&context, 0),
        Change::Mode(mode),
    )
}

/// `sys_enter_chown(filename, user, group)` and `lchown`
#[tracepoint]
pub fn file_chown_enter(context: TracePointContext) -> u32 {
    let facts = Facts {
        owner: field(&context, 1) as u32,
        group: field(&context, 2) as u32,
        ..Facts::NONE
    };
    by_argument(&context, Kind::FileChown, field(&context, 0), facts)
}

/// `sys_enter_fchownat(dfd, filename, user, group, flag)`
#[tracepoint]
pub fn file_fchownat_enter(context: TracePointContext) -> u32 {
    let facts = Facts {
        owner: field(&context, 2) as u32,
        group: field(&context, 3) as u32,
        directory: field(&context, 0) as i32,
        ..Facts::NONE
    };
    by_argument(&context, Kind::FileChown, field(&context, 1), facts)
}

/// `sys_enter_fchown(fd, user, group)`
#[tracepoint]
pub fn file_fchown_enter(context: TracePointContext) -> u32 {
    let change = Change::Owner(field(&context, 1) as u32, field(&context, 2) as u32);
    of_descriptor(&context, Kind::FileChown, field(&context, 0), change)
}

/// `sys_enter_truncate(path, length)`
#[tracepoint]
pub fn file_truncate_enter(context: TracePointContext) -> u32 {
    by_argument(
        &context,
        Kind::FileTruncate,
        field(&context, 0),
        Facts::NONE,
    )
}

/// `sys_enter_ftruncate(fd, length)`
#[tracepoint]
pub fn file_ftruncate_enter(context: TracePointContext) -> u32 {
    of_descriptor(
        &context,
        Kind::FileTruncate,
        field(&context, 0),
        Change::Content,
    )
}

#[inline(always)]
fn of_descriptor(context: &TracePointContext, kind: Kind, descriptor: u64, change: Change) -> u32 {
    if let Some(run) = Run::begin(kind, Via::tracepoint(context)) {
        match file_of_descriptor(descriptor) {
            0 => run.abandon(),
            file => {
                changed(run, embedded(file, offset!(file_path)), change);
            }
        }
    }
    0
}
