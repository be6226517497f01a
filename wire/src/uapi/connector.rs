//! Messages of the process connector (`include/uapi/linux/{connector,cn_proc}.h`): the life of
//! processes, over netlink.

use super::{Malformed, netlink, short, word};

/// `CN_IDX_PROC` and `CN_VAL_PROC`: the connector that tells of processes; the first is its multicast
/// group too.
pub const PROCESSES: u32 = 1;

/// `struct cn_msg`
const HEADER_BYTES: usize = 20;
/// `struct proc_event` up to what depends on the event.
const EVENT_BYTES: usize = 16;
/// `NLMSG_DONE`, the type of every message of a connector.
const KIND: u16 = netlink::DONE;

/// A thread, and the process it belongs to, in the initial pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The thread.
    pub tid: u32,
    /// The process.
    pub tgid: u32,
}

impl Ids {
    /// Whether it is the first thread of its process.
    #[must_use]
    pub const fn is_leader(self) -> bool {
        self.tid == self.tgid
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The answer to [`listen`]; 0 or an error number.
    Acknowledged(u32),
    /// A process or thread was created. The parent is the new one's `real_parent`.
    Fork {
        /// Who created it.
        parent: Ids,
        /// The new one.
        child: Ids,
    },
    /// A program was executed.
    Exec(Ids),
    /// Real and effective user ids changed.
    Users {
        /// Whose.
        who: Ids,
        /// In the initial user namespace.
        real: u32,
        /// The same.
        effective: u32,
    },
    /// Real and effective group ids changed.
    Groups {
        /// Whose.
        who: Ids,
        /// In the initial user namespace.
        real: u32,
        /// The same.
        effective: u32,
    },
    /// A thread is traced from now on; by nobody, where the tracer is 0.
    Traced {
        /// Who is traced.
        who: Ids,
        /// Who traces.
        tracer: Ids,
    },
    /// A thread ended.
    Exit {
        /// Which.
        who: Ids,
        /// As `wait(2)` sees it.
        status: u32,
    },
    /// Something else, by its number.
    Other(u32),
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Increases by one with every message of a CPU; that of an acknowledgement is another.
    pub sequence: u32,
    /// CPU on which it happened.
    pub cpu: u32,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
    /// What happened.
    pub what: What,
}

/// Reads a netlink message; `None`: it is from another connector.
///
/// # Errors
/// [`Malformed`], when it is shorter than what it says to be.
pub fn parse(message: &netlink::Message<'_>) -> Result<Option<Message>, Malformed> {
    let malformed = Malformed("message of the process connector");
    if message.kind != KIND {
        return Err(malformed);
    }
    let bytes = message.payload;
    if let (Some(index), Some(value)) = (word(bytes, 0), word(bytes, 4))
        && (index, value) != (PROCESSES, PROCESSES)
    {
        return Ok(None);
    }
    parse_event(bytes).map(Some).ok_or(malformed)
}

fn parse_event(bytes: &[u8]) -> Option<Message> {
    let sequence = word(bytes, 8)?;
    let length = usize::from(short(bytes, 16)?);
    let event = bytes.get(HEADER_BYTES..)?.get(..length)?;
    let number = word(event, 0)?;
    let data = event.get(EVENT_BYTES..)?;
    let ids = |at: usize| {
        Some(Ids {
            tid: word(data, at)?,
            tgid: word(data, at + 4)?,
        })
    };
    let what = match number {
        0 => What::Acknowledged(word(data, 0)?),
        0x1 => What::Fork {
            parent: ids(0)?,
            child: ids(8)?,
        },
        0x2 => What::Exec(ids(0)?),
        0x4 => What::Users {
            who: ids(0)?,
            real: word(data, 8)?,
            effective: word(data, 12)?,
        },
        0x40 => What::Groups {
            who: ids(0)?,
            real: word(data, 8)?,
            effective: word(data, 12)?,
        },
        0x100 => What::Traced {
            who: ids(0)?,
            tracer: ids(8)?,
        },
        0x8000_0000 => What::Exit {
            who: ids(0)?,
            status: word(data, 8)?,
        },
        number => What::Other(number),
    };
    Some(Message {
        sequence,
        cpu: word(event, 4)?,
        time: super::long(event, 8)?,
        what,
    })
}

/// The request to be told of every event.
///
/// In the form that kernels before 6.6 have too: an operation without a list of events, of which
/// later kernels send all.
#[must_use]
pub fn listen() -> Vec<u8> {
    /// `PROC_CN_MCAST_LISTEN`
    const LISTEN: u32 = 1;
    let operation = LISTEN.to_ne_bytes();
    let mut payload = Vec::new();
    // Index, value, sequence, acknowledgement.
    for word in [PROCESSES, PROCESSES, 0, 0] {
        payload.extend(word.to_ne_bytes());
    }
    payload.extend((operation.len() as u16).to_ne_bytes());
    payload.extend(0u16.to_ne_bytes());
    payload.extend(operation);
    netlink::message(KIND, 0, 0, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(number: u32, data: &[u32]) -> Vec<u8> {
        let mut event = number.to_ne_bytes().to_vec();
        event.extend(3u32.to_ne_bytes());
        event.extend(123_456_789u64.to_ne_bytes());
        event.extend(data.iter().flat_map(|word| word.to_ne_bytes()));
        event.resize(40, 0);
        let mut payload = Vec::new();
        for word in [1u32, 1, 77, 0] {
            payload.extend(word.to_ne_bytes());
        }
        payload.extend((event.len() as u16).to_ne_bytes());
        payload.extend([0; 2]);
        payload.extend(event);
        netlink::message(KIND, 0, 0, &payload)
    }

    fn parsed(bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        parse(&netlink::next(&mut &bytes[..]).unwrap().unwrap())
    }

    #[test]
    fn each_event_is_read() {
        let what = |number, data: &[u32]| parsed(&message(number, data)).unwrap().unwrap().what;
        let ids = |tid, tgid| Ids { tid, tgid };
        let (parent, child) = (ids(10, 11), ids(12, 12));
        assert_eq!(what(1, &[10, 11, 12, 12]), What::Fork { parent, child });
        assert!(child.is_leader() && !parent.is_leader());
        assert_eq!(what(2, &[12, 12]), What::Exec(child));
        let (who, real, effective) = (ids(5, 5), 1000, 0);
        let data = [5, 5, 1000, 0];
        assert_eq!(
            what(4, &data),
            What::Users {
                who,
                real,
                effective
            }
        );
        assert_eq!(
            what(0x40, &data),
            What::Groups {
                who,
                real,
                effective
            }
        );
        let tracer = ids(9, 9);
        assert_eq!(what(0x100, &[5, 5, 9, 9]), What::Traced { who, tracer });
        let status = 3 << 8;
        assert_eq!(
            what(0x8000_0000, &[5, 5, status, 17]),
            What::Exit { who, status }
        );
        assert_eq!(what(0x200, &[]), What::Other(0x200));
        let message = parsed(&message(0, &[13])).unwrap().unwrap();
        let expected = Message {
            sequence: 77,
            cpu: 3,
            time: 123_456_789,
            what: What::Acknowledged(13),
        };
        assert_eq!(message, expected);
    }

    #[test]
    fn other_connectors_are_passed_over_and_what_is_cut_is_refused() {
        let mut other = message(2, &[1, 1]);
        other[16] = 2;
        assert_eq!(parsed(&other), Ok(None));
        let whole = message(2, &[1, 1]);
        for length in 16..whole.len() {
            let mut cut = whole[..length].to_vec();
            cut[..4].copy_from_slice(&(length as u32).to_ne_bytes());
            assert!(parsed(&cut).is_err(), "{length}");
        }
    }

    #[test]
    fn the_request_is_as_the_kernel_checks_it() {
        let bytes = listen();
        let request = netlink::next(&mut &bytes[..]).unwrap().unwrap();
        // `cn_proc_mcast_ctl` wants an operation alone, or one with a list of events.
        assert_eq!(request.payload.len(), HEADER_BYTES + 4);
        assert_eq!(short(request.payload, 16), Some(4));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            number in prop_oneof![Just(0u32), Just(1), Just(2), Just(4), Just(0x40), Just(0x100), Just(0x8000_0000)],
            data in proptest::collection::vec(any::<u32>(), 0..8),
            length in any::<u16>(), cut in 0usize..80,
        ) {
            let mut bytes = message(number, &data);
            bytes[32..34].copy_from_slice(&length.to_ne_bytes());
            bytes.truncate(cut.max(16));
            let size = bytes.len() as u32;
            bytes[..4].copy_from_slice(&size.to_ne_bytes());
            let _ = parsed(&bytes);
        }
    }
}
