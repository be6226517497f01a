//! Threads of the kernel side. They are no actors: what they do must go on while actors are restarted,
//! as a kernel program does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

/// Between a panic of a thread's work and its next beginning: a defect that is met again at once
/// must not take a whole CPU.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that is told once to whoever polls for it: that it is time to stop.
#[derive(Debug)]
pub(crate) struct Signal(OwnedFd);

impl Signal {
    /// One that was not given.
    ///
    /// # Errors
    /// When there is no descriptor to be had.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }

    /// Gives it.
    pub(crate) fn give(&self) {
        // A counter that is full is readable already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes it back, if it was given.
    pub(crate) fn take(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of these is ready for what is asked of it, or the time is over; which are.
///
/// # Errors
/// When a descriptor cannot be polled.
pub(crate) fn wait<const N: usize>(
    fds: [(BorrowedFd<'_>, PollFlags); N],
    limit: Option<Duration>,
) -> Result<[bool; N], Errno> {
    let mut polled = fds.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
    // Limits are seconds at most.
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(polled.map(|fd| !fd.revents().is_empty())),
        Err(error) => Err(error),
    }
}

/// Starts a thread whose work begins anew should it panic, until it ends by itself.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(name: &str, work: impl Fn() + Send + 'static) -> io::Result<()> {
    let run = move || {
        while catch_unwind(AssertUnwindSafe(&work)).is_err() {
            thread::sleep(PAUSE);
        }
    };
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn work_that_panics_begins_anew_and_a_signal_is_seen_by_all() {
        let (sender, receiver) = channel();
        let signal = std::sync::Arc::new(Signal::new().unwrap());
        let lent = signal.clone();
        let round = std::sync::atomic::AtomicU32::new(0);
        let work = move || {
            let round = round.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(round > 0, "the first round fails");
            let fds = [(lent.as_fd(), PollFlags::IN)];
            sender.send(wait(fds, None).unwrap()).unwrap();
        };
        start("test", work).unwrap();
        signal.give();
        assert_eq!(receiver.recv().unwrap(), [true]);
        signal.take();
        let now = Some(Duration::ZERO);
        assert_eq!(wait([(signal.as_fd(), PollFlags::IN)], now), Ok([false]));
    }
}
