//! A thread that goes into mount namespaces: what is mounted in one is told as seen from its root, also where no process is.
//! Nothing there is trusted: paths are only walked, and who walks may be kept waiting (a file system in user space) without
//! anybody else waiting longer than a bound.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open, openat};

use super::nsfs;

/// How long it may be away.
const TIME: Duration = Duration::from_secs(2);
/// Threads that are given up, in one scan: what waits for a file system that does not answer stays until that does.
const MAX_LOST: usize = 4;
/// What is read of one list of mounts: the kernel allows 100,000 of them (`fs.mount-max`), of some 100 bytes each.
const MAX_MOUNTINFO: u64 = 64 << 20;

type Errand = Box<dyn FnOnce(&OwnedFd) + Send>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Traveller {
    errands: Option<Sender<Errand>>,
    lost: usize,
}

impl Traveller {
    /// Goes into a mount namespace; `/proc/PID/mountinfo` as it is there.
    ///
    /// # Errors
    /// When it may not, or did not come back.
    pub(super) fn enter(&mut self, namespace: File) -> io::Result<Vec<u8>> {
        self.send(move |own| {
            nsfs::enter(namespace.as_fd())?;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = File::from(openat(own, "mountinfo", flags, Mode::empty())?);
            let mut text = Vec::new();
            file.take(MAX_MOUNTINFO).read_to_end(&mut text)?;
            Ok(text)
        })
    }

    /// What is at a path where it is now, without opening it.
    ///
    /// # Errors
    /// When there is nothing, or it did not come back.
    pub(super) fn look(&mut self, path: PathBuf) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.send(move |_| Ok(open(&path, flags, Mode::empty())?))
    }

    fn send<T: Send + 'static>(
        &mut self,
        errand: impl FnOnce(&OwnedFd) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (reply, answer) = sync_channel(1);
        let errand: Errand = Box::new(move |own| {
            // Nobody waits any more.
            let _ = reply.send(errand(own));
        });
        let errands = match self.errands.take() {
            Some(errands) => errands,
            None if self.lost < MAX_LOST => started()?,
            None => return Err(io::Error::other("mount namespaces do not answer")),
        };
        errands
            .send(errand)
            .map_err(|_| io::Error::other("the thread has ended"))?;
        let answer = answer.recv_timeout(TIME);
        match answer {
            Ok(result) => {
                self.errands = Some(errands);
                result
            }
            Err(_) => {
                self.lost += 1;
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

/// It ends with whoever gives it errands.
fn started() -> io::Result<Sender<Errand>> {
    let (sender, errands) = channel::<Errand>();
    let run = move || {
        // Its own directory in `/proc`, where that may not be in sight.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(own) = open("/proc/thread-self", flags, Mode::empty()) else {
            return;
        };
        for errand in errands {
            errand(&own);
        }
    };
    let builder = thread::Builder::new().name("traveller".to_owned());
    builder.spawn(run)?;
    Ok(sender)
}
