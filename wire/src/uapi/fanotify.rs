//! Events of a fanotify group, and the answers to them (`include/uapi/linux/fanotify.h`).

use super::{Malformed, long, short, word};

/// `struct fanotify_event_metadata`, without the records that other kinds of groups have behind it.
pub const EVENT_BYTES: usize = 24;

/// `FANOTIFY_METADATA_VERSION`
const VERSION: u8 = 3;
/// `FAN_NOFD`
const NO_FD: u32 = u32::MAX;

/// `FAN_Q_OVERFLOW`: events were lost.
const OVERFLOW: u64 = 0x4000;
/// `FAN_OPEN_PERM`
const OPEN: u64 = 0x1_0000;
/// `FAN_OPEN_EXEC_PERM`
const OPEN_EXEC: u64 = 0x4_0000;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A file is about to be opened.
    Open,
    /// A file is about to be opened to be executed, or as the interpreter of one.
    OpenExec,
    /// Events were lost.
    Overflow,
    /// Nothing that was asked for.
    Other,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happens.
    pub what: What,
    /// A descriptor of the file, which the reader has to close; `None` where there is no file.
    pub fd: Option<i32>,
    /// The process, or the thread in a group that asks for it, in the reader's pid namespace; 0 for one
    /// outside of it.
    pub pid: u32,
}

/// Takes the first event off `bytes`; `None` where there are no more.
pub fn next(bytes: &mut &[u8]) -> Option<Result<Event, Malformed>> {
    if bytes.is_empty() {
        return None;
    }
    let parsed = parse(bytes);
    *bytes = match &parsed {
        Some((_, length)) => &bytes[*length..],
        // What follows something that is not understood is not understood either.
        None => &[],
    };
    let event = parsed.map(|(event, _)| event);
    Some(event.ok_or(Malformed("fanotify event")))
}

/// The event and its length, which is within `bytes`.
fn parse(bytes: &[u8]) -> Option<(Event, usize)> {
    let length = word(bytes, 0)? as usize;
    let head = short(bytes, 6)? as usize;
    if *bytes.get(4)? != VERSION || head < EVENT_BYTES || length < head || length > bytes.len() {
        return None;
    }
    let mask = long(bytes, 8)?;
    let what = if mask & OVERFLOW != 0 {
        What::Overflow
    } else if mask & OPEN_EXEC != 0 {
        What::OpenExec
    } else if mask & OPEN != 0 {
        What::Open
    } else {
        What::Other
    };
    let fd = Some(word(bytes, 16)?).filter(|fd| *fd != NO_FD);
    let event = Event {
        what,
        // Other negative numbers are errors of groups that ask for them.
        fd: fd.map(u32::cast_signed).filter(|fd| *fd >= 0),
        pid: word(bytes, 20)?,
    };
    Some((event, length))
}

/// `struct fanotify_response`: what to write to the group about the event with this descriptor.
#[must_use]
pub fn response(fd: i32, allow: bool) -> [u8; 8] {
    /// `FAN_ALLOW` and `FAN_DENY`
    const ALLOW: u32 = 1;
    const DENY: u32 = 2;
    let answer = if allow { ALLOW } else { DENY };
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&fd.to_ne_bytes());
    bytes[4..].copy_from_slice(&answer.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(mask: u64, fd: i32, pid: i32) -> Vec<u8> {
        let mut bytes = 24u32.to_ne_bytes().to_vec();
        bytes.extend([VERSION, 0]);
        bytes.extend(24u16.to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend(fd.to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes
    }

    #[test]
    fn events_follow_each_other() {
        let mut bytes = event(OPEN, 7, 42);
        bytes.extend(event(OPEN_EXEC, 8, 0));
        bytes.extend(event(OVERFLOW, -1, 0));
        let mut rest = &bytes[..];
        let all: Vec<_> = std::iter::from_fn(|| next(&mut rest)).collect();
        let of = |what, fd, pid| Ok(Event { what, fd, pid });
        assert_eq!(
            all,
            [
                of(What::Open, Some(7), 42),
                of(What::OpenExec, Some(8), 0),
                of(What::Overflow, None, 0)
            ]
        );
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = event(OPEN, 7, 42);
        bytes[4] = 4;
        assert!(next(&mut &bytes[..]).unwrap().is_err());
    }

    #[test]
    fn answers_name_the_descriptor() {
        assert_eq!(response(7, true)[4..], 1u32.to_ne_bytes());
        assert_eq!(response(7, false)[..4], 7i32.to_ne_bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            let mut count = 0;
            while next(&mut rest).is_some() {
                count += 1;
            }
            prop_assert!(count <= 1 + bytes.len() / EVENT_BYTES);
        }

        #[test]
        fn lengths_are_believed_only_within_the_bytes(
            length in 0u32..120, head in 0u16..60, behind in 0usize..64,
        ) {
            let mut bytes = event(OPEN, 7, 42);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes[6..8].copy_from_slice(&head.to_ne_bytes());
            bytes.resize(EVENT_BYTES + behind, 0);
            let mut rest = &bytes[..];
            let sound = usize::from(head) >= EVENT_BYTES
                && length >= u32::from(head)
                && length as usize <= bytes.len();
            prop_assert_eq!(next(&mut rest).unwrap().is_ok(), sound);
        }
    }
}
