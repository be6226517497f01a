//! Uplink frames: batches of events on their way from a sensor to the Team Server.
//!
//! A header of 16 bytes, integers little-endian, and a body:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | `HFUP` |
//! | 4 | [`VERSION`] |
//! | 5 | compression of the body: 0 none, 1 zlib ([RFC 1950](https://www.rfc-editor.org/rfc/rfc1950)) |
//! | 6..8 | 0 |
//! | 8..12 | length of the body before compression |
//! | 12..16 | CRC-32 of the body as sent ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952), section 8) |
//!
//! The body is a [`Frame`] as `codec` has it. Decoding is total: any bytes are a frame or a
//! [`FrameError`], and what they can make it allocate is bounded.

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use crate::codec;

/// Version of the header and of the body's form.
pub const VERSION: u8 = 1;
/// Most bytes of a whole frame as it is sent, header included: what a server holds in memory for a
/// sensor, and what a slow line carries in the time of a request.
pub const MAX_BYTES: usize = 4 << 20;
/// Most bytes of a body before compression. Event lines compress to a tenth; a body that claims to
/// have been much more is made to exhaust memory.
pub const MAX_RAW_BYTES: usize = 16 << 20;
/// Most entries of a frame: one transaction of the store.
pub const MAX_ENTRIES: usize = 4096;
/// Most bytes of an event: an exec with all of its arguments is far below.
pub const MAX_EVENT_BYTES: usize = 256 << 10;
/// Most bytes of a sensor's id.
pub const MAX_SENSOR_ID_BYTES: usize = 64;
/// Sequences end here, since stores have signed integers.
pub const MAX_SEQUENCE: u64 = i64::MAX as u64;

const MAGIC: [u8; 4] = *b"HFUP";
const HEADER_BYTES: usize = 16;
/// Of zlib's levels, the one after which more time buys little on lines of JSON.
const LEVEL: u8 = 6;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1950.
    #[default]
    Zlib,
}

/// Which of a stream's two lines a frame carries; alerts go first, so each has its own sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Alerts, and what the sensor says of itself.
    Alert,
    /// All other events.
    Event,
}

impl Priority {
    /// Both, the more urgent first.
    pub const ALL: [Self; 2] = [Self::Alert, Self::Event];

    /// 0 for alerts, 1 for events: as it stands in frames.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Alert => 0,
            Self::Event => 1,
        }
    }

    /// The priority of this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.number() == number)
    }
}

/// One event on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in its stream and priority: 1 to [`MAX_SEQUENCE`], increasing; there are gaps where
    /// the sensor lost something.
    pub sequence: u64,
    /// The event's JSON, without a newline; at most [`MAX_EVENT_BYTES`].
    pub event: Vec<u8>,
}

/// A batch of events of one priority, from one sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whose they are: printable ASCII, at most [`MAX_SENSOR_ID_BYTES`].
    pub sensor_id: String,
    /// Random id of the sensor's spool. A new spool is a new stream, whose sequences begin again.
    pub stream: [u8; 16],
    /// Of all entries.
    pub priority: Priority,
    /// 1 to [`MAX_ENTRIES`], by increasing sequence.
    pub entries: Vec<Entry>,
}

/// Why bytes are not a frame, or a frame cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than [`MAX_BYTES`] as sent.
    #[error("the frame has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// Shorter than its header.
    #[error("the frame is shorter than its header")]
    Short,
    /// It does not begin as frames do.
    #[error("the bytes are no frame")]
    Magic,
    /// Of a version that is not known here.
    #[error("the frame has version {0}, known is {VERSION}")]
    Version(u8),
    /// Compressed in a way that is not known here.
    #[error("the frame has compression {0}, known are 0 and 1")]
    Compression(u8),
    /// The reserved bytes are used.
    #[error("the frame's reserved bytes are {0}, not 0")]
    Reserved(u16),
    /// Larger than [`MAX_RAW_BYTES`] before compression.
    #[error("the frame's body has {0} bytes before compression, more than {MAX_RAW_BYTES}")]
    TooLargeRaw(usize),
    /// The body is not what was sent.
    #[error("the frame's checksum is wrong")]
    Checksum,
    /// The body is not compressed as it says.
    #[error("the frame's body cannot be decompressed")]
    Decompress,
    /// The body is shorter or longer than the header says.
    #[error("the frame's body has {found} bytes before compression, its header says {said}")]
    Length {
        /// What the header says.
        said: usize,
        /// What there is.
        found: usize,
    },
    /// The body is not in the codec's form.
    #[error("the frame's body is malformed: {0}")]
    Body(String),
    /// The sensor's id is empty, too long or not printable ASCII.
    #[error("the frame's sensor id is not 1 to {MAX_SENSOR_ID_BYTES} printable ASCII characters")]
    SensorId,
    /// No entries, or too many.
    #[error("the frame has {0} entries, not 1 to {MAX_ENTRIES}")]
    Entries(usize),
    /// Sequences out of their range, or not increasing.
    #[error("the frame's sequence {0} is out of order or range")]
    Sequence(u64),
    /// An event is larger than [`MAX_EVENT_BYTES`].
    #[error("the frame's event {sequence} has {bytes} bytes, more than {MAX_EVENT_BYTES}")]
    Event {
        /// Which.
        sequence: u64,
        /// Its size.
        bytes: usize,
    },
}

impl Frame {
    /// The frame as it is sent; not compressed where that would not make it smaller.
    ///
    /// # Errors
    /// What makes it one that no server takes: see its fields, and [`FrameError::TooLargeRaw`] and
    /// [`FrameError::TooLarge`], after which the sender halves it.
    pub fn encode(&self, compression: Compression) -> Result<Vec<u8>, FrameError> {
        self.check()?;
        let raw = codec::encode(self)?;
        if raw.len() > MAX_RAW_BYTES {
            return Err(FrameError::TooLargeRaw(raw.len()));
        }
        let compressed = match compression {
            Compression::None => None,
            Compression::Zlib => Some(compress_to_vec_zlib(&raw, LEVEL)),
        }
        .filter(|compressed| compressed.len() < raw.len());
        let body = compressed.as_ref().unwrap_or(&raw);
        let length = HEADER_BYTES + body.len();
        if length > MAX_BYTES {
            return Err(FrameError::TooLarge(length));
        }
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, u8::from(compressed.is_some()), 0, 0]);
        // Its size was checked above.
        bytes.extend((raw.len() as u32).to_le_bytes());
        bytes.extend(crc32fast::hash(body).to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }

    /// The frame that `bytes` are.
    ///
    /// # Errors
    /// See [`FrameError`]. Such bytes will never be taken: sending them again is of no use.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes.len() > MAX_BYTES {
            return Err(FrameError::TooLarge(bytes.len()));
        }
        let (header, body) = bytes.split_first_chunk().ok_or(FrameError::Short)?;
        let said = Header::decode(header)?;
        if crc32fast::hash(body) != said.crc32 {
            return Err(FrameError::Checksum);
        }
        let decompressed;
        let raw = match said.compression {
            Compression::None => body,
            Compression::Zlib => {
                decompressed = decompress_to_vec_zlib_with_limit(body, said.raw_length)
                    .map_err(|_| FrameError::Decompress)?;
                &decompressed
            }
        };
        if raw.len() != said.raw_length {
            return Err(FrameError::Length {
                said: said.raw_length,
                found: raw.len(),
            });
        }
        let frame = codec::decode(raw)?;
        frame.check()?;
        Ok(frame)
    }

    /// The last of its sequences: what a server acknowledges.
    #[must_use]
    pub fn last_sequence(&self) -> Option<u64> {
        self.entries.last().map(|entry| entry.sequence)
    }

    fn check(&self) -> Result<(), FrameError> {
        let id = self.sensor_id.as_bytes();
        if id.is_empty() || id.len() > MAX_SENSOR_ID_BYTES || !id.iter().all(u8::is_ascii_graphic) {
            return Err(FrameError::SensorId);
        }
        if self.entries.is_empty() || self.entries.len() > MAX_ENTRIES {
            return Err(FrameError::Entries(self.entries.len()));
        }
        let mut last = 0;
        for Entry { sequence, event } in &self.entries {
            if *sequence <= last || *sequence > MAX_SEQUENCE {
                return Err(FrameError::Sequence(*sequence));
            }
            if event.len() > MAX_EVENT_BYTES {
                return Err(FrameError::Event {
                    sequence: *sequence,
                    bytes: event.len(),
                });
            }
            last = *sequence;
        }
        Ok(())
    }
}

/// What stands before a body.
struct Header {
    compression: Compression,
    raw_length: usize,
    crc32: u32,
}

impl Header {
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [
            m0,
            m1,
            m2,
            m3,
            version,
            compression,
            r0,
            r1,
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            c2,
            c3,
        ] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::Magic);
        }
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let compression = match compression {
            0 => Compression::None,
            1 => Compression::Zlib,
            other => return Err(FrameError::Compression(other)),
        };
        let reserved = u16::from_le_bytes([r0, r1]);
        if reserved != 0 {
            return Err(FrameError::Reserved(reserved));
        }
        let raw_length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if raw_length > MAX_RAW_BYTES {
            return Err(FrameError::TooLargeRaw(raw_length));
        }
        let crc32 = u32::from_le_bytes([c0, c1, c2, c3]);
        Ok(Self {
            compression,
            raw_length,
            crc32,
        })
    }
}

#[cfg(test)]
mod tests;
