//! What of an event is not told yet.

use serde_json::{Map, Value};

/// An event, from which what is told is taken, so that what is left at the end is what has no place.
#[derive(Clone)]
pub(super) struct Rest(Value);

impl Rest {
    pub(super) const fn new(event: Value) -> Self {
        Self(event)
    }

    /// What is at `place`, a JSON Pointer of names, if `fits` takes it; else it stays.
    pub(super) fn take<T>(
        &mut self,
        place: &str,
        fits: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let (parent, name) = place.rsplit_once('/')?;
        let parent = self.0.pointer_mut(parent)?.as_object_mut()?;
        let taken = fits(parent.get(name)?)?;
        parent.remove(name);
        Some(taken)
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, place: &str) -> Option<String> {
        self.take(place, |value| {
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        })
    }

    /// A whole number.
    pub(super) fn number(&mut self, place: &str) -> Option<i64> {
        self.take(place, Value::as_i64)
    }

    /// A whole number that is written as a text, as ECS has ids.
    pub(super) fn id(&mut self, place: &str) -> Option<i64> {
        self.take(place, |value| value.as_str()?.parse().ok())
    }

    /// A time, in milliseconds since 1970.
    pub(super) fn time(&mut self, place: &str) -> Option<i64> {
        self.take(place, |value| {
            let time: jiff::Timestamp = value.as_str()?.parse().ok()?;
            Some(time.as_millisecond())
        })
    }

    /// A list of texts that is not empty.
    pub(super) fn texts(&mut self, place: &str) -> Option<Vec<String>> {
        self.take(place, |value| {
            let list = value.as_array().filter(|list| !list.is_empty())?;
            let texts = list.iter().map(|text| text.as_str().map(str::to_owned));
            texts.collect()
        })
    }

    /// The objects of a list. `told` takes from each what is told of it; what is left of them stays.
    pub(super) fn each<T>(
        &mut self,
        place: &str,
        told: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let list = self.0.pointer_mut(place)?.as_array_mut()?;
        let mut all = Vec::new();
        for value in list {
            let mut rest = Self(value.take());
            all.extend(told(&mut rest));
            *value = rest.0;
        }
        (!all.is_empty()).then_some(all)
    }

    /// Whether there is something at `place`.
    pub(super) fn has(&self, place: &str) -> bool {
        self.0.pointer(place).is_some()
    }

    /// What is left; `None` where all is told.
    pub(super) fn left(self) -> Option<Value> {
        let left = pruned(self.0)?;
        Some(match left {
            Value::Object(_) => left,
            // An event that is no object: there is nothing else that it could be told as.
            other => Value::Object(Map::from_iter([("event".to_owned(), other)])),
        })
    }
}

/// Without objects and lists that have nothing in them.
fn pruned(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            let left: Map<_, _> = map
                .into_iter()
                .filter_map(|(name, value)| Some((name, pruned(value)?)))
                .collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Value::Array(list) => {
            let left: Vec<_> = list.into_iter().filter_map(pruned).collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        other => Some(other),
    }
}
