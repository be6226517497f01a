//! Where an operation came from.

use std::borrow::Cow;

use holdfast_wire::Kind;
use holdfast_wire::decode::Record;
use holdfast_wire::event::{self, Event, Process};
use holdfast_wire::record::container::{self, Lifecycle, NO_EXIT_CODE, OPERATIONS, RUNTIMES};
use holdfast_wire::text;

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
        labels,
    } = &**shown?.pod.as_ref()?;
    Some(event::Orchestrator {
        kind: "kubernetes",
        namespace: named(namespace),
        resource: event::Resource {
            kind: "pod",
            name: named(name),
            id: Cow::Borrowed(uid),
            label: labels,
        },
    })
}

/// Adds what a `container.*` says, whose process is the container's first, 0 where it is not known.
pub(super) fn happened<'a>(
    event: &mut Event<'a>,
    record: &Record<'_>,
    fixed: &Lifecycle,
    shown: Option<&'a Shown>,
) {
    let (pid, is_start) = (record.header.tgid, record.kind == Kind::ContainerStart);
    event.holdfast.container = Some(event::Lifecycle {
        grants: shown.map(|shown| &*shown.grants).filter(|_| is_start),
        exit_code: (fixed.exit_code != NO_EXIT_CODE).then_some(fixed.exit_code),
    });
    if pid == 0 {
        event.process = None;
    } else if !is_start {
        // By now another process may have that pid.
        event.process = Some(Process {
            pid: pid.cast_signed(),
            ..Default::default()
        });
    }
}

/// Adds what a `container.image` says, which nobody in particular does.
pub(super) fn image(
    event: &mut Event<'_>,
    fixed: &container::Image,
    name: &[u8],
    [tags, digests]: [&[u8]; 2],
) {
    let each = |list: &[u8]| -> Vec<String> {
        let each = list.split(|byte| *byte == b' ').filter(|it| !it.is_empty());
        each.map(|it| text::lossy(it).into_owned()).collect()
    };
    let all = each(digests);
    event.process = None;
    event.container = Some(event::Rendered::new(event::Container {
        runtime: RUNTIMES.get(usize::from(fixed.runtime)).copied(),
        image: Some(event::Image {
            name: text::lossy(name).into_owned(),
            tag: each(tags),
            hash: (!all.is_empty()).then_some(event::ImageHash { all }),
        }),
        ..Default::default()
    }));
    let operation = OPERATIONS.get(usize::from(fixed.operation)).copied();
    event.holdfast.image = operation.map(|operation| event::ImageChange { operation });
}

/// What only engines tell.
fn named(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then_some(Cow::Borrowed(text))
}
