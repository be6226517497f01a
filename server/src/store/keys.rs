//! Installation keys: who may enrol.

use super::connection::{Connection, Result};
use super::value::params;
use serde::Serialize;

use super::sensors::tags_of_text;
use crate::clock::rfc3339;
use crate::secret::Hash;

/// What a new key permits.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewKey {
    /// For people.
    pub(crate) note: String,
    /// What sensors that enrol with it are tagged with.
    pub(crate) tags: Vec<String>,
    /// How many may; any number where there is none.
    pub(crate) uses: Option<i64>,
    /// Milliseconds since 1970 at which it ends.
    pub(crate) expires: Option<i64>,
}

/// A key, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Key {
    pub(crate) id: i64,
    pub(crate) note: String,
    pub(crate) tags: Vec<String>,
    pub(crate) uses_left: Option<i64>,
    pub(crate) used: i64,
    pub(crate) created: String,
    pub(crate) expires: Option<String>,
    /// Whether a sensor could enrol with it now.
    pub(crate) usable: bool,
}

/// Stores a key by its hash; its number.
pub(crate) fn create(connection: &Connection, hash: &Hash, key: &NewKey, now: i64) -> Result<i64> {
    connection.query_one(
        "INSERT INTO installation_key (hash, note, tags, uses_left, created, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
        params![
            hash,
            key.note,
            key.tags.join(","),
            key.uses,
            now,
            key.expires
        ],
        |row| row.get(0),
    )
}

/// All keys, the newest first.
pub(crate) fn list(connection: &Connection, now: i64) -> Result<Vec<Key>> {
    connection.query(
        "SELECT id, note, tags, uses_left, used, created, expires,
                coalesce(uses_left, 1) > 0 AND coalesce(expires, ?1 + 1) > ?1
         FROM installation_key ORDER BY id DESC",
        params![now],
        |row| {
            Ok(Key {
                id: row.get(0)?,
                note: row.get(1)?,
                tags: tags_of_text(&row.get::<String>(2)?),
                uses_left: row.get(3)?,
                used: row.get(4)?,
                created: rfc3339(row.get(5)?),
                expires: row.get::<Option<i64>>(6)?.map(rfc3339),
                usable: row.get(7)?,
            })
        },
    )
}

/// Takes a key away; whether there was one. Sensors that enrolled with it stay.
pub(crate) fn revoke(connection: &Connection, id: i64) -> Result<bool> {
    Ok(connection.execute("DELETE FROM installation_key WHERE id = ?1", params![id])? == 1)
}

/// The tags of the key with this hash, if it may be used now.
pub(crate) fn usable(
    connection: &Connection,
    hash: &Hash,
    now: i64,
) -> Result<Option<(i64, Vec<String>)>> {
    connection.query_optional(
        "SELECT id, tags FROM installation_key
             WHERE hash = ?1 AND coalesce(uses_left, 1) > 0 AND coalesce(expires, ?2 + 1) > ?2",
        params![hash, now],
        |row| Ok((row.get(0)?, tags_of_text(&row.get::<String>(1)?))),
    )
}

/// Counts a use of a key.
pub(crate) fn used(connection: &Connection, id: i64) -> Result<()> {
    connection.execute(
        "UPDATE installation_key SET used = used + 1, uses_left = uses_left - 1 WHERE id = ?1",
        params![id],
    )?;
    Ok(())
}
