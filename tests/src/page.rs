//! Pages in `docs/` that are made from the sources: a unit test each says whether the one that is kept is the one that is made.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's directory.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Fails when `docs/NAME` is not what was made, which is then in `target/`.
pub(crate) fn ensure_kept(name: &str, made: &str) {
    let root = root();
    fs::write(root.join("target").join(name), made).unwrap();
    let kept = fs::read_to_string(root.join("docs").join(name)).unwrap_or_default();
    assert!(
        kept == made,
        "docs/{name} is not what the sources say; to accept it: cp target/{name} docs/"
    );
}
