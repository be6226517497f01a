//! Facts about a process, read from `/proc`.
//!
//! Whoever answers permission events reads here while a thread waits for the answer. So nothing here
//! waits for that thread, or for anybody that may wait for it: files of procfs carry no permission
//! marks (`FS_DISALLOW_NOTIFY_PERM`, and they are not asked for), and no file is read whose content lies
//! in the memory of the process (`cmdline`, `environ`), which its owner can make a read of wait for ever.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use holdfast_wire::record::{ARGUMENT_BYTES, COMM_BYTES, ENVIRONMENT_BYTES};
use holdfast_wire::uapi::process::{
    Call, Stat, Status, parse_cgroup, parse_inode, parse_stat, parse_status, parse_syscall,
};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, Statx, StatxFlags, fstatfs, open, openat,
    readlinkat, statx,
};

/// What is taken of a file: `status` has about 1,500 bytes, and is longer only behind what is read.
const FILE_BYTES: usize = 16 * 1024;
/// Where the unified hierarchy is mounted: alone, or beside those of version 1 (systemd's "hybrid").
const CGROUPS: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];

/// The host's `/proc`, and what else tells of processes.
#[derive(Debug)]
pub(crate) struct Proc {
    directory: OwnedFd,
    /// Root of the unified cgroup hierarchy, where there is one.
    cgroups: Option<PathBuf>,
    ticks: u64,
}

/// What the header of a record says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) tgid: u32,
    pub(crate) ppid: u32,
    pub(crate) start: u64,
    /// 0: not known.
    pub(crate) layout: u64,
    pub(crate) name: [u8; COMM_BYTES],
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) euid: u32,
    pub(crate) loginuid: u32,
    pub(crate) capabilities: u64,
    pub(crate) cgroup_id: u64,
    pub(crate) mount_namespace: u32,
    pub(crate) pid_namespace: u32,
    pub(crate) network_namespace: u32,
    /// As `/proc/PID/stat` has it.
    pub(crate) terminal: u32,
    /// They are: they could be read.
    pub(crate) are_known: bool,
}

impl Facts {
    /// Nothing is known but its number.
    pub(crate) const fn unknown(tgid: u32) -> Self {
        Self {
            tgid,
            ppid: 0,
            start: 0,
            layout: 0,
            name: [0; COMM_BYTES],
            uid: u32::MAX,
            gid: u32::MAX,
            euid: u32::MAX,
            loginuid: u32::MAX,
            capabilities: 0,
            cgroup_id: 0,
            mount_namespace: 0,
            pid_namespace: 0,
            network_namespace: 0,
            terminal: 0,
            are_known: false,
        }
    }
}

impl Proc {
    /// The `/proc` below the host's root.
    ///
    /// # Errors
    /// When there is no procfs.
    pub(crate) fn open(host: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(host.join("proc"), flags, Mode::empty())?;
        if fstatfs(&directory)?.f_type != PROC_SUPER_MAGIC {
            return Err(io::Error::other("what is mounted there is no procfs"));
        }
        let mut cgroups = CGROUPS.iter().map(|path| host.join(path));
        Ok(Self {
            directory,
            cgroups: cgroups.find(|path| path.join("cgroup.controllers").exists()),
            ticks: rustix::param::clock_ticks_per_second(),
        })
    }

    /// What is known of a thread's process; `None`: it is gone. Credentials, name and namespaces are
    /// the thread's.
    pub(crate) fn facts(&self, tid: u32) -> Option<Facts> {
        let status = self.status(tid)?;
        let stat = self.stat(status.tgid)?;
        let namespace = |kind| self.namespace(tid, kind);
        Some(Facts {
            tgid: status.tgid,
            ppid: stat.ppid,
            start: stat.start,
            layout: stat.layout,
            name: padded(status.name.as_bytes()),
            uid: status.uid,
            gid: status.gid,
            euid: status.euid,
            loginuid: self.login_uid(status.tgid).unwrap_or(u32::MAX),
            capabilities: status.capabilities,
            cgroup_id: self.cgroup_id(status.tgid).unwrap_or(0),
            mount_namespace: namespace("mnt"),
            pid_namespace: namespace("pid"),
            network_namespace: namespace("net"),
            terminal: stat.terminal,
            are_known: true,
        })
    }

    /// `stat` of a process.
    pub(crate) fn stat(&self, tgid: u32) -> Option<Stat> {
        let text = self.text(&format!("{tgid}/stat"))?;
        parse_stat(&text, self.ticks)
    }

    /// `status` of a thread.
    pub(crate) fn status(&self, tid: u32) -> Option<Status> {
        parse_status(&self.text(&format!("{tid}/status"))?)
    }

    /// The system call in which a thread waits.
    pub(crate) fn call(&self, tid: u32) -> Option<Call> {
        parse_syscall(&self.text(&format!("{tid}/syscall"))?)
    }

    /// Path of the executable.
    pub(crate) fn executable(&self, tgid: u32) -> Option<Vec<u8>> {
        self.link(&format!("{tgid}/exe"))
    }

    /// Working directory.
    pub(crate) fn working_directory(&self, tgid: u32) -> Option<Vec<u8>> {
        self.link(&format!("{tgid}/cwd"))
    }

    /// What is known of the executable's file.
    pub(crate) fn executable_file(&self, tgid: u32) -> Option<Statx> {
        self.file(&format!("{tgid}/exe"))
    }

    /// Arguments, NUL-separated, at most [`ARGUMENT_BYTES`]. They lie in the memory of the process:
    /// never to be read while somebody waits for an answer.
    pub(crate) fn arguments(&self, tgid: u32) -> Option<Vec<u8>> {
        self.read(&format!("{tgid}/cmdline"), ARGUMENT_BYTES)
    }

    /// The environment, as [`Self::arguments`]; at most [`ENVIRONMENT_BYTES`].
    pub(crate) fn environment(&self, tgid: u32) -> Option<Vec<u8>> {
        self.read(&format!("{tgid}/environ"), ENVIRONMENT_BYTES)
    }

    /// Whether a thread belongs to a process.
    pub(crate) fn has_thread(&self, tgid: u32, tid: u32) -> bool {
        let (path, flags) = (format!("{tgid}/task/{tid}"), AtFlags::STATX_DONT_SYNC);
        statx(&self.directory, path, flags, StatxFlags::TYPE).is_ok()
    }

    /// Every process, at most `limit`, in ascending order.
    pub(crate) fn processes(&self, limit: usize) -> io::Result<Vec<u32>> {
        self.numbers(".", limit)
    }

    /// The open descriptors of a process, at most `limit`.
    pub(crate) fn descriptors(&self, tgid: u32, limit: usize) -> io::Result<Vec<u32>> {
        self.numbers(&format!("{tgid}/fd"), limit)
    }

    /// Inode of the socket behind a descriptor of a process.
    pub(crate) fn socket(&self, tgid: u32, descriptor: u32) -> Option<u64> {
        let link = readlinkat(
            &self.directory,
            format!("{tgid}/fd/{descriptor}"),
            Vec::new(),
        );
        parse_inode(link.ok()?.as_bytes(), "socket")
    }

    fn numbers(&self, path: &str, limit: usize) -> io::Result<Vec<u32>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&self.directory, path, flags, Mode::empty())?;
        let entries = rustix::fs::Dir::new(directory)?.filter_map(Result::ok);
        let number = |entry: rustix::fs::DirEntry| entry.file_name().to_str().ok()?.parse().ok();
        let mut numbers: Vec<u32> = entries.filter_map(number).take(limit).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn namespace(&self, tid: u32, kind: &str) -> u32 {
        let link = readlinkat(&self.directory, format!("{tid}/ns/{kind}"), Vec::new());
        let inode = link
            .ok()
            .and_then(|link| parse_inode(link.as_bytes(), kind));
        inode.and_then(|inode| inode.try_into().ok()).unwrap_or(0)
    }

    fn login_uid(&self, tgid: u32) -> Option<u32> {
        let text = self.text(&format!("{tgid}/loginuid"))?;
        text.trim().parse().ok()
    }

    /// The kernfs id of a cgroup is the inode number of its directory.
    fn cgroup_id(&self, tgid: u32) -> Option<u64> {
        let text = self.text(&format!("{tgid}/cgroup"))?;
        let path = parse_cgroup(&text)?.trim_start_matches('/');
        // Seen from another cgroup namespace it can lie outside of it.
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        let (path, flags) = (self.cgroups.as_ref()?.join(path), AtFlags::STATX_DONT_SYNC);
        let found = statx(CWD, path, flags, StatxFlags::INO).ok()?;
        Some(found.stx_ino)
    }

    /// Where a link leads. Without the mark of a removed file; `None`: it may be that mark, or a part of
    /// the name of one that is there.
    fn link(&self, path: &str) -> Option<Vec<u8>> {
        let link = readlinkat(&self.directory, path, Vec::new()).ok()?;
        let link = link.into_bytes();
        if !is_marked(&link) {
            return Some(link);
        }
        let is_gone = self.file(path)?.stx_nlink == 0;
        is_gone.then(|| without_mark(link))
    }

    /// What is known of a file, without asking whoever serves its file system.
    fn file(&self, path: &str) -> Option<Statx> {
        let (flags, facts) = (AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS);
        statx(&self.directory, path, flags, facts).ok()
    }

    fn text(&self, path: &str) -> Option<String> {
        let bytes = self.read(path, FILE_BYTES)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a file of procfs, at most `limit` bytes of it.
    fn read(&self, path: &str, limit: usize) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.directory, path, flags, Mode::empty()).ok()?;
        let mut bytes = vec![0; limit];
        let mut length = 0;
        while length < limit {
            match rustix::io::read(&file, &mut bytes[length..]).ok()? {
                0 => break,
                more => length += more,
            }
        }
        bytes.truncate(length);
        Some(bytes)
    }
}

/// What the kernel puts behind the path of a removed file.
const MARK: &[u8] = b" (deleted)";

fn is_marked(path: &[u8]) -> bool {
    path.ends_with(MARK)
}

/// The path of a removed file as the kernel shows it, without its mark.
pub(crate) fn without_mark(mut path: Vec<u8>) -> Vec<u8> {
    if is_marked(&path) {
        path.truncate(path.len() - MARK.len());
    }
    path
}

/// A name as records have it.
pub(crate) fn padded<const BYTES: usize>(name: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // The last stays NUL.
    let length = name.len().min(BYTES - 1);
    bytes[..length].copy_from_slice(&name[..length]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let proc = Proc::open(Path::new("/")).unwrap();
        let own = std::process::id();
        let facts = proc.facts(own).unwrap();
        assert_eq!(facts.tgid, own);
        assert_eq!(facts.uid, rustix::process::getuid().as_raw());
        assert!(facts.are_known && facts.layout != 0);
        assert!(facts.mount_namespace != 0 && facts.network_namespace != 0);
        assert!(facts.start < holdfast_actors::clock::boottime());
        let path = std::env::current_exe().unwrap();
        assert_eq!(
            proc.executable(own).unwrap(),
            path.as_os_str().as_encoded_bytes()
        );
        assert!(proc.has_thread(own, own) && !proc.has_thread(own, 1));
        assert!(proc.processes(100_000).unwrap().contains(&own));
        assert!(proc.facts(u32::MAX).is_none());
    }

    #[test]
    fn a_thread_is_its_process_with_another_name() {
        let proc = Proc::open(Path::new("/")).unwrap();
        let named = std::thread::Builder::new().name("a thread".into());
        let tid = || {
            rustix::thread::gettid()
                .as_raw_nonzero()
                .get()
                .cast_unsigned()
        };
        let (process, facts) = std::thread::scope(|scope| {
            let read = || proc.facts(tid()).unwrap();
            let thread = named.spawn_scoped(scope, read).unwrap();
            (
                proc.facts(std::process::id()).unwrap(),
                thread.join().unwrap(),
            )
        });
        assert_eq!((facts.tgid, facts.start), (process.tgid, process.start));
        assert_eq!(facts.layout, process.layout);
        assert_eq!(&facts.name[..9], b"a thread\0");
    }

    #[test]
    fn a_socket_is_found_by_its_inode() {
        let proc = Proc::open(Path::new("/")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
        let own = std::process::id();
        let descriptors = proc.descriptors(own, 10_000).unwrap();
        let mut sockets = descriptors.iter().filter_map(|fd| proc.socket(own, *fd));
        assert!(sockets.any(|socket| socket == inode));
    }

    #[test]
    fn names_end_in_nul_and_marks_are_cut() {
        assert_eq!(padded::<4>(b"abcdef"), *b"abc\0");
        assert_eq!(without_mark(b"/x (deleted)".to_vec()), b"/x");
        assert_eq!(without_mark(b"/x".to_vec()), b"/x");
    }
}
