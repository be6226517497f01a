//! Mounts. Each deed is done in a mount namespace of its own.

use super::{Deed, deed, failing};

pub(super) const DEEDS: &[Deed] = &[
    Deed {
        resolved: &[("/holdfast/path_source", "")],
        ..deed(
            "file.mount",
            &["mount", "tmpfs", "{dir}/mounted"],
            &[
                ("/file/path", "{dir}/mounted"),
                ("/holdfast/mount/source", "the source"),
                ("/holdfast/mount/type", "tmpfs"),
                ("/holdfast/flags/0", "MS_RDONLY"),
                ("/holdfast/flags/1", "MS_NOSUID"),
            ],
        )
    },
    // There is no such type.
    failing(
        "ENODEV",
        deed(
            "file.mount",
            &["mount", "nothingfs", "{dir}/mounted"],
            &[
                ("/file/path", "{dir}/mounted"),
                ("/holdfast/mount/type", "nothingfs"),
            ],
        ),
    ),
    deed(
        "file.mount",
        &["bind", "{dir}/mounted", "{dir}/bound"],
        &[
            ("/file/path", "{dir}/bound"),
            ("/holdfast/mount/source", "{dir}/mounted"),
            ("/holdfast/flags/0", "MS_BIND"),
        ],
    ),
    deed(
        "file.mount",
        &["move-mount", "{dir}/mounted", "{dir}/moved"],
        &[
            ("/file/path", "{dir}/moved"),
            ("/holdfast/mount/source", "{dir}/mounted"),
            ("/holdfast/flags/0", "MS_MOVE"),
        ],
    ),
    Deed {
        resolved: &[
            ("/holdfast/mount/type", "tmpfs"),
            ("/holdfast/flags/0", "MS_MOVE"),
        ],
        ..deed(
            "file.mount",
            &["attach-mount", "{dir}/mounted", "{dir}/attached"],
            &[
                ("/file/path", "{dir}/attached"),
                ("/holdfast/mount/source", "{dir}/mounted"),
            ],
        )
    },
    Deed {
        resolved: &[
            ("/holdfast/mount/source", "a new source"),
            ("/holdfast/mount/type", "tmpfs"),
            ("/holdfast/flags/0", ""),
        ],
        ..deed(
            "file.mount",
            &["fsmount", "a new source", "{dir}/new"],
            &[("/file/path", "{dir}/new")],
        )
    },
    Deed {
        resolved: &[
            ("/holdfast/mount/source", "the source"),
            ("/holdfast/mount/type", "tmpfs"),
        ],
        ..deed(
            "file.umount",
            &["umount", "{dir}/mounted"],
            &[
                ("/file/path", "{dir}/mounted"),
                ("/holdfast/flags/0", "MNT_DETACH"),
            ],
        )
    },
    failing(
        "EBUSY",
        deed(
            "file.umount",
            &["umount-used", "{dir}/mounted"],
            &[("/file/path", "{dir}/mounted"), ("/holdfast/flags/0", "")],
        ),
    ),
    failing(
        "EINVAL",
        deed(
            "file.pivot_root",
            &["pivot-root-wrong", "{dir}/root", "{dir}/root/wrong"],
            &[
                ("/file/path", "{dir}/root"),
                ("/file/target_path", "{dir}/root/wrong"),
            ],
        ),
    ),
    deed(
        "file.pivot_root",
        &["pivot-root", "{dir}/root", "{dir}/root/old"],
        &[
            ("/file/path", "{dir}/root"),
            ("/file/target_path", "{dir}/root/old"),
        ],
    ),
];
