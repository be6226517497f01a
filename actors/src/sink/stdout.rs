//! Standard output. The descriptor may be shared with other programs, so it is not made
//! non-blocking; it is asked instead whether it takes anything, so that a reader that has stopped
//! reading holds up nobody.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Write;

/// A pipe that polls as writable takes this much without blocking (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4096;
/// How long a turn waits for the reader.
const WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// A descriptor to write to.
#[derive(Debug)]
pub(crate) struct Stdout(Arc<OwnedFd>);

impl Stdout {
    pub(crate) fn new(to: Arc<OwnedFd>) -> Self {
        Self(to)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8], _whole: bool) -> io::Result<usize> {
        let mut ready = [PollFd::new(&self.0, PollFlags::OUT)];
        match poll(&mut ready, Some(&WAIT)) {
            Ok(0) | Err(Errno::INTR) => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match rustix::io::write(&self.0, &bytes[..bytes.len().min(PIECE)]) {
            Ok(count) => Ok(count),
            Err(Errno::INTR | Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The reader has closed the pipe, or the terminal is gone: nobody comes back to them.
    fn is_final(&self, error: &io::Error) -> bool {
        matches!(
            Errno::from_io_error(error),
            Some(Errno::PIPE | Errno::IO | Errno::BADF)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_full_pipe_takes_nothing_and_a_closed_one_is_final() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut stdout = Stdout::new(Arc::new(writer.into()));
        let piece = vec![b'x'; 10_000];
        let mut written = 0;
        loop {
            match stdout.write(&piece, true).unwrap() {
                0 => break,
                count => written += count,
            }
        }
        let mut buffer = vec![0; written];
        reader.read_exact(&mut buffer).unwrap();
        assert!(stdout.write(&piece, true).unwrap() > 0);
        drop(reader);
        let error = stdout.write(&piece, true).unwrap_err();
        assert!(stdout.is_final(&error));
    }
}
