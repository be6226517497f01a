//! Values of fields, borrowed from the event where they can be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::Part;
use crate::expression::time;

/// The type of a field or an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `bool`
    Bool,
    /// `int`, 64 bits, signed.
    Int,
    /// `string`
    String,
    /// An IPv4 or IPv6 address; compares with string literals that are one.
    Ip,
    /// `list(string)`
    Strings,
    /// `list(int)`: only literals are.
    Ints,
    /// An instant, to the nanosecond.
    Timestamp,
    /// A span of time, to the nanosecond.
    Duration,
    /// `map(string, string)`
    Map,
    /// `list(process)`: a process has the fields of `process.…` that [`Part`] names.
    Processes,
}

impl Type {
    /// The name that errors use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::String => "string",
            Self::Ip => "ip",
            Self::Map => "map(string, string)",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::Strings => "list(string)",
            Self::Ints => "list(int)",
            Self::Processes => "list(process)",
        }
    }
}

/// The value of a field, borrowed from the event where it can be.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// The event does not have it.
    Absent,
    /// See [`Type::Bool`].
    Bool(bool),
    /// See [`Type::Int`].
    Int(i64),
    /// See [`Type::String`].
    String(Cow<'a, str>),
    /// See [`Type::Ip`].
    Ip(IpAddr),
    /// See [`Type::Strings`].
    Strings(Strings<'a>),
    /// See [`Type::Ints`].
    Ints(&'a [i64]),
    /// See [`Type::Map`].
    Map(Map<'a>),
    /// See [`Type::Timestamp`].
    Timestamp(Timestamp),
    /// See [`Type::Duration`].
    Duration(SignedDuration),
    /// See [`Type::Processes`].
    Processes(&'a dyn ProcessList),
}

impl<'a> Value<'a> {
    /// The string, or absent.
    #[must_use]
    pub fn string(value: Option<&'a str>) -> Self {
        value.map_or(Self::Absent, |value| Self::String(Cow::Borrowed(value)))
    }

    /// A list as one string with spaces between; absent where it has nothing.
    #[must_use]
    pub fn joined(&self) -> Value<'a> {
        match self {
            Self::Strings(list) if !list.is_empty() => Value::String(self.to_string().into()),
            _ => Value::Absent,
        }
    }

    /// The truth value, or absent.
    #[must_use]
    pub fn bool(value: Option<bool>) -> Self {
        value.map_or(Self::Absent, Self::Bool)
    }

    /// The number, or absent where there is none or it does not fit an `int`.
    #[must_use]
    pub fn int<T: TryInto<i64>>(value: Option<T>) -> Self {
        value
            .and_then(|value| value.try_into().ok())
            .map_or(Self::Absent, Self::Int)
    }

    /// Whether there is something: `has()`. An empty list is nothing.
    #[must_use]
    pub fn is_present(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Strings(list) => !list.is_empty(),
            Self::Ints(list) => !list.is_empty(),
            Self::Map(map) => map.iter().next().is_some(),
            Self::Processes(list) => list.count() > 0,
            Self::String(text) => !text.is_empty(),
            Self::Bool(_) | Self::Int(_) | Self::Ip(_) | Self::Timestamp(_) | Self::Duration(_) => {
                true
            }
        }
    }
}

/// As messages show it: lists separated by spaces, nothing for what is absent.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => Ok(()),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::String(value) => f.write_str(value),
            Self::Ip(value) => value.fmt(f),
            Self::Map(map) => separated(f, map.iter().map(|(key, value)| format!("{key}={value}"))),
            Self::Timestamp(value) => value.fmt(f),
            Self::Duration(value) => f.write_str(&time::shown(*value)),
            Self::Strings(list) => separated(f, list.iter()),
            Self::Ints(list) => separated(f, list.iter()),
            Self::Processes(list) => separated(
                f,
                (0..list.count()).map(|index| list.part(index, Part::Executable)),
            ),
        }
    }
}

fn separated<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// A borrowed list of strings, in whichever form the event has it.
#[derive(Clone, Copy, Debug)]
pub enum Strings<'a> {
    /// As owned strings.
    Owned(&'a [String]),
    /// As names known at compile time.
    Names(&'a [&'static str]),
    /// As JSON; what is not a string counts as the empty string.
    Json(&'a [serde_json::Value]),
}

impl<'a> Strings<'a> {
    /// No strings.
    pub const EMPTY: Self = Self::Names(&[]);

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Owned(list) => list.len(),
            Self::Names(list) => list.len(),
            Self::Json(list) => list.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The one at `index`; empty beyond the end.
    #[must_use]
    pub fn at(self, index: usize) -> &'a str {
        match self {
            Self::Owned(list) => list.get(index).map(String::as_str),
            Self::Names(list) => list.get(index).copied(),
            Self::Json(list) => list.get(index).and_then(serde_json::Value::as_str),
        }
        .unwrap_or_default()
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |index| self.at(index))
    }
}

/// A borrowed map from names to strings, in whichever form the event has it.
#[derive(Clone, Copy, Debug)]
pub enum Map<'a> {
    /// As an owned one.
    Owned(&'a BTreeMap<String, String>),
    /// As JSON; what is not a string is not in it.
    Json(&'a serde_json::Map<String, serde_json::Value>),
}

impl<'a> Map<'a> {
    /// What it has under a key.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a str> {
        match self {
            Self::Owned(map) => map.get(key).map(String::as_str),
            Self::Json(map) => map.get(key).and_then(serde_json::Value::as_str),
        }
    }

    /// All of it, in the order of the keys.
    pub fn iter(self) -> Box<dyn Iterator<Item = (&'a str, &'a str)> + 'a> {
        match self {
            Self::Owned(map) => Box::new(map.iter().map(|(key, value)| (&**key, &**value))),
            Self::Json(map) => Box::new(
                map.iter()
                    .filter_map(|(key, value)| Some((&**key, value.as_str()?))),
            ),
        }
    }
}

/// A list of processes: `process.ancestors`.
pub trait ProcessList: fmt::Debug {
    /// How many there are.
    fn count(&self) -> usize;
    /// A field of the one at `index`; absent beyond the end.
    fn part(&self, index: usize, part: Part) -> Value<'_>;
}
