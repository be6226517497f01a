//! Events that a sensor before this one has written: their records are still in the rings if it was killed before it
//! could say that it was done with them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use holdfast_wire::record::Header;

use super::build::record_part;

/// Bytes of the end of the event file that are read: at most half of each ring is read again, and no event is ten
/// times as long as its record.
const MAX_BYTES: u64 = 64 << 20;
/// Those that are read at first: what was under way is hardly ever more.
const FIRST_BYTES: u64 = 1 << 20;
/// By how much, in nanoseconds, events may be out of order in the file: those that waited for an engine come late.
const DISORDER: u64 = 3_000_000_000;

/// Which, by the last part of their ids.
#[derive(Debug, Default)]
pub(crate) struct Already(HashSet<String>);

impl Already {
    /// Reads the ends of the event files, the older first, for records that were made since `since`, nanoseconds of
    /// boot time; `boot` is how ids of this boot begin.
    ///
    /// # Errors
    /// When one cannot be read; that there is none is no error.
    pub(crate) fn read(paths: &[PathBuf], boot: &str, since: u64) -> io::Result<Self> {
        let since = since.saturating_sub(DISORDER);
        let mut ids = HashSet::new();
        for path in paths {
            let mut file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            let size = file.metadata()?.len();
            let mut bytes = FIRST_BYTES;
            while !read_end(&mut file, size.saturating_sub(bytes), boot, since, &mut ids)?
                && bytes < size.min(MAX_BYTES)
            {
                bytes *= 8;
            }
        }
        Ok(Self(ids))
    }

    /// Whether the event of this record was written; says so once.
    pub(crate) fn take(&mut self, header: &Header) -> bool {
        !self.0.is_empty() && self.0.remove(record_part(header).as_str())
    }

    /// Whatever comes now is of this sensor alone.
    pub(crate) fn forget(&mut self) {
        self.0 = HashSet::new();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Takes the ids since `since` out of what comes after `start`; whether it begins with an earlier one.
fn read_end(
    file: &mut File,
    start: u64,
    boot: &str,
    since: u64,
    ids: &mut HashSet<String>,
) -> io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::new();
    let mut first = None;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(first.is_some_and(|first| first < since));
        }
        // A line that a kill has torn was not written: its event is written again, whole.
        let id = line.ends_with(b"\n").then(|| id_of(&line, boot)).flatten();
        let Some(id) = id else { continue };
        let time = time_of(id);
        first.get_or_insert(time);
        if time >= since {
            ids.insert(id.to_owned());
        }
    }
}

/// The part of a line's event id that is its record's, where it begins with `boot`.
fn id_of<'l>(line: &'l [u8], boot: &str) -> Option<&'l str> {
    const KEY: &[u8] = br#""event":{"id":""#;
    let start = line.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let rest = &line[start..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let id = std::str::from_utf8(&rest[..end]).ok()?;
    id.strip_prefix(boot)?.strip_prefix('-')
}

fn time_of(id: &str) -> u64 {
    let time = id.split('-').next();
    time.and_then(|time| u64::from_str_radix(time, 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::Kind;
    use std::fs;

    fn line(boot: &str, time: u64, sequence: u64) -> String {
        format!(
            "{{\"@timestamp\":\"2026\",\"event\":{{\"id\":\"{boot}-{time:x}-1-{sequence:x}\",\"kind\":\"event\"}}}}\n"
        )
    }

    fn header(boottime: u64, sequence: u64) -> Header {
        Header {
            boottime,
            cpu: 1,
            sequence,
            ..crate::evaluator::testing::header(Kind::ProcessExec, 1)
        }
    }

    #[test]
    fn what_is_written_is_known_from_the_end_of_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["events.jsonl.1", "events.jsonl"].map(|name| directory.path().join(name));
        let late = 10 * DISORDER;
        // More than is read at first, all of it of late.
        let many: String = (0..30_000).map(|it| line("boot", late + it, it)).collect();
        assert!(many.len() as u64 > FIRST_BYTES);
        fs::write(&paths[0], many).unwrap();
        let mut text = line("boot", 1, 1) + &line("other", late, 70_000);
        text += &line("boot", late + 60_000, 60_000);
        text += line("boot", late + 60_001, 60_001).trim_end();
        fs::write(&paths[1], text).unwrap();
        let mut already = Already::read(&paths, "boot", late).unwrap();
        assert_eq!(already.len(), 30_001);
        assert!(already.take(&header(late, 0)) && !already.take(&header(late, 0)));
        assert!(already.take(&header(late + 60_000, 60_000)));
        // Torn, of another boot, from before.
        assert!(!already.take(&header(late + 60_001, 60_001)));
        assert!(!already.take(&header(late, 70_000)));
        assert!(!already.take(&header(1, 1)));
    }

    #[test]
    fn no_file_is_no_error() {
        let path = PathBuf::from("/nonexistent/events.jsonl");
        assert_eq!(Already::read(&[path], "boot", 0).unwrap().len(), 0);
    }
}
