//! What waits for the Team Server, on the disk: bounded in size and age, and there again after any end of the process.
//!
//! Two queues, of alerts and of events. When there is no room the oldest events go first, and alerts only where there
//! are no events; whatever goes is counted, with its reason. Why it is so: ADR 30.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_wire::frame::Priority;
use holdfast_wire::spool::{HEAD_BYTES, MAX_CONTENT_BYTES};
use serde::{Deserialize, Serialize};

mod queue;
#[cfg(test)]
mod tests;

pub(super) use queue::make_directory;
use queue::{Broken, Queue, Records, Rolling, SKIP};

/// A segment is this share of the spool, and so is the least that is shed.
const SEGMENTS: u64 = 32;
/// Bytes of a segment in a large spool: what is read at once when a sensor starts.
const MAX_SEGMENT: u64 = 8 << 20;
/// Bytes of a segment in a small one.
const MIN_SEGMENT: u64 = 64 << 10;
/// A segment is ended after this share of the age that events may have: by so much more they may be older.
const AGES: u32 = 32;
/// What was sent and lost, and up to where.
const POSITION: &str = "position.json";
/// Bytes of that file, which has some hundred.
const MAX_POSITION: u64 = 64 << 10;

/// The bounds of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on the disk.
    pub max_bytes: u64,
    /// How long an event may wait.
    pub max_age: Duration,
}

impl Limits {
    fn rolling(self, now: u64) -> Rolling {
        Rolling {
            bytes: (self.max_bytes / SEGMENTS).clamp(MIN_SEGMENT, MAX_SEGMENT),
            begun: now.saturating_sub((self.max_age / AGES).as_secs().max(1)),
            now,
        }
    }
}

/// Why something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The spool was full.
    Full,
    /// It had waited for too long.
    Age,
    /// The disk did not take it.
    Disk,
    /// It was being written when the process ended.
    Torn,
    /// It is no longer what was written.
    Corrupt,
    /// The server will never take it.
    Refused,
    /// It is larger than what a frame takes.
    Oversized,
}

impl Reason {
    /// As in `status --json`.
    const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Age => "age",
            Self::Disk => "disk",
            Self::Torn => "torn",
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
            Self::Oversized => "oversized",
        }
    }
}

/// What was lost, by reason.
pub type Lost = BTreeMap<Reason, u64>;

/// What became of what was to be sent, since the spool was begun; first of alerts, then of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Waiting now.
    pub(crate) waiting: [u64; 2],
    /// Bytes on the disk.
    pub(crate) bytes: u64,
    /// Acknowledged.
    pub(crate) sent: [u64; 2],
    /// Lost.
    pub(crate) lost: [Lost; 2],
}

/// What is written beside the segments.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Position {
    stream: String,
    boot_id: String,
    handled: [u64; 2],
    sent: [u64; 2],
    lost: [Lost; 2],
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Of the directory: where an update starts a sensor beside the one that it replaces, only one may send.
    _lock: File,
    directory: PathBuf,
    limits: Limits,
    stream: [u8; 16],
    boot_id: String,
    queues: [Queue; 2],
    sent: [u64; 2],
    lost: [Lost; 2],
    /// What was told of `lost`.
    told: [Lost; 2],
    /// What the disk said when it last did not take an event.
    trouble: Option<String>,
    /// What is in the file of the position.
    saved: Vec<u8>,
}

/// The directory, for this process alone until it is dropped.
fn locked(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("another sensor has {} still", directory.display()),
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Spool {
    /// Opens the spool in `directory`, or begins one there. `boot_id`: of this boot of the machine.
    ///
    /// # Errors
    /// When it cannot be read or begun; `WouldBlock` while another sensor has it.
    pub(crate) fn open(directory: &Path, limits: Limits, boot_id: &str) -> io::Result<Self> {
        make_directory(directory)?;
        let lock = locked(directory)?;
        let known = read_position(directory)?;
        // The disk may lack what was written, and even sent, just before the power went.
        let skip = match &known {
            Some((position, _)) if position.boot_id != boot_id => SKIP,
            _ => 0,
        };
        let (position, stream) = match known {
            Some(known) => known,
            None => (Position::default(), random()?),
        };
        let open = |priority: Priority| {
            let number = usize::from(priority.number());
            let directory = directory.join(name(priority));
            Queue::open(&directory, priority, position.handled[number], skip)
        };
        let (alerts, of_alerts) = open(Priority::Alert)?;
        let (events, of_events) = open(Priority::Event)?;
        let mut spool = Self {
            _lock: lock,
            directory: directory.to_owned(),
            limits,
            stream,
            boot_id: boot_id.to_owned(),
            queues: [alerts, events],
            sent: position.sent,
            told: position.lost.clone(),
            lost: position.lost,
            trouble: None,
            saved: Vec::new(),
        };
        for (priority, Broken { torn, corrupt }) in
            Priority::ALL.into_iter().zip([of_alerts, of_events])
        {
            spool.lose(priority, Reason::Torn, torn);
            spool.lose(priority, Reason::Corrupt, corrupt);
        }
        // Before anything has a sequence of this stream.
        spool.save()?;
        Ok(spool)
    }

    /// Which stream its sequences are of.
    pub(crate) const fn stream(&self) -> [u8; 16] {
        self.stream
    }

    /// What became of everything.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            waiting: self.queues.each_ref().map(Queue::waiting),
            bytes: self.bytes(),
            sent: self.sent,
            lost: self.lost.clone(),
        }
    }

    /// What was lost since this was last asked, as in `2 alert torn, 5 event full`; `None`: nothing.
    pub(crate) fn untold(&mut self) -> Option<String> {
        let mut parts = Vec::new();
        for (priority, (lost, told)) in Priority::ALL
            .into_iter()
            .zip(self.lost.iter().zip(&self.told))
        {
            for (reason, count) in lost {
                let new = count - told.get(reason).copied().unwrap_or(0).min(*count);
                if new > 0 {
                    parts.push(format!("{new} {} {}", name(priority), reason.name()));
                }
            }
        }
        self.told = self.lost.clone();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// What the disk said when it last did not take an event, if it has taken none since.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Stores events in their order; `now`: seconds since 1970. Returns how many are done with: stored, or counted as
    /// lost.
    ///
    /// # Errors
    /// When the disk does not take an alert, and none before it is to be told of as done with. An event that it does
    /// not take is lost.
    pub(crate) fn store(&mut self, lines: &[(Priority, &[u8])], now: u64) -> io::Result<usize> {
        let fits =
            |(_, (_, content)): &(usize, &(Priority, &[u8]))| content.len() <= MAX_CONTENT_BYTES;
        let (fitting, oversized): (Vec<_>, Vec<_>) = lines.iter().enumerate().partition(fits);
        let of = |priority: Priority| {
            let of = fitting.iter().filter(move |(_, line)| line.0 == priority);
            of.map(|(at, line)| (*at, line.1)).collect::<Vec<_>>()
        };
        let (alerts, mut events) = (of(Priority::Alert), of(Priority::Event));
        let mut done = lines.len();
        let mut failed = None;
        let contents: Vec<_> = alerts.iter().map(|(_, content)| *content).collect();
        if let Err((stored, error)) = self.store_alerts(&contents, now) {
            done = alerts.get(stored).map_or(done, |(at, _)| *at);
            failed = Some(error);
        }
        // What comes after an alert that is tried again is tried again with it.
        events.retain(|(at, _)| *at < done);
        let contents: Vec<_> = events.iter().map(|(_, content)| *content).collect();
        self.store_events(&contents, now);
        for (at, (priority, _)) in oversized {
            if at < done {
                self.lose(*priority, Reason::Oversized, 1);
            }
        }
        match failed {
            Some(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    fn store_alerts(&mut self, contents: &[&[u8]], now: u64) -> Result<(), (usize, io::Error)> {
        let mut stored = 0;
        while stored < contents.len() {
            self.make_room(cost(&contents[stored..]), true, now);
            let rolling = self.limits.rolling(now);
            let appended = self
                .queue(Priority::Alert)
                .append(&contents[stored..], rolling);
            stored += appended.records;
            let Some(error) = appended.error else {
                break;
            };
            // Each round gives up a segment of events.
            if !(is_full(&error) && self.shed(Priority::Event, now)) {
                return Err((stored, error));
            }
        }
        Ok(())
    }

    fn store_events(&mut self, contents: &[&[u8]], now: u64) {
        if contents.is_empty() {
            return;
        }
        if !self.make_room(cost(contents), false, now) {
            self.lose(Priority::Event, Reason::Full, contents.len() as u64);
            return;
        }
        let rolling = self.limits.rolling(now);
        let appended = self.queue(Priority::Event).append(contents, rolling);
        let lost = contents.len() - appended.records;
        self.lose(Priority::Event, Reason::Disk, lost as u64);
        self.trouble = appended.error.map(|error| error.to_string());
    }

    /// Makes room for so many bytes; `false`: there is none without alerts being given up, and they are not to be.
    fn make_room(&mut self, bytes: u64, alerts_too: bool, now: u64) -> bool {
        while self.bytes() + bytes + HEAD_BYTES as u64 > self.limits.max_bytes {
            let shed =
                self.shed(Priority::Event, now) || alerts_too && self.shed(Priority::Alert, now);
            if !shed {
                return alerts_too;
            }
        }
        true
    }

    fn shed(&mut self, priority: Priority, now: u64) -> bool {
        let Some(lost) = self.queue(priority).shed(now) else {
            return false;
        };
        self.lose(priority, Reason::Full, lost);
        true
    }

    /// The first events of a priority that wait: up to `most` of them and, but for the first, `bytes`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn batch(
        &mut self,
        priority: Priority,
        most: usize,
        bytes: usize,
    ) -> io::Result<Records> {
        let (records, corrupt) = self.queue(priority).batch(most, bytes)?;
        self.lose(priority, Reason::Corrupt, corrupt);
        Ok(records)
    }

    /// The server has those of the last batch up to `sequence`.
    ///
    /// # Errors
    /// When that cannot be written down; they may be sent again then.
    pub(crate) fn acknowledge(&mut self, priority: Priority, sequence: u64) -> io::Result<()> {
        let count = self.queue(priority).acknowledge(sequence);
        self.sent[usize::from(priority.number())] += count;
        self.save()
    }

    /// The server will never take those of the last batch up to `sequence`.
    ///
    /// # Errors
    /// As [`Self::acknowledge`].
    pub(crate) fn refuse(&mut self, priority: Priority, sequence: u64) -> io::Result<()> {
        let count = self.queue(priority).acknowledge(sequence);
        self.lose(priority, Reason::Refused, count);
        self.save()
    }

    /// Gives up what is too old; `now`: seconds since 1970.
    pub(crate) fn expire(&mut self, now: u64) {
        let before = now.saturating_sub(self.limits.max_age.as_secs());
        for priority in Priority::ALL {
            let lost = self.queue(priority).expire(before, now);
            self.lose(priority, Reason::Age, lost);
        }
    }

    /// Writes down up to where everything is done with. A process that is killed before sends again what it sent since,
    /// and the server knows it by its sequence.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        let position = Position {
            stream: hex(&self.stream),
            boot_id: self.boot_id.clone(),
            handled: self.queues.each_ref().map(Queue::handled),
            sent: self.sent,
            lost: self.lost.clone(),
        };
        let text = serde_json::to_vec(&position)?;
        if text != self.saved {
            replace(&self.directory.join(POSITION), &text, false)?;
            self.saved = text;
        }
        Ok(())
    }

    /// Has everything written to the disk.
    ///
    /// # Errors
    /// When it cannot be.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.save()?;
        self.queues.iter().try_for_each(Queue::sync)
    }

    fn bytes(&self) -> u64 {
        self.queues.iter().map(Queue::bytes).sum()
    }

    fn queue(&mut self, priority: Priority) -> &mut Queue {
        &mut self.queues[usize::from(priority.number())]
    }

    fn lose(&mut self, priority: Priority, reason: Reason, count: u64) {
        if count > 0 {
            *self.lost[usize::from(priority.number())]
                .entry(reason)
                .or_default() += count;
        }
    }
}

/// What a priority is called.
pub(crate) const fn name(priority: Priority) -> &'static str {
    match priority {
        Priority::Alert => "alert",
        Priority::Event => "event",
    }
}

/// Puts `text` in place of the file at `path`, for its owner only: either the old one is there or the new, whole.
/// `lasting`: after a power failure, too.
pub(super) fn replace(path: &Path, text: &[u8], lasting: bool) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text)?;
    if lasting {
        file.sync_all()?;
    }
    fs::rename(&beside, path)?;
    if lasting && let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// `None`: there is none that says anything. What is in the spool is then of a new stream.
fn read_position(directory: &Path) -> io::Result<Option<(Position, [u8; 16])>> {
    use std::io::Read as _;

    let mut text = Vec::new();
    match fs::File::open(directory.join(POSITION)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.take(MAX_POSITION).read_to_end(&mut text)?,
    };
    let Ok(position) = serde_json::from_slice::<Position>(&text) else {
        return Ok(None);
    };
    let stream = bytes_of(&position.stream);
    Ok(stream.map(|stream| (position, stream)))
}

fn cost(contents: &[&[u8]]) -> u64 {
    contents.iter().map(|content| Queue::cost(content)).sum()
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    // Sixteen bytes come at once or not at all: getrandom(2).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn bytes_of(hex: &str) -> Option<[u8; 16]> {
    (hex.len() == 32)
        .then(|| u128::from_str_radix(hex, 16).ok())?
        .map(u128::to_be_bytes)
}
