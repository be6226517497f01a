//! The files of the event log, oldest first: `events.jsonl.N` … `events.jsonl.1`, `events.jsonl`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::Context;

use crate::failure::Failure;

const NAME: &str = "events.jsonl";

/// Whether there is a log in `directory`.
pub(super) fn exists(directory: &Path) -> bool {
    directory.join(NAME).exists()
}

/// Opens the files of the log in `directory`, oldest first. They are opened before any is read, so
/// that a rotation meanwhile does not take one away.
///
/// # Errors
/// When one cannot be read; a missing log is one without files.
pub(super) fn files(directory: &Path) -> Result<Vec<File>, Failure> {
    let context = || format!("cannot read the event log in {}", directory.display());
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::NotPermitted(format!("{}: {error}", context())),
        _ => anyhow::Error::new(error).context(context()).into(),
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.with_context(context)?;
        numbers.extend(entry.file_name().to_str().and_then(number));
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let mut files = Vec::new();
    for number in numbers {
        let name = if number == 0 {
            NAME.to_owned()
        } else {
            format!("{NAME}.{number}")
        };
        match File::open(directory.join(name)) {
            Ok(file) => files.push(file),
            // Rotated away since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(files)
}

/// The number of a file of the log; the current one is 0.
fn number(name: &str) -> Option<u32> {
    match name.strip_prefix(NAME)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn files_come_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "events.jsonl",
            "events.jsonl.1",
            "events.jsonl.10",
            "events.jsonl.2",
            "other",
        ] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let read = |mut file: File| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        };
        let names: Vec<_> = files(directory.path())
            .unwrap()
            .into_iter()
            .map(read)
            .collect();
        assert_eq!(
            names,
            [
                "events.jsonl.10",
                "events.jsonl.2",
                "events.jsonl.1",
                "events.jsonl"
            ]
        );
        assert!(files(Path::new("/nonexistent")).unwrap().is_empty());
    }
}
