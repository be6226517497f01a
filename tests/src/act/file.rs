//! What is done to files and names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink};

use rustix::fs::{XattrFlags, fsetxattr, removexattr, setxattr};

use super::{Done, parsed};

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["read", path] => read(path),
        ["write", path] => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map(drop),
        ["open-often", count, paths @ ..] => {
            parsed(count).and_then(|count| open_often(count, paths))
        }
        ["open-fifo", path] => open_fifo(path),
        ["delete", path] => fs::remove_file(path),
        ["rename", from, to] => fs::rename(from, to),
        ["link", from, to] => fs::hard_link(from, to),
        ["symlink", content, path] => symlink(content, path),
        ["mkdir", path] => fs::create_dir(path),
        ["rmdir", path] => fs::remove_dir(path),
        ["chmod", mode, path] => chmod(mode, path),
        ["chown", owner, path] => parsed(owner).and_then(|owner| chown(path, Some(owner), None)),
        ["truncate", path] => nix::unistd::truncate(*path, 1).map_err(io::Error::from),
        ["ftruncate", path] => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(1)),
        ["setxattr", name, path] => {
            setxattr(*path, *name, b"x", XattrFlags::CREATE).map_err(io::Error::from)
        }
        ["fsetxattr", name, path] => File::open(path).and_then(|file| {
            fsetxattr(file, *name, b"y", XattrFlags::REPLACE).map_err(io::Error::from)
        }),
        ["removexattr", name, path] => removexattr(*path, *name).map_err(io::Error::from),
        ["set-acl", path] => set_acl(path),
        _ => return None,
    })
}

/// Opens files in turn, so many times in all.
fn open_often(count: usize, paths: &[&str]) -> io::Result<()> {
    for path in paths.iter().cycle().take(count) {
        File::open(path)?;
    }
    Ok(())
}

/// Opens a pipe for writing that nobody reads.
fn open_fifo(path: &str) -> io::Result<()> {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map(drop)
}

/// Sets the access control list that is the same as mode 0640.
fn set_acl(path: &str) -> io::Result<()> {
    // `struct posix_acl_xattr_header`, then three entries of tag, permissions and id
    // (`include/uapi/linux/posix_acl_xattr.h`).
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, permissions) in [(0x01u16, 6u16), (0x04, 4), (0x20, 0)] {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(u32::MAX.to_le_bytes());
    }
    let name = "system.posix_acl_access";
    setxattr(path, name, &list, XattrFlags::empty()).map_err(io::Error::from)
}

fn chmod(mode: &str, path: &str) -> io::Result<()> {
    let mode = u32::from_str_radix(mode, 8).map_err(io::Error::other)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Opens, reads, and prints what it read in separate steps: a process killed for the open prints nothing.
pub(super) fn read(path: &str) -> io::Result<()> {
    File::open(path).and_then(show)
}

/// Prints what is in a file.
pub(super) fn show(mut file: File) -> io::Result<()> {
    let mut content = String::new();
    file.read_to_string(&mut content)?;
    io::stdout().write_all(content.as_bytes())
}
