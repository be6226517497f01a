//! Partitions of events, one for each day (UTC) on which they came: made ahead, and dropped when they are old.

use super::session::Session;
use crate::clock::DAY;
use crate::store::connection::Result;
use crate::store::value::params;

/// Days ahead for which there is a partition: a server that cannot make one for a week has other troubles.
const AHEAD: i64 = 7;
/// How long a partition is waited for that a query reads. Whoever wants the events meanwhile waits as well.
const PATIENCE: &str = "SET LOCAL lock_timeout = '2s'";

fn name(day: i64) -> String {
    format!("event_{day}")
}

/// Days since 1970 whose partitions are there, the oldest first.
fn days(session: &Session) -> Result<Vec<i64>> {
    let rows = session.query(
        "SELECT substr(relname, 7)::BIGINT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'event'::regclass ORDER BY 1",
        params![],
    )?;
    let days = rows.iter().map(|row| row.try_get(0));
    Ok(days.collect::<std::result::Result<_, _>>()?)
}

/// Makes the partitions that are missing, from yesterday on; clocks of other servers may be behind.
pub(in crate::store) fn make(session: &Session, now: i64) -> Result<()> {
    let today = now.div_euclid(DAY);
    make_for(session, (today - 1).max(0)..=today + AHEAD)
}

/// Makes those of these days since 1970 that are missing.
pub(super) fn make_for(session: &Session, wanted: impl IntoIterator<Item = i64>) -> Result<()> {
    let there = days(session)?;
    for day in wanted.into_iter().filter(|day| !there.contains(day)) {
        let (table, from, to) = (name(day), day * DAY, (day + 1) * DAY);
        // Attaching does not hold up whoever stores or reads, as making it a partition at once would.
        session.batch(&format!(
            "CREATE TABLE {table} (LIKE event INCLUDING DEFAULTS);
             ALTER TABLE {table} ADD CHECK (received >= {from} AND received < {to});
             ALTER TABLE event ATTACH PARTITION {table} FOR VALUES FROM ({from}) TO ({to})"
        ))?;
    }
    Ok(())
}

/// Drops the oldest partition, if all of it came before `time` (milliseconds since 1970); whether it did. What of it waits to be
/// forwarded is counted as lost.
pub(in crate::store) fn drop_before(session: &Session, time: i64) -> Result<bool> {
    let oldest = days(session)?.first().copied();
    let Some(day) = oldest.filter(|day| (day + 1) * DAY <= time) else {
        return Ok(false);
    };
    let table = name(day);
    session.batch(PATIENCE)?;
    // The position stays: what comes after it is what is still there.
    session.execute(
        &format!(
            "UPDATE forward SET lost_deleted = lost_deleted + (SELECT count(*) FROM {table}
             WHERE id > position AND (alert = 1 OR alerts_only = 0))"
        ),
        params![],
    )?;
    session.batch(&format!("DROP TABLE {table}"))?;
    Ok(true)
}
