//! Events of changes of user and group.

use std::borrow::Cow;

use holdfast_wire::event::{self, Becomes, Event, Identity, Ids};
use holdfast_wire::record::process::Setid;

use crate::evaluator::users::Users;

/// Adds what a `process.setuid` says.
pub(super) fn user<'a>(event: &mut Event<'a>, fixed: &Setid, users: &'a Users) {
    let user = |id: u32| Identity {
        id: known(id),
        name: users.name(id).map(Cow::Borrowed),
        group: None,
    };
    event.user = Some(Becomes {
        changes: user(fixed.real),
        effective: user(fixed.effective),
    });
    event.holdfast.ids = Some(Ids {
        saved: known(fixed.saved),
        filesystem: known(fixed.filesystem),
        groups: Vec::new(),
    });
}

/// Adds what a `process.setgid` says. `groups`: the supplementary ones, a u32 each.
pub(super) fn group(event: &mut Event<'_>, fixed: &Setid, groups: &[u8]) {
    let group = |id: u32| Identity {
        group: known(id).map(|id| event::Id { id }),
        ..Identity::default()
    };
    event.user = Some(Becomes {
        changes: group(fixed.real),
        effective: group(fixed.effective),
    });
    let (groups, _) = groups.as_chunks::<4>();
    event.holdfast.ids = Some(Ids {
        saved: known(fixed.saved),
        filesystem: known(fixed.filesystem),
        groups: groups
            .iter()
            .map(|id| u32::from_ne_bytes(*id).to_string())
            .collect(),
    });
    if fixed.groups != u32::MAX && fixed.groups as usize > groups.len() {
        event.holdfast.truncated.push("holdfast.ids.groups");
    }
}

fn known(id: u32) -> Option<event::Number> {
    (id != u32::MAX).then(|| event::number(id.into()))
}
