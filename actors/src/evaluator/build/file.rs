//! Events of files and names.

use std::borrow::Cow;

use holdfast_wire::Kind;
use holdfast_wire::event::{self, Event};
use holdfast_wire::record::file::{File, Mount};

/// Adds what the record says of the file. `path` and `target_path` are resolved.
pub(super) fn describe<'a>(
    event: &mut Event<'a>,
    kind: Kind,
    fixed: &File,
    path: Option<Cow<'a, str>>,
    target_path: Option<Cow<'a, str>>,
) {
    let device = fixed.device;
    event.file = Some(event::File {
        path,
        target_path,
        inode: (fixed.inode != 0).then(|| fixed.inode.to_string()),
        device: (device != 0).then(|| format!("{}:{}", device >> 20, device & 0xf_ffff)),
        mode: (fixed.mode != 0).then(|| format!("{:04o}", fixed.mode & 0o7777)),
        uid: (fixed.owner != u32::MAX).then(|| fixed.owner.to_string()),
        gid: (fixed.group != u32::MAX).then(|| fixed.group.to_string()),
    });
    if matches!(kind, Kind::FileOpen | Kind::FileCreate) && fixed.open_flags != u32::MAX {
        event.holdfast.flags = event::open_flag_names(fixed.open_flags);
    }
}

/// Adds what the record says of a mount. `path` and `source` are resolved.
pub(super) fn mounted<'a>(
    event: &mut Event<'a>,
    kind: Kind,
    fixed: &Mount,
    path: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    file_system: Option<Cow<'a, str>>,
) {
    event.file = Some(event::File {
        path,
        ..Default::default()
    });
    event.holdfast.mount = Some(event::Mount {
        source,
        file_system,
    });
    event.holdfast.flags = match kind {
        Kind::FileUmount => event::umount_flag_names(fixed.flags),
        _ => event::mount_flag_names(fixed.flags),
    };
}
