//! Where an operation came from.

use std::borrow::Cow;

use holdfast_wire::event;

use crate::runtime::table::{Pod, Shown};

/// `container`
pub(super) fn container(shown: Option<&Shown>) -> Option<event::Rendered<event::Container>> {
    shown.map(|shown| shown.container.clone())
}

/// `orchestrator`
pub(super) fn orchestrator(shown: Option<&Shown>) -> Option<event::Orchestrator<'_>> {
    let Pod {
        name,
        namespace,
        uid,
    } = &**shown?.pod.as_ref()?;
    Some(event::Orchestrator {
        kind: "kubernetes",
        namespace: named(namespace),
        resource: event::Resource {
            kind: "pod",
            name: named(name),
            id: Cow::Borrowed(uid),
        },
    })
}

/// What only engines tell.
fn named(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then_some(Cow::Borrowed(text))
}
