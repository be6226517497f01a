//! Who the sensor is to its server: a file that outlives it, for its owner only.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use holdfast_wire::uplink::{Base64, Secret};
use serde::{Deserialize, Serialize};

use super::spool::replace;

const NAME: &str = "uplink.json";
/// Bytes of that file, which has some hundred.
const MAX_BYTES: u64 = 64 << 10;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Whose the rest is: its URL.
    pub(super) server: String,
    /// What the server calls the sensor.
    pub(super) sensor_id: String,
    /// What the sensor shows.
    pub(super) token: Secret,
    /// By which bundles are verified; ed25519.
    pub(super) bundle_key: Base64,
}

/// Where it is kept.
fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

impl Identity {
    /// The one that is kept in `directory`; `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not one.
    pub(super) fn load(directory: &Path) -> io::Result<Option<Self>> {
        let path = path(directory);
        let mut text = Vec::new();
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?.take(MAX_BYTES).read_to_end(&mut text)?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            // Not what is in it: that is secret.
            let (line, column) = (error.line(), error.column());
            io::Error::other(format!("{}:{line}:{column}: no identity", path.display()))
        })
    }

    /// Keeps it, through a power failure, too.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, directory: &Path) -> io::Result<()> {
        super::spool::make_directory(directory)?;
        replace(&path(directory), &serde_json::to_vec_pretty(self)?, true)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn it_is_kept_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        assert_eq!(Identity::load(&state).unwrap(), None);
        let identity = Identity {
            server: "https://team.example/".into(),
            sensor_id: "s-1".into(),
            token: Secret::new("verysecret".into()),
            bundle_key: Base64(vec![7; 32]),
        };
        identity.keep(&state).unwrap();
        assert_eq!(Identity::load(&state).unwrap().as_ref(), Some(&identity));
        let mode = std::fs::metadata(path(&state)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{identity:?}").contains("verysecret"));
        std::fs::write(path(&state), "{\"token\":\"verysecret\"}").unwrap();
        let error = Identity::load(&state).unwrap_err().to_string();
        assert!(!error.contains("verysecret"), "{error}");
    }
}
