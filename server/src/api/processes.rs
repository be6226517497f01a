//! What an event's process started, and what its parent started beside it, as far as stored events tell.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::Value;

use crate::answer::Refused;
use crate::app::App;
use crate::store::processes::{self, Process, Started};
use crate::store::{Connection, Result, events};

/// Processes that are shown of one that started them.
const EACH: usize = 20;
/// Processes below the event's: each takes a look at what it started.
const BELOW: usize = 100;
/// How many lie below each other.
const DEPTH: usize = 5;

/// What is known beside the event itself, which has the ancestors.
#[derive(Serialize)]
pub(super) struct Known {
    siblings: List,
    children: List,
}

#[derive(Default, Serialize)]
struct List {
    processes: Vec<Shown>,
    more: usize,
    at_least: bool,
}

/// A process by the names of ECS; what is not known is left out.
#[derive(Serialize)]
struct Shown {
    entity_id: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pid: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    executable: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    name: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    start: Value,
    /// Number of the event that tells of it.
    event: i64,
    children: List,
}

impl From<Process> for Shown {
    fn from(mut process: Process) -> Self {
        let mut told = |name: &str| {
            let value = process.told.get_mut(name);
            value.map(Value::take).unwrap_or_default()
        };
        Self {
            pid: told("pid"),
            executable: told("executable"),
            name: told("name"),
            args: told("args"),
            start: told("start"),
            entity_id: process.entity,
            event: process.event,
            children: List::default(),
        }
    }
}

impl From<Started> for List {
    fn from(started: Started) -> Self {
        Self {
            processes: started.processes.into_iter().map(Shown::from).collect(),
            more: started.more,
            at_least: started.at_least,
        }
    }
}

pub(super) async fn of_alert(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
) -> std::result::Result<Json<Known>, Refused> {
    let read = move |connection: &Connection| known(connection, id);
    let known = app.store.read(read).await?;
    known
        .map(Json)
        .ok_or_else(|| Refused::not_found("there is no such event"))
}

fn known(connection: &Connection, id: i64) -> Result<Option<Known>> {
    let Some(found) = events::one(connection, id)? else {
        return Ok(None);
    };
    let event = found.event();
    let entity = |process: &Value| process["entity_id"].as_str().map(str::to_owned);
    let process = &event["process"];
    let (own, parent) = (entity(process), entity(&process["parent"]));
    // Each stands once, whatever a sensor says of who started whom.
    let mut seen: BTreeSet<String> = [&own, &parent].into_iter().flatten().cloned().collect();
    let ancestors = process["ancestors"].as_array();
    seen.extend(ancestors.into_iter().flatten().filter_map(entity));
    let mut started = |parent: &str, most| -> Result<List> {
        let all = processes::started(
            connection,
            &found.sensor_id,
            parent,
            found.time,
            most,
            &seen,
        )?;
        seen.extend(all.processes.iter().map(|it| it.entity.clone()));
        Ok(all.into())
    };
    let children = match own {
        Some(own) => below(&own, &mut started)?,
        None => List::default(),
    };
    let siblings = match parent {
        Some(parent) => started(&parent, EACH)?,
        None => List::default(),
    };
    Ok(Some(Known { siblings, children }))
}

/// What is below a process, level by level, so that those that are near come before those that are far.
fn below(top: &str, started: &mut impl FnMut(&str, usize) -> Result<List>) -> Result<List> {
    let mut all = started(top, EACH)?;
    let mut left = BELOW.saturating_sub(all.processes.len());
    let mut waiting: VecDeque<(usize, &mut Shown)> =
        all.processes.iter_mut().map(|it| (1, it)).collect();
    while let Some((depth, process)) = waiting.pop_front() {
        let most = if depth < DEPTH { left.min(EACH) } else { 0 };
        process.children = started(&process.entity_id, most)?;
        let children = &mut process.children.processes;
        left -= children.len();
        waiting.extend(children.iter_mut().map(|it| (depth + 1, it)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists as a process tree has them in which each process has so many children.
    fn each(children: usize) -> impl FnMut(&str, usize) -> Result<List> {
        move |parent, most| {
            let shown = |number| {
                Shown::from(Process {
                    entity: format!("{parent}.{number}"),
                    event: 0,
                    told: Value::Null,
                })
            };
            Ok(List {
                processes: (0..children.min(most)).map(shown).collect(),
                more: children.saturating_sub(most),
                at_least: false,
            })
        }
    }

    fn count(list: &List) -> usize {
        let below = list.processes.iter().map(|it| 1 + count(&it.children));
        below.sum()
    }

    #[test]
    fn what_is_below_is_bounded_in_depth_and_number_and_the_rest_counted() {
        let mut chain = &below("p", &mut each(1)).unwrap();
        for _ in 0..DEPTH {
            assert_eq!((chain.processes.len(), chain.more), (1, 0));
            chain = &chain.processes[0].children;
        }
        assert_eq!((chain.processes.len(), chain.more), (0, 1));

        let wide = below("p", &mut each(EACH + 3)).unwrap();
        assert_eq!((count(&wide), wide.more), (BELOW, 3));
        let last = wide.processes.last().unwrap();
        assert_eq!(last.children.more, EACH + 3);
    }
}
