//! Who may do what: roles, passwords, and limits on trying.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use serde::{Deserialize, Serialize};

use crate::secret;
use crate::store::value::{AsParam, Column, FromColumn, Param};

pub(crate) mod limit;

/// Characters of the shortest password that is taken (NIST SP 800-63B asks for no less than eight, and for no rules
/// on which).
const MIN_PASSWORD: usize = 12;
/// Bytes of the longest: more would only be work.
pub(crate) const MAX_PASSWORD: usize = 256;
/// Bytes of the longest name of a user, token, key or tag.
pub(crate) const MAX_NAME: usize = 64;
/// Bytes of a salt (RFC 9106, section 3.1).
const SALT: usize = 16;

/// What a user or an API token may do; each may also do what those before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// See the fleet, alerts, events and policies.
    ReadOnly,
    /// Write and check bundles of policies.
    Analyst,
    /// Assign bundles; keys, tokens, users; the audit log.
    Admin,
}

impl Role {
    /// All, the weakest first.
    pub(crate) const ALL: [Self; 3] = [Self::ReadOnly, Self::Analyst, Self::Admin];

    /// As it is stored and shown.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }
}

impl AsParam for Role {
    fn param(&self) -> Param<'_> {
        Param::Text(self.name())
    }
}

impl FromColumn for Role {
    fn of(column: Column<'_>) -> Option<Self> {
        let Column::Text(name) = column else {
            return None;
        };
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Why a password or name is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Too short or too long.
    #[error("a password has {MIN_PASSWORD} characters or more, and {MAX_PASSWORD} bytes at most")]
    Password,
    /// Empty, too long, or with characters that would be mistaken.
    #[error("{0:?} is no name: letters, digits and . _ @ - are, 1 to {MAX_NAME} of them")]
    Name(String),
    /// The system has no randomness, or no memory.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

/// Whether `name` may be one, of a user, a token or a tag.
///
/// # Errors
/// [`Unfit::Name`].
pub(crate) fn check_name(name: &str) -> Result<(), Unfit> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(fine) {
        return Err(Unfit::Name(name.chars().take(MAX_NAME).collect()));
    }
    Ok(())
}

/// Argon2id with a salt of its own (RFC 9106), in PHC form; takes tens of milliseconds and 19 MiB.
///
/// # Errors
/// [`Unfit::Password`], [`Unfit::Hash`].
pub(crate) fn hash_password(password: &str) -> Result<String, Unfit> {
    if password.chars().count() < MIN_PASSWORD || password.len() > MAX_PASSWORD {
        return Err(Unfit::Password);
    }
    let salt: [u8; SALT] = secret::random().map_err(|error| Unfit::Hash(error.to_string()))?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string())
        .map_err(|error| Unfit::Hash(error.to_string()))
}

/// Whether `password` is the one of `hash`; where there is no hash as slowly, so that names are not told apart by time.
pub(crate) fn verify_password(password: &str, hash: Option<&str>) -> bool {
    if password.len() > MAX_PASSWORD {
        return false;
    }
    let argon2 = Argon2::default();
    match hash.map(PasswordHash::new) {
        Some(Ok(hash)) => argon2.verify_password(password.as_bytes(), &hash).is_ok(),
        _ => {
            let _ = argon2.hash_password_with_salt(password.as_bytes(), &[0; SALT]);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        let hash = hash_password("correct horse battery").unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(verify_password("correct horse battery", Some(&hash)));
        assert!(!verify_password("correct horse batter", Some(&hash)));
        assert!(!verify_password("correct horse battery", None));
        assert_eq!(hash_password("short"), Err(Unfit::Password));
        assert_eq!(
            hash_password(&"x".repeat(MAX_PASSWORD + 1)),
            Err(Unfit::Password)
        );
    }

    #[test]
    fn names_are_plain() {
        for name in ["ada", "ada@example.org", "web-1"] {
            check_name(name).unwrap();
        }
        for name in ["", "a b", "a,b", "<b>", &"x".repeat(MAX_NAME + 1)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
