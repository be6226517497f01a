//! Events: stored once each, searched, and deleted when they are old.

use std::ops::ControlFlow;

use super::connection::{Connection, Result};
use super::value::{AsParam, Param, Row, params};
use super::{postgres, sqlite};
use holdfast_wire::keys::Keys;

/// An event with what it is searched by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewEvent {
    pub(crate) sequence: i64,
    pub(crate) keys: Keys,
    /// Its JSON, as the sensor sent it.
    pub(crate) body: String,
}

/// What a sensor sent at once.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The sensor's row.
    pub(crate) sensor: i64,
    pub(crate) stream: [u8; 16],
    /// Number of the priority.
    pub(crate) priority: u8,
    pub(crate) events: Vec<NewEvent>,
}

/// Stores what of `frames` is not there yet; how many were alerts.
pub(crate) fn store(connection: &Connection, frames: &[Sent], now: i64) -> Result<usize> {
    match connection {
        Connection::Sqlite(_) => sqlite::events::store(connection, frames, now),
        Connection::Postgres(session) => postgres::events::store(session, frames, now),
    }
}

/// The number up to which no event will be seen that is not seen now: whoever goes on by number reads up to it.
pub(crate) fn settled(connection: &Connection) -> Result<i64> {
    match connection {
        Connection::Sqlite(_) => sqlite::events::settled(connection),
        Connection::Postgres(session) => postgres::events::settled(session),
    }
}

/// Which events are looked for; those that meet all that is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) alerts_only: bool,
    /// At least.
    pub(crate) severity: Option<i64>,
    /// Id of the rule.
    pub(crate) rule: Option<String>,
    /// The sensor's id or the host's name.
    pub(crate) sensor: Option<String>,
    /// The container's id, or how it begins, or its name.
    pub(crate) container: Option<String>,
    pub(crate) action: Option<String>,
    /// The process's name or executable.
    pub(crate) process: Option<String>,
    /// Somewhere in the event's JSON.
    pub(crate) text: Option<String>,
    /// Nanoseconds since 1970, inclusive.
    pub(crate) from: Option<i64>,
    /// Exclusive.
    pub(crate) to: Option<i64>,
    /// Time and number of an event: only those before it, in the order of the answer.
    pub(crate) before: Option<(i64, i64)>,
    /// Number of an event: only those that were stored after it, the oldest first.
    pub(crate) after: Option<i64>,
}

/// An event that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: i64,
    pub(crate) time: i64,
    pub(crate) received: i64,
    pub(crate) sensor_id: String,
    pub(crate) host_name: String,
    pub(crate) body: String,
}

impl Found {
    /// The event, parsed. What is stored was parsed when it came.
    pub(crate) fn event(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Bytes of events that are removed in a transaction: tens of milliseconds, for which sensors wait.
const REMOVED_BYTES: usize = 8 << 20;
/// Events that are read together when they are told.
const TOGETHER: usize = 100;

const FOUND: &str = "SELECT event.id, time, received, sensor_id, host_name, body
    FROM event JOIN stream ON stream.id = event.stream JOIN sensor ON sensor.id = stream.sensor";

fn found(row: &Row<'_>) -> Result<Found> {
    Ok(Found {
        id: row.get(0)?,
        time: row.get(1)?,
        received: row.get(2)?,
        sensor_id: row.get(3)?,
        host_name: row.get(4)?,
        body: row.get(5)?,
    })
}

/// How many events are read at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) events: usize,
    /// Of their JSON; one event is read whatever it has.
    pub(crate) bytes: usize,
}

/// Events that were found.
pub(crate) struct Page {
    pub(crate) events: Vec<Found>,
    /// Whether there may be more behind them.
    pub(crate) more: bool,
}

/// Events that meet `filter`, within `most`: the latest first, or after one those that came next.
pub(crate) fn find(connection: &Connection, filter: &Filter, most: Most) -> Result<Page> {
    let mut conditions = Conditions::default();
    if filter.alerts_only {
        // As it stands in the partial indices.
        conditions.add("alert = 1", []);
    }
    let text = |value: &Option<String>| value.clone().map(Value::from);
    conditions.add_if("severity >= ?", filter.severity.map(Value::from));
    conditions.add_if("rule = ?", text(&filter.rule));
    conditions.add_if("action = ?", text(&filter.action));
    conditions.add_if("time >= ?", filter.from.map(Value::from));
    conditions.add_if("time < ?", filter.to.map(Value::from));
    if let Some(sensor) = &filter.sensor {
        conditions.add(
            "(sensor_id = ? OR host_name = ?)",
            [sensor.clone().into(), sensor.clone().into()],
        );
    }
    if let Some(container) = &filter.container {
        let begins = format!("{}%", escaped(container));
        conditions.add(
            "(container_name = ? OR container LIKE ? ESCAPE '\\')",
            [container.clone().into(), begins.into()],
        );
    }
    if let Some(process) = &filter.process {
        conditions.add(
            "(process = ? OR executable = ?)",
            [process.clone().into(), process.clone().into()],
        );
    }
    if let Some(part) = &filter.text {
        let anywhere = format!("%{}%", escaped(part));
        conditions.add("body LIKE ? ESCAPE '\\'", [anywhere.into()]);
    }
    if let Some((time, id)) = filter.before {
        conditions.add("(time, event.id) < (?, ?)", [time.into(), id.into()]);
    }
    if let Some(after) = filter.after {
        let settled = settled(connection)?;
        conditions.add(
            "event.id > ? AND event.id <= ?",
            [after.into(), settled.into()],
        );
    }
    let order = match filter.after {
        Some(_) => "event.id",
        None => "time DESC, event.id DESC",
    };
    let statement = format!(
        "{FOUND} WHERE {} ORDER BY {order} LIMIT ?",
        conditions.text()
    );
    conditions.values.push(Value::from(most.events as i64));
    let values: Vec<_> = conditions.values.iter().map(AsParam::param).collect();
    let (mut bytes, mut is_cut) = (0, false);
    let events = connection.query_while(&statement, &values, |row| {
        let event = found(row)?;
        is_cut = bytes > 0 && bytes + event.body.len() > most.bytes;
        bytes += event.body.len();
        Ok((!is_cut).then_some(event))
    })?;
    let more = is_cut || events.len() == most.events;
    Ok(Page { events, more })
}

/// Tells the events of these actions since `from` (nanoseconds since 1970), the latest `limit` of them, in the order in which they
/// happened, until `each` ends it; how many were told.
pub(crate) fn retell(
    connection: &Connection,
    actions: &[&str],
    from: i64,
    limit: usize,
    mut each: impl FnMut(Found) -> ControlFlow<()>,
) -> Result<usize> {
    // Of each action by the index alone, so that no more rows are read and sorted than are told.
    let mut places: Vec<(i64, i64)> = Vec::new();
    for action in actions {
        places.extend(connection.query(
            "SELECT time, id FROM event WHERE action = ?1 AND time >= ?2 ORDER BY time DESC, id DESC LIMIT ?3",
            params![action, from, limit as i64],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?);
    }
    places.sort_unstable();
    let first = places.len().saturating_sub(limit);
    let mut told = 0;
    for places in places[first..].chunks(TOGETHER) {
        let marks = vec!["?"; places.len()].join(", ");
        let ids: Vec<_> = places.iter().map(|(_, id)| id.param()).collect();
        // Some may be deleted meanwhile, outside of a transaction.
        let statement = format!("{FOUND} WHERE event.id IN ({marks})");
        let mut events = connection.query(&statement, &ids, found)?;
        events.sort_unstable_by_key(|event| (event.time, event.id));
        for event in events {
            told += 1;
            if each(event).is_break() {
                return Ok(told);
            }
        }
    }
    Ok(told)
}

/// A value that is compared with.
enum Value {
    Integer(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl AsParam for Value {
    fn param(&self) -> Param<'_> {
        match self {
            Self::Integer(number) => number.param(),
            Self::Text(text) => text.param(),
        }
    }
}

/// Conditions that are fixed texts, and the values for their question marks.
#[derive(Default)]
struct Conditions {
    texts: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    fn add<const N: usize>(&mut self, text: &'static str, values: [Value; N]) {
        self.texts.push(text);
        self.values.extend(values);
    }

    fn add_if(&mut self, text: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.add(text, [value]);
        }
    }

    fn text(&self) -> String {
        if self.texts.is_empty() {
            "TRUE".to_owned()
        } else {
            self.texts.join(" AND ")
        }
    }
}

/// `text` as a part of a pattern, with `\` before what has a meaning there.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// The event of this number.
pub(crate) fn one(connection: &Connection, id: i64) -> Result<Option<Found>> {
    connection.query_optional(&format!("{FOUND} WHERE event.id = ?1"), params![id], found)
}

/// Number of the last alert that is settled; 0 before there is one.
pub(crate) fn last_alert(connection: &Connection) -> Result<i64> {
    let settled = settled(connection)?;
    let last = "SELECT coalesce(max(id), 0) FROM event WHERE alert = 1 AND id <= ?1";
    connection.query_one(last, params![settled], |row| row.get(0))
}

/// When the event that came last did, in milliseconds since 1970; `None` before there is one.
pub(crate) fn latest(connection: &Connection) -> Result<Option<i64>> {
    let last = "SELECT received FROM event ORDER BY id DESC LIMIT 1";
    connection.query_optional(last, params![], |row| row.get(0))
}

/// How many alerts there are since `from` (nanoseconds since 1970), by severity.
pub(crate) fn alerts_by_severity(connection: &Connection, from: i64) -> Result<Vec<(i64, i64)>> {
    connection.query(
        "SELECT coalesce(severity, 0), count(*) FROM event
         WHERE alert = 1 AND time >= ?1 GROUP BY 1 ORDER BY 1",
        params![from],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Deletes some of the events that came before `time` (milliseconds since 1970), the oldest first; whether there may be more. What
/// of them waits to be forwarded is counted as lost. With PostgreSQL a day's at a time, once all of it is that old.
pub(crate) fn delete_before(connection: &Connection, time: i64) -> Result<bool> {
    match connection {
        Connection::Sqlite(_) => {
            sqlite::events::delete_before(connection, time, sqlite::events::DELETED_AT_ONCE)
        }
        Connection::Postgres(session) => postgres::drop_before(session, time),
    }
}

/// What was removed for the store's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// That were no alerts.
    pub(crate) events: usize,
    pub(crate) alerts: usize,
}

/// Bytes that the store has.
pub(crate) fn size(connection: &Connection) -> Result<i64> {
    match connection {
        Connection::Sqlite(_) => sqlite::room::size(connection),
        Connection::Postgres(_) => {
            let size = "SELECT pg_database_size(current_database())";
            connection.query_one(size, params![], |row| row.get(0))
        }
    }
}

/// Removes something of what is oldest, alerts last; what of it waits to be forwarded is counted as lost. `passed` is 0 at first, and
/// then what the last call made it: so far there are alerts alone. With PostgreSQL, where room comes back by the day, it is one of the days
/// before today.
pub(crate) fn make_room(connection: &Connection, passed: &mut i64, now: i64) -> Result<Removed> {
    match connection {
        Connection::Sqlite(_) => {
            let most = Most {
                events: sqlite::events::DELETED_AT_ONCE,
                bytes: REMOVED_BYTES,
            };
            sqlite::room::make(connection, passed, most)
        }
        Connection::Postgres(session) => postgres::make_room(session, passed, now),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::test::{both, empty};
    use super::*;

    pub(in crate::store) fn event(sequence: i64) -> NewEvent {
        NewEvent {
            sequence,
            keys: keys(sequence),
            body: format!(r#"{{"n":"100%_{sequence}"}}"#),
        }
    }

    pub(in crate::store) fn keys(sequence: i64) -> Keys {
        Keys {
            time: sequence * 10,
            alert: sequence % 2 == 0,
            action: "file.open".into(),
            severity: Some(sequence % 4),
            rule: Some("shadow".into()),
            ruleset: None,
            process: Some("cat".into()),
            executable: Some("/usr/bin/cat".into()),
            container: Some("c0ffee".into()),
            container_name: Some("web_1".into()),
            entity: None,
            parent: None,
        }
    }

    fn with_events(count: i64) -> Connection {
        with_events_in(empty(), count)
    }

    pub(in crate::store) fn sent(stream: u8, priority: u8, events: Vec<NewEvent>) -> Sent {
        Sent {
            sensor: 1,
            stream: [stream; 16],
            priority,
            events,
        }
    }

    pub(in crate::store) fn with_events_in(connection: Connection, count: i64) -> Connection {
        connection.execute("INSERT INTO sensor VALUES (1, 's-1', 'h', 'web', '', '', '', ?1, 0, NULL, 0, 0, NULL, NULL, NULL, 0, NULL)", params![[0_u8]])
            .unwrap();
        let events: Vec<_> = (1..=count).map(event).collect();
        store(&connection, &[sent(1, 0, events)], 1000).unwrap();
        connection
    }

    /// Of three events at most, the numbers.
    fn ids(connection: &Connection, filter: &Filter) -> Vec<i64> {
        page(connection, filter, 3, usize::MAX).0
    }

    /// The numbers of what is found within so many events and bytes, and whether there may be more.
    pub(in crate::store) fn page(
        connection: &Connection,
        filter: &Filter,
        events: usize,
        bytes: usize,
    ) -> (Vec<i64>, bool) {
        let page = find(connection, filter, Most { events, bytes }).unwrap();
        (
            page.events.iter().map(|found| found.id).collect(),
            page.more,
        )
    }

    #[test]
    fn a_page_ends_where_its_bytes_do_and_the_next_goes_on_there() {
        both(|| {
            let connection = with_events(5);
            let one = event(1).body.len();
            let whole = |bytes| page(&connection, &Filter::default(), 9, bytes);
            assert_eq!(whole(usize::MAX), (vec![5, 4, 3, 2, 1], false));
            assert_eq!(whole(2 * one), (vec![5, 4], true));
            assert_eq!(whole(2 * one - 1), (vec![5], true));
            // One that has more than all may have is not the end.
            assert_eq!(whole(1), (vec![5], true));
            let next = Filter {
                before: Some((40, 4)),
                ..Filter::default()
            };
            assert_eq!(page(&connection, &next, 9, 2 * one), (vec![3, 2], true));
            let later = Filter {
                after: Some(3),
                ..Filter::default()
            };
            assert_eq!(page(&connection, &later, 9, 2 * one), (vec![4, 5], false));
            // What was not read to the end is in nobody's way.
            assert_eq!(page(&connection, &later, 9, usize::MAX).0, [4, 5]);
        });
    }

    #[test]
    fn each_is_stored_once_in_its_stream_and_priority() {
        both(|| {
            let connection = with_events(4);
            let again = |stream, priority| {
                let events = vec![event(4), event(6)];
                store(&connection, &[sent(stream, priority, events)], 1).unwrap()
            };
            assert_eq!(again(1, 0), 1);
            assert_eq!(again(1, 1), 2);
            assert_eq!(again(2, 0), 2);
            assert_eq!(again(2, 0), 0);
        });
    }

    #[test]
    fn found_is_what_meets_all_that_is_asked() {
        both(|| {
            let connection = with_events(9);
            let all = Filter::default;
            assert_eq!(ids(&connection, &all()), [9, 8, 7]);
            let found = |change: fn(&mut Filter)| {
                let mut filter = all();
                change(&mut filter);
                ids(&connection, &filter)
            };
            assert_eq!(found(|filter| filter.before = Some((70, 7))), [6, 5, 4]);
            assert_eq!(found(|filter| filter.after = Some(6)), [7, 8, 9]);
            assert_eq!(found(|filter| filter.alerts_only = true), [8, 6, 4]);
            assert_eq!(found(|filter| filter.severity = Some(3)), [7, 3]);
            assert_eq!(
                found(|filter| (filter.from, filter.to) = (Some(40), Some(60))),
                [5, 4]
            );
            assert_eq!(
                found(|filter| filter.sensor = Some("web".into())),
                [9, 8, 7]
            );
            assert_eq!(
                found(|filter| filter.sensor = Some("other".into())),
                [0_i64; 0]
            );
            assert_eq!(
                found(|filter| filter.process = Some("/usr/bin/cat".into())),
                [9, 8, 7]
            );
            assert_eq!(
                found(|filter| filter.container = Some("c0ff".into())),
                [9, 8, 7]
            );
            assert_eq!(
                found(|filter| filter.container = Some("c%".into())),
                [0_i64; 0]
            );
            assert_eq!(found(|filter| filter.text = Some("100%_7".into())), [7]);
            assert_eq!(
                found(|filter| filter.text = Some("' OR 1 --".into())),
                [0_i64; 0]
            );
        });
    }

    #[test]
    fn the_latest_are_told_in_the_order_in_which_they_happened() {
        both(|| {
            let connection = with_events(9);
            let told = |actions: &[&str], from, most| {
                let mut ids = Vec::new();
                let told = retell(&connection, actions, from, 4, |found| {
                    ids.push(found.id);
                    if ids.len() == most {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
                (told.unwrap(), ids)
            };
            assert_eq!(told(&["file.open", "other"], 0, 9), (4, vec![6, 7, 8, 9]));
            assert_eq!(told(&["file.open"], 80, 9), (2, vec![8, 9]));
            assert_eq!(told(&["file.open"], 0, 2), (2, vec![6, 7]));
            assert_eq!(told(&["other"], 0, 9), (0, vec![]));
            assert_eq!(told(&[], 0, 9), (0, vec![]));
        });
    }
}
