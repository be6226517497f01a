//! Parts that many events have in common: their JSON is made once, and copied from then on.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A part of events, and its JSON. A clone is the same one.
pub struct Rendered<T>(Arc<Inner<T>>);

struct Inner<T> {
    part: T,
    json: Box<RawValue>,
}

impl<T: Serialize> Rendered<T> {
    /// Renders a part.
    pub fn new(part: T) -> Self {
        // The parts of events have strings for keys, which is all that could fail.
        let json = to_raw_value(&part).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self(Arc::new(Inner { part, json }))
    }
}

impl<T> Rendered<T> {
    /// Bytes of its JSON.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.json.get().len()
    }
}

impl<T> Deref for Rendered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.part
    }
}

impl<T> Clone for Rendered<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Rendered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.part.fmt(f)
    }
}

impl<T> Serialize for Rendered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.json.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Host;

    #[test]
    fn it_is_written_and_read_as_what_it_is() {
        let host = Host {
            id: "1".into(),
            name: "a \"b\"".into(),
            ..Default::default()
        };
        let (plain, rendered) = (serde_json::to_string(&host), Rendered::new(host.clone()));
        assert_eq!(serde_json::to_string(&rendered).unwrap(), plain.unwrap());
        assert_eq!(
            serde_json::to_value(&rendered).unwrap(),
            serde_json::to_value(&host).unwrap()
        );
        assert_eq!(rendered.name, host.name);
    }
}
