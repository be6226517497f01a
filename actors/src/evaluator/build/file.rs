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
        inode: (fixed.inode != 0).then(|| fixed.inode.to_string()),
        device: (device != 0).then(|| number(device)),
        mode: (fixed.mode != 0).then(|| permissions(fixed.mode)),
        uid: (fixed.owner != u32::MAX).then(|| fixed.owner.to_string()),
        gid: (fixed.group != u32::MAX).then(|| fixed.group.to_string()),
    }
}

/// A device as the kernel encodes it, as `MAJOR:MINOR`.
fn number(device: u32) -> String {
    let mut text = (device >> 20).to_string();
    text.push(':');
    text.push_str(&(device & 0xf_ffff).to_string());
    text
}

/// The last twelve bits of a mode, as four octal digits.
fn permissions(mode: u32) -> String {
    let digit = |place: u32| char::from(b'0' + (mode >> (3 * place) & 7) as u8);
    (0..4).rev().map(digit).collect()
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
