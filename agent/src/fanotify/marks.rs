//! Which file systems ask for permission: all that are mounted, and those to come.
//!
//! A thread of its own marks them, since looking up a mount point can wait for whoever serves its file
//! system. It opens nothing but the list of mounts, once.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_wire::uapi::mounts::{self, Mount};
use nix::sys::fanotify::MaskFlags;
use rustix::event::PollFlags;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::permission::{Group, Scope};
use super::thread::{self, Signal, wait};

/// How long attaching waits for the marks: marking takes some microseconds for each mount, but one may
/// be of a server that does not answer. What is not marked by then is marked when it can be.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the list of mounts that are read: some ten thousand mounts.
const LIST_BYTES: u64 = 8 << 20;
/// Mounts without marks that are named; the rest is counted.
const NAMED: usize = 4;

/// File systems whose files are the kernel's own interfaces: opening one does something, or it is a
/// device, and a question about it would have the kernel open it twice.
const INTERFACES: [&str; 24] = [
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "mqueue",
    "nfsd",
    "nsfs",
    "pidfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// File systems that another machine or a process serves: it could have the kernel, which opens the
/// file for the sensor, wait for ever, and with it whoever opens anything; or it could refuse the
/// sensor what it grants the user, and the kernel would refuse the user then.
const SERVED: [&str; 15] = [
    "9p", "afs", "ceph", "cifs", "coda", "fuse", "fuseblk", "gfs2", "lustre", "nfs", "nfs4",
    "ocfs2", "smb3", "smbfs", "virtiofs",
];

/// Why a file system is not marked.
fn exempt(kind: &str) -> Option<&'static str> {
    if INTERFACES.contains(&kind) {
        Some("an interface of the kernel")
    } else if SERVED.contains(&kind) || kind.starts_with("fuse.") {
        Some("served by another process or machine")
    } else {
        None
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Marks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    group: Arc<Group>,
    /// The host's root.
    root: PathBuf,
    mounts: Mutex<File>,
    state: Mutex<State>,
    changed: Condvar,
    wake: Signal,
}

#[derive(Debug)]
struct State {
    /// What opens are to ask for.
    wanted: MaskFlags,
    /// It is asked for by all that could be marked, or why not; `None`: not yet.
    done: Option<Result<(), String>>,
    /// Mounts without marks, other than interfaces of the kernel, and why.
    unmarked: Vec<(PathBuf, String)>,
    stopping: bool,
}

impl Marks {
    /// Nothing is marked.
    ///
    /// # Errors
    /// When the list of mounts cannot be read, or there is no thread to be had.
    pub(crate) fn new(group: Arc<Group>, root: &Path) -> std::io::Result<Self> {
        // In a container the sensor has mounts of its own: the host's are those of its first process.
        let own = root == Path::new("/");
        let list = root.join(if own {
            "proc/self/mountinfo"
        } else {
            "proc/1/mountinfo"
        });
        let shared = Arc::new(Shared {
            group,
            root: root.to_owned(),
            mounts: Mutex::new(File::open(list)?),
            state: Mutex::new(State {
                wanted: MaskFlags::empty(),
                done: None,
                unmarked: Vec::new(),
                stopping: false,
            }),
            changed: Condvar::new(),
            wake: Signal::new()?,
        });
        let lent = shared.clone();
        thread::start("fanotify-mounts", move || lent.work())?;
        Ok(Self(shared))
    }

    /// Has opens ask for this and nothing else.
    ///
    /// # Errors
    /// In one line, when nothing could be marked.
    pub(crate) fn want(&self, mask: MaskFlags) -> Result<(), String> {
        let shared = &self.0;
        let mut state = shared.state();
        state.wanted = mask;
        state.done = None;
        shared.wake.give();
        let waits = |state: &mut State| state.done.is_none();
        let waited = shared.changed.wait_timeout_while(state, PATIENCE, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.done {
            Some(result) => result.clone(),
            // The rest is marked when it can be, and `unmarked` says so until then.
            None => Ok(()),
        }
    }

    /// Which mounts have no marks, and why; empty when all have that should.
    pub(crate) fn unmarked(&self) -> String {
        let state = self.0.state();
        if state.done.is_none() && !state.wanted.is_empty() {
            return "some mounts, which do not answer".to_owned();
        }
        let named = state.unmarked.iter().take(NAMED);
        let mut text: Vec<String> = named
            .map(|(point, why)| format!("{} ({why})", point.display()))
            .collect();
        if let Some(more) = state
            .unmarked
            .len()
            .checked_sub(NAMED)
            .filter(|more| *more > 0)
        {
            text.push(format!("{more} more"));
        }
        text.join(", ")
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        self.0.state().stopping = true;
        self.0.wake.give();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Values that are replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut file = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut marked = MaskFlags::empty();
        loop {
            self.wake.take();
            let (wanted, stopping) = {
                let state = self.state();
                (state.wanted, state.stopping)
            };
            if stopping {
                return;
            }
            if wanted.is_empty() {
                let result = self.group.flush().map_err(|error| error.to_string());
                self.report(wanted, result, Vec::new());
            } else {
                self.pass(&mut file, wanted, marked - wanted);
            }
            marked = wanted;
            // A change of the list is an exceptional condition of its file (proc_pid_mounts(5)).
            let fds = [
                (file.as_fd(), PollFlags::PRI),
                (self.wake.as_fd(), PollFlags::IN),
            ];
            if wait(fds, None).is_err() {
                return;
            }
        }
    }

    /// Marks every mount, also those that are marked: a mark that is there is not added again, and
    /// a device number or a mount point may have become another file system's since.
    fn pass(&self, file: &mut File, wanted: MaskFlags, unwanted: MaskFlags) {
        let mut text = Vec::new();
        let read = file
            .rewind()
            .and_then(|()| Read::by_ref(file).take(LIST_BYTES).read_to_end(&mut text));
        if let Err(error) = read {
            self.report(
                wanted,
                Err(format!("the list of mounts: {error}")),
                Vec::new(),
            );
            return;
        }
        let mut done = Vec::new();
        let mut count = 0;
        let mut unmarked: Vec<(PathBuf, String)> = Vec::new();
        for mount in mounts::parse(&text) {
            if let Some(why) = exempt(&mount.kind) {
                if SERVED.contains(&mount.kind.as_str()) || mount.kind.starts_with("fuse") {
                    unmarked.push((mount.point, format!("{}, {why}", mount.kind)));
                }
                continue;
            }
            if done.contains(&mount.device) {
                continue;
            }
            let path = self.path(&mount);
            match self.mark(&path, wanted, unwanted) {
                Ok(scope) => {
                    count += 1;
                    if scope == Scope::FileSystem && is_at(&mount, &path) {
                        done.push(mount.device);
                    }
                }
                Err(error) => unmarked.push((mount.point, format!("{}, {error}", mount.kind))),
            }
        }
        let result = match unmarked.first() {
            Some((point, why)) if count == 0 => {
                Err(format!("cannot mark {}: {why}", point.display()))
            }
            _ => Ok(()),
        };
        self.report(wanted, result, unmarked);
    }

    fn path(&self, mount: &Mount) -> PathBuf {
        let point = mount.point.strip_prefix("/").unwrap_or(&mount.point);
        self.root.join(point)
    }

    fn mark(
        &self,
        path: &Path,
        wanted: MaskFlags,
        unwanted: MaskFlags,
    ) -> Result<Scope, nix::errno::Errno> {
        let scope = match self.group.mark(Scope::FileSystem, wanted, path) {
            Ok(()) => Scope::FileSystem,
            Err(error) => {
                let second = self.group.mark(Scope::Mount, wanted, path);
                second.map_err(|_| error)?;
                Scope::Mount
            }
        };
        if !unwanted.is_empty() {
            // What asks all the same is let pass.
            let _ = self.group.unmark(scope, unwanted, path);
        }
        Ok(scope)
    }

    fn report(
        &self,
        mask: MaskFlags,
        result: Result<(), String>,
        unmarked: Vec<(PathBuf, String)>,
    ) {
        let mut state = self.state();
        state.unmarked = unmarked;
        // Otherwise something else is wanted by now, and the next pass follows.
        if state.wanted == mask {
            state.done = Some(result);
        }
        self.changed.notify_all();
    }
}

/// Whether it is this mount that is found at its point, and not one that was mounted over it.
fn is_at(mount: &Mount, path: &Path) -> bool {
    let flags = AtFlags::STATX_DONT_SYNC;
    let found = statx(CWD, path, flags, StatxFlags::TYPE);
    found.is_ok_and(|found| (found.stx_dev_major, found.stx_dev_minor) == mount.device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_with_files_are_marked() {
        for kind in [
            "ext4", "xfs", "btrfs", "tmpfs", "overlay", "rootfs", "squashfs", "zfs",
        ] {
            assert_eq!(exempt(kind), None, "{kind}");
        }
        for kind in ["proc", "devtmpfs", "nfs4", "fuse.sshfs", "fuse", "fuseblk"] {
            assert!(exempt(kind).is_some(), "{kind}");
        }
        assert!(INTERFACES.is_sorted() && SERVED.is_sorted());
    }
}
