//! Events in PostgreSQL: copied into partitions, each once, with numbers that followers can go by.
//!
//! Numbers come from a sequence when an event is stored, and are seen when its transaction is committed, which may be in another
//! order. Whoever stores events therefore first takes a lock whose key is the last number that was given: all its own are above
//! it. A number is settled when it was given, and no such lock is below it. What follows by number reads settled ones alone.

use std::collections::{BTreeMap, BTreeSet};

use postgres::types::Type;

use super::ranges::Ranges;
use super::session::Session;
use crate::store::connection::{DatabaseError, Result};
use crate::store::events::Sent;
use crate::store::value::{AsParam as _, params};

/// Number that the last event got, whether it is to be seen or not.
const GIVEN: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_id";
/// Until the end of the transaction. The sequence has no cache: what it gives after this is above the key.
const HOLD: &str = "SELECT pg_advisory_xact_lock_shared(CASE WHEN is_called THEN last_value ELSE 0 END) FROM event_id";
/// Below all numbers that may still be given or committed by transactions that are going on.
const HELD: &str = "SELECT min((classid::BIGINT << 32) | objid::BIGINT) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
/// What an event is stored by, besides its number.
pub(super) const COLUMNS: &str = "stream, priority, sequence, received, time, alert, action, severity, rule, ruleset, process, \
    executable, container, container_name, body, entity, parent";
/// The columns' types.
pub(super) const TYPES: [Type; 17] = [
    Type::INT8,
    Type::INT2,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT2,
    Type::TEXT,
    Type::INT8,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
];

/// A stream's priority: the sensor's row, the stream, the priority's number.
type Key<'a> = (i64, &'a [u8; 16], u8);

/// What is stored of a stream's priority.
struct Line {
    /// The stream's row.
    stream: i64,
    ranges: Ranges,
    changed: bool,
}

/// Stores what of `frames` is not there yet; how many were alerts.
pub(in crate::store) fn store(session: &Session, frames: &[Sent], now: i64) -> Result<usize> {
    let mut lines = lines(session, frames)?;
    let mut new = Vec::new();
    for sent in frames {
        let line = lines.get_mut(&key(sent)).ok_or(DatabaseError::NoRow)?;
        for event in &sent.events {
            if line.ranges.insert(event.sequence) {
                line.changed = true;
                new.push((line.stream, sent.priority, event));
            }
        }
    }
    if new.is_empty() {
        return Ok(0);
    }
    session.query(HOLD, params![])?;
    let rows = new.iter().map(|(stream, priority, event)| {
        [
            stream.param(),
            priority.param(),
            event.sequence.param(),
            now.param(),
            event.keys.time.param(),
            event.keys.alert.param(),
            event.keys.action.param(),
            event.keys.severity.param(),
            event.keys.rule.param(),
            event.keys.ruleset.param(),
            event.keys.process.param(),
            event.keys.executable.param(),
            event.keys.container.param(),
            event.keys.container_name.param(),
            event.body.param(),
            event.keys.entity.param(),
            event.keys.parent.param(),
        ]
    });
    session.copy(&format!("event ({COLUMNS})"), &TYPES, rows)?;
    remember(session, &lines)?;
    Ok(new.iter().filter(|(_, _, event)| event.keys.alert).count())
}

fn key(sent: &Sent) -> Key<'_> {
    (sent.sensor, &sent.stream, sent.priority)
}

/// What of the streams is stored, which nobody else changes until the transaction ends.
fn lines<'a>(session: &Session, frames: &'a [Sent]) -> Result<BTreeMap<Key<'a>, Line>> {
    let keys: BTreeSet<Key<'a>> = frames.iter().map(key).collect();
    let found = find(session, &keys)?;
    if found.len() == keys.len() {
        return Ok(found);
    }
    for (sensor, stream, priority) in keys.iter().filter(|key| !found.contains_key(*key)) {
        // Another transaction that makes them at the same time is waited for, and then nothing is done here.
        session.execute(
            "INSERT INTO stream (sensor, stream) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![sensor, stream],
        )?;
        session.execute(
            "INSERT INTO stored SELECT id, ?3, '' FROM stream WHERE sensor = ?1 AND stream = ?2
             ON CONFLICT DO NOTHING",
            params![sensor, stream, priority],
        )?;
    }
    find(session, &keys)
}

/// Locks what is there of `keys`, in an order that is the same for all.
fn find<'a>(session: &Session, keys: &BTreeSet<Key<'a>>) -> Result<BTreeMap<Key<'a>, Line>> {
    let mut values = Vec::new();
    for (sensor, stream, priority) in keys {
        values.extend([sensor.param(), stream.param(), priority.param()]);
    }
    let statement = format!(
        "SELECT sensor, stream.stream, priority, stream.id, ranges
         FROM (VALUES {}) AS wanted (of_sensor, of_stream, of_priority)
         JOIN stream ON sensor = of_sensor AND stream.stream = of_stream
         JOIN stored ON stored.stream = stream.id AND priority = of_priority
         ORDER BY stored.stream, priority FOR UPDATE OF stored",
        rows_of_three(keys.len())
    );
    let mut lines = BTreeMap::new();
    for row in session.query(&statement, &values)? {
        let (sensor, stream, priority): (i64, &[u8], i16) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let ranges = Ranges::of(row.try_get(4)?);
        let line = Line {
            stream: row.try_get(3)?,
            ranges: ranges.ok_or_else(|| DatabaseError::Value("ranges are none".to_owned()))?,
            changed: false,
        };
        let same = |key: &&Key<'a>| {
            key.0 == sensor && key.1.as_slice() == stream && i16::from(key.2) == priority
        };
        let key = keys.iter().find(same).ok_or(DatabaseError::NoRow)?;
        lines.insert(*key, line);
    }
    Ok(lines)
}

/// Writes down what was stored.
fn remember(session: &Session, lines: &BTreeMap<Key<'_>, Line>) -> Result<()> {
    let changed = lines.iter().filter(|(_, line)| line.changed);
    let changed: Vec<_> = changed
        .map(|((_, _, priority), line)| (line.stream, *priority, line.ranges.text()))
        .collect();
    let mut values = Vec::new();
    for (stream, priority, ranges) in &changed {
        values.extend([stream.param(), priority.param(), ranges.param()]);
    }
    let statement = format!(
        "UPDATE stored SET ranges = new_ranges
         FROM (VALUES {}) AS changed (of_stream, of_priority, new_ranges)
         WHERE stored.stream = of_stream AND priority = of_priority",
        rows_of_three(changed.len())
    );
    session.execute(&statement, &values)?;
    Ok(())
}

/// The marks of so many rows.
fn rows_of_three(count: usize) -> String {
    vec!["(?, ?, ?)"; count].join(", ")
}

/// The highest number up to which all events are to be seen that ever will be.
pub(in crate::store) fn settled(session: &Session) -> Result<i64> {
    // In this order: a number that was given before the first query has its lock before the second, or is committed.
    let given: i64 = one(session, GIVEN)?.unwrap_or(0);
    let held = one(session, HELD)?;
    Ok(held.map_or(given, |held| given.min(held)))
}

fn one(session: &Session, statement: &str) -> Result<Option<i64>> {
    let rows = session.query(statement, params![])?;
    match rows.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::DAY;
    use crate::store::connection::Connection;
    use crate::store::events::tests::{event, page, sent, with_events_in};
    use crate::store::events::{self, Filter, Removed};
    use crate::store::test::{Cluster, connected};
    use crate::store::{forwards, prepare};

    fn behind(connection: &Connection, after: i64) -> Vec<i64> {
        let filter = Filter {
            after: Some(after),
            ..Filter::default()
        };
        page(connection, &filter, 100, usize::MAX).0
    }

    #[test]
    fn what_is_committed_out_of_order_is_not_missed_by_who_follows() {
        let cluster = Cluster::start();
        let address = cluster.database("fleet");
        let [early, late, reader] = [(); 3].map(|()| connected(&address));
        with_events_in(connected(&address), 2);
        forwards::begin(&reader, "all", false).unwrap();
        let put = |connection: &Connection, stream: u8, sequence| {
            let sent = [sent(stream, 0, vec![event(sequence)])];
            events::store(connection, &sent, 0).unwrap();
        };
        assert_eq!(behind(&reader, 0), [1, 2]);
        early.batch("BEGIN").unwrap();
        put(&early, 7, 4);
        late.batch("BEGIN").unwrap();
        put(&late, 8, 6);
        late.batch("COMMIT").unwrap();
        // 4 is to be seen, and 3 is not yet.
        let all = page(&reader, &Filter::default(), 100, usize::MAX).0;
        assert_eq!(all.first(), Some(&4));
        assert_eq!(behind(&reader, 2), [0_i64; 0]);
        assert_eq!(
            (
                events::settled(&reader).unwrap(),
                events::last_alert(&reader).unwrap()
            ),
            (2, 2)
        );
        let forward = forwards::one(&reader, "all").unwrap().unwrap();
        assert_eq!(forwards::waiting(&reader, &forward, 100).unwrap(), 0);
        // What comes after that does not settle it either.
        put(&late, 8, 8);
        assert_eq!(behind(&reader, 2), [0_i64; 0]);
        early.batch("COMMIT").unwrap();
        assert_eq!(behind(&reader, 2), [3, 4, 5]);
        assert_eq!(events::settled(&reader).unwrap(), 5);
        // One that is given up leaves a gap, and holds nothing up.
        early.batch("BEGIN").unwrap();
        put(&early, 7, 10);
        early.batch("ROLLBACK").unwrap();
        put(&late, 8, 10);
        assert_eq!(behind(&reader, 5), [7]);
        put(&early, 7, 10);
        assert_eq!(behind(&reader, 7), [8]);
    }

    #[test]
    fn a_day_is_deleted_as_a_whole_and_what_waits_of_it_is_lost() {
        let cluster = Cluster::start();
        let connection = connected(&cluster.database("fleet"));
        forwards::begin(&connection, "all", false).unwrap();
        forwards::begin(&connection, "alerts", true).unwrap();
        let one = |sequence| [sent(1, 0, vec![event(sequence)])];
        let connection = with_events_in(connection, 5);
        forwards::advance(&connection, "all", 2, 2, 0).unwrap();
        events::store(&connection, &one(6), DAY).unwrap();
        assert!(!events::delete_before(&connection, DAY - 1).unwrap());
        assert!(
            connection
                .exclusively(|it| events::delete_before(it, DAY))
                .unwrap()
        );
        assert!(!events::delete_before(&connection, DAY).unwrap());
        let lost = |name: &str| {
            forwards::one(&connection, name)
                .unwrap()
                .unwrap()
                .lost_deleted
        };
        assert_eq!((lost("all"), lost("alerts")), (3, 2));
        assert_eq!(behind(&connection, 2), [6]);
        // It is known that they were stored.
        let again = [sent(1, 0, vec![event(5), event(6)])];
        assert_eq!(events::store(&connection, &again, DAY).unwrap(), 0);
        // Partitions are made once, and for the days to come.
        prepare(&connection, DAY).unwrap();
        prepare(&connection, 30 * DAY).unwrap();
        events::store(&connection, &one(8), 37 * DAY).unwrap();
        assert!(events::store(&connection, &one(10), 39 * DAY).is_err());
    }

    #[test]
    fn room_is_made_by_the_day_and_alerts_go_last() {
        let cluster = Cluster::start();
        let connection = with_events_in(connected(&cluster.database("fleet")), 5);
        forwards::begin(&connection, "all", false).unwrap();
        let put = |day: i64, sequences: std::ops::RangeInclusive<i64>| {
            let sent = [sent(1, 0, sequences.map(event).collect())];
            events::store(&connection, &sent, day * DAY).unwrap();
        };
        put(1, 6..=9);
        put(2, 10..=11);
        put(3, 12..=13);
        let mut passed = 0;
        let mut make = || {
            let make = |it: &Connection| events::make_room(it, &mut passed, 3 * DAY + 1);
            let Removed { events, alerts } = connection.exclusively(make).unwrap();
            (events, alerts)
        };
        // Even ones are alerts.
        assert_eq!((make(), make()), ((2, 0), (1, 0)));
        assert_eq!(behind(&connection, 0), [1, 2, 3, 4, 5, 6, 8, 10, 12, 13]);
        put(2, 14..=14);
        assert_eq!((make(), make(), make()), ((3, 2), (0, 2), (0, 2)));
        // What comes in today stays.
        assert_eq!(make(), (0, 0));
        assert_eq!(behind(&connection, 0), [12, 13]);
        let forward = forwards::one(&connection, "all").unwrap().unwrap();
        assert_eq!(forward.lost_deleted, 2 + 1 + 2 + 2);
    }

    #[test]
    fn frames_that_are_stored_together_are_stored_each_for_itself() {
        let cluster = Cluster::start();
        let connection = with_events_in(connected(&cluster.database("fleet")), 2);
        let some = |sequences: &[i64]| sequences.iter().copied().map(event).collect();
        let frames = [
            sent(1, 0, some(&[2, 4])),
            sent(1, 1, some(&[2])),
            sent(9, 0, some(&[2, 4])),
            sent(1, 0, some(&[4, 6])),
        ];
        assert_eq!(events::store(&connection, &frames, 0).unwrap(), 5);
        assert_eq!(events::store(&connection, &frames, 0).unwrap(), 0);
        let ranges = "SELECT string_agg(ranges, ', ' ORDER BY stream, priority) FROM stored";
        assert_eq!(cluster.sql("fleet", ranges), "1-2 4-4 6-6, 2-2, 2-2 4-4");
    }
}
