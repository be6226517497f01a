//! By which names events are told.

use std::borrow::Cow;

use clap::ValueEnum;
use serde_json::Value;

use crate::ocsf;
use crate::store::events::Found;

/// The schema of the events that are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Schema {
    /// Elastic Common Schema, as sensors send them
    Ecs,
    /// Open Cybersecurity Schema Framework
    Ocsf,
}

impl Schema {
    /// An event.
    pub(super) fn event(self, found: &Found) -> Value {
        match self {
            Self::Ecs => found.event(),
            Self::Ocsf => ocsf::event(found),
        }
    }

    /// An event as JSON: by ECS to the byte as it came.
    pub(super) fn text(self, found: &Found) -> Cow<'_, str> {
        match self {
            Self::Ecs => Cow::Borrowed(&found.body),
            Self::Ocsf => Cow::Owned(ocsf::event(found).to_string()),
        }
    }
}
