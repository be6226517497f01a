//! Everything that SQLite has, into a database that has nothing yet.

use postgres::types::Type;

use super::events::{COLUMNS, TYPES};
use super::partitions;
use super::ranges::Ranges;
use super::session::Session;
use crate::clock::DAY;
use crate::store::StoreError;
use crate::store::connection::{Connection, Result};
use crate::store::value::{Any, AsParam as _, Param, params};

/// Events that are copied at a time.
const PAGE: i64 = 1000;

/// A table that is the same in both databases.
struct Table<'a> {
    name: &'a str,
    columns: &'a str,
    /// Whether PostgreSQL gives its rows their `id`.
    is_numbered: bool,
}

const fn table<'a>(name: &'a str, columns: &'a str, is_numbered: bool) -> Table<'a> {
    Table {
        name,
        columns,
        is_numbered,
    }
}

/// All but events, each behind those that it refers to.
const TABLES: [Table<'_>; 13] = [
    table("setting", "name, value", false),
    table("\"user\"", "id, name, password, role, created", true),
    table("session", "hash, \"user\", expires", false),
    table("token", "id, name, hash, role, created, expires", true),
    table("audit", "id, time, actor, address, action, detail", true),
    table(
        "installation_key",
        "id, hash, note, tags, uses_left, used, created, expires",
        true,
    ),
    table(
        "sensor",
        "id, sensor_id, host_id, host_name, version, architecture, kernel, token, token_since, next_token, enrolled, seen, heartbeat, ledger, removed, may_enrol, containers",
        true,
    ),
    table("sensor_tag", "sensor, tag", false),
    table("stream", "id, sensor, stream", true),
    table(
        "bundle",
        "version, name, created, author, origin, payload, signature",
        false,
    ),
    table("assignment", "tag, version, assigned, author", false),
    table(
        "rollout",
        "id, tag, version, former, stages, limit_percent, state, stage, stage_since, reason, author, created, ended",
        true,
    ),
    table(
        "rollout_sensor",
        "rollout, sensor, joined, online, heartbeat, excused",
        false,
    ),
];
/// How far forwarding is, which goes by the numbers of events: they stay.
const FORWARD: Table<'_> = table(
    "forward",
    "destination, alerts_only, position, sent, lost_full, lost_refused, lost_deleted",
    false,
);
/// Brings all of `from`, a store of SQLite, into `to`, whose transaction it is done in. `told` is told of how many rows of
/// which table are there.
///
/// # Errors
/// [`StoreError::NotEmpty`]; what the databases say.
pub(in crate::store) fn carry(
    from: &Connection,
    to: &Session,
    mut told: impl FnMut(&str, i64),
) -> std::result::Result<(), StoreError> {
    for Table { name, .. } in TABLES.iter().chain([&FORWARD]) {
        check_empty(to, name)?;
    }
    check_empty(to, "event")?;
    for table in TABLES.iter().chain([&FORWARD]) {
        let rows = copy(from, to, table)?;
        told(table.name.trim_matches('"'), rows);
    }
    events(from, to, &mut told)?;
    sequences(from, to)?;
    Ok(())
}

fn check_empty(to: &Session, name: &str) -> std::result::Result<(), StoreError> {
    let rows = to.query(&format!("SELECT 1 FROM {name} LIMIT 1"), params![])?;
    if rows.is_empty() {
        Ok(())
    } else {
        Err(StoreError::NotEmpty(name.trim_matches('"').to_owned()))
    }
}

fn copy(from: &Connection, to: &Session, table: &Table<'_>) -> Result<i64> {
    let (name, columns) = (table.name, table.columns);
    let count = columns.split(", ").count();
    let marks = vec!["?"; count].join(", ");
    let insert = format!("INSERT INTO {name} ({columns}) VALUES ({marks})");
    let select = format!("SELECT {columns} FROM {name} ORDER BY 1");
    let copied = from.query(&select, params![], |row| {
        let values: Vec<Any> = (0..count).map(|at| row.get(at)).collect::<Result<_>>()?;
        let values: Vec<Param<'_>> = values.iter().map(Any::param).collect();
        to.execute(&insert, &values)
    })?;
    if table.is_numbered && !copied.is_empty() {
        to.query(
            &format!("SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"),
            params![],
        )?;
    }
    Ok(copied.len() as i64)
}

/// Those of an event, with its number.
fn event_columns() -> String {
    format!("id, {COLUMNS}")
}

fn events(from: &Connection, to: &Session, told: &mut impl FnMut(&str, i64)) -> Result<()> {
    let days = "SELECT DISTINCT received / ?1 FROM event";
    let days: Vec<i64> = from.query(days, params![DAY], |row| row.get(0))?;
    partitions::make_for(to, days)?;
    let columns = event_columns();
    let types: [Type; 18] = std::array::from_fn(|at| match at {
        0 => Type::INT8,
        _ => TYPES[at - 1].clone(),
    });
    let select = format!("SELECT {columns} FROM event WHERE id > ?1 ORDER BY id LIMIT ?2");
    let (into, mut after, mut all) = (format!("event ({columns})"), 0, 0);
    loop {
        let rows = from.query(&select, params![after, PAGE], |row| {
            (0..types.len())
                .map(|at| row.get(at))
                .collect::<Result<Vec<Any>>>()
        })?;
        let Some(Any::Integer(last)) = rows.last().and_then(|row| row.first()) else {
            return Ok(());
        };
        after = *last;
        all += rows.len() as i64;
        let params = rows
            .iter()
            .map(|row| std::array::from_fn(|at| row[at].param()));
        to.copy(&into, &types, params)?;
        told("event", all);
    }
}

/// Which sequences of each stream are there, and the number from which those of new events go on.
fn sequences(from: &Connection, to: &Session) -> Result<()> {
    // Of sequences without a gap the difference to their place in the order is the same.
    let islands = "SELECT stream, priority, min(sequence), max(sequence) FROM (
            SELECT stream, priority, sequence,
                sequence - row_number() OVER (PARTITION BY stream, priority ORDER BY sequence) AS island
            FROM event)
         GROUP BY stream, priority, island ORDER BY 1, 2, 3";
    let mut lines: Vec<(i64, i64, Ranges)> = Vec::new();
    from.query(islands, params![], |row| {
        let (stream, priority): (i64, i64) = (row.get(0)?, row.get(1)?);
        let is_same = |line: &&mut (i64, i64, Ranges)| (line.0, line.1) == (stream, priority);
        match lines.last_mut().filter(is_same) {
            Some((.., ranges)) => ranges.append(row.get(2)?, row.get(3)?),
            None => {
                let mut ranges = Ranges::default();
                ranges.append(row.get(2)?, row.get(3)?);
                lines.push((stream, priority, ranges));
            }
        }
        Ok(())
    })?;
    for (stream, priority, ranges) in lines {
        to.execute(
            "INSERT INTO stored (stream, priority, ranges) VALUES (?1, ?2, ?3)",
            params![stream, priority, ranges.text()],
        )?;
    }
    let last = "SELECT seq FROM sqlite_sequence WHERE name = 'event'";
    if let Some(last) = from.query_optional(last, params![], |row| row.get::<i64>(0))? {
        to.query("SELECT setval('event_id', ?1)", params![last])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So that a column that a later version adds is not left behind.
    #[test]
    fn each_table_of_sqlite_is_carried_with_each_column() {
        let store = crate::store::sqlite::in_memory();
        let tables =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let tables: Vec<String> = store.query(tables, params![], |row| row.get(0)).unwrap();
        let mut carried: Vec<_> = TABLES.iter().chain([&FORWARD]).collect();
        let columns = event_columns();
        let event = Table {
            name: "event",
            columns: &columns,
            is_numbered: false,
        };
        carried.push(&event);
        assert_eq!(tables.len(), carried.len());
        for name in tables {
            let columns = "SELECT name FROM pragma_table_info(?1)";
            let columns = store.query(columns, params![name], |row| row.get::<String>(0));
            let known = carried
                .iter()
                .find(|table| table.name.trim_matches('"') == name);
            let known = known.unwrap_or_else(|| panic!("{name} is left behind"));
            assert_eq!(columns.unwrap().join(", "), known.columns.replace('"', ""));
        }
    }
}
