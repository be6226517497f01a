//! How others see the paths of a record: the process in its chroot, the host behind another mount
//! namespace.

use std::borrow::Cow;

use holdfast_wire::Kind;
use holdfast_wire::decode::{Body, Record};
use holdfast_wire::event::PathView;
use holdfast_wire::record::file::file_flags;
use holdfast_wire::record::process::exec_flags;
use holdfast_wire::record::{NOT_MET, flags};
use holdfast_wire::text;

use super::mounts::{Mounts, Spot};

/// The views of a record's paths, where there is something to say.
#[derive(Debug, Default)]
pub(crate) struct Views<'a> {
    pub(crate) path: Option<PathView<'a>>,
    pub(crate) target: Option<PathView<'a>>,
}

/// A path, and what the kernel programs found on its way.
struct Walked<'a> {
    path: &'a [u8],
    above_root: u16,
    in_mount: u16,
    namespace: u32,
    mount: u32,
    device: u32,
    is_cut: bool,
    deleted: bool,
}

/// Looks at the record's paths from all sides, at `now`. `pids`: processes that may be in the mount
/// namespace of the path.
pub(crate) fn of<'a>(
    record: &Record<'a>,
    mounts: &mut Mounts,
    pids: &[u32],
    now: u64,
) -> Views<'a> {
    let header = &record.header;
    if header.flags & flags::PATH_IS_ARGUMENT != 0 {
        return Views::default();
    }
    let mut view = |walked: &Walked<'a>| {
        let view = walked.view(header.mount_namespace, mounts, pids, now);
        (!view.is_empty()).then_some(view)
    };
    match record.body {
        Body::File {
            fixed,
            path,
            target,
        } => {
            let is = |flag: u32| fixed.flags & flag != 0;
            let path = Walked {
                path,
                above_root: fixed.path_above_root,
                in_mount: fixed.path_in_mount,
                namespace: fixed.mount_namespace,
                mount: fixed.mount_id,
                device: fixed.device,
                is_cut: is(file_flags::PATH_CUT),
                deleted: is(file_flags::UNLINKED),
            };
            let target = Walked {
                path: target,
                above_root: fixed.target_above_root,
                in_mount: fixed.target_in_mount,
                is_cut: is(file_flags::TARGET_CUT),
                deleted: false,
                ..path
            };
            // What a symbolic link says is no path before it is followed.
            let has_target = record.kind != Kind::FileSymlink;
            Views {
                path: view(&path),
                target: has_target.then(|| view(&target)).flatten(),
            }
        }
        Body::Exec {
            fixed, executable, ..
        } => {
            let walked = Walked {
                path: executable,
                above_root: fixed.above_root,
                in_mount: fixed.in_mount,
                namespace: fixed.mount_namespace,
                mount: fixed.mount_id,
                device: fixed.device,
                is_cut: fixed.flags & exec_flags::EXECUTABLE_CUT != 0,
                // `holdfast.executable.deleted` says so.
                deleted: false,
            };
            Views {
                path: view(&walked),
                target: None,
            }
        }
        _ => Views::default(),
    }
}

impl<'a> Walked<'a> {
    /// `own`: the process's mount namespace, 0 where it is not known.
    fn view(&self, own: u32, mounts: &mut Mounts, pids: &[u32], now: u64) -> PathView<'a> {
        if self.path.is_empty() {
            return PathView::default();
        }
        let is_elsewhere = own != 0 && self.namespace != 0 && self.namespace != own;
        let is_known = own != 0 && self.namespace == own;
        PathView {
            process: self.below_root().map(text::path),
            host: self.on_host(mounts, pids, now),
            namespace: is_elsewhere.then_some(self.namespace),
            outside_root: is_known && self.above_root == NOT_MET && !self.is_cut,
            deleted: self.deleted,
        }
    }

    /// The path from the root of the process on, where that is another.
    fn below_root(&self) -> Option<&'a [u8]> {
        if self.above_root == NOT_MET || self.above_root == 0 || self.path == b"/" {
            return None;
        }
        match self.path.get(usize::from(self.above_root)..)? {
            b"" => Some(b"/"),
            below => Some(below),
        }
    }

    fn on_host(&self, mounts: &mut Mounts, pids: &[u32], now: u64) -> Option<Cow<'a, str>> {
        if self.namespace == 0 || mounts.is_host(self.namespace) {
            return None;
        }
        let at = self.path.len().checked_sub(usize::from(self.in_mount))?;
        let spot = Spot {
            namespace: self.namespace,
            mount: self.mount,
            device: self.device,
            below: &self.path[at..],
        };
        let path = mounts.host_path(&spot, pids, now)?;
        Some(text::path(&path).into_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(path: &[u8], above_root: u16) -> Walked<'_> {
        Walked {
            path,
            above_root,
            in_mount: 0,
            namespace: 7,
            mount: 1,
            device: 1,
            is_cut: false,
            deleted: false,
        }
    }

    fn view<'a>(walked: &Walked<'a>, own: u32) -> PathView<'a> {
        walked.view(own, &mut Mounts::new("/nonexistent".into()), &[], 0)
    }

    #[test]
    fn a_chroot_is_seen_from_inside() {
        let inside = |path, above| view(&walked(path, above), 7).process;
        assert_eq!(inside(b"/srv/jail/etc/x", 9).as_deref(), Some("/etc/x"));
        assert_eq!(inside(b"/srv/jail", 9).as_deref(), Some("/"));
        assert_eq!(inside(b"/etc/x", 0), None);
        // The root is met before its own name is written.
        assert_eq!(inside(b"/", 1), None);
        assert_eq!(inside(b"/short", 99), None);
    }

    #[test]
    fn what_does_not_lead_by_the_root_is_outside() {
        let outside = |walked: Walked<'_>, own| view(&walked, own).outside_root;
        assert!(outside(walked(b"/etc/x", NOT_MET), 7));
        assert!(!outside(walked(b"/etc/x", 0), 7));
        // In another namespace, in none, or cut before the root: nothing can be said.
        assert!(!outside(walked(b"/etc/x", NOT_MET), 8));
        assert!(!outside(walked(b"/etc/x", NOT_MET), 0));
        let cut = Walked {
            is_cut: true,
            ..walked(b"/etc/x", NOT_MET)
        };
        assert!(!outside(cut, 7));
        let elsewhere = view(&walked(b"/etc/x", NOT_MET), 8);
        assert_eq!(elsewhere.namespace, Some(7));
        assert!(view(&walked(b"/etc/x", 0), 7).is_empty());
    }
}
