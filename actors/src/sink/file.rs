//! The event log: `events.jsonl`, rotated by size. Readable for its owner and group.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::Write;
use crate::root::Log;

/// The file that is written; the rotated ones have `.1`, `.2`, … appended.
const NAME: &str = "events.jsonl";
/// Owner writes, group reads: events hold command lines.
const PERMISSIONS: u32 = 0o640;

/// The current file and its predecessors.
#[derive(Debug)]
pub(crate) struct Rotated {
    log: Log,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

impl Log {
    /// The files that events were written to last, the older first.
    pub(crate) fn paths(&self) -> [PathBuf; 2] {
        [1, 0].map(|number| self.path(number))
    }

    fn path(&self, number: u32) -> PathBuf {
        let suffix = if number == 0 {
            String::new()
        } else {
            format!(".{number}")
        };
        self.directory.join(format!("{NAME}{suffix}"))
    }
}

impl Rotated {
    /// Opens nothing yet: an error belongs to the first write, which is retried.
    pub(crate) fn new(log: Log) -> Self {
        Self { log, open: None }
    }

    fn open(&self) -> io::Result<Open> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(PERMISSIONS)
            .open(self.log.path(0))?;
        let mut size = file.metadata()?.len();
        // A sensor that was killed may have left half a line.
        if size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        Ok(Open { file, size })
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        if self.log.keep == 0 {
            return fs::remove_file(self.log.path(0));
        }
        // The oldest goes first: a file that is renamed over another has its content written to the
        // disk at once by ext4 (auto_da_alloc in ext4(5)), and that takes longer than a sink may.
        let or_missing = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        or_missing(fs::remove_file(self.log.path(self.log.keep)))?;
        for number in (0..self.log.keep).rev() {
            or_missing(fs::rename(self.log.path(number), self.log.path(number + 1)))?;
        }
        Ok(())
    }
}

impl Write for Rotated {
    fn write(&mut self, bytes: &[u8], whole: bool) -> io::Result<usize> {
        if whole {
            // Removed or moved away under our feet: begin a new one.
            let gone = |open: &Open| open.file.metadata().is_ok_and(|file| file.nlink() == 0);
            if self.open.as_ref().is_some_and(gone) {
                self.open = None;
            }
            let limit = self.log.max_bytes;
            let full = |open: &Open| open.size > 0 && open.size + bytes.len() as u64 > limit;
            if self.open.is_none() {
                self.open = Some(self.open()?);
            }
            if self.open.as_ref().is_some_and(full) {
                self.rotate()?;
            }
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let result = open.file.write(bytes);
        if let Ok(count) = result {
            open.size += count as u64;
        }
        self.open = Some(open);
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            result => result,
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.open
            .as_ref()
            .map_or(Ok(()), |open| open.file.sync_data())
    }

    /// A disk can be emptied, a directory made.
    fn is_final(&self, _error: &io::Error) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(directory: &std::path::Path, max_bytes: u64, keep: u32) -> Rotated {
        Rotated::new(Log {
            directory: directory.to_owned(),
            max_bytes,
            keep,
        })
    }

    fn content(directory: &std::path::Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).unwrap_or_default()
    }

    #[test]
    fn files_are_rotated_at_line_ends_and_their_number_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 10, 2);
        for line in [
            "aaaa\n",
            "bbbb\n",
            "cccc\n",
            "dddd\n",
            "eeee\n",
            "ffff\n",
            "a very long line\n",
        ] {
            assert_eq!(log.write(line.as_bytes(), true).unwrap(), line.len());
        }
        let of = |name| content(directory.path(), name);
        assert_eq!(of("events.jsonl"), "a very long line\n");
        assert_eq!(of("events.jsonl.1"), "eeee\nffff\n");
        assert_eq!(of("events.jsonl.2"), "cccc\ndddd\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
        let mode = fs::metadata(directory.path().join(NAME)).unwrap().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}");
    }

    #[test]
    fn a_torn_line_is_ended_and_a_removed_file_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "torn").unwrap();
        let mut log = log(directory.path(), 1000, 1);
        log.write(b"whole\n", true).unwrap();
        assert_eq!(content(directory.path(), NAME), "torn\nwhole\n");
        fs::remove_file(directory.path().join(NAME)).unwrap();
        log.write(b"new\n", true).unwrap();
        assert_eq!(content(directory.path(), NAME), "new\n");
    }

    #[test]
    fn a_failure_is_not_final() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let mut log = log(&missing, 1000, 1);
        let error = log.write(b"x\n", true).unwrap_err();
        assert!(!log.is_final(&error));
        fs::create_dir(&missing).unwrap();
        log.write(b"x\n", true).unwrap();
        assert_eq!(content(&missing, NAME), "x\n");
    }
}
