//! What is done to files and names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

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
        ["open-often", path, times] => parsed(times).and_then(|times| open_often(path, times)),
        _ => return None,
    })
}

fn open_often(path: &str, times: u32) -> io::Result<()> {
    (0..times).try_for_each(|_| File::open(path).map(drop))
}

fn chmod(mode: &str, path: &str) -> io::Result<()> {
    let mode = u32::from_str_radix(mode, 8).map_err(io::Error::other)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Opens, reads, and prints what it read in separate steps: a process killed for the open prints nothing.
fn read(path: &str) -> io::Result<()> {
    let mut content = String::new();
    File::open(path)?.read_to_string(&mut content)?;
    io::stdout().write_all(content.as_bytes())
}
