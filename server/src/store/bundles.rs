//! Bundles of policies, and which sensors are to have which.

use super::connection::{Connection, Result};
use super::value::{Row, params};
use serde::Serialize;

use crate::clock::rfc3339;

/// A bundle, as it is listed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) version: i64,
    pub(crate) name: String,
    pub(crate) created: String,
    pub(crate) author: String,
    /// The version whose content it has again.
    pub(crate) origin: Option<i64>,
    /// The tags whose sensors are to have it; an empty one stands for all sensors.
    pub(crate) assigned: Vec<String>,
}

/// A bundle, signed.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// The signing key's seed, stored when it is first asked for.
pub(crate) fn seed(connection: &Connection, new: &[u8; 32]) -> Result<[u8; 32]> {
    connection.execute(
        "INSERT INTO setting VALUES ('bundle.seed', ?1) ON CONFLICT (name) DO NOTHING",
        params![new],
    )?;
    let seed = "SELECT value FROM setting WHERE name = 'bundle.seed'";
    connection.query_one(seed, params![], |row| row.get(0))
}

/// The version that the next bundle will have; it stays so until the transaction ends.
pub(crate) fn next_version(connection: &Connection) -> Result<i64> {
    let next = "SELECT coalesce(max(version), 0) + 1 FROM bundle";
    connection.query_one(next, params![], |row| row.get(0))
}

/// Stores a bundle.
pub(crate) fn add(
    connection: &Connection,
    version: i64,
    name: &str,
    author: &str,
    origin: Option<i64>,
    bundle: &Stored,
    now: i64,
) -> Result<()> {
    connection.execute(
        "INSERT INTO bundle (version, name, created, author, origin, payload, signature)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            version,
            name,
            now,
            author,
            origin,
            bundle.payload,
            bundle.signature
        ],
    )?;
    Ok(())
}

/// At most `limit` bundles, the newest first.
pub(crate) fn list(connection: &Connection, limit: usize) -> Result<Vec<Listed>> {
    let assigned = assignments(connection)?;
    connection.query(
        "SELECT version, name, created, author, origin FROM bundle ORDER BY version DESC LIMIT ?1",
        params![limit as i64],
        |row| {
            let version = row.get(0)?;
            let here = assigned.iter().filter(|(_, assigned)| *assigned == version);
            Ok(Listed {
                version,
                name: row.get(1)?,
                created: rfc3339(row.get(2)?),
                author: row.get(3)?,
                origin: row.get(4)?,
                assigned: here.map(|(tag, _)| tag.clone()).collect(),
            })
        },
    )
}

/// The bundle of this version.
pub(crate) fn one(connection: &Connection, version: i64) -> Result<Option<Stored>> {
    let statement = "SELECT payload, signature FROM bundle WHERE version = ?1";
    let stored = |row: &Row<'_>| {
        Ok(Stored {
            payload: row.get(0)?,
            signature: row.get(1)?,
        })
    };
    connection.query_optional(statement, params![version], stored)
}

/// Tags, with the versions that their sensors are to have.
pub(crate) fn assignments(connection: &Connection) -> Result<Vec<(String, i64)>> {
    connection.query(
        "SELECT tag, version FROM assignment ORDER BY tag",
        params![],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// By what sensors have a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// An assignment, by its tag.
    Assignment(String),
    /// A roll-out that is going on, by its number.
    Rollout(i64),
}

/// Everything by which sensors have a bundle, with its version, by increasing version.
pub(crate) fn holders(connection: &Connection) -> Result<Vec<(Holder, i64)>> {
    connection.query(
        "SELECT tag, NULL, version FROM assignment
         UNION ALL SELECT NULL, id, version FROM rollout WHERE ended IS NULL
         ORDER BY 3",
        params![],
        |row| {
            let holder = match row.get(0)? {
                Some(tag) => Holder::Assignment(tag),
                None => Holder::Rollout(row.get(1)?),
            };
            Ok((holder, row.get(2)?))
        },
    )
}

/// Gives a holder another version.
pub(crate) fn hand(
    connection: &Connection,
    holder: &Holder,
    version: i64,
    author: &str,
    now: i64,
) -> Result<()> {
    match holder {
        Holder::Assignment(tag) => assign(connection, tag, version, author, now),
        Holder::Rollout(id) => {
            let statement = "UPDATE rollout SET version = ?2 WHERE id = ?1";
            connection.execute(statement, params![id, version])?;
            Ok(())
        }
    }
}

/// The version that is assigned to a tag.
pub(crate) fn assigned(connection: &Connection, tag: &str) -> Result<Option<i64>> {
    let statement = "SELECT version FROM assignment WHERE tag = ?1";
    connection.query_optional(statement, params![tag], |row| row.get(0))
}

/// Assigns a version to the sensors with a tag, or to all.
pub(crate) fn assign(
    connection: &Connection,
    tag: &str,
    version: i64,
    author: &str,
    now: i64,
) -> Result<()> {
    connection.execute(
        "INSERT INTO assignment VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (tag) DO UPDATE SET version = ?2, assigned = ?3, author = ?4",
        params![tag, version, now, author],
    )?;
    Ok(())
}

/// Takes an assignment away; the version that it was of.
pub(crate) fn unassign(connection: &Connection, tag: &str) -> Result<Option<i64>> {
    let statement = "DELETE FROM assignment WHERE tag = ?1 RETURNING version";
    connection.query_optional(statement, params![tag], |row| row.get(0))
}

/// The version that a sensor is to have: the newest of those for its tags, or else the newest of those for all. A roll-out that
/// is going on is for the sensors that it has come to.
pub(crate) fn of_sensor(connection: &Connection, sensor: i64) -> Result<Option<i64>> {
    connection.query_one("WITH held (tag, version) AS (
             SELECT tag, version FROM assignment
             UNION ALL
             SELECT tag, version FROM rollout_sensor JOIN rollout ON rollout.id = rollout_sensor.rollout
             WHERE sensor = ?1 AND ended IS NULL)
         SELECT coalesce(
             (SELECT max(version) FROM held JOIN sensor_tag USING (tag) WHERE sensor = ?1),
             (SELECT max(version) FROM held WHERE tag = ''))", params![sensor], |row| row.get(0))
}
