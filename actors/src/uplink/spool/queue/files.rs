//! The files of a queue: found, read and written.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use holdfast_wire::spool::{HEAD_BYTES, Head};

/// Segments of one queue: sixteen times what the limits of a spool make of it, and a bound for a
/// directory into which somebody else wrote.
const MAX_SEGMENTS: usize = 4096;
/// What the names of segments end with, behind their first sequence.
pub(super) const SUFFIX: &str = ".seg";

/// Makes a directory that only its owner may look into.
pub(in crate::uplink) fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// The segments in a directory with their first sequences, the oldest first.
pub(super) fn segments_in(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let first = name
            .strip_suffix(SUFFIX)
            .and_then(|first| first.parse::<u64>().ok())
            .filter(|first| *first > 0);
        if let Some(first) = first {
            found.push((first, path));
        }
        if found.len() > MAX_SEGMENTS {
            let reason = format!(
                "more than {MAX_SEGMENTS} segments in {}",
                directory.display()
            );
            return Err(io::Error::other(reason));
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn read_head(path: &Path) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD_BYTES];
    match File::open(path)?.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(Head::decode(&bytes)),
    }
}

/// Up to `most` bytes from `offset` on, not beyond `end`.
pub(super) fn read_at(path: &Path, offset: u64, end: u64, most: usize) -> io::Result<Vec<u8>> {
    // Its size is bounded by `most`.
    let length = end.saturating_sub(offset).min(most as u64) as usize;
    let mut bytes = vec![0; length];
    let file = File::open(path)?;
    let mut read = 0;
    while read < length {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes as much as can be written: how much that was, and why not all.
pub(super) fn write(file: &mut File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Nothing, where somebody removed it.
pub(super) fn or_missing(bytes: io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match bytes {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        bytes => bytes,
    }
}
