//! Reads fields from a recorded event: one JSON object, as the sensor printed it.

use std::borrow::Cow;

use holdfast_wire::Kind;
use holdfast_wire::event::unix_nanoseconds;
use serde_json::Value as Json;

use crate::expression::time;
use crate::sequence::Identity;

use super::{Field, Fields, Map, Part, ProcessList, Strings, Type, Value};

/// A recorded event. Values of another type than the field's count as absent.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    event: &'a Json,
    kind: Kind,
}

/// Why a JSON value is not a recorded event that can be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognised {
    /// It has no `event.action`.
    #[error("the event has no `event.action`")]
    NoAction,
    /// Its action is none that rules can be on.
    #[error("the event's action `{0}` is none that rules can be on")]
    Action(String),
}

impl<'a> Recorded<'a> {
    /// Takes `event` for a recorded event.
    ///
    /// # Errors
    /// When its `event.action` is absent, or not the action of a [`Kind`].
    pub fn new(event: &'a Json) -> Result<Self, Unrecognised> {
        let action = find(event, "event.action").and_then(Json::as_str);
        let action = action.ok_or(Unrecognised::NoAction)?;
        let kind = Kind::from_action(action);
        let kind = kind.ok_or_else(|| Unrecognised::Action(action.to_owned()))?;
        Ok(Self { event, kind })
    }

    /// What happened.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// When, nanoseconds since 1970; `None` where it does not say.
    #[must_use]
    pub fn time(&self) -> Option<u64> {
        nanoseconds(self.event.get("@timestamp"))
    }

    /// Who did it, then the parent and its ancestors; none from the first on that has no pid.
    #[must_use]
    pub fn identities(&self) -> Vec<Identity> {
        let actor = self.event.get("process");
        let parent = actor.and_then(|actor| actor.get("parent"));
        let ancestors = actor.and_then(|actor| actor.get("ancestors")?.as_array());
        let near = [actor, parent].into_iter().flatten();
        let all = near.chain(ancestors.into_iter().flatten());
        all.map_while(|process| {
            Some(Identity {
                pid: process.get("pid")?.as_u64()?.try_into().ok()?,
                start: nanoseconds(process.get("start")).unwrap_or(0),
            })
        })
        .collect()
    }
}

impl Fields for Recorded<'_> {
    fn get(&self, field: Field) -> Value<'_> {
        Fields::get(self.event, field)
    }
}

/// Any JSON object by the names of fields: for filters over events of which not all have a kind.
impl Fields for Json {
    fn get(&self, field: Field) -> Value<'_> {
        match (typed(find(self, &field.name()), field.value_type()), field) {
            (Value::Absent, Field::CONTAINER) => Value::string(Some("")),
            (Value::Absent, Field::Process(subject, Part::CommandLine)) => {
                Fields::get(self, Field::Process(subject, Part::Args)).joined()
            }
            (value, _) => value,
        }
    }
}

impl ProcessList for Vec<Json> {
    fn count(&self) -> usize {
        self.len()
    }

    fn part(&self, index: usize, part: Part) -> Value<'_> {
        let value = self
            .as_slice()
            .get(index)
            .and_then(|process| find(process, part.name()));
        match typed(value, part.value_type()) {
            Value::Absent if part == Part::CommandLine => self.part(index, Part::Args).joined(),
            value => value,
        }
    }
}

fn nanoseconds(time: Option<&Json>) -> Option<u64> {
    unix_nanoseconds(time?.as_str()?)
}

/// The value at a dotted path.
fn find<'a>(object: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.')
        .try_fold(object, |object, key| object.get(key))
}

fn typed(value: Option<&Json>, expected: Type) -> Value<'_> {
    let value = value.unwrap_or(&Json::Null);
    match (expected, value) {
        (Type::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Type::Int, Json::Number(value)) => Value::int(value.as_i64()),
        (Type::String, Json::String(value)) => Value::String(Cow::Borrowed(value)),
        (Type::Ip, Json::String(value)) => value.parse().map_or(Value::Absent, Value::Ip),
        (Type::Map, Json::Object(map)) => Value::Map(Map::Json(map)),
        (Type::Timestamp, Json::String(value)) => time::recorded(value),
        (Type::Strings, Json::Array(list)) => Value::Strings(Strings::Json(list)),
        (Type::Strings, _) => Value::Strings(Strings::EMPTY),
        (Type::Processes, Json::Array(list)) => Value::Processes(list),
        (Type::Processes, _) => Value::Processes(const { &Vec::<Json>::new() }),
        _ => Value::Absent,
    }
}
