//! A file that is about to be opened, and what is known of that. Asked for piece by piece, since most
//! opens are let pass by their path alone.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_policy::lookup::Known;
use holdfast_wire::record::PATH_BYTES;
use holdfast_wire::uapi::process::Call;
use rustix::fs::{AtFlags, Statx, StatxFlags, readlinkat, statx};

use crate::fanotify::proc::{Proc, without_mark};

/// How long a thread is asked in which call it waits, which is seen once it sleeps: it sends its event
/// a few instructions before that, but may lose its CPU in between.
const PATIENCE: Duration = Duration::from_millis(50);
/// Between two askings.
const PAUSE: Duration = Duration::from_micros(50);

/// See the module.
pub(crate) struct Opening<'a> {
    /// The host's processes.
    pub(crate) proc: &'a Proc,
    /// `/proc/self/fd`
    pub(crate) descriptors: &'a OwnedFd,
    /// The file.
    pub(crate) file: &'a OwnedFd,
    /// The thread.
    pub(crate) tid: u32,
    /// It is opened to be executed.
    pub(crate) executes: bool,
    path: OnceCell<Option<Vec<u8>>>,
    facts: OnceCell<Option<Statx>>,
    flags: OnceCell<Option<u32>>,
}

impl<'a> Opening<'a> {
    pub(crate) fn new(
        proc: &'a Proc,
        descriptors: &'a OwnedFd,
        file: &'a OwnedFd,
        tid: u32,
    ) -> Self {
        Self {
            proc,
            descriptors,
            file,
            tid,
            executes: false,
            path: OnceCell::new(),
            facts: OnceCell::new(),
            flags: OnceCell::new(),
        }
    }

    /// The path, resolved; `None`: it is longer than a path can be.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        let read = || {
            let number = self.file.as_raw_fd().to_string();
            let link = readlinkat(self.descriptors, number, Vec::new()).ok()?;
            let path = link.into_bytes();
            let gone = self.facts().is_some_and(|facts| facts.stx_nlink == 0);
            let path = if gone { without_mark(path) } else { path };
            (path.len() < PATH_BYTES).then_some(path)
        };
        self.path.get_or_init(read).as_deref()
    }

    /// What is known of the file, without asking whoever serves its file system.
    pub(crate) fn facts(&self) -> Option<&Statx> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let read = || statx(self.file, "", flags, StatxFlags::BASIC_STATS).ok();
        self.facts.get_or_init(read).as_ref()
    }

    /// How it is opened (`O_*`).
    pub(crate) fn flags(&self) -> Option<u32> {
        let read = || {
            if self.executes {
                return Some(libc::O_RDONLY.cast_unsigned());
            }
            let begun = Instant::now();
            loop {
                if let Some(call) = self.proc.call(self.tid) {
                    return flags_of(&call);
                }
                if begun.elapsed() > PATIENCE {
                    return None;
                }
                thread::sleep(PAUSE);
            }
        };
        *self.flags.get_or_init(read)
    }
}

impl Known for Opening<'_> {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Opening::path(self).map(Cow::Borrowed)
    }

    fn open_flags(&self) -> Option<u32> {
        self.flags()
    }

    fn user(&self) -> Option<u32> {
        self.proc.status(self.tid).map(|status| status.uid)
    }

    fn executable(&self) -> Option<Cow<'_, [u8]>> {
        self.proc.executable(self.tid).map(Cow::Owned)
    }
}

/// The flags among the arguments of a call that opens a file; `None` for one that has them elsewhere
/// (`openat2` in the caller's memory, io_uring in its queue) or none.
///
/// A 32-bit program has other numbers. They mean something else in the other mode, but nothing that
/// opens a file, so the number alone will do.
fn flags_of(call: &Call) -> Option<u32> {
    let argument = |index: usize| Some(call.arguments[index] as u32);
    let create = (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC).cast_unsigned();
    let read = libc::O_RDONLY.cast_unsigned();
    let number = libc::c_long::from(call.number.cast_signed());
    match number {
        libc::SYS_openat | libc::SYS_open_by_handle_at => argument(2),
        libc::SYS_execve | libc::SYS_execveat => Some(read),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => argument(1),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => Some(create),
        // i386: arch/x86/entry/syscalls/syscall_32.tbl
        #[cfg(target_arch = "x86_64")]
        295 | 342 => argument(2),
        #[cfg(target_arch = "x86_64")]
        11 | 358 => Some(read),
        // arm: arch/arm/tools/syscall.tbl
        #[cfg(target_arch = "aarch64")]
        322 | 371 => argument(2),
        #[cfg(target_arch = "aarch64")]
        11 | 387 => Some(read),
        // The same in both.
        5 => argument(1),
        8 => Some(create),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: libc::c_long, arguments: [u64; 3]) -> Call {
        let [first, second, third] = arguments;
        Call {
            number: number as u32,
            arguments: [first, second, third, 0, 0, 0],
        }
    }

    #[test]
    fn flags_stand_where_each_call_has_them() {
        let write = libc::O_WRONLY.cast_unsigned();
        assert_eq!(flags_of(&call(libc::SYS_openat, [3, 9, 1])), Some(write));
        assert_eq!(flags_of(&call(libc::SYS_execve, [9, 9, 9])), Some(0));
        assert_eq!(flags_of(&call(libc::SYS_openat2, [3, 9, 9])), None);
        // A 32-bit open.
        assert_eq!(flags_of(&call(5, [9, 2, 0])), Some(2));
        assert_eq!(flags_of(&call(libc::SYS_mount, [1, 1, 1])), None);
    }

    #[test]
    fn a_descriptor_has_a_path_and_a_removed_files_mark_is_cut() {
        let proc = Proc::open(std::path::Path::new("/")).unwrap();
        let descriptors = rustix::fs::open(
            "/proc/self/fd",
            rustix::fs::OFlags::PATH,
            rustix::fs::Mode::empty(),
        );
        let descriptors = descriptors.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("a (deleted)");
        let file: OwnedFd = std::fs::File::create(&path).unwrap().into();
        let shown = path.to_string_lossy().into_owned();
        let opening = Opening::new(&proc, &descriptors, &file, 1);
        assert_eq!(opening.path(), Some(shown.as_bytes()));
        std::fs::remove_file(&path).unwrap();
        let opening = Opening::new(&proc, &descriptors, &file, 1);
        assert_eq!(opening.path(), Some(shown.as_bytes()));
    }

    #[test]
    fn a_waiting_threads_call_is_seen() {
        let proc = Proc::open(std::path::Path::new("/")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = path.clone();
        let thread = std::thread::spawn(move || {
            let tid = rustix::thread::gettid().as_raw_nonzero().get();
            sender.send(tid.cast_unsigned()).unwrap();
            std::fs::OpenOptions::new().write(true).open(waiting)
        });
        let tid = receiver.recv().unwrap();
        let is_write = || {
            let flags = proc.call(tid).and_then(|call| flags_of(&call));
            flags.is_some_and(|flags| flags & 3 == libc::O_WRONLY.cast_unsigned())
        };
        let found = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            is_write()
        });
        drop(std::fs::File::open(&path).unwrap());
        drop(thread.join().unwrap());
        assert!(found);
    }
}
