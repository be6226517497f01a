//! Operations on files and names, in this order, since some need what others made.

use super::{Deed, deed, failing};

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
    deed(
        "file.chmod",
        &["chmod", "0000", "{dir}/made"],
        &[("/file/path", "{dir}/made"), ("/file/mode", "0000")],
    ),
    deed(
        "file.chown",
        &["chown", "1234", "{dir}/made"],
        &[("/file/path", "{dir}/made"), ("/file/uid", "1234")],
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
    deed(
        "file.mkdir",
        &["mkdir", "{dir}/directory"],
        &[("/file/path", "{dir}/directory"), ("/file/mode", "0777")],
    ),
    deed(
        "file.rmdir",
        &["rmdir", "{dir}/directory"],
        &[("/file/path", "{dir}/directory")],
    ),
];
