//! Events in SQLite: each once by a unique key, with numbers in the order of their commits, since there is one writer.

use crate::store::connection::{Connection, Result};
use crate::store::events::Sent;
use crate::store::forwards;
use crate::store::value::params;

/// Events that are deleted in a transaction: tens of milliseconds, for which sensors wait.
pub(in crate::store) const DELETED_AT_ONCE: usize = 2_000;

/// Stores what of `frames` is not there yet; how many were alerts.
pub(in crate::store) fn store(connection: &Connection, frames: &[Sent], now: i64) -> Result<usize> {
    let mut alerts = 0;
    for sent in frames {
        alerts += store_one(connection, sent, now)?;
    }
    Ok(alerts)
}

fn store_one(connection: &Connection, sent: &Sent, now: i64) -> Result<usize> {
    let stream: i64 = connection.query_one(
        // An update that changes nothing, so that the row is returned.
        "INSERT INTO stream (sensor, stream) VALUES (?1, ?2)
         ON CONFLICT (sensor, stream) DO UPDATE SET stream = ?2 RETURNING id",
        params![sent.sensor, sent.stream],
        |row| row.get(0),
    )?;
    let mut alerts = 0;
    for event in &sent.events {
        let stored = connection.execute("INSERT INTO event (stream, priority, sequence, received, time, alert, action, severity,
                            rule, ruleset, process, executable, container, container_name, body,
                            entity, parent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (stream, priority, sequence) DO NOTHING", params![
            stream,
            sent.priority,
            event.sequence,
            now,
            event.keys.time,
            event.keys.alert,
            event.keys.action,
            event.keys.severity,
            event.keys.rule,
            event.keys.ruleset,
            event.keys.process,
            event.keys.executable,
            event.keys.container,
            event.keys.container_name,
            event.body,
            event.keys.entity,
            event.keys.parent,
        ])?;
        alerts += stored * usize::from(event.keys.alert);
    }
    Ok(alerts)
}

/// Number of the last event: what is to be seen is committed in the order of the numbers.
pub(in crate::store) fn settled(connection: &Connection) -> Result<i64> {
    let last = "SELECT coalesce(max(id), 0) FROM event";
    connection.query_one(last, params![], |row| row.get(0))
}

/// Deletes at most `most` events that came before `time` (milliseconds since 1970), the oldest first; whether there may be more. What of them waits to be forwarded is counted as lost.
pub(in crate::store) fn delete_before(
    connection: &Connection,
    time: i64,
    most: usize,
) -> Result<bool> {
    let last: Option<i64> = connection.query_one("SELECT max(id) FROM (SELECT id, received FROM event ORDER BY id LIMIT ?2) WHERE received < ?1", params![time, most as i64], |row| row.get(0))?;
    let Some(last) = last else {
        return Ok(false);
    };
    forwards::forget(connection, last)?;
    let statement = "DELETE FROM event WHERE id <= ?1 AND received < ?2";
    Ok(connection.execute(statement, params![last, time])? == most)
}

#[cfg(test)]
mod tests {
    use super::super::in_memory;
    use super::*;
    use crate::store::events::{last_alert, tests::with_events_in};

    #[test]
    fn the_oldest_are_deleted_a_bounded_number_at_a_time() {
        let connection = with_events_in(in_memory(), 5);
        forwards::begin(&connection, "all", false).unwrap();
        let statement = "UPDATE forward SET position = 1";
        connection.execute(statement, params![]).unwrap();
        let rest = || {
            let statement = "SELECT count(*) FROM event";
            let count = connection.query_one(statement, params![], |row| row.get::<i64>(0));
            count.unwrap()
        };
        assert!(!delete_before(&connection, 1000, 3).unwrap());
        assert_eq!(rest(), 5);
        assert!(delete_before(&connection, 1001, 3).unwrap());
        let forward = forwards::one(&connection, "all").unwrap().unwrap();
        assert_eq!((forward.position, forward.lost_deleted), (3, 2));
        assert_eq!((rest(), last_alert(&connection).unwrap()), (2, 4));
        assert!(!delete_before(&connection, 1001, 3).unwrap());
        assert_eq!(rest(), 0);
    }
}
