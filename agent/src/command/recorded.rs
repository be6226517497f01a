//! Recorded events: JSON, one a line, as `holdfast events --json` prints them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

/// Longest line: some times the largest event, which has all that a record and a policy can say.
const MAX_LINE: u64 = 1 << 20;

/// Calls `each` with every event of a file, or of standard input where it is `-`. Lines that are none are
/// named on stderr; how many there are.
///
/// # Errors
/// When it cannot be read, a line is longer than any event, or `each` fails.
pub(super) fn for_each(
    path: &Path,
    mut each: impl FnMut(&Value) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let failed = |error: io::Error| Failure::No(format!("cannot read {}: {error}", path.display()));
    let mut reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(failed)?))
    };
    let mut unreadable = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        if line.is_empty() {
            break;
        }
        if line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n') {
            return Err(Failure::No(format!(
                "line {number} of {} is longer than any event",
                path.display()
            )));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line.trim_ascii()) {
            Ok(event) => each(&event)?,
            Err(error) => {
                unreadable += 1;
                eprintln!("holdfast: line {number} is no event: {error}");
            }
        }
    }
    Ok(unreadable)
}
