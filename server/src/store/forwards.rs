//! What was forwarded: how far, and what of it was lost.

use super::connection::{Connection, Result};
use super::events;
use super::value::{Row, params};

/// How far forwarding to a destination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) destination: String,
    /// Whether other events than alerts are left out.
    pub(crate) alerts_only: bool,
    /// Number of the last event that was delivered, or counted as lost.
    pub(crate) position: i64,
    pub(crate) sent: i64,
    /// Since too many waited.
    pub(crate) lost_full: i64,
    /// Since the receiver will never take them.
    pub(crate) lost_refused: i64,
    /// Since they were deleted for their age.
    pub(crate) lost_deleted: i64,
}

const COLUMNS: &str =
    "destination, alerts_only, position, sent, lost_full, lost_refused, lost_deleted";

fn forward(row: &Row<'_>) -> Result<Forward> {
    Ok(Forward {
        destination: row.get(0)?,
        alerts_only: row.get(1)?,
        position: row.get(2)?,
        sent: row.get(3)?,
        lost_full: row.get(4)?,
        lost_refused: row.get(5)?,
        lost_deleted: row.get(6)?,
    })
}

/// Begins forwarding with the next event that is stored, or goes on where it was.
pub(crate) fn begin(connection: &Connection, destination: &str, alerts_only: bool) -> Result<()> {
    let settled = events::settled(connection)?;
    connection.execute(
        "INSERT INTO forward (destination, alerts_only, position)
         VALUES (?1, ?2, ?3)
         ON CONFLICT (destination) DO UPDATE SET alerts_only = ?2",
        params![destination, alerts_only, settled],
    )?;
    Ok(())
}

/// How far forwarding to `destination` is.
pub(crate) fn one(connection: &Connection, destination: &str) -> Result<Option<Forward>> {
    connection.query_optional(
        &format!("SELECT {COLUMNS} FROM forward WHERE destination = ?1"),
        params![destination],
        forward,
    )
}

/// How many numbers of events there are behind the position: at least as many as events wait, and found at once.
fn behind(connection: &Connection, forward: &Forward) -> Result<i64> {
    let last = events::settled(connection)?;
    Ok((last - forward.position).max(0))
}

/// How many events wait; alerts are counted up to `most`. Where all events are forwarded a number that was given to none,
/// as those of events that came twice, counts as one: they are not read for being counted.
pub(crate) fn waiting(connection: &Connection, forward: &Forward, most: i64) -> Result<i64> {
    if !forward.alerts_only {
        return behind(connection, forward);
    }
    let settled = events::settled(connection)?;
    connection.query_one("SELECT count(*) FROM (SELECT 1 FROM event WHERE alert = 1 AND id > ?1 AND id <= ?2 LIMIT ?3) AS waiting", params![forward.position, settled, most], |row| row.get(0))
}

/// Whether more than `most` events wait.
pub(crate) fn is_full(connection: &Connection, forward: &Forward, most: i64) -> Result<bool> {
    Ok(behind(connection, forward)? > most && waiting(connection, forward, most + 1)? > most)
}

/// Counts as lost what waits beyond the latest `most`, the oldest first; how many it were.
pub(crate) fn shed(connection: &Connection, destination: &str, most: i64) -> Result<i64> {
    let Some(forward) = one(connection, destination)? else {
        return Ok(0);
    };
    let beyond = waiting(connection, &forward, i64::MAX)? - most;
    if beyond <= 0 {
        return Ok(0);
    }
    let (position, lost) = if forward.alerts_only {
        let last = "SELECT id FROM event WHERE alert = 1 AND id > ?1 ORDER BY id LIMIT 1 OFFSET ?2";
        let last = connection.query_one(last, params![forward.position, beyond - 1], |row| {
            row.get(0)
        })?;
        (last, beyond)
    } else {
        let position = forward.position + beyond;
        let passed = "SELECT count(*) FROM event WHERE id > ?1 AND id <= ?2";
        let passed = connection.query_one(passed, params![forward.position, position], |row| {
            row.get(0)
        })?;
        (position, passed)
    };
    connection.execute(
        "UPDATE forward SET position = ?2, lost_full = lost_full + ?3 WHERE destination = ?1",
        params![destination, position, lost],
    )?;
    Ok(lost)
}

/// Of the events up to `position` so many were delivered, and refused for ever. Nothing changes where another server is
/// beyond that.
pub(crate) fn advance(
    connection: &Connection,
    destination: &str,
    position: i64,
    sent: usize,
    refused: usize,
) -> Result<()> {
    connection.execute(
        "UPDATE forward SET position = ?2, sent = sent + ?3, lost_refused = lost_refused + ?4
         WHERE destination = ?1 AND position < ?2",
        params![destination, position, sent as i64, refused as i64],
    )?;
    Ok(())
}

/// Counts as lost what waits of the events up to `last`, which are about to be deleted.
pub(crate) fn forget(connection: &Connection, last: i64) -> Result<()> {
    connection.execute(
        "UPDATE forward SET
             lost_deleted = lost_deleted + (SELECT count(*) FROM event
                 WHERE id > position AND id <= ?1 AND (alert = 1 OR alerts_only = 0)),
             position = ?1
         WHERE position < ?1",
        params![last],
    )?;
    Ok(())
}

/// Counts as lost what waits of the events between these numbers, the second inclusive, that are no alerts: they are about to be
/// deleted. The position stays: what comes after it is what is still there.
pub(crate) fn forget_events(connection: &Connection, after: i64, last: i64) -> Result<()> {
    connection.execute(
        "UPDATE forward SET lost_deleted = lost_deleted + (SELECT count(*) FROM event
             WHERE id > ?1 AND id > position AND id <= ?2 AND alert = 0)
         WHERE alerts_only = 0 AND position < ?2",
        params![after, last],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::events::tests::{event, sent};
    use super::super::events::{self, NewEvent};
    use super::super::test::{both, empty};
    use super::*;

    /// Events 1 to `count`, of which the even ones are alerts.
    fn with_events(count: i64) -> Connection {
        let connection = empty();
        begin(&connection, "alerts", true).unwrap();
        begin(&connection, "all", false).unwrap();
        let sensor = "INSERT INTO sensor VALUES (1, 's', 'h', 'h', '', '', '', ?1, 0, NULL, 0, 0, NULL, NULL, NULL, 0, NULL)";
        connection.execute(sensor, params![[0_u8]]).unwrap();
        let event = |sequence| NewEvent {
            body: "{}".into(),
            ..event(sequence)
        };
        let all: Vec<_> = (1..=count).map(event).collect();
        events::store(&connection, &[sent(1, 0, all)], 0).unwrap();
        connection
    }

    fn of(connection: &Connection, destination: &str) -> Forward {
        one(connection, destination).unwrap().unwrap()
    }

    #[test]
    fn the_oldest_are_shed_and_counted() {
        both(|| {
            let connection = with_events(10);
            let waits = |name| waiting(&connection, &of(&connection, name), 100).unwrap();
            assert_eq!((waits("alerts"), waits("all")), (5, 10));
            assert_eq!(
                waiting(&connection, &of(&connection, "alerts"), 3).unwrap(),
                3
            );
            let full = |name, most| is_full(&connection, &of(&connection, name), most).unwrap();
            assert!(full("alerts", 4) && !full("alerts", 5) && full("all", 9) && !full("all", 10));
            assert_eq!(shed(&connection, "alerts", 3).unwrap(), 2);
            assert_eq!(shed(&connection, "alerts", 3).unwrap(), 0);
            assert_eq!(shed(&connection, "all", 3).unwrap(), 7);
            assert_eq!((waits("alerts"), waits("all")), (3, 3));
            let alerts = of(&connection, "alerts");
            assert_eq!((alerts.position, alerts.lost_full), (4, 2));
        });
    }

    #[test]
    fn what_was_delivered_refused_and_deleted_is_counted_each_by_itself() {
        both(|| {
            let connection = with_events(10);
            advance(&connection, "alerts", 4, 2, 0).unwrap();
            advance(&connection, "alerts", 6, 0, 1).unwrap();
            forget(&connection, 8).unwrap();
            let alerts = of(&connection, "alerts");
            assert_eq!(
                (alerts.sent, alerts.lost_refused, alerts.lost_deleted),
                (2, 1, 1)
            );
            assert_eq!(
                (alerts.position, of(&connection, "all").lost_deleted),
                (8, 8)
            );
            forget(&connection, 5).unwrap();
            assert_eq!(of(&connection, "alerts"), alerts);
            // Another start goes on where it was.
            begin(&connection, "alerts", true).unwrap();
            assert_eq!(of(&connection, "alerts"), alerts);
        });
    }
}
