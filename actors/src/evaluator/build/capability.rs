//! Events of capabilities, and of what changes the kernel itself.

use std::borrow::Cow;

use holdfast_wire::event::{self, Event};
use holdfast_wire::record::capability::{Bpf, Load, NOT_GIVEN, Set, Use};
use holdfast_wire::text;

use super::file;

/// Adds what a `capability.use` says.
pub(super) fn used(event: &mut Event<'_>, fixed: &Use) {
    event.holdfast.capability = Some(event::capability_name(fixed.capability));
    event.holdfast.user_namespace = (fixed.user_namespace != 0).then_some(fixed.user_namespace);
    event.holdfast.suppressed = Some(fixed.suppressed);
}

/// Adds what a `capability.set` says.
pub(super) fn set(event: &mut Event<'_>, fixed: &Set) {
    event.holdfast.capabilities = Some(event::CapabilitySets {
        effective: event::capability_names(fixed.effective),
        permitted: event::capability_names(fixed.permitted),
        inheritable: event::capability_names(fixed.inheritable),
        ..Default::default()
    });
}

/// Adds what a `kernel.module` or a `kernel.kexec` says.
pub(super) fn load<'a>(event: &mut Event<'a>, fixed: &Load, path: Option<Cow<'a, str>>) {
    event
        .holdfast
        .flags
        .extend(event::load_source_name(fixed.source));
    if path.is_some() {
        event.file = Some(file::described(&fixed.file, path, None));
    }
}

/// Adds what a `kernel.bpf` says.
pub(super) fn bpf<'a>(event: &mut Event<'a>, fixed: &Bpf) {
    let given = |number: u32, name: fn(u32) -> Cow<'static, str>| {
        (number != NOT_GIVEN).then(|| name(number))
    };
    let name = fixed.name.split(|byte| *byte == 0).next();
    event.holdfast.bpf = Some(event::Bpf {
        command: Some(event::bpf_command_name(fixed.command)),
        program_type: given(fixed.program_type, event::bpf_program_type_name),
        attach_type: given(fixed.attach_type, event::bpf_attach_type_name),
        name: name
            .filter(|name| !name.is_empty())
            .map(|name| text::lossy(name).into_owned().into()),
    });
}
