//! What is done with mounts, each in a mount namespace of its own, so that nothing is left behind.

use std::fs;
use std::io;

use rustix::fd::AsFd as _;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_bind,
    mount_change, mount_move, move_mount, unmount,
};

use super::Done;

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    let done = match words {
        ["mount", kind, path] => alone(&[path]).and_then(|()| mount_on(kind, path)),
        ["bind", from, to] => alone(&[from, to]).and_then(|()| mount_bind(*from, *to)),
        ["move-mount", from, to] => alone(&[from, to])
            .and_then(|()| mount_on("tmpfs", from))
            .and_then(|()| mount_move(*from, *to)),
        ["attach-mount", from, to] => alone(&[from, to])
            .and_then(|()| mount_on("tmpfs", from))
            .and_then(|()| move_mount(CWD, *from, CWD, *to, MoveMountFlags::empty())),
        ["fsmount", source, path] => alone(&[path]).and_then(|()| mount_new(source, path)),
        ["umount", path] => alone(&[path])
            .and_then(|()| mount_on("tmpfs", path))
            .and_then(|()| unmount(*path, UnmountFlags::DETACH)),
        ["umount-used", path] => alone(&[path])
            .and_then(|()| mount_on("tmpfs", path))
            .and_then(|()| umount_used(path)),
        // On the same file system as the root that is, which other roots than that of a guest refuse with EBUSY.
        ["pivot-root-wrong", new, old] => {
            alone(&[new, old]).and_then(|()| rustix::process::pivot_root(*new, *old))
        }
        ["pivot-root", new, old] => alone(&[new])
            .and_then(|()| mount_bind(*new, *new))
            .and_then(|()| fs::create_dir_all(old).map_err(errno))
            .and_then(|()| pivot_root(new, old)),
        _ => return None,
    };
    Some(done.map_err(io::Error::from))
}

/// The root of a guest is rootfs, which only later kernels let go of (EINVAL of pivot_root(2)): the
/// attempt is what counts.
fn pivot_root(new: &str, old: &str) -> rustix::io::Result<()> {
    match rustix::process::pivot_root(new, old) {
        Err(Errno::INVAL) => Ok(()),
        result => result,
    }
}

/// Makes the directories, and what is mounted from here on nobody else's.
pub(super) fn alone(directories: &[&str]) -> Result<(), Errno> {
    for directory in directories {
        fs::create_dir_all(directory).map_err(errno)?;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .map_err(|error| Errno::from_raw_os_error(error as i32))?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
}

/// Unmounts what a descriptor stands in.
fn umount_used(path: &str) -> rustix::io::Result<()> {
    let _used = fs::File::open(path).map_err(errno)?;
    unmount(path, UnmountFlags::empty())
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn mount_on(kind: &str, path: &str) -> Result<(), Errno> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID;
    mount("the source", path, kind, flags, None)
}

/// A file system that is mounted by the calls of Linux 5.2.
fn mount_new(source: &str, path: &str) -> Result<(), Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", source)?;
    fsconfig_create(context.as_fd())?;
    let made = fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(made.as_fd(), "", CWD, path, flags)
}
