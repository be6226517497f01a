//! Events of System V shared memory and POSIX message queues.

use std::borrow::Cow;

use holdfast_wire::event::{self, Event};
use holdfast_wire::record::ipc::{Mq, Shm, operation};

/// Adds what an `ipc.shm` says.
pub(super) fn shm(event: &mut Event<'_>, fixed: &Shm) {
    let is_attach = fixed.operation == operation::SHMAT;
    event.holdfast.flags = if is_attach {
        event::shmat_flag_names(fixed.flags)
    } else {
        event::shmget_flag_names(fixed.flags)
    };
    event.holdfast.ipc = Some(event::Ipc {
        operation: if is_attach { "shmat" } else { "shmget" },
        // `IPC_PRIVATE` is no key.
        key: (fixed.key != 0).then(|| format!("{:#010x}", fixed.key)),
        id: u32::try_from(fixed.id).ok(),
        owner: (fixed.owner != u32::MAX).then(|| event::number(fixed.owner.into())),
        mode: (fixed.mode != u32::MAX).then(|| event::permissions(fixed.mode)),
        name: None,
    });
}

/// Adds what an `ipc.mq` says. Names begin with a slash that the C library takes off for the kernel.
pub(super) fn mq<'a>(event: &mut Event<'a>, fixed: &Mq, name: Option<Cow<'a, str>>) {
    event.holdfast.flags = event::open_flag_names(fixed.flags);
    event.holdfast.ipc = Some(event::Ipc {
        operation: "mq_open",
        name: name.map(|name| format!("/{}", name.trim_start_matches('/')).into()),
        ..Default::default()
    });
}
