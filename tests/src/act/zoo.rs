//! Namespaces of all sorts, kept by one thing each for as long as somebody listens; each is told with what keeps it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::mount::alone;
use super::{Done, parsed};
use crate::bench::BUSYBOX;

/// `include/uapi/linux/sched.h`
const CLONE_NEWTIME: i32 = 0x80;

/// User and pid namespaces that are one in the other.
const DEPTH: u32 = 2;

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["zoo", directory] => zoo(Path::new(directory)),
        ["zoo-nested", depth] => parsed(depth).and_then(nested),
        ["wander"] => wander(),
        ["crowd", processes, namespaces] => crowd(&["crowd-within", processes, namespaces]),
        ["crowd-within", processes, namespaces] => parsed(processes)
            .and_then(|processes| Ok((processes, parsed(namespaces)?)))
            .and_then(|(processes, namespaces)| crowd_within(processes, namespaces)),
        _ => return None,
    })
}

/// What keeps a namespace, its type, its number, and which process told.
fn tell(keeper: &str, kind: &str, file: &Path) -> io::Result<()> {
    let nsid = fs::metadata(file)?.ino();
    let process = fs::read_link("/proc/self")?;
    println!("{keeper} {kind} {nsid} {}", process.display());
    Ok(())
}

fn own(name: &str) -> PathBuf {
    Path::new("/proc/thread-self/ns").join(name)
}

/// In a namespace that a thread makes for itself, and that it leaves by ending.
fn inside<T: Send>(flags: i32, deed: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let made = scope.spawn(|| {
            unshare(CloneFlags::from_bits_retain(flags))?;
            deed()
        });
        let panicked = || io::Error::other("a thread of the zoo panicked");
        made.join().map_err(|_| panicked())?
    })
}

fn zoo(directory: &Path) -> io::Result<()> {
    // Only a younger mount namespace may be mounted (`mnt_ns_loop`), and newer kernels number them by CPU, in batches.
    let mut one = CpuSet::new();
    one.set(0);
    sched_setaffinity(None, &one)?;
    alone(&[])?;
    tell("process", "mnt", &own("mnt"))?;
    tmpfs(directory)?;

    let socket = inside(libc::CLONE_NEWNET, || {
        tell("socket", "net", &own("net"))?;
        UdpSocket::bind("0.0.0.0:0")
    })?;
    inside(libc::CLONE_NEWNET, || {
        tell("mount", "net", &own("net"))?;
        bind(&own("net"), &directory.join("net"))
    })?;
    let mut open = Vec::new();
    for (flag, kind, name) in [
        (libc::CLONE_NEWUTS, "uts", "uts"),
        (libc::CLONE_NEWCGROUP, "cgroup", "cgroup"),
        (CLONE_NEWTIME, "time", "time_for_children"),
    ] {
        open.push(inside(flag, || {
            tell("file", kind, &own(name))?;
            File::open(own(name))
        })?);
    }
    mounts_that_nobody_is_in(directory)?;

    // The one hides the other, and what is on it.
    for path in ["over", "over/below", "over"] {
        tmpfs(&directory.join(path))?;
    }
    let mut inner = next(DEPTH)?;
    listen()?;
    drop((socket, open));
    inner.wait().map(drop)
}

/// A mount namespace that is only mounted, and in it an IPC namespace that is only mounted there.
fn mounts_that_nobody_is_in(directory: &Path) -> io::Result<()> {
    let (made, wait) = channel();
    let (done, may_end) = channel::<()>();
    let inner = directory.join("inner");
    thread::scope(|scope| {
        let maker = scope.spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)?;
            tmpfs(&inner)?;
            bind(&own("ipc"), &inner.join("ipc"))?;
            tell("mount", "mnt", &own("mnt"))?;
            tell("inner", "ipc", &own("ipc"))?;
            let thread = fs::read_link("/proc/thread-self")?;
            // Whoever waits for it has failed.
            let _ = made.send(Path::new("/proc").join(thread).join("ns/mnt"));
            let _ = may_end.recv();
            io::Result::Ok(())
        });
        let kept = wait.recv().map_err(io::Error::other);
        let kept = kept.and_then(|path| bind(&path, &directory.join("mnt")));
        drop(done);
        let panicked = || io::Error::other("a thread of the zoo panicked");
        maker.join().map_err(|_| panicked())??;
        kept
    })
}

fn tmpfs(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    Ok(mount("zoo", path, "tmpfs", MountFlags::empty(), None)?)
}

fn bind(what: &Path, path: &Path) -> io::Result<()> {
    File::create(path)?;
    Ok(mount_bind(what, path)?)
}

/// Makes a user and a pid namespace in which the next one runs, which does the same; the last one listens.
fn nested(depth: u32) -> io::Result<()> {
    if depth < DEPTH {
        tell("nested", "user", &own("user"))?;
        tell("nested", "pid", &own("pid"))?;
    }
    if depth == 0 {
        println!("ready");
        return listen();
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID)?;
    for (name, text) in [
        ("setgroups", "deny"),
        ("uid_map", "0 0 1"),
        ("gid_map", "0 0 1"),
    ] {
        fs::write(Path::new("/proc/self").join(name), text)?;
    }
    next(depth - 1)?.wait().map(drop)
}

fn next(depth: u32) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["act", "zoo-nested", &depth.to_string()]);
    command.spawn()
}

/// Makes UTS namespaces and leaves them, as it is told line by line, and tells each time which one it is in.
fn wander() -> io::Result<()> {
    let home = File::open(own("uts"))?;
    let tell = || -> io::Result<()> {
        println!("{}", fs::metadata(own("uts"))?.ino());
        Ok(())
    };
    tell()?;
    for line in io::stdin().lines() {
        match &*line? {
            "make" => unshare(CloneFlags::CLONE_NEWUTS)?,
            _ => setns(&home, CloneFlags::CLONE_NEWUTS)?,
        }
        tell()?;
    }
    Ok(())
}

/// Does this in a pid namespace of its own, with which all end that were begun there.
fn crowd(deed: &[&str]) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("act").args(deed);
    command.spawn()?.wait().map(drop)
}

/// So many processes that sleep, in so many namespaces, of five types one after the other.
fn crowd_within(processes: usize, namespaces: usize) -> io::Result<()> {
    let kinds = [
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
    ];
    for kind in kinds.into_iter().cycle().take(namespaces) {
        inside(kind, || {
            for _ in 0..processes / namespaces {
                let mut sleeper = Command::new(BUSYBOX);
                sleeper.args(["sleep", "3600"]).stdin(Stdio::null());
                sleeper.spawn()?;
            }
            Ok(())
        })?;
    }
    println!("ready");
    listen()
}

/// Until whoever wanted all this has enough.
fn listen() -> io::Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
