//! Facts about an executed file.

use std::borrow::Cow;

use serde::Serialize;

use super::Number;

/// `holdfast.executable.*`, on `process.exec`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Executable<'a> {
    /// The path as it was given to execve: a script's own, where `process.executable` is its
    /// interpreter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<Cow<'a, str>>,
    /// The absolute path of the script, where it is one: `argument` from the working directory on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Cow<'a, str>>,
    /// The interpreter as the script names it in its first line; `process.executable` is the file that
    /// this leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<Cow<'a, str>>,
    /// Inode number, a string as `file.inode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inode: Option<Number>,
    /// `major:minor`, as `file.device`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Number>,
    /// The file has the set-user-id bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setuid: Option<bool>,
    /// The file has the set-group-id bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setgid: Option<bool>,
    /// On overlayfs: it is in the upper layer, so it came, or was changed, after the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper_layer: Option<bool>,
    /// The name by which it was executed is gone.
    pub deleted: bool,
    /// It never had a name: made by `memfd_create(2)`.
    pub memfd: bool,
}
