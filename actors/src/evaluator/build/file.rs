//! Events of files and names.

use std::borrow::Cow;

use holdfast_wire::Kind;
use holdfast_wire::event::{self, Event};
use holdfast_wire::record::file::{File, Mount, XATTR_REMOVED};

/// Adds what the record says of the file. `path` and `target_path` are resolved; for an extended attribute
/// the latter is its name.
pub(super) fn describe<'a>(
    event: &mut Event<'a>,
    kind: Kind,
    fixed: &File,
    path: Option<Cow<'a, str>>,
    target_path: Option<Cow<'a, str>>,
) {
    let (target_path, attribute) = match kind {
        Kind::FileSetxattr => (None, target_path),
        _ => (target_path, None),
    };
    event.file = Some(described(fixed, path, target_path));
    if matches!(kind, Kind::FileOpen | Kind::FileCreate) && fixed.open_flags != u32::MAX {
        event.holdfast.flags = event::open_flag_names(fixed.open_flags);
    }
    if kind == Kind::FileSetxattr {
        event.holdfast.flags = event::xattr_flag_names(fixed.open_flags);
        event.holdfast.xattr = Some(event::Xattr {
            name: attribute,
            removed: fixed.open_flags & XATTR_REMOVED != 0,
        });
    }
}

/// `file.*`
pub(super) fn described<'a>(
    fixed: &File,
    path: Option<Cow<'a, str>>,
    target_path: Option<Cow<'a, str>>,
) -> event::File<'a> {
    let device = fixed.device;
    event::File {
        path,
        target_path,
        inode: (fixed.inode != 0).then(|| event::number(fixed.inode)),
        device: (device != 0).then(|| event::device(device)),
        mode: (fixed.mode != 0).then(|| event::permissions(fixed.mode)),
        uid: (fixed.owner != u32::MAX).then(|| event::number(fixed.owner.into())),
        gid: (fixed.group != u32::MAX).then(|| event::number(fixed.group.into())),
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
