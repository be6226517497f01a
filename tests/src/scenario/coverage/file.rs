//! Operations on files and names, in this order, since some need what others made.

use super::{Deed, deed, failing, failing_early};

pub(super) const DEEDS: &[Deed] = &[
    deed(
        "file.create",
        &["write", "{dir}/made"],
        &[("/file/path", "{dir}/made")],
    ),
    deed(
        "file.open",
        &["write", "{dir}/made"],
        &[
            ("/file/path", "{dir}/made"),
            ("/holdfast/flags/0", "O_WRONLY"),
        ],
    ),
    // No file can be made there, but it is asked for. By tracepoints those are told of that were made.
    Deed {
        unseen_by: &["tracepoint"],
        ..failing(
            "EACCES",
            deed(
                "file.create",
                &["write", "/sys/holdfast-{tier}"],
                &[("/file/path", "/sys/holdfast-{tier}")],
            ),
        )
    },
    Deed {
        unseen_by: &["tracepoint"],
        ..failing(
            "ENXIO",
            deed(
                "file.open",
                &["open-fifo", "{dir}/fifo"],
                &[
                    ("/file/path", "{dir}/fifo"),
                    ("/holdfast/flags/0", "O_WRONLY"),
                ],
            ),
        )
    },
    deed(
        "file.link",
        &["link", "{dir}/made", "{dir}/linked"],
        &[
            ("/file/path", "{dir}/made"),
            ("/file/target_path", "{dir}/linked"),
        ],
    ),
    deed(
        "file.symlink",
        &["symlink", "../elsewhere", "{dir}/symbolic"],
        &[
            ("/file/path", "{dir}/symbolic"),
            ("/file/target_path", "../elsewhere"),
        ],
    ),
    failing_early(
        "EEXIST",
        deed(
            "file.symlink",
            &["symlink", "../elsewhere", "{dir}/made"],
            &[("/file/path", "{dir}/made")],
        ),
    ),
    deed(
        "file.chmod",
        &["chmod", "0000", "{dir}/made"],
        &[("/file/path", "{dir}/made"), ("/file/mode", "0000")],
    ),
    failing(
        "EPERM",
        deed(
            "file.chmod",
            &["as", "65534", "chmod", "0666", "{dir}/made"],
            &[("/file/path", "{dir}/made"), ("/file/mode", "0666")],
        ),
    ),
    deed(
        "file.chown",
        &["chown", "1234", "{dir}/made"],
        &[("/file/path", "{dir}/made"), ("/file/uid", "1234")],
    ),
    failing(
        "EPERM",
        deed(
            "file.chown",
            &["as", "65534", "chown", "65534", "{dir}/made"],
            &[("/file/path", "{dir}/made"), ("/file/uid", "65534")],
        ),
    ),
    failing_early(
        "EISDIR",
        deed(
            "file.truncate",
            &["truncate", "{dir}"],
            &[("/file/path", "{dir}")],
        ),
    ),
    deed(
        "file.truncate",
        &["truncate", "{dir}/made"],
        &[("/file/path", "{dir}/made")],
    ),
    deed(
        "file.truncate",
        &["ftruncate", "{dir}/made"],
        &[("/file/path", "{dir}/made")],
    ),
    deed(
        "file.setxattr",
        &["setxattr", "trusted.holdfast", "{dir}/made"],
        &[
            ("/file/path", "{dir}/made"),
            ("/file/target_path", ""),
            ("/holdfast/xattr/name", "trusted.holdfast"),
            ("/holdfast/xattr/removed", "false"),
            ("/holdfast/flags/0", "XATTR_CREATE"),
        ],
    ),
    deed(
        "file.setxattr",
        &["fsetxattr", "trusted.holdfast", "{dir}/made"],
        &[
            ("/file/path", "{dir}/made"),
            ("/holdfast/xattr/name", "trusted.holdfast"),
            ("/holdfast/flags/0", "XATTR_REPLACE"),
        ],
    ),
    deed(
        "file.setxattr",
        &["set-acl", "{dir}/made"],
        &[
            ("/file/path", "{dir}/made"),
            ("/holdfast/xattr/name", "system.posix_acl_access"),
        ],
    ),
    deed(
        "file.setxattr",
        &["removexattr", "trusted.holdfast", "{dir}/made"],
        &[
            ("/file/path", "{dir}/made"),
            ("/holdfast/xattr/name", "trusted.holdfast"),
            ("/holdfast/xattr/removed", "true"),
        ],
    ),
    // There is no such attribute.
    failing(
        "ENODATA",
        deed(
            "file.setxattr",
            &["removexattr", "trusted.nothing", "{dir}/made"],
            &[
                ("/file/path", "{dir}/made"),
                ("/holdfast/xattr/name", "trusted.nothing"),
            ],
        ),
    ),
    deed(
        "file.rename",
        &["rename", "{dir}/linked", "{dir}/renamed"],
        &[
            ("/file/path", "{dir}/linked"),
            ("/file/target_path", "{dir}/renamed"),
        ],
    ),
    deed(
        "file.delete",
        &["delete", "{dir}/renamed"],
        &[("/file/path", "{dir}/renamed")],
    ),
    failing(
        "EISDIR",
        deed(
            "file.delete",
            &["delete", "{dir}"],
            &[("/file/path", "{dir}")],
        ),
    ),
    deed(
        "file.mkdir",
        &["mkdir", "{dir}/directory"],
        &[("/file/path", "{dir}/directory"), ("/file/mode", "0777")],
    ),
    failing(
        "EPERM",
        deed(
            "file.mkdir",
            &["mkdir", "/sys/holdfast-{tier}"],
            &[("/file/path", "/sys/holdfast-{tier}")],
        ),
    ),
    failing(
        "EPERM",
        deed(
            "file.link",
            &["link", "{dir}/directory", "{dir}/again"],
            &[
                ("/file/path", "{dir}/directory"),
                ("/file/target_path", "{dir}/again"),
            ],
        ),
    ),
    failing(
        "EISDIR",
        deed(
            "file.rename",
            &["rename", "{dir}/made", "{dir}/directory"],
            &[
                ("/file/path", "{dir}/made"),
                ("/file/target_path", "{dir}/directory"),
            ],
        ),
    ),
    failing(
        "ENOTEMPTY",
        deed(
            "file.rmdir",
            &["rmdir", "{dir}"],
            &[("/file/path", "{dir}")],
        ),
    ),
    deed(
        "file.rmdir",
        &["rmdir", "{dir}/directory"],
        &[("/file/path", "{dir}/directory")],
    ),
];
