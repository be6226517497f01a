//! How others see a path.

use std::borrow::Cow;

use serde::Serialize;

/// `holdfast.path.*` of `file.path`, or of `process.executable` at `process.exec`;
/// `holdfast.target_path.*` of `file.target_path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PathView<'a> {
    /// As the process sees it, which has another root (`chroot(2)`); absent where that is the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Cow<'a, str>>,
    /// As the host sees it, where the path is in another mount namespace than the host's; absent there
    /// where the host does not see it, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// The mount namespace that the path is in, where that is another than the process's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<u32>,
    /// It does not lead by the root of the process: a process in a chroot got out of it.
    #[serde(skip_serializing_if = "is_false")]
    pub outside_root: bool,
    /// It is not a name of the file any more: it was removed, or the file never had one.
    #[serde(skip_serializing_if = "is_false")]
    pub deleted: bool,
}

impl PathView<'_> {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// serde wants a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(value: &bool) -> bool {
    !*value
}
