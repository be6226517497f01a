//! Engines at sockets that no setting names: something of the host's listens there, at a path that ends as engines call theirs.
#![allow(unsafe_code)] // One request for which rustix has no room: a process of number 0.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::socket::{self, Socket};
use crate::runtime::membership::membership;

/// Bytes of the list that are read: some hundred thousand sockets.
const MAX_LIST: u64 = 16 << 20;
/// Sockets that are asked at most.
const MAX_FOUND: usize = 16;
/// `__SO_ACCEPTCON` of `include/uapi/linux/net.h`, as `unix_seq_show` of net/unix/af_unix.c prints it: it listens.
const LISTENS: &str = "00010000";
/// `SOCK_STREAM`, likewise.
const STREAM: &str = "0001";

/// See the module.
#[derive(Clone, Debug)]
pub struct Listening {
    name: String,
    root: PathBuf,
    /// Sockets that are asked anyway.
    besides: Vec<Socket>,
}

impl Listening {
    /// On a host whose root is `root`, but for those that are among `besides`; the `number`-th of all engines that are set.
    #[must_use]
    pub fn new(root: &Path, besides: Vec<Socket>, number: usize) -> Self {
        Self {
            name: format!("engine.{number}.listening"),
            root: root.to_owned(),
            besides,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Those that listen now. Asks each who it is, by connecting to it.
    pub(super) fn present(&self) -> Vec<Socket> {
        let mut list = Vec::new();
        let proc = self.root.join("proc");
        let read = File::open(proc.join("1/net/unix"))
            .and_then(|file| file.take(MAX_LIST).read_to_end(&mut list));
        if read.is_err() {
            return Vec::new();
        }
        let besides = self.besides.iter().flat_map(Socket::present);
        let mut known: Vec<_> = besides.filter_map(|it| identity(&it.path)).collect();
        let mut found = Vec::new();
        for path in paths(&list) {
            let sockets = self.named(&path);
            if sockets.is_empty() {
                continue;
            }
            let below = self.root.join(path.strip_prefix("/").unwrap_or(&path));
            let Some(file) = identity(&below).filter(|file| !known.contains(file)) else {
                continue;
            };
            known.push(file);
            let present: Vec<Socket> = sockets.iter().flat_map(Socket::present).collect();
            let is_believed = |it: &Socket| it.owner.is_some() || is_of_host(&proc, &it.path);
            // All of them are one file, at which one process listens.
            if present.first().is_some_and(is_believed) {
                found.extend(present);
            }
            if found.len() >= MAX_FOUND {
                break;
            }
        }
        found
    }

    /// What a path stands for, by how it is called.
    fn named(&self, path: &Path) -> Vec<Socket> {
        let root = &self.root;
        let mut sockets = match file_name(path) {
            "docker.sock" | "podman.sock" => vec![Socket::docker(root, path, 0)],
            "containerd.sock" => vec![
                Socket::containerd(root, path, 0),
                Socket::cri(root, path, 0),
            ],
            "crio.sock" | "cri-dockerd.sock" | "dockershim.sock" => {
                vec![Socket::cri(root, path, 0)]
            }
            _ => Vec::new(),
        };
        for socket in &mut sockets {
            socket.name = format!("{}.{}:{}", self.name, socket.api(), path.display());
        }
        sockets
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// Which file it is, whatever leads to it.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// The paths at which something listens, of a list as /proc/PID/net/unix is (proc_pid_net(5)).
fn paths(list: &[u8]) -> impl Iterator<Item = PathBuf> {
    list.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut rest = line;
        let mut column = || {
            let start = rest.iter().position(|byte| *byte != b' ')?;
            let end = rest[start..].iter().position(|byte| *byte == b' ')? + start;
            let text = std::str::from_utf8(&rest[start..end]).ok()?;
            rest = &rest[end..];
            Some(text)
        };
        // Num, RefCount, Protocol, Flags, Type, St, Inode; the path is whatever follows one space.
        let (_, _, _) = (column()?, column()?, column()?);
        let (flags, kind) = (column()?, column()?);
        let (_, _) = (column()?, column()?);
        let path = rest.strip_prefix(b" ")?;
        let is_it = flags == LISTENS && kind == STREAM && path.starts_with(b"/");
        is_it.then(|| PathBuf::from(OsStr::from_bytes(path)))
    })
}

/// Whether who listens there is root's and in no container: root of a container can listen at a path of the host, and say anything
/// of the containers of others.
fn is_of_host(proc: &Path, path: &Path) -> bool {
    let Some((pid, uid)) = connected(path).and_then(|socket| peer(socket.as_fd())) else {
        return false;
    };
    let cgroup = fs::read_to_string(proc.join(pid.to_string()).join("cgroup"));
    let is_inside = |text: &String| membership(text).container().is_some();
    socket::is_trusted(uid) && cgroup.is_ok_and(|text| !is_inside(&text))
}

/// A connection, unless it would have to be waited for: somebody may have filled the queue on purpose.
fn connected(path: &Path) -> Option<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    connect(&socket, &SocketAddrUnix::new(path).ok()?).ok()?;
    Some(socket)
}

/// Process and user that listen at the other end (`SO_PEERCRED` of unix(7)); `None` for one that is in no pid namespace
/// of this one.
fn peer(socket: BorrowedFd<'_>) -> Option<(i32, u32)> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `peer`, which has as many, and of which any bytes are valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    (result == 0 && peer.pid > 0).then_some((peer.pid, peer.uid))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    const LIST: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 12049 /run/docker.sock\n\
        0000000000000000: 00000003 00000000 00000000 0001 03 12050 /run/docker.sock\n\
        0000000000000000: 00000002 00000000 00010000 0005 01 12051 /run/udev/control\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 12052 @/abstract/docker.sock\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 12053 /srv/a b/crio.sock\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 12054\n\
        0000000000000000: 0000";

    #[test]
    fn paths_at_which_something_listens_are_read() {
        let found: Vec<PathBuf> = paths(LIST).collect();
        assert_eq!(
            found,
            [
                Path::new("/run/docker.sock"),
                Path::new("/srv/a b/crio.sock")
            ]
        );
    }

    /// A host in which something of this process listens at these paths.
    fn host(listening: &[&str]) -> (tempfile::TempDir, Vec<UnixListener>) {
        let root = tempfile::tempdir().unwrap();
        let net = root.path().join("proc/1/net");
        fs::create_dir_all(&net).unwrap();
        let own = std::process::id().to_string();
        symlink(
            Path::new("/proc").join(&own),
            root.path().join("proc").join(&own),
        )
        .unwrap();
        let line = |path: &&str| format!("0: 00000002 00000000 {LISTENS} {STREAM} 01 1 /{path}\n");
        let list: String = listening.iter().map(line).collect();
        fs::write(net.join("unix"), list).unwrap();
        let listen = |path: &&str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            UnixListener::bind(path).unwrap()
        };
        let listeners = listening.iter().map(listen).collect();
        (root, listeners)
    }

    #[test]
    fn what_listens_as_engines_do_is_asked_unless_it_is_anyway() {
        let (root, _listeners) =
            host(&["srv/docker.sock", "run/containerd.sock", "run/other.sock"]);
        let set = Socket::containerd(root.path(), Path::new("/run/containerd.sock"), 0);
        let found = |besides| Listening::new(root.path(), besides, 4).present();

        let names =
            |sockets: Vec<Socket>| sockets.into_iter().map(|it| it.name).collect::<Vec<_>>();
        let docker = "engine.4.listening.docker:/srv/docker.sock";
        assert_eq!(names(found(vec![set])), [docker]);
        assert_eq!(
            names(found(Vec::new())),
            [
                docker,
                "engine.4.listening.containerd:/run/containerd.sock",
                "engine.4.listening.cri:/run/containerd.sock",
            ]
        );
    }

    #[test]
    fn one_in_a_container_is_not() {
        let (root, _listeners) = host(&["srv/docker.sock"]);
        let own = root
            .path()
            .join("proc")
            .join(std::process::id().to_string());
        fs::remove_file(&own).unwrap();
        fs::create_dir(&own).unwrap();
        fs::write(
            own.join("cgroup"),
            format!("0::/docker/{}\n", "ab".repeat(32)),
        )
        .unwrap();
        assert_eq!(Listening::new(root.path(), Vec::new(), 0).present(), []);
    }
}
