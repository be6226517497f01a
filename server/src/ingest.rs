//! Frames: bytes → events with what they are found by.

use holdfast_wire::frame::{Entry, Frame};
use holdfast_wire::keys::{Keys, KeysError};

use crate::store::events::NewEvent;

/// Why a frame will never be taken.
#[derive(Debug, thiserror::Error)]
#[error("event {sequence} of the frame: {reason}")]
pub(crate) struct Malformed {
    /// Which of its events.
    pub(crate) sequence: u64,
    /// What is wrong with it.
    pub(crate) reason: KeysError,
}

/// The events of a frame. One that is malformed makes all of it be refused: a sensor writes all of them by the same
/// code, and counts them.
///
/// # Errors
/// [`Malformed`], for the first that is.
pub(crate) fn events(frame: Frame) -> Result<Vec<NewEvent>, Malformed> {
    frame.entries.into_iter().map(event).collect()
}

fn event(Entry { sequence, event }: Entry) -> Result<NewEvent, Malformed> {
    let malformed = |reason| Malformed { sequence, reason };
    let keys = Keys::of(&event).map_err(malformed)?;
    let body = String::from_utf8(event).map_err(|_| malformed(KeysError::Text))?;
    Ok(NewEvent {
        // `Frame` bounds it.
        sequence: sequence.cast_signed(),
        keys,
        body,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What a sensor with a token may send: nothing of it makes the server panic, and what is taken is stored as it came.
        #[test]
        fn any_bytes_are_an_event_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            timestamp in "[0-9TZ:.+-]{0,40}",
            rest in "[a-z0-9\\[\\]{}\",:. \\\\-]{0,60}",
        ) {
            let close = format!(r#"{{"@timestamp":"{timestamp}","event":{{"action":"a"}},"rule":{rest}}}"#);
            for event in [bytes, close.into_bytes()] {
                let entry = Entry { sequence: 7, event: event.clone() };
                match super::event(entry) {
                    Ok(taken) => prop_assert_eq!(taken.body.into_bytes(), event),
                    Err(Malformed { sequence, reason }) => prop_assert!(sequence == 7 && !reason.to_string().is_empty()),
                }
            }
        }
    }
}
