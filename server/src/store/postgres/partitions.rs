//! Partitions of events, one for each day (UTC) on which they came: made ahead, and dropped when they are old.

use super::session::Session;
use crate::clock::DAY;
use crate::store::connection::Result;
use crate::store::events::Removed;
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
        let table = name(day);
        session.batch(&format!(
            "CREATE TABLE {table} (LIKE event INCLUDING DEFAULTS)"
        ))?;
        attach(session, day)?;
    }
    Ok(())
}

/// Makes a day's table a partition. This way it does not hold up whoever stores or reads, as making one at once would.
fn attach(session: &Session, day: i64) -> Result<()> {
    let (table, from, to) = (name(day), day * DAY, (day + 1) * DAY);
    session.batch(&format!(
        "ALTER TABLE {table} ADD CHECK (received >= {from} AND received < {to});
         ALTER TABLE event ATTACH PARTITION {table} FOR VALUES FROM ({from}) TO ({to})"
    ))
}

/// Drops the oldest partition, if all of it came before `time` (milliseconds since 1970); whether it did. What of it waits to be
/// forwarded is counted as lost.
pub(in crate::store) fn drop_before(session: &Session, time: i64) -> Result<bool> {
    let oldest = days(session)?.first().copied();
    let Some(day) = oldest.filter(|day| (day + 1) * DAY <= time) else {
        return Ok(false);
    };
    drop_day(session, day)?;
    Ok(true)
}

/// Drops a day's partition. What of it waits to be forwarded is counted as lost.
fn drop_day(session: &Session, day: i64) -> Result<()> {
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
    session.batch(&format!("DROP TABLE {table}"))
}

/// Makes room of one day before today: of the oldest that has events beside alerts these go, and where there is none the oldest that has
/// something goes as a whole. Up to the day `passed` there are alerts alone.
pub(in crate::store) fn make_room(
    session: &Session,
    passed: &mut i64,
    now: i64,
) -> Result<Removed> {
    let today = now.div_euclid(DAY);
    let past: Vec<_> = days(session)?
        .into_iter()
        .take_while(|day| *day < today)
        .collect();
    let before = *passed;
    for day in past.iter().copied().filter(|day| *day > before) {
        let events = count(session, day, 0)?;
        if events > 0 {
            keep_alerts(session, day)?;
        }
        *passed = day;
        if events > 0 {
            return Ok(Removed { events, alerts: 0 });
        }
    }
    for day in past {
        let (events, alerts) = (count(session, day, 0)?, count(session, day, 1)?);
        if events + alerts > 0 {
            drop_day(session, day)?;
            return Ok(Removed { events, alerts });
        }
    }
    Ok(Removed::default())
}

/// Events of a day that are alerts (1) or are not (0).
fn count(session: &Session, day: i64, alert: i64) -> Result<usize> {
    let table = name(day);
    let rows = session.query(
        &format!("SELECT count(*) FROM {table} WHERE alert = ?1"),
        params![alert],
    )?;
    let count = rows.first().map_or(0, |row| row.get::<_, i64>(0));
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Puts a table that has a day's alerts alone in the place of its partition, whose room is free at once then.
fn keep_alerts(session: &Session, day: i64) -> Result<()> {
    let table = name(day);
    // Nobody writes to it any more; who began before midnight is waited for.
    session.batch(&format!("{PATIENCE}; LOCK TABLE {table} IN SHARE MODE"))?;
    session.execute(
        &format!(
            "UPDATE forward SET lost_deleted = lost_deleted + (SELECT count(*) FROM {table}
             WHERE id > position AND alert = 0) WHERE alerts_only = 0"
        ),
        params![],
    )?;
    session.batch(&format!(
        "CREATE TABLE kept (LIKE event INCLUDING DEFAULTS);
         INSERT INTO kept SELECT * FROM {table} WHERE alert = 1;
         DROP TABLE {table};
         ALTER TABLE kept RENAME TO {table}"
    ))?;
    attach(session, day)
}
