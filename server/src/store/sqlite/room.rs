//! How large the file's content is, and room in it: events go before alerts, and of each the oldest first.

use crate::store::connection::{Connection, Result};
use crate::store::events::{Most, Removed};
use crate::store::forwards;
use crate::store::value::params;

/// Bytes of the file that have something in them: it keeps its size, and uses the rest again.
pub(in crate::store) fn size(connection: &Connection) -> Result<i64> {
    let used = "SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    connection.query_one(used, params![], |row| row.get(0))
}

/// Removes something of what is oldest, looking at so many events at most. Up to the number `passed` there are no events but alerts; a
/// look that finds none moves it on. What of them waits to be forwarded is counted as lost.
pub(in crate::store) fn make(
    connection: &Connection,
    passed: &mut i64,
    most: Most,
) -> Result<Removed> {
    // The number of the last event that is looked at behind another.
    let until = |after: i64| -> Result<Option<i64>> {
        let behind = "SELECT id, octet_length(body) FROM event WHERE id > ?1 ORDER BY id LIMIT ?2";
        let mut bytes = 0;
        let ids = connection.query_while(behind, params![after, most.events as i64], |row| {
            let is_room = bytes < i64::try_from(most.bytes).unwrap_or(i64::MAX);
            bytes += row.get::<i64>(1)?;
            is_room.then(|| row.get(0)).transpose()
        });
        Ok(ids?.last().copied())
    };
    if let Some(last) = until(*passed)? {
        forwards::forget_events(connection, *passed, last)?;
        let delete = "DELETE FROM event WHERE id > ?1 AND id <= ?2 AND alert = 0";
        let events = connection.execute(delete, params![*passed, last])?;
        *passed = last;
        return Ok(Removed { events, alerts: 0 });
    }
    let Some(last) = until(0)? else {
        return Ok(Removed::default());
    };
    forwards::forget(connection, last)?;
    let alerts = connection.execute("DELETE FROM event WHERE id <= ?1", params![last])?;
    Ok(Removed { events: 0, alerts })
}

#[cfg(test)]
mod tests {
    use super::super::in_memory;
    use super::*;
    use crate::store::events::tests::with_events_in;

    fn most(events: usize) -> Most {
        Most {
            events,
            bytes: usize::MAX,
        }
    }

    #[test]
    fn large_ones_are_removed_by_their_bytes() {
        let connection = with_events_in(in_memory(), 8);
        let bytes = connection
            .query_one("SELECT octet_length(body) FROM event", params![], |row| {
                row.get::<i64>(0)
            })
            .unwrap();
        let most = Most {
            events: 8,
            bytes: 2 * bytes as usize,
        };
        let mut passed = 0;
        assert_eq!(make(&connection, &mut passed, most).unwrap().events, 1);
        assert_eq!(passed, 2);
    }

    #[test]
    fn alerts_are_removed_once_there_is_nothing_else() {
        // Even ones are alerts.
        let connection = with_events_in(in_memory(), 8);
        for (name, alerts_only) in [("all", false), ("alerts", true)] {
            forwards::begin(&connection, name, alerts_only).unwrap();
        }
        let position = "UPDATE forward SET position = 1";
        connection.execute(position, params![]).unwrap();
        let ids = || {
            let ids = connection.query("SELECT id FROM event ORDER BY id", params![], |row| {
                row.get::<i64>(0)
            });
            ids.unwrap()
        };
        let mut passed = 0;
        let mut make = || {
            let Removed { events, alerts } = make(&connection, &mut passed, most(3)).unwrap();
            (events, alerts, ids())
        };
        assert_eq!(make(), (2, 0, vec![2, 4, 5, 6, 7, 8]));
        assert_eq!(make(), (1, 0, vec![2, 4, 6, 7, 8]));
        assert_eq!(make(), (1, 0, vec![2, 4, 6, 8]));
        assert_eq!(make(), (0, 3, vec![8]));
        assert_eq!(make(), (0, 1, vec![]));
        assert_eq!(make(), (0, 0, vec![]));
        let lost = |name| {
            let forward = forwards::one(&connection, name).unwrap().unwrap();
            (forward.position, forward.lost_deleted)
        };
        // The first was forwarded before.
        assert_eq!(lost("all"), (8, 7));
        assert_eq!(lost("alerts"), (8, 4));
    }

    #[test]
    fn what_is_removed_makes_the_content_smaller() {
        let connection = with_events_in(in_memory(), 2000);
        let before = size(&connection).unwrap();
        let mut passed = 0;
        for _ in 0..40 {
            make(&connection, &mut passed, most(100)).unwrap();
        }
        let after = size(&connection).unwrap();
        assert!(after * 2 < before, "{before} {after}");
    }
}
