//! One priority's part of the spool: segments in a directory, written at one end and read at the other.
//!
//! Bytes of a segment count once a write has returned. What a killed process left behind them is cut
//! off, and nothing of it was ever sent.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use holdfast_wire::frame::Priority;
use holdfast_wire::spool::{
    self as format, HEAD_BYTES, Head, MAX_CONTENT_BYTES, Next, RECORD_HEAD_BYTES,
};

mod files;

pub(in crate::uplink) use files::make_directory;
use files::{SUFFIX, or_missing, read_at, read_head, segments_in, write};

/// Sequences that are left out where some may have been used of which the disk knows nothing: far more than are made
/// in the time that a disk may lag behind.
pub(super) const SKIP: u64 = 1 << 32;
/// Only the sensor reads it: events hold command lines.
const PERMISSIONS: u32 = 0o600;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    directory: PathBuf,
    priority: Priority,
    /// The oldest first; the last is the one that is written.
    segments: VecDeque<Segment>,
    /// Where records are appended; `None`: the next one begins a segment.
    active: Option<File>,
    /// The next record's sequence.
    next: u64,
    /// Everything up to here is done with: acknowledged, or given up.
    handled: u64,
    /// Where the first record after `handled` was last found.
    cursor: Option<Cursor>,
    /// Of the last batch: where each of its records ends.
    batch: Vec<Cursor>,
}

/// When segments are ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rolling {
    /// Once they have so many bytes.
    pub(super) bytes: u64,
    /// Once they were begun before this, seconds since 1970.
    pub(super) begun: u64,
    /// The time, seconds since 1970.
    pub(super) now: u64,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    first: u64,
    /// Sequence after its last record.
    end: u64,
    created: u64,
    bytes: u64,
}

/// A place between two records.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// Which segment, by its first sequence.
    segment: u64,
    offset: u64,
    /// The record that is there.
    sequence: u64,
}

/// What was found broken when a queue was opened, or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Broken {
    /// Records that a process had begun to write when it ended.
    pub(super) torn: u64,
    /// Records that are no longer what was written.
    pub(super) corrupt: u64,
}

/// How an append ended.
#[derive(Debug)]
pub(super) struct Appended {
    /// So many, from the first on, are in the queue.
    pub(super) records: usize,
    /// Why not all.
    pub(super) error: Option<io::Error>,
}

/// Records by their sequences.
pub(super) type Records = Vec<(u64, Vec<u8>)>;

impl Queue {
    /// Opens what is in `directory`, or begins there. Everything up to `handled` is done with. `skip`: sequences that
    /// are left out, since a process before this one may have used them for what never came to the disk.
    ///
    /// # Errors
    /// When the directory or a segment in it cannot be read.
    pub(super) fn open(
        directory: &Path,
        priority: Priority,
        handled: u64,
        skip: u64,
    ) -> io::Result<(Self, Broken)> {
        let mut queue = Self {
            directory: directory.to_owned(),
            priority,
            segments: VecDeque::new(),
            active: None,
            next: handled + 1,
            handled,
            cursor: None,
            batch: Vec::new(),
        };
        make_directory(directory)?;
        let mut broken = Broken::default();
        let found = segments_in(directory)?;
        for (number, (first, path)) in found.iter().enumerate() {
            let bytes = fs::metadata(path)?.len();
            let head = read_head(path)?.filter(|head| head.first == *first);
            let head = head.filter(|head| head.priority == priority);
            let after = match found.get(number + 1) {
                Some((_, path)) => read_head(path)?.map(|head| head.previous),
                None => None,
            };
            let is_last = number + 1 == found.len();
            let Some(head) = head else {
                // Of the last one nothing was ever in it; of another its successor says how much.
                let end = after.map_or(0, |last| last + 1);
                broken.corrupt += end.saturating_sub((handled + 1).max(*first));
                let _ = fs::remove_file(path);
                continue;
            };
            let mut segment = Segment {
                path: path.clone(),
                first: *first,
                end: *first,
                created: head.created,
                bytes,
            };
            match after {
                Some(last) => segment.end = segment.first.max(last + 1),
                None => {
                    let (whole, end) = scan(path, &segment)?;
                    segment.end = end;
                    if whole < bytes {
                        // How many there were nobody knows; one at least.
                        *(if is_last {
                            &mut broken.torn
                        } else {
                            &mut broken.corrupt
                        }) += 1;
                        OpenOptions::new().write(true).open(path)?.set_len(whole)?;
                        segment.bytes = whole;
                    }
                }
            }
            queue.next = queue.next.max(segment.end);
            queue.segments.push_back(segment);
        }
        // Somebody removed them, and what sequences they had is not known.
        let removed = found.is_empty() && handled > 0;
        queue.next += if removed { SKIP } else { skip };
        if skip == 0
            && let Some(last) = queue.segments.back()
            && last.end == queue.next
        {
            let active = OpenOptions::new().append(true).open(&last.path)?;
            queue.active = Some(active);
        }
        queue.forget_handled();
        Ok((queue, broken))
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Records not yet done with.
    pub(super) fn waiting(&self) -> u64 {
        let left = |segment: &Segment| {
            segment
                .end
                .saturating_sub(segment.first.max(self.handled + 1))
        };
        self.segments.iter().map(left).sum()
    }

    /// Everything up to here is done with.
    pub(super) fn handled(&self) -> u64 {
        self.handled
    }

    /// Bytes that a record takes.
    pub(super) const fn cost(content: &[u8]) -> u64 {
        (RECORD_HEAD_BYTES + content.len()) as u64
    }

    /// Appends records, each of at most [`MAX_CONTENT_BYTES`].
    pub(super) fn append(&mut self, contents: &[&[u8]], rolling: Rolling) -> Appended {
        let mut records = 0;
        while records < contents.len() {
            match self.append_some(&contents[records..], rolling) {
                Ok(count) => records += count,
                Err((count, error)) => {
                    records += count;
                    let error = Some(error);
                    return Appended { records, error };
                }
            }
        }
        Appended {
            records,
            error: None,
        }
    }

    /// Appends those that belong to one segment.
    fn append_some(
        &mut self,
        contents: &[&[u8]],
        rolling: Rolling,
    ) -> Result<usize, (usize, io::Error)> {
        let is_gone = |file: &File| file.metadata().map_or(true, |file| file.nlink() == 0);
        let is_over = |last: &Segment| {
            last.end > last.first && (last.bytes >= rolling.bytes || last.created < rolling.begun)
        };
        let is_over = self.segments.back().is_some_and(is_over);
        if is_over || self.active.as_ref().is_none_or(is_gone) {
            self.roll(rolling.now).map_err(|error| (0, error))?;
        }
        let (Some(file), Some(segment)) = (&mut self.active, self.segments.back_mut()) else {
            return Err((0, io::Error::other("no segment is open")));
        };
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (sequence, content) in (self.next..).zip(contents) {
            if !ends.is_empty() && segment.bytes + bytes.len() as u64 >= rolling.bytes {
                break;
            }
            format::push(sequence, content, &mut bytes);
            ends.push(bytes.len());
        }
        let (written, error) = write(file, &bytes);
        let count = ends.iter().filter(|end| **end <= written).count();
        let whole = count.checked_sub(1).map_or(0, |last| ends[last]);
        segment.bytes += whole as u64;
        segment.end += count as u64;
        self.next += count as u64;
        if whole < written && file.set_len(segment.bytes).is_err() {
            // What follows half a record would not be read.
            self.active = None;
        }
        match error {
            None => Ok(count),
            Some(error) => Err((count, error)),
        }
    }

    /// Ends the segment that is written, and begins the next.
    fn roll(&mut self, now: u64) -> io::Result<()> {
        self.active = None;
        // One without records would have the name of the next.
        if let Some(last) = self.segments.back()
            && last.end == last.first
        {
            let _ = fs::remove_file(&last.path);
            self.segments.pop_back();
        }
        let previous = self.segments.back().map_or(0, |last| last.end - 1);
        let head = Head {
            priority: self.priority,
            first: self.next,
            previous,
            created: now,
        };
        let path = self.directory.join(format!("{:020}{SUFFIX}", self.next));
        make_directory(&self.directory)?;
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(PERMISSIONS)
            .open(&path)?;
        file.set_len(0)?;
        if let Err(error) = file.write_all(&head.encode()) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.segments.push_back(Segment {
            path,
            first: self.next,
            end: self.next,
            created: now,
            bytes: HEAD_BYTES as u64,
        });
        self.active = Some(file);
        self.forget_handled();
        Ok(())
    }

    /// The first records that wait and stand together, up to `most` of them and, but for the first, `bytes` of content.
    /// The second: records that turned out to be no longer what was written, and are given up.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub(super) fn batch(&mut self, most: usize, bytes: usize) -> io::Result<(Records, u64)> {
        let (mut records, mut read, mut corrupt) = (Records::new(), 0, 0);
        self.batch.clear();
        // Each round but the last gives up a segment.
        while let Some((segment, start)) = self.first_waiting()? {
            let end = segment.end;
            let most_bytes = bytes + MAX_CONTENT_BYTES + RECORD_HEAD_BYTES;
            let window = read_at(&segment.path, start.offset, segment.bytes, most_bytes);
            let window = or_missing(window)?;
            let (mut rest, mut cursor) = (&window[..], start);
            while cursor.sequence < end && records.len() < most {
                let Next::Record {
                    content,
                    bytes: length,
                } = format::next(rest, cursor.sequence)
                else {
                    // Either what was read ends here, or what is broken comes first the next time.
                    break;
                };
                if !records.is_empty() && read + content.len() > bytes {
                    break;
                }
                read += content.len();
                records.push((cursor.sequence, content.to_vec()));
                rest = &rest[length..];
                cursor.sequence += 1;
                cursor.offset += length as u64;
                self.batch.push(cursor);
            }
            self.cursor = Some(start);
            if !records.is_empty() || most == 0 {
                break;
            }
            corrupt += end - start.sequence.max(self.handled + 1);
            self.give_up(end - 1);
        }
        Ok((records, corrupt))
    }

    /// Of the last batch everything up to `sequence` is done with: returns how many of its records that are, those that
    /// were given up meanwhile left out.
    pub(super) fn acknowledge(&mut self, sequence: u64) -> u64 {
        let handled = self.handled;
        let acknowledged = |end: &&Cursor| end.sequence - 1 <= sequence;
        let Some(end) = self.batch.iter().rfind(acknowledged).copied() else {
            return 0;
        };
        let is_new = |end: &&Cursor| end.sequence - 1 > handled;
        let count = self
            .batch
            .iter()
            .filter(acknowledged)
            .filter(is_new)
            .count();
        if count > 0 {
            self.cursor = Some(end);
            self.give_up(end.sequence - 1);
        }
        self.batch.retain(|of| of.sequence > end.sequence);
        count as u64
    }

    /// Removes the oldest segment; returns how many records were still to be sent. `None`: there is none with records.
    pub(super) fn shed(&mut self, now: u64) -> Option<u64> {
        let oldest = self.segments.front()?;
        let last = oldest
            .end
            .checked_sub(1)
            .filter(|last| *last >= oldest.first)?;
        let before = self.waiting();
        if self.segments.len() == 1 {
            // The next one's name says where sequences go on; a disk without room for it has some in a moment.
            let _ = self.roll(now);
        }
        if let Some(oldest) = self.segments.pop_front_if(|oldest| oldest.end == last + 1) {
            let _ = fs::remove_file(&oldest.path);
        }
        self.give_up(last);
        if self.segments.is_empty() {
            self.active = None;
            let _ = self.roll(now);
        }
        Some(before.saturating_sub(self.waiting()))
    }

    /// Removes segments to which nothing was written after `before`, seconds since 1970; returns how many records were
    /// still to be sent.
    pub(super) fn expire(&mut self, before: u64, now: u64) -> u64 {
        let mut lost = 0;
        while let Some(oldest) = self.segments.front() {
            let is_old = fs::metadata(&oldest.path)
                .is_ok_and(|file| u64::try_from(file.mtime()).is_ok_and(|mtime| mtime < before));
            if !is_old || oldest.end == oldest.first {
                break;
            }
            lost += self.shed(now).unwrap_or(0);
        }
        lost
    }

    /// Has what was appended written to the disk.
    ///
    /// # Errors
    /// When it cannot be.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.active.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Everything up to `sequence` is done with.
    fn give_up(&mut self, sequence: u64) {
        self.handled = self.handled.max(sequence);
        // Its name may have been all that said where sequences go on.
        self.next = self.next.max(self.handled + 1);
        self.forget_handled();
    }

    /// Removes segments of which everything is done with, but for the one that is written: its name says where
    /// sequences go on.
    fn forget_handled(&mut self) {
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.front()
            && oldest.end <= self.handled + 1
        {
            let _ = fs::remove_file(&oldest.path);
            self.segments.pop_front();
        }
    }

    /// The first record that waits: where it is, and its segment.
    fn first_waiting(&self) -> io::Result<Option<(&Segment, Cursor)>> {
        let waits = |segment: &&Segment| segment.end > segment.first.max(self.handled + 1);
        let Some(segment) = self.segments.iter().find(waits) else {
            return Ok(None);
        };
        let sequence = segment.first.max(self.handled + 1);
        let is_there =
            |cursor: &Cursor| cursor.segment == segment.first && cursor.sequence == sequence;
        let cursor = match self.cursor.filter(is_there) {
            Some(cursor) => cursor,
            None => find(segment, sequence)?,
        };
        Ok(Some((segment, cursor)))
    }
}

/// Where the record `sequence` of a segment is, or the first before it that is broken.
fn find(segment: &Segment, sequence: u64) -> io::Result<Cursor> {
    let mut cursor = Cursor {
        segment: segment.first,
        offset: HEAD_BYTES as u64,
        sequence: segment.first,
    };
    if sequence == segment.first {
        return Ok(cursor);
    }
    let bytes = or_missing(fs::read(&segment.path))?;
    let mut rest = bytes.get(HEAD_BYTES..).unwrap_or_default();
    while cursor.sequence < sequence {
        let Next::Record { bytes, .. } = format::next(rest, cursor.sequence) else {
            break;
        };
        rest = &rest[bytes..];
        cursor.offset += bytes as u64;
        cursor.sequence += 1;
    }
    Ok(cursor)
}

/// Bytes of a segment that are whole records, and the sequence after the last of them.
fn scan(path: &Path, segment: &Segment) -> io::Result<(u64, u64)> {
    let bytes = fs::read(path)?;
    let mut rest = bytes.get(HEAD_BYTES..).unwrap_or_default();
    let mut end = segment.first;
    while let Next::Record { bytes, .. } = format::next(rest, end) {
        rest = &rest[bytes..];
        end += 1;
    }
    Ok(((bytes.len() - rest.len()) as u64, end))
}
