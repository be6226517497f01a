//! What is opened by ways that paths have to be told of.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{chdir, chroot};

use super::{Done, file, parsed};

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["read-in-chroot", root, path] => enter(root).and_then(|()| file::read(path)),
        ["read-out-of-chroot", root, directory, name] => read_out(root, directory, name),
        ["read-deep", base, name, depth] => read_deep(base, name, depth),
        _ => return None,
    })
}

fn enter(root: &str) -> io::Result<()> {
    chroot(root)?;
    Ok(chdir("/")?)
}

/// By a descriptor from before.
fn read_out(root: &str, directory: &str, name: &str) -> io::Result<()> {
    let directory = File::open(directory)?;
    enter(root)?;
    openat(directory.as_fd(), name, OFlags::RDONLY, Mode::empty())?;
    Ok(())
}

/// Makes directories inside each other and opens a file in the last.
fn read_deep(base: &str, name: &str, depth: &str) -> io::Result<()> {
    let depth: u32 = parsed(depth)?;
    fs::create_dir_all(base)?;
    chdir(base)?;
    for _ in 0..depth {
        fs::create_dir(name)?;
        chdir(name)?;
    }
    fs::write(Path::new("deep-file"), "x")?;
    File::open("deep-file").map(drop)
}
