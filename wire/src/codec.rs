//! The binary form of a frame's body. The only place that names bincode, so that replacing it is a
//! change here and a new [`frame::VERSION`](crate::frame::VERSION).
//!
//! Integers are variable-length, little-endian; strings and lists are their length and then what is
//! in them ([the specification](https://docs.rs/bincode/2.0.1/bincode/spec/index.html)).

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};

use crate::frame::{
    Entry, Frame, FrameError, MAX_ENTRIES, MAX_EVENT_BYTES, MAX_RAW_BYTES, MAX_SENSOR_ID_BYTES,
    Priority,
};

/// What decoding may read and allocate: bincode counts a list's memory before it is read, which is
/// more than its bytes.
const LIMIT: usize = MAX_RAW_BYTES + MAX_ENTRIES * size_of::<Entry>();

const CONFIGURATION: Configuration<LittleEndian, Varint, Limit<LIMIT>> =
    bincode::config::standard()
        .with_little_endian()
        .with_variable_int_encoding()
        .with_limit::<LIMIT>();

/// The bytes of `frame`.
///
/// # Errors
/// [`FrameError::Body`], where bincode refuses; nothing is known that would make it.
pub(crate) fn encode(frame: &Frame) -> Result<Vec<u8>, FrameError> {
    bincode::encode_to_vec(frame, CONFIGURATION)
        .map_err(|error| FrameError::Body(error.to_string()))
}

/// The frame that `bytes` are, all of them. No list in it is longer than its bound.
///
/// # Errors
/// [`FrameError::Body`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
    let failed = |error: DecodeError| FrameError::Body(error.to_string());
    let (frame, read) = bincode::decode_from_slice(bytes, CONFIGURATION).map_err(failed)?;
    if read == bytes.len() {
        Ok(frame)
    } else {
        Err(FrameError::Body("bytes are left over".into()))
    }
}

impl Encode for Frame {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.sensor_id.encode(encoder)?;
        self.stream.encode(encoder)?;
        self.priority.number().encode(encoder)?;
        self.entries.len().encode(encoder)?;
        for entry in &self.entries {
            entry.sequence.encode(encoder)?;
            entry.event.encode(encoder)?;
        }
        Ok(())
    }
}

impl<C> Decode<C> for Frame {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let sensor_id = bytes(decoder, MAX_SENSOR_ID_BYTES)?;
        let sensor_id = String::from_utf8(sensor_id)
            .map_err(|_| DecodeError::Other("the sensor's id is not UTF-8"))?;
        let stream = Decode::decode(decoder)?;
        let priority = Priority::from_number(u8::decode(decoder)?)
            .ok_or(DecodeError::Other("a priority that is not known"))?;
        let length = length(decoder, MAX_ENTRIES)?;
        let mut entries = Vec::new();
        for _ in 0..length {
            let sequence = u64::decode(decoder)?;
            let event = bytes(decoder, MAX_EVENT_BYTES)?;
            entries.push(Entry { sequence, event });
        }
        Ok(Self {
            sensor_id,
            stream,
            priority,
            entries,
        })
    }
}

/// A list's length, which is at most `most`.
fn length<D: Decoder>(decoder: &mut D, most: usize) -> Result<usize, DecodeError> {
    usize::decode(decoder).and_then(|length| {
        if length <= most {
            Ok(length)
        } else {
            Err(DecodeError::LimitExceeded)
        }
    })
}

/// Bytes behind their length, at most `most`.
fn bytes<D: Decoder>(decoder: &mut D, most: usize) -> Result<Vec<u8>, DecodeError> {
    use bincode::de::read::Reader as _;

    let length = length(decoder, most)?;
    decoder.claim_bytes_read(length)?;
    let mut bytes = vec![0; length];
    decoder.reader().read(&mut bytes)?;
    Ok(bytes)
}
