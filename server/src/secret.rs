//! Random secrets, and their hashes, which are all that is stored of them.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Random bytes of a secret: guessing one is out of the question, so its hash need not be slow.
const BYTES: usize = 32;

/// What a secret is for: what it begins with, so that one that leaked is recognised for what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Lets sensors enrol.
    InstallationKey,
    /// A sensor's.
    Sensor,
    /// A program's that uses the API.
    Api,
    /// A browser's.
    Session,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::InstallationKey => "hfk_",
            Self::Sensor => "hfs_",
            Self::Api => "hft_",
            Self::Session => "hfb_",
        }
    }
}

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(crate) struct NoRandomness;

/// SHA-256 of a secret.
pub(crate) type Hash = [u8; 32];

/// `N` random bytes.
///
/// # Errors
/// [`NoRandomness`].
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Bytes as text: two digits each.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 0 to 1, to spread what should not happen at once; the middle where the system has no randomness.
pub(crate) fn fraction() -> f64 {
    random().map_or(0.5, |bytes| {
        f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
    })
}

/// A new secret.
///
/// # Errors
/// [`NoRandomness`].
pub(crate) fn new(kind: Kind) -> Result<String, NoRandomness> {
    let bytes: [u8; BYTES] = random()?;
    Ok(format!(
        "{}{}",
        kind.prefix(),
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    ))
}

/// The hash by which `secret` is found again.
pub(crate) fn hash(secret: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_say_what_they_are_for_and_are_all_different() {
        let [one, other] = [new(Kind::Sensor).unwrap(), new(Kind::Sensor).unwrap()];
        assert!(one.starts_with("hfs_") && one.len() == 47);
        assert_ne!(one, other);
        assert_ne!(hash(&one), hash(&other));
    }
}
