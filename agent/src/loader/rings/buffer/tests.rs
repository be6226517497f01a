use super::testing::{buffer, record, write};
use super::*;
use aya_obj::generated::perf_event_type::PERF_RECORD_LOST;
use proptest::prelude::*;

const SAMPLE: u32 = PERF_RECORD_SAMPLE as u32;

fn taken(buffer: &mut Buffer) -> Vec<u8> {
    let mut taken = Vec::new();
    buffer.take(&mut |bytes| taken.extend_from_slice(bytes));
    taken
}

#[test]
fn what_was_written_since_the_last_look_comes_with_the_next() {
    let mut buffer = buffer(0);
    assert!(write(&buffer, SAMPLE, &record(7, 131)));
    assert_eq!(buffer.first(), None);
    buffer.look();
    assert_eq!(buffer.first(), Some(7));
    assert!(write(&buffer, SAMPLE, &record(8, 129)));
    assert_eq!(taken(&mut buffer), record(7, 131));
    assert_eq!(buffer.first(), None);
    buffer.look();
    assert_eq!(
        (buffer.first(), taken(&mut buffer)),
        (Some(8), record(8, 129))
    );
}

#[test]
fn room_is_given_back_after_a_record_was_taken_and_not_before() {
    let mut buffer = buffer(0);
    while write(&buffer, SAMPLE, &record(1, 20_000)) {}
    buffer.look();
    let mut fits = None;
    let tail = buffer.memory.tail().load(Ordering::Relaxed);
    buffer.take(&mut |_| fits = Some(tail));
    assert_eq!(fits, Some(0));
    assert!(write(&buffer, SAMPLE, &record(2, 20_000)));
}

#[test]
fn what_is_no_sample_is_passed_over() {
    let mut buffer = buffer(0);
    assert!(write(&buffer, PERF_RECORD_LOST as u32, &[0; 16]));
    assert!(write(&buffer, SAMPLE, &record(3, 200)));
    assert!(write(&buffer, PERF_RECORD_LOST as u32, &[0; 16]));
    buffer.look();
    assert_eq!(
        (buffer.first(), taken(&mut buffer)),
        (Some(3), record(3, 200))
    );
    assert_eq!(buffer.first(), None);
    let positions = [buffer.memory.head(), buffer.memory.tail()];
    let [head, tail] = positions.map(|position| position.load(Ordering::Relaxed));
    assert_eq!(head, tail);
}

#[test]
fn a_record_that_is_too_short_to_be_one_is_handed_out_as_it_is() {
    let mut buffer = buffer(0);
    assert!(write(&buffer, SAMPLE, &[1; 12]));
    buffer.look();
    assert_eq!((buffer.first(), taken(&mut buffer)), (Some(0), vec![1; 12]));
}

proptest! {
    /// Around and around: what comes out is what went in, wherever it lay.
    #[test]
    fn records_come_out_as_they_went_in(
        start in 0u64..1 << 17,
        lengths in proptest::collection::vec(128usize..20_000, 1..60),
    ) {
        let mut buffer = buffer(start & !7);
        for (time, length) in lengths.into_iter().enumerate() {
            let wrote = record(time as u64, length);
            prop_assert!(write(&buffer, SAMPLE, &wrote));
            buffer.look();
            prop_assert_eq!(buffer.first(), Some(time as u64));
            prop_assert_eq!(taken(&mut buffer), wrote);
        }
    }

    /// Whatever stands there, reading ends and stays inside.
    #[test]
    fn no_bytes_lead_out_of_the_memory(
        bytes in proptest::collection::vec(any::<u32>(), 1..200),
        head in 0u64..4096,
    ) {
        let mut buffer = buffer(0);
        for (index, word) in bytes.iter().enumerate() {
            let at = buffer.memory.page + 4 * index;
            // SAFETY: within the mapping.
            unsafe { buffer.memory.mapping.address().as_ptr().add(at).cast::<u32>().write(*word) };
        }
        buffer.memory.head().store(head, Ordering::Relaxed);
        buffer.look();
        while buffer.first().is_some() {
            taken(&mut buffer);
        }
        prop_assert_eq!(buffer.tail, head);
    }
}
