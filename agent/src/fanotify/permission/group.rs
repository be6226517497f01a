//! A fanotify group for permission events, as the kernel has it.
#![allow(unsafe_code)] // An event's descriptor comes as a number.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use holdfast_wire::uapi::Malformed;
use holdfast_wire::uapi::fanotify::{self, EVENT_BYTES, What};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

/// The group. Closing it lets everything pass that waits for an answer, also where its process dies.
#[derive(Debug)]
pub(crate) struct Group(Fanotify);

/// An event that waits for its answer.
#[derive(Debug)]
pub(crate) struct Event {
    /// What is about to happen.
    pub(crate) what: What,
    /// The file.
    pub(crate) file: OwnedFd,
    /// The thread, in the sensor's pid namespace; 0 for one outside of it.
    pub(crate) tid: u32,
}

/// What was read from the group.
#[derive(Debug)]
pub(crate) enum Read {
    /// An event.
    Event(Event),
    /// Events were lost.
    Overflow,
    /// There is none.
    Nothing,
}

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The kernel gave no event. Where it could not open the file for the sensor it has refused the
    /// operation itself (`copy_event_to_user` of `fs/notify/fanotify/fanotify_user.c`).
    #[error("{0}")]
    System(#[from] rustix::io::Errno),
    /// Not what the documentation says.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// What is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A whole file system, through whichever mount it is reached (since 4.20).
    FileSystem,
    /// One mount.
    Mount,
}

impl Group {
    /// A group without marks.
    ///
    /// # Errors
    /// When the kernel has none, or does not permit it.
    pub(crate) fn new() -> Result<Self, Errno> {
        // No limit to the queue: a permission event is a thread that waits, so there are never more of
        // them than threads. No limit to the marks: there are as many as file systems.
        let flags = InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_CLASS_CONTENT
            | InitFlags::FAN_UNLIMITED_QUEUE
            | InitFlags::FAN_UNLIMITED_MARKS
            | InitFlags::FAN_REPORT_TID;
        // Not blocking: the kernel opens the file for the reader of the event, and a FIFO would wait
        // for somebody to write.
        let file = EventFFlags::O_RDONLY
            | EventFFlags::O_LARGEFILE
            | EventFFlags::O_CLOEXEC
            | EventFFlags::O_NONBLOCK;
        Fanotify::init(flags, file).map(Self)
    }

    /// Has opens of these kinds below `path` ask for permission, in addition to what asks already.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn mark(&self, scope: Scope, mask: MaskFlags, path: &Path) -> Result<(), Errno> {
        self.change(MarkFlags::FAN_MARK_ADD, scope, mask, Some(path))
    }

    /// Has them ask no more.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn unmark(&self, scope: Scope, mask: MaskFlags, path: &Path) -> Result<(), Errno> {
        self.change(MarkFlags::FAN_MARK_REMOVE, scope, mask, Some(path))
    }

    /// Removes all marks.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn flush(&self) -> Result<(), Errno> {
        let none = MaskFlags::empty();
        self.change(MarkFlags::FAN_MARK_FLUSH, Scope::FileSystem, none, None)?;
        self.change(MarkFlags::FAN_MARK_FLUSH, Scope::Mount, none, None)
    }

    fn change(
        &self,
        action: MarkFlags,
        scope: Scope,
        mask: MaskFlags,
        path: Option<&Path>,
    ) -> Result<(), Errno> {
        let scope = match scope {
            Scope::FileSystem => MarkFlags::FAN_MARK_FILESYSTEM,
            Scope::Mount => MarkFlags::FAN_MARK_MOUNT,
        };
        self.0.mark(action | scope, mask, AT_FDCWD, path)
    }

    /// Reads one event: whoever reads it answers it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) fn read(&self) -> Result<Read, ReadError> {
        // Room for one: the kernel fills in as many as there is room for.
        let mut bytes = [0; EVENT_BYTES];
        let length = match rustix::io::read(&self.0, &mut bytes) {
            Err(rustix::io::Errno::AGAIN) => return Ok(Read::Nothing),
            result => result?,
        };
        let Some(event) = fanotify::next(&mut &bytes[..length]).transpose()? else {
            return Ok(Read::Nothing);
        };
        let (Some(fd), what, tid) = (event.fd, event.what, event.pid) else {
            return Ok(Read::Overflow);
        };
        // SAFETY: the kernel has opened this descriptor for the reader of the event, and nobody else
        // knows of it; see `fanotify::Event::fd`.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Read::Event(Event { what, file, tid }))
    }

    /// Answers the event with this descriptor.
    ///
    /// # Errors
    /// `ENOENT`, when it was answered.
    pub(crate) fn answer(&self, fd: i32, allow: bool) -> Result<(), rustix::io::Errno> {
        rustix::io::write(&self.0, &fanotify::response(fd, allow)).map(drop)
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
