//! Operations on files and names.

use holdfast_policy::table::Dimension;
use holdfast_wire::Kind;
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::NOT_MET;
use holdfast_wire::record::file::{AT_FDCWD, File, file_flags};

use crate::attach::{Arguments, Via};
use crate::path::{Path, is_unlinked};
use crate::run::Run;
use crate::scratch::{Place, Use};
use crate::task::{embedded, nested, pointer, read};
use crate::{decide, hook, offset};

pub mod mount;
pub mod syscall;
pub mod xattr;

// int security_file_open(struct file *file)
hook!(file_open_lsm file_open_fmod file_open_fentry file_open_kprobe, "file_open", "security_file_open", open);
// int security_path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev)
hook!(file_create_lsm file_create_fmod file_create_fentry file_create_kprobe, "path_mknod", "security_path_mknod", create);
// int security_path_unlink(const struct path *dir, struct dentry *dentry)
hook!(file_delete_lsm file_delete_fmod file_delete_fentry file_delete_kprobe, "path_unlink", "security_path_unlink", delete);
// int security_path_rename(const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry, unsigned int flags)
hook!(file_rename_lsm file_rename_fmod file_rename_fentry file_rename_kprobe, "path_rename", "security_path_rename", rename);
// int security_path_link(struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry)
hook!(file_link_lsm file_link_fmod file_link_fentry file_link_kprobe, "path_link", "security_path_link", link);
// int security_path_symlink(const struct path *dir, struct dentry *dentry, const char *old_name)
hook!(file_symlink_lsm file_symlink_fmod file_symlink_fentry file_symlink_kprobe, "path_symlink", "security_path_symlink", symlink);
// int security_path_mkdir(const struct path *dir, struct dentry *dentry, umode_t mode)
hook!(file_mkdir_lsm file_mkdir_fmod file_mkdir_fentry file_mkdir_kprobe, "path_mkdir", "security_path_mkdir", mkdir);
// int security_path_rmdir(const struct path *dir, struct dentry *dentry)
hook!(file_rmdir_lsm file_rmdir_fmod file_rmdir_fentry file_rmdir_kprobe, "path_rmdir", "security_path_rmdir", rmdir);
// int security_path_chmod(const struct path *path, umode_t mode)
hook!(file_chmod_lsm file_chmod_fmod file_chmod_fentry file_chmod_kprobe, "path_chmod", "security_path_chmod", chmod);
// int security_path_chown(const struct path *path, kuid_t uid, kgid_t gid)
hook!(file_chown_lsm file_chown_fmod file_chown_fentry file_chown_kprobe, "path_chown", "security_path_chown", chown);
// int security_path_truncate(const struct path *path)
hook!(file_truncate_lsm file_truncate_fmod file_truncate_fentry file_truncate_kprobe, "path_truncate", "security_path_truncate", truncate);
// int security_file_truncate(struct file *file), since 6.2: ftruncate, and open with O_TRUNC
hook!(file_ftruncate_lsm file_ftruncate_fmod file_ftruncate_fentry file_ftruncate_kprobe, "file_truncate", "security_file_truncate", ftruncate);

/// File types in a mode (`include/uapi/linux/stat.h`).
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;

#[inline(always)]
fn open(arguments: &impl Arguments, via: Via) -> i32 {
    match Run::begin(Kind::FileOpen, via) {
        Some(run) if is_backing(arguments) => {
            run.abandon();
            0
        }
        Some(run) => opened(run, arguments),
        None => 0,
    }
}

/// Not counted in `nr_files` (`FMODE_NOACCOUNT` of `include/linux/fs.h`, the same bit from 4.19 to
/// 7.3): `open_with_fake_path` and, from 6.5, `backing_file_open` give it to the files that overlayfs,
/// cachefiles and FUSE open behind the one that somebody opened.
const FMODE_NOACCOUNT: u32 = 1 << 29;
/// A mount in no namespace (`MNT_NS_INTERNAL` of `fs/mount.h`: an error pointer).
const MNT_NS_INTERNAL: u64 = -22i64 as u64;
/// A mount that the kernel made for itself, as for pipes and memfds (`MNT_INTERNAL` of
/// `include/linux/mount.h`); its clones do not have it (`clone_mnt`).
const MNT_INTERNAL: u32 = 0x4000;

/// Whether a file system opens the file for itself, behind the one that somebody opened: one open
/// passes `security_file_open` twice then. Overlayfs opens directories, and what it copies up, as
/// other files on a private clone of the layer's mount (`clone_private_mount`).
///
/// `arguments`: the first is the `struct file`.
#[inline(always)]
fn is_backing(arguments: &impl Arguments) -> bool {
    if arguments.field::<u32>(0, offset!(file_mode)) & FMODE_NOACCOUNT != 0 {
        return true;
    }
    let vfsmount: u64 = arguments.field(0, nested(offset!(file_path), offset!(path_mnt)));
    let mount = vfsmount.wrapping_sub(u64::from(offset!(mount_mnt)));
    pointer(mount, offset!(mount_ns)) == MNT_NS_INTERNAL
        && read::<u32>(vfsmount, offset!(vfsmount_flags)) & MNT_INTERNAL == 0
}

#[inline(always)]
fn create(arguments: &impl Arguments, via: Via) -> i32 {
    made(Kind::FileCreate, via, arguments, 0)
}

#[inline(always)]
fn mkdir(arguments: &impl Arguments, via: Via) -> i32 {
    made(Kind::FileMkdir, via, arguments, S_IFDIR)
}

/// A name that comes into being: directory, entry, mode.
#[inline(always)]
fn made(kind: Kind, via: Via, arguments: &impl Arguments, file_type: u32) -> i32 {
    let Some(run) = Run::begin(kind, via) else {
        return 0;
    };
    let path = in_directory(
        run.claimed.path(Use::Path),
        arguments.argument(0),
        arguments.argument(1),
    );
    let mode = u32::from(arguments.argument(2) as u16) | file_type;
    judge(
        run,
        path,
        #[inline(always)]
        || Facts {
            mode,
            ..Facts::NONE
        },
    )
}

#[inline(always)]
fn delete(arguments: &impl Arguments, via: Via) -> i32 {
    removed(Kind::FileDelete, via, arguments)
}

#[inline(always)]
fn rmdir(arguments: &impl Arguments, via: Via) -> i32 {
    removed(Kind::FileRmdir, via, arguments)
}

/// A name that goes: directory, entry.
#[inline(always)]
fn removed(kind: Kind, via: Via, arguments: &impl Arguments) -> i32 {
    let Some(run) = Run::begin(kind, via) else {
        return 0;
    };
    let dentry = arguments.argument(1);
    let path = in_directory(run.claimed.path(Use::Path), arguments.argument(0), dentry);
    judge(
        run,
        path,
        #[inline(always)]
        || Facts::of_dentry(dentry),
    )
}

#[inline(always)]
fn rename(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::FileRename, via) else {
        return 0;
    };
    let dentry = arguments.argument(1);
    let path = in_directory(run.claimed.path(Use::Path), arguments.argument(0), dentry);
    let target = in_directory(
        run.claimed.path(Use::Target),
        arguments.argument(2),
        arguments.argument(3),
    );
    judge_both(
        run,
        path,
        target,
        #[inline(always)]
        || Facts::of_dentry(dentry),
    )
}

#[inline(always)]
fn link(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::FileLink, via) else {
        return 0;
    };
    let dentry = arguments.argument(0);
    let directory = arguments.argument(1);
    // Both names are on one mount: a link across mounts is refused before this hook (`do_linkat`).
    let path = in_directory(run.claimed.path(Use::Path), directory, dentry);
    let target = in_directory(
        run.claimed.path(Use::Target),
        directory,
        arguments.argument(2),
    );
    judge_both(
        run,
        path,
        target,
        #[inline(always)]
        || Facts::of_dentry(dentry),
    )
}

#[inline(always)]
fn symlink(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::FileSymlink, via) else {
        return 0;
    };
    let path = in_directory(
        run.claimed.path(Use::Path),
        arguments.argument(0),
        arguments.argument(1),
    );
    let content = Path::content(run.claimed.path(Use::Target), arguments.argument(2));
    judge_text(run, path, content, || Facts::NONE)
}

#[inline(always)]
fn chmod(arguments: &impl Arguments, via: Via) -> i32 {
    let path = arguments.argument(0);
    let mode = arguments.argument(1) as u16;
    match Run::begin(Kind::FileChmod, via) {
        Some(run) => changed(run, path, Change::Mode(mode)),
        None => 0,
    }
}

#[inline(always)]
fn chown(arguments: &impl Arguments, via: Via) -> i32 {
    let path = arguments.argument(0);
    let (owner, group) = (arguments.argument(1) as u32, arguments.argument(2) as u32);
    match Run::begin(Kind::FileChown, via) {
        Some(run) => changed(run, path, Change::Owner(owner, group)),
        None => 0,
    }
}

#[inline(always)]
fn truncate(arguments: &impl Arguments, via: Via) -> i32 {
    match Run::begin(Kind::FileTruncate, via) {
        Some(run) => changed(run, arguments.argument(0), Change::Content),
        None => 0,
    }
}

#[inline(always)]
fn ftruncate(arguments: &impl Arguments, via: Via) -> i32 {
    let path = embedded(arguments.argument(0), offset!(file_path));
    match Run::begin(Kind::FileTruncate, via) {
        Some(run) => changed(run, path, Change::Content),
        None => 0,
    }
}

/// What is changed of a file.
#[derive(Clone, Copy)]
enum Change {
    /// To this mode, without the file's type.
    Mode(u16),
    /// To this owner and group; `u32::MAX` for one that stays.
    Owner(u32, u32),
    /// Its content.
    Content,
}

/// A change of the file at a `struct path`.
#[inline(always)]
fn changed(run: Run, path: u64, change: Change) -> i32 {
    let found = Path::of(run.claimed.path(Use::Path), path);
    judge(
        run,
        found,
        #[inline(always)]
        || {
            let mut facts = Facts::of_dentry(pointer(path, offset!(path_dentry)));
            match change {
                Change::Mode(mode) => facts.mode = u32::from(mode) | facts.mode & S_IFMT,
                Change::Owner(owner, group) => {
                    facts.owner = if owner == u32::MAX {
                        facts.owner
                    } else {
                        owner
                    };
                    facts.group = if group == u32::MAX {
                        facts.group
                    } else {
                        group
                    };
                }
                Change::Content => {}
            }
            facts
        },
    )
}

/// The path of an entry of a directory: the entry's own names, on the directory's mount.
#[inline(always)]
fn in_directory(place: Place, directory: u64, dentry: u64) -> Path {
    Path::walk(place, pointer(directory, offset!(path_mnt)), dentry)
}

/// A `struct file`, the first argument, that is being opened, or has been.
///
/// What comes first costs least: most opens need not be looked at further.
#[inline(always)]
fn opened(mut run: Run, arguments: &impl Arguments) -> i32 {
    let open_flags = arguments.field(0, offset!(file_flags));
    decide::by_access(&mut run, open_flags);
    let (mount, entry) = (
        nested(offset!(file_path), offset!(path_mnt)),
        nested(offset!(file_path), offset!(path_dentry)),
    );
    let dentry = arguments.field(0, entry);
    let mut is_ruled_out = false;
    if run.is_told_by_name() {
        // A mount's root is called what the mount point is, and what is its own parent is in no directory.
        let root: u64 = arguments.behind(0, mount, offset!(vfsmount_root));
        let parent: u64 = arguments.behind(0, entry, offset!(dentry_parent));
        if dentry != root && dentry != parent {
            // `struct qstr`: hash and length, then the pointer to the name.
            let length = arguments.behind(0, entry, nested(offset!(dentry_name), 4));
            let name = arguments.behind(0, entry, nested(offset!(dentry_name), 8));
            is_ruled_out = decide::is_ruled_out_by_name(&run, name, length);
        }
    }
    if is_ruled_out || run.is_idle() {
        run.filter();
        return 0;
    }
    let path = Path::walk(
        run.claimed.path(Use::Path),
        arguments.field(0, mount),
        dentry,
    );
    judge(
        run,
        path,
        #[inline(always)]
        || Facts {
            open_flags,
            dentry,
            ..Facts::of_opened(arguments)
        },
    )
}

/// What is known of the file besides its path.
pub struct Facts {
    /// Of the path, where it is that of a file that is there.
    dentry: u64,
    /// Number of its inode; 0 where it has none, or it is not known.
    inode: u64,
    device: u32,
    /// What is asked for, or else what the inode has, as the next two.
    mode: u32,
    /// `u32::MAX` where it is not known.
    owner: u32,
    group: u32,
    open_flags: u32,
    directory: i32,
    target_directory: i32,
}

impl Facts {
    /// Nothing is.
    pub const NONE: Self = Self {
        dentry: 0,
        inode: 0,
        device: 0,
        mode: 0,
        owner: u32::MAX,
        group: u32::MAX,
        open_flags: 0,
        directory: AT_FDCWD,
        target_directory: AT_FDCWD,
    };

    /// What is not looked up yet: a name below this descriptor.
    #[inline(always)]
    fn at(directory: i32) -> Self {
        Self {
            directory,
            ..Self::NONE
        }
    }

    /// See [`Self::of_inode`].
    #[inline(always)]
    fn of_dentry(dentry: u64) -> Self {
        Self {
            dentry,
            ..Self::of_inode(pointer(dentry, offset!(dentry_inode)))
        }
    }

    /// See [`Self::of_inode`].
    #[inline(always)]
    pub fn of_file(file: u64) -> Self {
        let path = embedded(file, offset!(file_path));
        Self {
            dentry: pointer(path, offset!(path_dentry)),
            ..Self::of_inode(pointer(file, offset!(file_inode)))
        }
    }

    /// What an inode has, which may be none.
    #[inline(always)]
    pub fn of_inode(inode: u64) -> Self {
        let owner = |offset: u32| {
            if inode == 0 || offset == ABSENT {
                u32::MAX
            } else {
                read(inode, offset)
            }
        };
        Self {
            inode: read(inode, offset!(inode_number)),
            device: read(pointer(inode, offset!(inode_super)), offset!(super_dev)),
            mode: u32::from(read::<u16>(inode, offset!(inode_mode))),
            owner: owner(offset!(inode_owner)),
            group: owner(offset!(inode_group)),
            ..Self::NONE
        }
    }

    /// The same of an open file, which has one. `arguments`: the first is the `struct file`.
    #[inline(always)]
    fn of_opened(arguments: &impl Arguments) -> Self {
        let inode = offset!(file_inode);
        let owner = |offset: u32| {
            if offset == ABSENT {
                u32::MAX
            } else {
                arguments.behind(0, inode, offset)
            }
        };
        let superblock = arguments.behind(0, inode, offset!(inode_super));
        Self {
            inode: arguments.behind(0, inode, offset!(inode_number)),
            device: read(superblock, offset!(super_dev)),
            mode: u32::from(arguments.behind::<u16>(0, inode, offset!(inode_mode))),
            owner: owner(offset!(inode_owner)),
            group: owner(offset!(inode_group)),
            ..Self::NONE
        }
    }

    /// What a record says of the file with this path, of so many bytes, where there is no second one.
    #[inline(always)]
    pub fn describe(&self, path: &Path, path_length: u16) -> File {
        let (mount_namespace, mount_id) = path.mount();
        File {
            inode: self.inode,
            device: self.device,
            mode: self.mode,
            open_flags: self.open_flags,
            owner: self.owner,
            group: self.group,
            directory: self.directory,
            target_directory: self.target_directory,
            path_length,
            target_length: 0,
            mount_namespace,
            mount_id,
            path_above_root: path.above_root(),
            target_above_root: NOT_MET,
            path_in_mount: path.in_mount(),
            target_in_mount: 0,
            flags: (is_unlinked(self.dentry) as u32 * file_flags::UNLINKED)
                | (path.truncated() as u32 * file_flags::PATH_CUT),
            reserved: 0,
        }
    }
}

#[inline(always)]
fn judge(mut run: Run, path: Path, facts: impl FnOnce() -> Facts) -> i32 {
    run.narrow_by_path(Dimension::Path, &path);
    let target = Path::none(run.claimed.path(Use::Target));
    settle(run, path, target, facts)
}

#[inline(always)]
fn judge_both(mut run: Run, path: Path, target: Path, facts: impl FnOnce() -> Facts) -> i32 {
    run.narrow_by_path(Dimension::Path, &path);
    run.narrow_by_path(Dimension::TargetPath, &target);
    settle(run, path, target, facts)
}

/// The second string is a text, by which rules cannot be looked up: what a symbolic link says, the name
/// of an attribute.
#[inline(always)]
fn judge_text(mut run: Run, path: Path, content: Path, facts: impl FnOnce() -> Facts) -> i32 {
    run.narrow_by_path(Dimension::Path, &path);
    settle(run, path, content, facts)
}

/// `facts` are looked up only for a record.
#[inline(always)]
fn settle(mut run: Run, path: Path, target: Path, facts: impl FnOnce() -> Facts) -> i32 {
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<File>();
            let path_length = record.path(&path);
            let target_length = record.path(&target);
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                let described = facts().describe(&path, path_length);
                fixed.write(File {
                    target_length,
                    target_above_root: target.above_root(),
                    target_in_mount: target.in_mount(),
                    flags: described.flags | (target.truncated() as u32 * file_flags::TARGET_CUT),
                    ..described
                });
            }
        },
    )
}
