//! Events in PostgreSQL: copied into partitions, each once, with numbers that followers can go by.
//!
//! Numbers come from a sequence when an event is stored, and are seen when its transaction is committed, which may be in another
//! order. Whoever stores events therefore first takes a lock whose key is the last number that was given: all its own are above
//! it. A number is settled when it was given, and no such lock is below it. What follows by number reads settled ones alone.

use std::collections::BTreeSet;

use postgres::types::Type;

use super::ranges::Ranges;
use super::session::Session;
use crate::store::connection::{DatabaseError, Result};
use crate::store::events::NewEvent;
use crate::store::value::{AsParam as _, params};

/// Number that the last event got, whether it is to be seen or not.
const GIVEN: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_id";
/// Until the end of the transaction. The sequence has no cache: what it gives after this is above the key.
const HOLD: &str = "SELECT pg_advisory_xact_lock_shared(CASE WHEN is_called THEN last_value ELSE 0 END) FROM event_id";
/// Below all numbers that may still be given or committed by transactions that are going on.
const HELD: &str = "SELECT min((classid::BIGINT << 32) | objid::BIGINT) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const INTO: &str = "event (stream, priority, sequence, received, time, alert, action, severity, rule, ruleset, process,
    executable, container, container_name, body)";
const TYPES: [Type; 15] = [
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
];

/// Stores what of `events` is not there yet; how many were alerts.
pub(in crate::store) fn store(
    session: &Session,
    sensor: i64,
    stream: &[u8; 16],
    priority: u8,
    events: &[NewEvent],
    now: i64,
) -> Result<usize> {
    let (stream, mut ranges) = stored(session, sensor, stream, priority)?;
    let mut new: BTreeSet<i64> = BTreeSet::new();
    for event in events {
        if ranges.insert(event.sequence) {
            new.insert(event.sequence);
        }
    }
    if new.is_empty() {
        return Ok(0);
    }
    session.query(HOLD, params![])?;
    // The first of those that have the same number.
    let events = events.iter().filter(|event| new.remove(&event.sequence));
    let events: Vec<_> = events.collect();
    let rows = events.iter().map(|event| {
        [
            stream.param(),
            priority.param(),
            event.sequence.param(),
            now.param(),
            event.time.param(),
            event.alert.param(),
            event.action.param(),
            event.severity.param(),
            event.rule.param(),
            event.ruleset.param(),
            event.process.param(),
            event.executable.param(),
            event.container.param(),
            event.container_name.param(),
            event.body.param(),
        ]
    });
    session.copy(INTO, &TYPES, rows)?;
    session.execute(
        "UPDATE stored SET ranges = ?3 WHERE stream = ?1 AND priority = ?2",
        params![stream, priority, ranges.text()],
    )?;
    Ok(events.iter().filter(|event| event.alert).count())
}

/// The number of a stream, and what of it is stored, which nobody else changes until the transaction ends.
fn stored(
    session: &Session,
    sensor: i64,
    stream: &[u8; 16],
    priority: u8,
) -> Result<(i64, Ranges)> {
    let find = || -> Result<Option<(i64, Ranges)>> {
        let rows = session.query(
            "SELECT stream.id, ranges FROM stream JOIN stored ON stored.stream = stream.id
             WHERE sensor = ?1 AND stream.stream = ?2 AND priority = ?3 FOR UPDATE OF stored",
            params![sensor, stream, priority],
        )?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let ranges = Ranges::of(row.try_get(1)?);
        let ranges = ranges.ok_or_else(|| DatabaseError::Value("ranges are none".to_owned()))?;
        Ok(Some((row.try_get(0)?, ranges)))
    };
    if let Some(found) = find()? {
        return Ok(found);
    }
    // Another transaction that makes them at the same time is waited for, and then nothing is done here.
    session.execute(
        "INSERT INTO stream (sensor, stream) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![sensor, stream],
    )?;
    session.execute(
        "INSERT INTO stored SELECT id, ?3, '' FROM stream WHERE sensor = ?1 AND stream = ?2 ON CONFLICT DO NOTHING",
        params![sensor, stream, priority],
    )?;
    find()?.ok_or(DatabaseError::NoRow)
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
    use crate::store::events::tests::{event, with_events_in};
    use crate::store::events::{self, Filter};
    use crate::store::test::{Cluster, connected};
    use crate::store::{forwards, prepare};

    fn behind(connection: &Connection, after: i64) -> Vec<i64> {
        let filter = Filter {
            after: Some(after),
            ..Filter::default()
        };
        let found = events::find(connection, &filter, 100).unwrap();
        found.iter().map(|found| found.id).collect()
    }

    #[test]
    fn what_is_committed_out_of_order_is_not_missed_by_who_follows() {
        let cluster = Cluster::start();
        let address = cluster.database("fleet");
        let [early, late, reader] = [(); 3].map(|()| connected(&address));
        with_events_in(connected(&address), 2);
        forwards::begin(&reader, "all", false).unwrap();
        let put = |connection: &Connection, stream: u8, sequence| {
            let one = [event(sequence)];
            events::store(connection, 1, &[stream; 16], 0, &one, 0).unwrap();
        };
        assert_eq!(behind(&reader, 0), [1, 2]);
        early.batch("BEGIN").unwrap();
        put(&early, 7, 4);
        late.batch("BEGIN").unwrap();
        put(&late, 8, 6);
        late.batch("COMMIT").unwrap();
        // 4 is to be seen, and 3 is not yet.
        let all = events::find(&reader, &Filter::default(), 100).unwrap();
        assert_eq!(all.first().map(|found| found.id), Some(4));
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
        let connection = with_events_in(connection, 5);
        forwards::advance(&connection, "all", 2, 2, false).unwrap();
        events::store(&connection, 1, &[1; 16], 0, &[event(6)], DAY).unwrap();
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
        let again = [event(5), event(6)];
        assert_eq!(
            events::store(&connection, 1, &[1; 16], 0, &again, DAY).unwrap(),
            0
        );
        // Partitions are made once, and for the days to come.
        prepare(&connection, DAY).unwrap();
        prepare(&connection, 30 * DAY).unwrap();
        events::store(&connection, 1, &[1; 16], 0, &[event(8)], 37 * DAY).unwrap();
        assert!(events::store(&connection, 1, &[1; 16], 0, &[event(10)], 39 * DAY).is_err());
    }
}
