//! The tables, and how those of an earlier version become those of this one.
//!
//! `user_version` says how many of the migrations were done. One that was released is never changed.
//! Times are milliseconds since 1970, those of events nanoseconds.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

pub(in crate::store) const MIGRATIONS: [&str; 6] = [
    "
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL,
    role TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE session (
    hash BLOB PRIMARY KEY,
    user INTEGER NOT NULL REFERENCES user ON DELETE CASCADE,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE token (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER
) STRICT;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE installation_key (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    note TEXT NOT NULL,
    tags TEXT NOT NULL,
    uses_left INTEGER,
    used INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    expires INTEGER
) STRICT;
CREATE TABLE sensor (
    id INTEGER PRIMARY KEY,
    sensor_id TEXT NOT NULL UNIQUE,
    host_id TEXT NOT NULL UNIQUE,
    host_name TEXT NOT NULL,
    version TEXT NOT NULL,
    architecture TEXT NOT NULL,
    kernel TEXT NOT NULL,
    token BLOB NOT NULL UNIQUE,
    token_since INTEGER NOT NULL,
    next_token BLOB UNIQUE,
    enrolled INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    -- Of the last one: its JSON without the ledger, which is large and looked at alone.
    heartbeat TEXT,
    ledger TEXT,
    -- When it was removed; its events stay.
    removed INTEGER
) STRICT;
CREATE TABLE sensor_tag (
    sensor INTEGER NOT NULL REFERENCES sensor ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (sensor, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    sensor INTEGER NOT NULL REFERENCES sensor ON DELETE CASCADE,
    stream BLOB NOT NULL,
    UNIQUE (sensor, stream)
) STRICT;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL REFERENCES stream ON DELETE CASCADE,
    priority INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    received INTEGER NOT NULL,
    time INTEGER NOT NULL,
    alert INTEGER NOT NULL,
    action TEXT NOT NULL,
    severity INTEGER,
    rule TEXT,
    ruleset TEXT,
    process TEXT,
    executable TEXT,
    container TEXT,
    container_name TEXT,
    body TEXT NOT NULL,
    UNIQUE (stream, priority, sequence)
) STRICT;
CREATE INDEX event_by_time ON event (time);
CREATE INDEX event_by_action ON event (action, time);
CREATE INDEX alert_by_time ON event (time) WHERE alert = 1;
CREATE INDEX alert_by_id ON event (id) WHERE alert = 1;

CREATE TABLE bundle (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    author TEXT NOT NULL,
    origin INTEGER REFERENCES bundle,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;
CREATE TABLE assignment (
    -- Empty: all sensors.
    tag TEXT PRIMARY KEY,
    version INTEGER NOT NULL REFERENCES bundle,
    assigned INTEGER NOT NULL,
    author TEXT NOT NULL
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE rollout (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Empty: all sensors.
    tag TEXT NOT NULL,
    version INTEGER NOT NULL REFERENCES bundle,
    -- What was assigned to the tag before.
    former INTEGER REFERENCES bundle,
    -- JSON.
    stages TEXT NOT NULL,
    limit_percent INTEGER NOT NULL,
    state TEXT NOT NULL,
    stage INTEGER NOT NULL,
    stage_since INTEGER NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created INTEGER NOT NULL,
    ended INTEGER
) STRICT;
CREATE UNIQUE INDEX rollout_going_on ON rollout (tag) WHERE ended IS NULL;
-- The sensors that a roll-out has come to.
CREATE TABLE rollout_sensor (
    rollout INTEGER NOT NULL REFERENCES rollout ON DELETE CASCADE,
    sensor INTEGER NOT NULL REFERENCES sensor ON DELETE CASCADE,
    joined INTEGER NOT NULL,
    -- Whether it was heard in time then, and the JSON of what it had said.
    online INTEGER NOT NULL,
    heartbeat TEXT,
    -- Whether its failing was looked at, and is not counted.
    excused INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (rollout, sensor)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollout_of_sensor ON rollout_sensor (sensor);
",
    "
CREATE TABLE forward (
    destination TEXT PRIMARY KEY,
    alerts_only INTEGER NOT NULL,
    -- Number of the last event that was delivered, or counted as lost.
    position INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    -- Since too many waited; since the receiver never takes them; since they were old and deleted.
    lost_full INTEGER NOT NULL DEFAULT 0,
    lost_refused INTEGER NOT NULL DEFAULT 0,
    lost_deleted INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
",
    "
-- Whether its host may enrol again without its token.
ALTER TABLE sensor ADD COLUMN may_enrol INTEGER NOT NULL DEFAULT 0;
",
    "
-- The JSON of those that a sensor last said to run.
ALTER TABLE sensor ADD COLUMN containers TEXT;
",
    "
-- Of alerts and of what tells that a process started: the process, and the one that started it. Events that were stored
-- before have neither: looking into each would hold up the start.
ALTER TABLE event ADD COLUMN entity TEXT;
ALTER TABLE event ADD COLUMN parent TEXT;
CREATE INDEX event_by_parent ON event (parent, time) WHERE parent IS NOT NULL;
",
];

/// Which version's the tables are; 0 where there are none.
///
/// # Errors
/// [`StoreError::Schema`] where they are a later version's; what SQLite says.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Schema { found, known });
    }
    Ok(found)
}

/// Brings the tables to this version's.
///
/// # Errors
/// [`StoreError::Schema`] where they are a later version's; what SQLite says.
pub(in crate::store) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    migrate_to(connection, MIGRATIONS.len())
}

/// Brings the tables to those of a version, the first of which is 1.
///
/// # Errors
/// As [`migrate`].
pub(in crate::store) fn migrate_to(
    connection: &mut Connection,
    version: usize,
) -> Result<(), StoreError> {
    // Another process may be at it.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = self::version(&transaction)?;
    for (number, statements) in (1..).zip(&MIGRATIONS[..version]) {
        if number > found {
            transaction.execute_batch(statements)?;
            transaction.pragma_update(None, "user_version", number)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_versions_tables_are_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection
            .pragma_update(None, "user_version", 1000)
            .unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert!(matches!(error, StoreError::Schema { found: 1000, .. }));
    }
}
