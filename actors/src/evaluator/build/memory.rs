//! Events of memory.

use std::borrow::Cow;

use holdfast_wire::event::{self, Event, Memory};
use holdfast_wire::record::memory::{Mapping, Memfd, NOT_KNOWN, ProcessWrite, region};

use super::file;

/// Adds what a `memory.map` or a `memory.protect` says.
pub(super) fn mapping<'a>(event: &mut Event<'a>, fixed: &Mapping, path: Option<Cow<'a, str>>) {
    let known = fixed.region != region::UNKNOWN;
    if path.is_some() {
        event.file = Some(file::described(&fixed.file, path, None));
    }
    event.holdfast.flags = event::map_flag_names(fixed.flags);
    event.holdfast.memory = Some(Memory {
        protection: event::protection_names(fixed.protection),
        previous: if fixed.previous == NOT_KNOWN {
            Vec::new()
        } else {
            event::protection_names(fixed.previous)
        },
        anonymous: known.then_some(fixed.region != region::FILE),
        region: event::region_name(fixed.region),
        ..piece(fixed.address, fixed.size)
    });
}

/// Adds what a `memory.memfd` says.
pub(super) fn memfd<'a>(event: &mut Event<'a>, fixed: &Memfd, name: Option<Cow<'a, str>>) {
    event.holdfast.flags = event::memfd_flag_names(fixed.flags);
    event.holdfast.memory = Some(Memory {
        name,
        ..Memory::default()
    });
}

/// Adds what a `memory.process_write` says, but for its target.
pub(super) fn written(event: &mut Event<'_>, fixed: &ProcessWrite) {
    event.holdfast.memory = Some(Memory {
        method: event::write_method_name(fixed.method),
        ..piece(fixed.address, fixed.size)
    });
}

fn piece(address: u64, size: u64) -> Memory<'static> {
    Memory {
        address: (address != 0).then(|| format!("{address:#x}")),
        size: (size != 0).then_some(size),
        ..Memory::default()
    }
}
