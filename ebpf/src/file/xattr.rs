//! Extended attributes, access control lists among them. The hooks are given a dentry without its
//! mount: see [`crate::superblock`].

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;
use holdfast_wire::record::file::XATTR_REMOVED;
use holdfast_wire::record::flags;

use super::{Facts, judge_text};
use crate::attach::{Arguments, Via};
use crate::path::Path;
use crate::run::Run;
use crate::scratch::Use;
use crate::superblock::path_of_dentry;
use crate::syscall::{field, file_of_descriptor};
use crate::{hook, offset};

// int security_inode_setxattr(struct dentry *dentry, const char *name, const void *value, size_t size, int flags), before 5.12
// int security_inode_setxattr(struct user_namespace *mnt_userns, struct dentry *dentry, const char *name, const void *value, size_t size, int flags), before 6.3
// int security_inode_setxattr(struct mnt_idmap *idmap, struct dentry *dentry, const char *name, const void *value, size_t size, int flags)
hook!(file_setxattr_lsm file_setxattr_fmod file_setxattr_fentry file_setxattr_kprobe, "inode_setxattr", "security_inode_setxattr", set);
// int security_inode_removexattr(struct dentry *dentry, const char *name), before 5.12
// int security_inode_removexattr(struct user_namespace *mnt_userns, struct dentry *dentry, const char *name), before 6.3
// int security_inode_removexattr(struct mnt_idmap *idmap, struct dentry *dentry, const char *name)
hook!(file_removexattr_lsm file_removexattr_fmod file_removexattr_fentry file_removexattr_kprobe, "inode_removexattr", "security_inode_removexattr", remove);
// int security_inode_set_acl(struct user_namespace *mnt_userns, struct dentry *dentry, const char *acl_name, struct posix_acl *kacl), in 6.2
// int security_inode_set_acl(struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name, struct posix_acl *kacl), since 6.3
hook!(file_set_acl_lsm file_set_acl_fmod file_set_acl_fentry file_set_acl_kprobe, "inode_set_acl", "security_inode_set_acl", set_acl);
// int security_inode_remove_acl(struct user_namespace *mnt_userns, struct dentry *dentry, const char *acl_name), in 6.2
// int security_inode_remove_acl(struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name), since 6.3
hook!(file_remove_acl_lsm file_remove_acl_fmod file_remove_acl_fentry file_remove_acl_kprobe, "inode_remove_acl", "security_inode_remove_acl", remove_acl);

#[inline(always)]
fn set(arguments: &impl Arguments, via: Via) -> i32 {
    // Behind the dentry stand name, value and size.
    if offset!(set_xattr_dentry) == 0 {
        of_dentry(
            via,
            arguments.argument(0),
            arguments.argument(1),
            arguments.argument(4) as u32,
        )
    } else {
        of_dentry(
            via,
            arguments.argument(1),
            arguments.argument(2),
            arguments.argument(5) as u32,
        )
    }
}

#[inline(always)]
fn remove(arguments: &impl Arguments, via: Via) -> i32 {
    if offset!(remove_xattr_dentry) == 0 {
        let (dentry, name) = (arguments.argument(0), arguments.argument(1));
        of_dentry(via, dentry, name, XATTR_REMOVED)
    } else {
        remove_acl(arguments, via)
    }
}

#[inline(always)]
fn set_acl(arguments: &impl Arguments, via: Via) -> i32 {
    of_dentry(via, arguments.argument(1), arguments.argument(2), 0)
}

#[inline(always)]
fn remove_acl(arguments: &impl Arguments, via: Via) -> i32 {
    let (dentry, name) = (arguments.argument(1), arguments.argument(2));
    of_dentry(via, dentry, name, XATTR_REMOVED)
}

#[inline(always)]
fn of_dentry(via: Via, dentry: u64, name: u64, xattr_flags: u32) -> i32 {
    let Some(mut run) = Run::begin(Kind::FileSetxattr, via) else {
        return 0;
    };
    let (path, is_ambiguous) = path_of_dentry(run.claimed.path(Use::Path), dentry);
    if is_ambiguous {
        run.flags |= flags::PATH_OF_FILE_SYSTEM;
    }
    let name = Path::content(run.claimed.path(Use::Target), name);
    judge_text(
        run,
        path,
        name,
        #[inline(always)]
        || Facts {
            open_flags: xattr_flags,
            ..Facts::of_dentry(dentry)
        },
    )
}

/// `sys_enter_setxattr(pathname, name, value, size, flags)` and `lsetxattr`
#[tracepoint]
pub fn file_setxattr_enter(context: TracePointContext) -> u32 {
    let facts = Facts {
        open_flags: field(&context, 4) as u32,
        ..Facts::NONE
    };
    by_path(&context, field(&context, 0), field(&context, 1), facts)
}

/// `sys_enter_removexattr(pathname, name)` and `lremovexattr`
#[tracepoint]
pub fn file_removexattr_enter(context: TracePointContext) -> u32 {
    let facts = Facts {
        open_flags: XATTR_REMOVED,
        ..Facts::NONE
    };
    by_path(&context, field(&context, 0), field(&context, 1), facts)
}

/// `sys_enter_setxattrat(dfd, pathname, at_flags, name, uargs, usize)`, since 6.13
#[tracepoint]
pub fn file_setxattrat_enter(context: TracePointContext) -> u32 {
    let facts = Facts::at(field(&context, 0) as i32);
    by_path(&context, field(&context, 1), field(&context, 3), facts)
}

/// `sys_enter_removexattrat(dfd, pathname, at_flags, name)`, since 6.13
#[tracepoint]
pub fn file_removexattrat_enter(context: TracePointContext) -> u32 {
    let facts = Facts {
        open_flags: XATTR_REMOVED,
        ..Facts::at(field(&context, 0) as i32)
    };
    by_path(&context, field(&context, 1), field(&context, 3), facts)
}

#[inline(always)]
fn by_path(context: &TracePointContext, path: u64, name: u64, facts: Facts) -> u32 {
    if let Some(run) = Run::begin(Kind::FileSetxattr, Via::tracepoint(context)) {
        let path = Path::argument(run.claimed.path(Use::Path), path);
        let name = Path::content_argument(run.claimed.path(Use::Target), name);
        judge_text(run, path, name, || facts);
    }
    0
}

/// `sys_enter_fsetxattr(fd, name, value, size, flags)`
#[tracepoint]
pub fn file_fsetxattr_enter(context: TracePointContext) -> u32 {
    of_descriptor(&context, field(&context, 4) as u32)
}

/// `sys_enter_fremovexattr(fd, name)`
#[tracepoint]
pub fn file_fremovexattr_enter(context: TracePointContext) -> u32 {
    of_descriptor(&context, XATTR_REMOVED)
}

#[inline(always)]
fn of_descriptor(context: &TracePointContext, xattr_flags: u32) -> u32 {
    if let Some(run) = Run::begin(Kind::FileSetxattr, Via::tracepoint(context)) {
        let file = file_of_descriptor(field(context, 0));
        if file == 0 {
            run.abandon();
            return 0;
        }
        let path = Path::of_file(run.claimed.path(Use::Path), file);
        let name = Path::content_argument(run.claimed.path(Use::Target), field(context, 1));
        judge_text(
            run,
            path,
            name,
            #[inline(always)]
            || Facts {
                open_flags: xattr_flags,
                ..Facts::of_file(file)
            },
        );
    }
    0
}
