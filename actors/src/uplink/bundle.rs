//! Bundles of policies: whose they are, whether they may follow the one in force, and the last good one on the disk.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, VerifyingKey};
use holdfast_wire::uplink::{Bundle, KEY_BYTES, MAX_BUNDLE_BYTES, SignedBundle};
use tokio::sync::oneshot;

use super::identity::Identity;
use super::spool::{make_directory, replace};

const DIRECTORY: &str = "bundle";
const NAME: &str = "current.json";
/// Bytes of a signed bundle: its payload in base64, and what is around it.
pub(super) const MAX_SIGNED_BYTES: usize = MAX_BUNDLE_BYTES / 3 * 4 + 4096;
/// Policies of a bundle: as many as there may be files.
const MAX_POLICIES: usize = 1024;

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is not the server's.
    #[error("the bundle's signature is not by the key that was pinned at enrolment")]
    Signature,
    /// The pinned key is none.
    #[error("the key that was pinned at enrolment is no ed25519 public key")]
    Key,
    /// It is signed, and makes no sense.
    #[error("the bundle is malformed: {0}")]
    Malformed(String),
    /// It is another than was asked for.
    #[error("bundle {asked} was asked for, and the server gave {given}")]
    Other {
        /// Which was.
        asked: u64,
        /// Which came.
        given: u64,
    },
    /// It is older than the one in force.
    #[error("bundle {0} is older than {1}, which is in force")]
    Older(u64, u64),
    /// What is kept cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A bundle that is the server's.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What is in it.
    pub bundle: Bundle,
    signed: SignedBundle,
}

/// A bundle that is to come into force.
#[derive(Debug)]
pub struct Offer {
    /// The bundle.
    pub bundle: Verified,
    /// Where to say that it is in force, or why not, in one line.
    pub reply: oneshot::Sender<Result<(), String>>,
}

impl Verified {
    /// Reads a bundle that is signed by `key`.
    ///
    /// # Errors
    /// When it is not, or makes no sense.
    pub fn new(signed: SignedBundle, key: &[u8]) -> Result<Self, BundleError> {
        let key: &[u8; KEY_BYTES] = key.try_into().map_err(|_| BundleError::Key)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| BundleError::Key)?;
        let signature =
            Signature::from_slice(&signed.signature.0).map_err(|_| BundleError::Signature)?;
        key.verify_strict(&signed.payload.0, &signature)
            .map_err(|_| BundleError::Signature)?;
        let bundle: Bundle = serde_json::from_slice(&signed.payload.0)
            .map_err(|error| BundleError::Malformed(error.to_string()))?;
        check(&bundle).map_err(BundleError::Malformed)?;
        Ok(Self { bundle, signed })
    }

    /// Whether it may follow the bundle in force, having been asked for. Going back is a new version of what was before, so that
    /// nobody on the way puts an older one into force again.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn may_follow(&self, asked: u64, in_force: Option<u64>) -> Result<(), BundleError> {
        let given = self.bundle.version;
        if given != asked {
            return Err(BundleError::Other { asked, given });
        }
        match in_force {
            Some(now) if given < now => Err(BundleError::Older(given, now)),
            _ => Ok(()),
        }
    }

    /// Keeps it in `directory`, that of the state, as the last good one; through a power failure, too.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, directory: &Path) -> io::Result<()> {
        let directory = directory.join(DIRECTORY);
        make_directory(&directory)?;
        replace(
            &directory.join(NAME),
            &serde_json::to_vec(&self.signed)?,
            true,
        )
    }

    /// The last good one in `directory`, that of the state; `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not by the key of the server at which the sensor is enrolled.
    pub fn load(directory: &Path) -> Result<Option<Self>, BundleError> {
        let path = directory.join(DIRECTORY).join(NAME);
        let failed = |source: io::Error| BundleError::Read {
            path: path.clone(),
            source,
        };
        let mut text = Vec::new();
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file
                .and_then(|file| file.take(MAX_SIGNED_BYTES as u64).read_to_end(&mut text))
                .map_err(failed)?,
        };
        let signed = serde_json::from_slice(&text)
            .map_err(|error| BundleError::Malformed(error.to_string()))?;
        let identity = Identity::load(directory).map_err(failed)?;
        let identity = identity.ok_or(BundleError::Key)?;
        Self::new(signed, &identity.bundle_key.0).map(Some)
    }
}

fn check(bundle: &Bundle) -> Result<(), String> {
    if bundle.policies.len() > MAX_POLICIES {
        return Err(format!("it has more than {MAX_POLICIES} policies"));
    }
    let mut seen = BTreeSet::new();
    for policy in &bundle.policies {
        let file = &policy.file;
        let is_name = file.ends_with(".json") && !file.contains(['/', '\0', '\n']);
        if !is_name || !seen.insert(file) {
            return Err(format!("{file:?} is not the name of one file"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use holdfast_wire::uplink::{Base64, Secret};

    use super::*;

    fn signed(key: &SigningKey, payload: &str) -> SignedBundle {
        SignedBundle {
            payload: Base64(payload.into()),
            signature: Base64(key.sign(payload.as_bytes()).to_bytes().to_vec()),
        }
    }

    fn payload(version: u64, more: &str) -> String {
        format!(
            r#"{{"version":{version},"name":"n","created":"2026-11-22T19:00:00Z"{more},
                "policies":[{{"file":"a.json","document":{{"name":"a"}}}}]}}"#
        )
    }

    #[test]
    fn only_what_the_pinned_key_signed_is_one() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let good = signed(&key, &payload(3, ""));
        assert_eq!(
            Verified::new(good.clone(), &public).unwrap().bundle.version,
            3
        );
        for byte in 0..good.payload.0.len() {
            let mut bad = good.clone();
            bad.payload.0[byte] ^= 1;
            let refused = Verified::new(bad, &public);
            assert!(
                matches!(refused, Err(BundleError::Signature)),
                "byte {byte}"
            );
        }
        let mut bad = good.clone();
        bad.signature.0.pop();
        assert!(matches!(
            Verified::new(bad, &public),
            Err(BundleError::Signature)
        ));
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
        assert!(matches!(
            Verified::new(good.clone(), &other),
            Err(BundleError::Signature)
        ));
        assert!(matches!(
            Verified::new(good.clone(), &[0; 31]),
            Err(BundleError::Key)
        ));
        // A key of small order, by which many signatures would be good.
        let refused = Verified::new(good, &[0; 32]);
        assert!(refused.is_err());
    }

    #[test]
    fn what_is_signed_and_makes_no_sense_is_refused() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let twice = r#"{"version":1,"name":"n","created":"t","policies":[
            {"file":"a.json","document":{}},{"file":"a.json","document":{}}]}"#;
        let outside = r#"{"version":1,"name":"n","created":"t","policies":[
            {"file":"../a.json","document":{}}]}"#;
        for payload in ["", "{}", twice, outside] {
            let refused = Verified::new(signed(&key, payload), &public);
            assert!(
                matches!(refused, Err(BundleError::Malformed(_))),
                "{payload}"
            );
        }
    }

    #[test]
    fn versions_do_not_go_back_whatever_is_meant() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let new = |text: &str| Verified::new(signed(&key, text), &public).unwrap();
        let plain = new(&payload(3, ""));
        let back = new(&payload(3, r#","rollback":true"#));
        assert!(plain.may_follow(3, None).is_ok() && plain.may_follow(3, Some(2)).is_ok());
        assert!(matches!(
            plain.may_follow(3, Some(4)),
            Err(BundleError::Older(3, 4))
        ));
        assert!(matches!(
            back.may_follow(3, Some(4)),
            Err(BundleError::Older(3, 4))
        ));
        assert!(back.may_follow(3, Some(2)).is_ok());
        assert!(matches!(
            plain.may_follow(2, None),
            Err(BundleError::Other { asked: 2, given: 3 })
        ));
    }

    #[test]
    fn the_last_good_one_is_loaded_by_the_pinned_key() {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut identity = Identity {
            server: "https://team.example/".into(),
            sensor_id: "s".into(),
            token: Secret::new("t".into()),
            bundle_key: Base64(key.verifying_key().to_bytes().to_vec()),
        };
        assert!(Verified::load(directory.path()).unwrap().is_none());
        identity.keep(directory.path()).unwrap();
        let good = signed(&key, &payload(3, ""));
        let good = Verified::new(good, &identity.bundle_key.0).unwrap();
        good.keep(directory.path()).unwrap();
        let loaded = Verified::load(directory.path()).unwrap().unwrap();
        assert_eq!(loaded.bundle.version, 3);
        identity.bundle_key = Base64(vec![9; 32]);
        identity.keep(directory.path()).unwrap();
        assert!(Verified::load(directory.path()).is_err());
    }
}
