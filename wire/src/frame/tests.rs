use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(events: &[&[u8]]) -> Frame {
    let entry = |(index, event): (usize, &&[u8])| Entry {
        sequence: index as u64 + 1,
        event: event.to_vec(),
    };
    Frame {
        sensor_id: "s-1".into(),
        stream: [7; 16],
        priority: Priority::Alert,
        entries: events.iter().enumerate().map(entry).collect(),
    }
}

prop_compose! {
    fn frames()(
        sensor_id in "[!-~]{1,64}",
        stream in any::<[u8; 16]>(),
        alert in any::<bool>(),
        entries in vec((1_u64..1 << 40, vec(any::<u8>(), 0..200)), 1..40),
    ) -> Frame {
        let mut sequence = 0;
        let entries = entries.into_iter().map(|(step, event)| {
            sequence += step;
            Entry { sequence, event }
        });
        let priority = if alert { Priority::Alert } else { Priority::Event };
        Frame { sensor_id, stream, priority, entries: entries.collect() }
    }
}

proptest! {
    #[test]
    fn what_is_sent_arrives(frame in frames(), compressed in any::<bool>()) {
        let compression = if compressed { Compression::Zlib } else { Compression::None };
        let bytes = frame.encode(compression).unwrap();
        prop_assert_eq!(Frame::decode(&bytes).unwrap(), frame);
    }

    #[test]
    fn a_byte_that_changed_is_noticed(
        frame in frames(), at in any::<prop::sample::Index>(), change in 1_u8..,
    ) {
        let mut bytes = frame.encode(Compression::Zlib).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(Frame::decode(&bytes).is_err());
    }

    #[test]
    fn a_part_is_no_frame(frame in frames(), at in any::<prop::sample::Index>()) {
        let bytes = frame.encode(Compression::Zlib).unwrap();
        prop_assert!(Frame::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    /// What a sensor with a token could send: any body, with a header that fits it.
    #[test]
    fn any_body_is_a_frame_or_an_error(body in vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = Frame::decode(&with_header(&body, body.len())) {
            prop_assert!(frame.encode(Compression::None).is_ok());
        }
    }
}

/// `body` behind a header that says that it is not compressed.
fn with_header(body: &[u8], raw_length: usize) -> Vec<u8> {
    let mut bytes = b"HFUP\x01\0\0\0".to_vec();
    bytes.extend((raw_length as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(body).to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn the_bytes_are_as_documented() {
    let bytes = frame(&[b"{}"]).encode(Compression::None).unwrap();
    let mut body = b"\x03s-1".to_vec();
    body.extend([7; 16]);
    body.extend(b"\0\x01\x01\x02{}");
    assert_eq!(bytes, with_header(&body, body.len()));
}

#[test]
fn lists_longer_than_their_bounds_are_refused_before_they_are_read() {
    // 253 announces eight bytes of length.
    let claims = |length: u64| {
        let mut claim = vec![253];
        claim.extend(length.to_le_bytes());
        claim
    };
    let before = [b"\x03s-1".as_slice(), &[7; 16], b"\0"].concat();
    let entries = [before.clone(), claims(u64::MAX)].concat();
    let event = [before, b"\x01\x01".to_vec(), claims(1 << 40)].concat();
    for body in [claims(1 << 50), entries, event] {
        let error = Frame::decode(&with_header(&body, body.len())).unwrap_err();
        assert!(matches!(error, FrameError::Body(_)), "{error}");
    }
}

#[test]
fn a_body_that_decompresses_to_more_than_it_says_is_refused() {
    let body = compress_to_vec_zlib(&vec![0; 1 << 20], LEVEL);
    let mut bytes = with_header(&body, 100);
    bytes[5] = 1;
    assert_eq!(Frame::decode(&bytes), Err(FrameError::Decompress));
    let mut bytes = with_header(&body, MAX_RAW_BYTES + 1);
    bytes[5] = 1;
    assert_eq!(
        Frame::decode(&bytes),
        Err(FrameError::TooLargeRaw(MAX_RAW_BYTES + 1))
    );
}

#[test]
fn what_no_server_takes_is_not_sent() {
    let refused = |change: fn(&mut Frame)| {
        let mut frame = frame(&[b"{}", b"{}"]);
        change(&mut frame);
        frame.encode(Compression::None).unwrap_err()
    };
    assert_eq!(
        refused(|frame| frame.sensor_id = "a b".into()),
        FrameError::SensorId
    );
    assert_eq!(
        refused(|frame| frame.sensor_id.clear()),
        FrameError::SensorId
    );
    assert_eq!(
        refused(|frame| frame.entries.clear()),
        FrameError::Entries(0)
    );
    assert_eq!(
        refused(|frame| frame.entries[0].sequence = 0),
        FrameError::Sequence(0)
    );
    assert_eq!(
        refused(|frame| frame.entries[0].sequence = 2),
        FrameError::Sequence(2)
    );
    assert_eq!(
        refused(|frame| frame.entries[1].sequence = u64::MAX),
        FrameError::Sequence(u64::MAX)
    );
    assert_eq!(
        refused(|frame| frame.entries[1].event = vec![0; MAX_EVENT_BYTES + 1]),
        FrameError::Event {
            sequence: 2,
            bytes: MAX_EVENT_BYTES + 1
        }
    );
    assert_eq!(
        refused(|frame| frame.entries = vec![frame.entries[0].clone(); MAX_ENTRIES + 1]),
        FrameError::Entries(MAX_ENTRIES + 1)
    );
}

#[test]
fn the_largest_frame_arrives() {
    let event = vec![b'x'; MAX_RAW_BYTES / MAX_ENTRIES - 16];
    let whole = frame(&vec![event.as_slice(); MAX_ENTRIES]);
    let bytes = whole.encode(Compression::Zlib).unwrap();
    assert_eq!(Frame::decode(&bytes).unwrap(), whole);
    assert!(matches!(
        whole.encode(Compression::None),
        Err(FrameError::TooLarge(_))
    ));
}
