//! Which processes a process started, as far as stored events tell: alerts of theirs, `process.exec` and `process.fork`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::connection::{Connection, Result};
use super::value::{AsParam as _, params};

/// Events that are looked at on either side of a time: a service manager has started more than anybody reads.
const LOOKED: usize = 1000;

/// A process, by the first of the events that tell of it.
pub(crate) struct Process {
    /// `process.entity_id`
    pub(crate) entity: String,
    /// The event's number.
    pub(crate) event: i64,
    /// What the event says of it.
    pub(crate) told: Value,
}

/// What a process started.
#[derive(Default)]
pub(crate) struct Started {
    /// In the order in which it is known of them.
    pub(crate) processes: Vec<Process>,
    /// How many others are known.
    pub(crate) more: usize,
    /// Whether there may be more than those, which were not counted.
    pub(crate) at_least: bool,
}

/// What the process `parent` of a sensor started, but for those in `known`: of what is known within some thousand events, `most` of which the
/// events are nearest to `time` (nanoseconds since 1970).
pub(crate) fn started(
    connection: &Connection,
    sensor_id: &str,
    parent: &str,
    time: i64,
    most: usize,
    known: &BTreeSet<String>,
) -> Result<Started> {
    /// Of what tells of a process: how far the nearest is from the time, and the first one.
    struct Told {
        distance: u64,
        first: (i64, i64),
    }
    let mut all: BTreeMap<String, Told> = BTreeMap::new();
    let mut at_least = false;
    for side in ["time <= ?3 ORDER BY time DESC", "time > ?3 ORDER BY time"] {
        let statement = format!(
            "SELECT entity, event.id, time FROM event
             JOIN stream ON stream.id = event.stream JOIN sensor ON sensor.id = stream.sensor
             WHERE parent = ?1 AND sensor_id = ?2 AND {side} LIMIT ?4"
        );
        let values = params![parent, sensor_id, time, LOOKED as i64];
        let rows = connection.query(&statement, values, |row| {
            Ok((row.get::<String>(0)?, row.get(1)?, row.get(2)?))
        })?;
        at_least |= rows.len() == LOOKED;
        for (entity, id, at) in rows {
            if known.contains(&entity) {
                continue;
            }
            let distance = time.abs_diff(at);
            let told = all.entry(entity).or_insert(Told {
                distance,
                first: (at, id),
            });
            told.distance = told.distance.min(distance);
            told.first = told.first.min((at, id));
        }
    }
    let mut nearest: Vec<_> = all.into_iter().collect();
    nearest.sort_by_key(|(_, told)| told.distance);
    let more = nearest.len().saturating_sub(most);
    nearest.truncate(most);
    nearest.sort_by_key(|(_, told)| told.first);
    let ids = nearest.iter().map(|(_, told)| told.first.1);
    let mut told = tell(connection, ids.collect())?;
    let processes = nearest.into_iter().filter_map(|(entity, of)| {
        let event = of.first.1;
        // It may be deleted meanwhile.
        let told = told.remove(&event)?;
        Some(Process {
            entity,
            event,
            told,
        })
    });
    Ok(Started {
        processes: processes.collect(),
        more,
        at_least,
    })
}

/// What events of these numbers say of the process that each tells of.
fn tell(connection: &Connection, ids: Vec<i64>) -> Result<BTreeMap<i64, Value>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let marks = vec!["?"; ids.len()].join(", ");
    let values: Vec<_> = ids.iter().map(|id| id.param()).collect();
    let statement = format!("SELECT id, action, body FROM event WHERE id IN ({marks})");
    let rows = connection.query(&statement, &values, |row| {
        let (id, action, body): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let mut event: Value = serde_json::from_str(&body).unwrap_or_default();
        let told = match action.as_str() {
            "process.fork" => event["holdfast"]["target"].take(),
            _ => event["process"].take(),
        };
        Ok((id, told))
    })?;
    Ok(rows.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::super::events::tests::{event, keys, sent, with_events_in};
    use super::super::events::{self, NewEvent};
    use super::super::test::{both, empty};
    use super::*;
    use holdfast_wire::keys::Keys;

    /// A process that `parent` started, told of at this sequence.
    fn of(sequence: i64, entity: &str, parent: &str) -> NewEvent {
        NewEvent {
            keys: Keys {
                action: "process.exec".into(),
                entity: Some(entity.into()),
                parent: Some(parent.into()),
                ..keys(sequence)
            },
            body: format!(r#"{{"process":{{"pid":{sequence}}}}}"#),
            ..event(sequence)
        }
    }

    fn names(started: &Started) -> Vec<&str> {
        let processes = started.processes.iter();
        processes.map(|it| it.entity.as_str()).collect()
    }

    #[test]
    fn those_nearest_are_told_once_each_in_their_order_and_the_others_counted() {
        both(|| {
            let connection = with_events_in(empty(), 0);
            let mut sent = vec![sent(1, 0, Vec::new())];
            for (sequence, entity) in (1..).zip(["a", "b", "c", "b", "d", "e"]) {
                sent[0].events.push(of(sequence, entity, "p"));
            }
            sent[0].events.push(of(7, "f", "other"));
            events::store(&connection, &sent, 0).unwrap();
            let around = |sequence: i64, most, known: &[&str]| {
                let known = known.iter().map(|it| (*it).to_owned()).collect();
                started(&connection, "s-1", "p", sequence * 10, most, &known).unwrap()
            };
            let all = around(3, 9, &[]);
            assert_eq!(names(&all), ["a", "b", "c", "d", "e"]);
            assert_eq!((all.more, all.at_least), (0, false));
            // What tells of it first is shown.
            let b = &all.processes[1];
            assert_eq!((b.event, &b.told["pid"]), (2, &Value::from(2)));
            let near = around(5, 2, &[]);
            assert_eq!((names(&near), near.more), (vec!["b", "d"], 3));
            let near = around(5, 2, &["d", "b"]);
            assert_eq!((names(&near), near.more), (vec!["c", "e"], 1));
            // Of another sensor, which may say what it likes.
            let none = started(&connection, "s-2", "p", 30, 9, &BTreeSet::new()).unwrap();
            assert!(none.processes.is_empty() && none.more == 0);
        });
    }

    #[test]
    fn a_process_that_started_more_than_is_looked_at_has_at_least_so_many() {
        both(|| {
            let connection = with_events_in(empty(), 0);
            let count = LOOKED as i64 + 5;
            let all = (1..=count).map(|it| of(it, &it.to_string(), "p"));
            events::store(&connection, &[sent(1, 0, all.collect())], 0).unwrap();
            let started = started(&connection, "s-1", "p", 0, 20, &BTreeSet::new()).unwrap();
            assert!(started.at_least);
            assert_eq!((started.processes.len(), started.more), (20, LOOKED - 20));
            assert_eq!(names(&started)[..2], ["1", "2"]);
        });
    }
}
