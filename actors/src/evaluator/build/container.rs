//! Where an operation came from.

use std::borrow::Cow;

use holdfast_wire::event;

use crate::runtime::membership::Membership;

/// `container`
pub(super) fn container(membership: &Membership) -> Option<event::Container<'_>> {
    let container = membership.container()?;
    Some(event::Container {
        id: Cow::Borrowed(&container.id),
        runtime: container.runtime,
    })
}

/// `orchestrator`
pub(super) fn orchestrator(membership: &Membership) -> Option<event::Orchestrator<'_>> {
    let pod = membership.container()?.pod.as_deref()?;
    Some(event::Orchestrator {
        kind: "kubernetes",
        resource: event::Resource {
            kind: "pod",
            id: Cow::Borrowed(pod),
        },
    })
}
