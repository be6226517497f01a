//! Roll-outs: bundles that come to the sensors of a tag in stages, and the sensors that each has come to.

use super::connection::{Connection, Result};
use super::value::{Row, params};
/// A roll-out, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    /// Empty: all sensors.
    pub(crate) tag: String,
    pub(crate) version: i64,
    /// What was assigned before.
    pub(crate) former: Option<i64>,
    /// JSON.
    pub(crate) stages: String,
    pub(crate) limit_percent: i64,
    pub(crate) state: String,
    /// From 0.
    pub(crate) stage: i64,
    pub(crate) stage_since: i64,
    /// Why it is in its state.
    pub(crate) reason: String,
    pub(crate) author: String,
    pub(crate) created: i64,
    /// `None`: it is going on, or halted.
    pub(crate) ended: Option<i64>,
}

const COLUMNS: &str =
    "id, tag, version, former, stages, limit_percent, state, stage, stage_since, reason, author,
    created, ended";

fn stored(row: &Row<'_>) -> Result<Stored> {
    Ok(Stored {
        id: row.get(0)?,
        tag: row.get(1)?,
        version: row.get(2)?,
        former: row.get(3)?,
        stages: row.get(4)?,
        limit_percent: row.get(5)?,
        state: row.get(6)?,
        stage: row.get(7)?,
        stage_since: row.get(8)?,
        reason: row.get(9)?,
        author: row.get(10)?,
        created: row.get(11)?,
        ended: row.get(12)?,
    })
}

/// Stores a new roll-out, whose `id` is not looked at; its number.
pub(crate) fn add(connection: &Connection, new: &Stored) -> Result<i64> {
    connection.query_one("INSERT INTO rollout (tag, version, former, stages, limit_percent, state, stage, stage_since, reason, author,
                              created, ended)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) RETURNING id", params![
            new.tag,
            new.version,
            new.former,
            new.stages,
            new.limit_percent,
            new.state,
            new.stage,
            new.stage_since,
            new.reason,
            new.author,
            new.created,
            new.ended
        ], |row| row.get(0))
}

/// Stores what changed of a roll-out.
pub(crate) fn update(connection: &Connection, rollout: &Stored) -> Result<()> {
    connection.execute("UPDATE rollout SET state = ?2, stage = ?3, stage_since = ?4, reason = ?5, ended = ?6, version = ?7
         WHERE id = ?1", params![
            rollout.id,
            rollout.state,
            rollout.stage,
            rollout.stage_since,
            rollout.reason,
            rollout.ended,
            rollout.version
        ])?;
    Ok(())
}

/// At most `limit` roll-outs, the newest first.
pub(crate) fn list(connection: &Connection, limit: usize) -> Result<Vec<Stored>> {
    connection.query(
        &format!("SELECT {COLUMNS} FROM rollout ORDER BY id DESC LIMIT ?1"),
        params![limit as i64],
        stored,
    )
}

/// The roll-out of this number.
pub(crate) fn one(connection: &Connection, id: i64) -> Result<Option<Stored>> {
    let statement = format!("SELECT {COLUMNS} FROM rollout WHERE id = ?1");
    connection.query_optional(&statement, params![id], stored)
}

/// Those that have not ended: at most one for each tag.
pub(crate) fn going_on(connection: &Connection) -> Result<Vec<Stored>> {
    connection.query(
        &format!("SELECT {COLUMNS} FROM rollout WHERE ended IS NULL ORDER BY id"),
        params![],
        stored,
    )
}

/// The number of the one that has not ended, of this tag.
pub(crate) fn of_tag(connection: &Connection, tag: &str) -> Result<Option<i64>> {
    let statement = "SELECT id FROM rollout WHERE tag = ?1 AND ended IS NULL";
    connection.query_optional(statement, params![tag], |row| row.get(0))
}

/// A sensor that a roll-out might come to.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Its row.
    pub(crate) row: i64,
    pub(crate) sensor_id: String,
    /// Milliseconds since 1970 at which it was last heard.
    pub(crate) seen: i64,
    /// Whether the roll-out has come to it.
    pub(crate) joined: bool,
}

/// The sensors that go by what is assigned to the roll-out's tag; for all sensors, those that no tag has assigned something.
pub(crate) fn candidates(connection: &Connection, rollout: &Stored) -> Result<Vec<Candidate>> {
    connection.query(
        "SELECT id, sensor_id, seen,
                EXISTS (SELECT 1 FROM rollout_sensor WHERE rollout = ?1 AND sensor = sensor.id)
         FROM sensor
         WHERE removed IS NULL AND CASE ?2
             WHEN '' THEN NOT EXISTS (SELECT 1 FROM sensor_tag JOIN assignment USING (tag)
                                      WHERE sensor_tag.sensor = sensor.id)
             ELSE EXISTS (SELECT 1 FROM sensor_tag WHERE sensor_tag.sensor = sensor.id AND tag = ?2)
             END",
        params![rollout.id, rollout.tag],
        |row| {
            Ok(Candidate {
                row: row.get(0)?,
                sensor_id: row.get(1)?,
                seen: row.get(2)?,
                joined: row.get(3)?,
            })
        },
    )
}

/// The roll-out comes to a sensor, whose last heartbeat is kept to compare with those after it.
pub(crate) fn join(
    connection: &Connection,
    rollout: i64,
    sensor: i64,
    online: bool,
    now: i64,
) -> Result<()> {
    connection.execute(
        "INSERT INTO rollout_sensor (rollout, sensor, joined, online, heartbeat)
         SELECT ?1, id, ?3, ?4, heartbeat FROM sensor WHERE id = ?2",
        params![rollout, sensor, now, online],
    )?;
    Ok(())
}

/// A sensor has its bundle by something else.
pub(crate) fn leave(connection: &Connection, rollout: i64, sensor: i64) -> Result<()> {
    connection.execute(
        "DELETE FROM rollout_sensor WHERE rollout = ?1 AND sensor = ?2",
        params![rollout, sensor],
    )?;
    Ok(())
}

/// Failing of this sensor is no longer counted.
pub(crate) fn excuse(connection: &Connection, rollout: i64, sensor: i64) -> Result<()> {
    connection.execute(
        "UPDATE rollout_sensor SET excused = 1 WHERE rollout = ?1 AND sensor = ?2",
        params![rollout, sensor],
    )?;
    Ok(())
}

/// A sensor that a roll-out has come to.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its row.
    pub(crate) row: i64,
    pub(crate) sensor_id: String,
    pub(crate) host_name: String,
    pub(crate) joined: i64,
    /// Whether it was heard in time then.
    pub(crate) online: bool,
    pub(crate) excused: bool,
    pub(crate) seen: i64,
    /// The JSON of its last heartbeat before it joined, and of its last.
    pub(crate) before: Option<String>,
    pub(crate) heartbeat: Option<String>,
}

/// The sensors that a roll-out has come to, those aside that were removed or lost its tag.
pub(crate) fn members(connection: &Connection, rollout: &Stored) -> Result<Vec<Member>> {
    connection.query("SELECT sensor.id, sensor_id, host_name, joined, online, excused, seen, rollout_sensor.heartbeat,
                sensor.heartbeat
         FROM rollout_sensor JOIN sensor ON sensor.id = rollout_sensor.sensor
         WHERE rollout = ?1 AND removed IS NULL
             AND (?2 = '' OR EXISTS (SELECT 1 FROM sensor_tag WHERE sensor_tag.sensor = sensor.id AND tag = ?2))", params![rollout.id, rollout.tag], |row| {
        Ok(Member {
            row: row.get(0)?,
            sensor_id: row.get(1)?,
            host_name: row.get(2)?,
            joined: row.get(3)?,
            online: row.get(4)?,
            excused: row.get(5)?,
            seen: row.get(6)?,
            before: row.get(7)?,
            heartbeat: row.get(8)?,
        })
    })
}
