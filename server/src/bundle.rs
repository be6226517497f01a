//! Bundles of policies: checked as sensors will check them, signed, and assigned so that no sensor is to go back to a
//! lower version.

use std::collections::BTreeSet;

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{MAX_BYTES, Mode, Policy};
use holdfast_policy::error::{Problem, Problems};
use holdfast_policy::field::Kinds;
use holdfast_policy::snapshot::Snapshot;
use holdfast_wire::uplink::{Bundle, BundlePolicy, MAX_BUNDLE_BYTES};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::rfc3339;
use crate::store::bundles::{self, Stored};
use crate::store::{self, Connection, DatabaseError};

/// Policies in a bundle: more than people write, and each is a file on every host.
const MAX_POLICIES: usize = 256;
/// Bytes of a policy's file name.
const MAX_FILE_NAME: usize = 128;

/// A policy as somebody wrote it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Draft {
    /// How errors name it.
    pub(crate) file: String,
    /// The JSON.
    pub(crate) text: String,
}

/// Why there is no bundle of some drafts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// The policies have errors.
    #[error("{} errors in the policies", .0.len())]
    Policies(Vec<Problem>),
    /// They are too many, too large, or their files' names are no such names.
    #[error("{0}")]
    Shape(String),
}

/// Policies that are good together.
pub(crate) struct Checked {
    /// Each by itself, in order.
    pub(crate) policies: Vec<Policy>,
    /// What the compiler made of them, for a sensor that enforces.
    pub(crate) snapshot: Snapshot,
}

/// Checks policies as a sensor does.
///
/// # Errors
/// Everything that is wrong with them.
pub(crate) fn check(drafts: &[Draft]) -> Result<Checked, Wrong> {
    check_shape(drafts)?;
    let mut policies = Vec::new();
    let mut problems = Vec::new();
    for draft in drafts {
        match Policy::parse(&draft.file, draft.text.as_bytes()) {
            Ok(policy) => policies.push(policy),
            Err(wrong) => problems.extend(wrong.0),
        }
    }
    if !problems.is_empty() {
        return Err(Wrong::Policies(problems));
    }
    match enforced(&policies) {
        Ok(snapshot) => Ok(Checked { policies, snapshot }),
        Err(wrong) => Err(Wrong::Policies(wrong.0)),
    }
}

/// What a sensor that enforces makes of policies.
///
/// # Errors
/// What is wrong with them together.
pub(crate) fn enforced(policies: &[Policy]) -> Result<Snapshot, Problems> {
    let options = Options {
        epoch: 0,
        mode: Mode::Enforce,
        reported: Kinds::NONE,
    };
    compile(policies, &options)
}

fn check_shape(drafts: &[Draft]) -> Result<(), Wrong> {
    if drafts.is_empty() || drafts.len() > MAX_POLICIES {
        let found = drafts.len();
        return Err(Wrong::Shape(format!(
            "a bundle has 1 to {MAX_POLICIES} policies, not {found}"
        )));
    }
    let mut names = BTreeSet::new();
    let mut bytes = 0;
    for Draft { file, text } in drafts {
        if !is_file_name(file) {
            let asked = "letters, digits and . _ -, ending in .json";
            return Err(Wrong::Shape(format!(
                "{file:?} is no file name of a policy: {asked}"
            )));
        }
        if !names.insert(file) {
            return Err(Wrong::Shape(format!(
                "there are two policies with the file name {file}"
            )));
        }
        if text.len() > MAX_BYTES {
            return Err(Wrong::Shape(format!(
                "{file} is larger than {MAX_BYTES} bytes"
            )));
        }
        bytes += text.len();
    }
    // Half, for what is around the documents.
    if bytes > MAX_BUNDLE_BYTES / 2 {
        return Err(Wrong::Shape(format!(
            "the policies have more than {} bytes",
            MAX_BUNDLE_BYTES / 2
        )));
    }
    Ok(())
}

/// Sensors write files by these names.
fn is_file_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= MAX_FILE_NAME
        && name.bytes().all(fine)
        && !name.starts_with('.')
        && name
            .strip_suffix(".json")
            .is_some_and(|stem| !stem.is_empty())
}

/// The key by which sensors know this server's bundles.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    /// The key of this seed (RFC 8032, section 5.1.5); `None` for none that ring takes, and it takes all.
    pub(crate) fn new(seed: &[u8; 32]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }

    /// What sensors pin.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    fn sign(&self, bundle: &Bundle) -> store::Result<Stored> {
        let payload = serde_json::to_vec(bundle).map_err(conversion)?;
        let signature = self.0.sign(&payload).as_ref().to_vec();
        Ok(Stored { payload, signature })
    }
}

/// So that what is wrong with a payload rolls the transaction back as well.
fn conversion(error: serde_json::Error) -> DatabaseError {
    DatabaseError::Value(error.to_string())
}

/// Stores a bundle of policies that were checked; its version.
pub(crate) fn create(
    connection: &Connection,
    signer: &Signer,
    name: &str,
    drafts: &[Draft],
    author: &str,
    now: i64,
) -> store::Result<i64> {
    let policy = |draft: &Draft| {
        let document = RawValue::from_string(draft.text.clone())?;
        Ok(BundlePolicy {
            file: draft.file.clone(),
            document,
        })
    };
    let policies = drafts
        .iter()
        .map(policy)
        .collect::<Result<_, _>>()
        .map_err(conversion)?;
    let bundle = Bundle {
        version: 0,
        rollback: false,
        name: name.to_owned(),
        created: rfc3339(now),
        policies,
    };
    issue(connection, signer, bundle, author, None, now)
}

/// Signs `bundle` as the next version, and stores it.
fn issue(
    connection: &Connection,
    signer: &Signer,
    bundle: Bundle,
    author: &str,
    origin: Option<i64>,
    now: i64,
) -> store::Result<i64> {
    let version = bundles::next_version(connection)?;
    issue_as(version, connection, signer, bundle, author, origin, now)
}

fn issue_as(
    version: i64,
    connection: &Connection,
    signer: &Signer,
    mut bundle: Bundle,
    author: &str,
    origin: Option<i64>,
    now: i64,
) -> store::Result<i64> {
    bundle.version = version.unsigned_abs();
    let signed = signer.sign(&bundle)?;
    bundles::add(
        connection,
        version,
        &bundle.name,
        author,
        origin,
        &signed,
        now,
    )?;
    Ok(version)
}

/// A bundle without policies: sensors that take it have their own alone.
pub(crate) fn create_empty(
    connection: &Connection,
    signer: &Signer,
    author: &str,
    now: i64,
) -> store::Result<i64> {
    issue(connection, signer, empty(now), author, None, now)
}

fn empty(now: i64) -> Bundle {
    Bundle {
        version: 0,
        rollback: true,
        name: "no policies".to_owned(),
        created: rfc3339(now),
        policies: Vec::new(),
    }
}

/// Versions that are left out when a backup is restored: more than were issued since it was made.
const SINCE_BACKUP: i64 = 1_000_000;

/// Once a backup has become the store. Sensors may have bundles that it does not know: what they are to have gets versions above all of
/// these, and so has whatever is issued later, so that no version has two contents.
pub(crate) fn after_restore(
    connection: &Connection,
    signer: &Signer,
    author: &str,
    now: i64,
) -> store::Result<()> {
    let last = bundles::next_version(connection)? + SINCE_BACKUP;
    issue_as(last, connection, signer, empty(now), author, None, now)?;
    lift(connection, signer, last, author, now)
}

/// The content of `version` again, as a new version.
pub(crate) fn reissue(
    connection: &Connection,
    signer: &Signer,
    version: i64,
    author: &str,
    now: i64,
) -> store::Result<Option<i64>> {
    let Some(stored) = bundles::one(connection, version)? else {
        return Ok(None);
    };
    let mut bundle: Bundle = serde_json::from_slice(&stored.payload).map_err(conversion)?;
    bundle.rollback = true;
    bundle.created = rfc3339(now);
    issue(connection, signer, bundle, author, Some(version), now).map(Some)
}

/// Assigns the content of `version` to the sensors with a tag, or to all where it is empty. It gets a new version where
/// any sensor may have a later one. The version that was assigned; `None` where there is no such bundle.
pub(crate) fn assign(
    connection: &Connection,
    signer: &Signer,
    tag: &str,
    version: i64,
    author: &str,
    now: i64,
) -> store::Result<Option<i64>> {
    let assigned = newest(connection, signer, version, author, now)?;
    if let Some(version) = assigned {
        bundles::assign(connection, tag, version, author, now)?;
    }
    Ok(assigned)
}

/// The content of `version` under a version that is not below any that sensors may have: a new one where it has to be.
/// `None` where there is no such bundle.
pub(crate) fn newest(
    connection: &Connection,
    signer: &Signer,
    version: i64,
    author: &str,
    now: i64,
) -> store::Result<Option<i64>> {
    let holders = bundles::holders(connection)?;
    if holders.iter().any(|(_, other)| *other > version) {
        reissue(connection, signer, version, author, now)
    } else {
        Ok(bundles::one(connection, version)?.map(|_| version))
    }
}

/// Takes an assignment away; whether there was one. Sensors then have what is assigned otherwise.
pub(crate) fn unassign(
    connection: &Connection,
    signer: &Signer,
    tag: &str,
    author: &str,
    now: i64,
) -> store::Result<bool> {
    let Some(version) = bundles::unassign(connection, tag)? else {
        return Ok(false);
    };
    lift(connection, signer, version, author, now)?;
    Ok(true)
}

/// After a sensor's tags changed: `before` is the version that it was to have.
pub(crate) fn settle(
    connection: &Connection,
    signer: &Signer,
    sensor: i64,
    before: Option<i64>,
    author: &str,
    now: i64,
) -> store::Result<()> {
    match (before, bundles::of_sensor(connection, sensor)?) {
        (Some(before), Some(after)) if after < before => {
            lift(connection, signer, before, author, now)
        }
        _ => Ok(()),
    }
}

/// Everything that sensors have in a lower version than `version` gets one above it, in the same order.
pub(crate) fn lift(
    connection: &Connection,
    signer: &Signer,
    version: i64,
    author: &str,
    now: i64,
) -> store::Result<()> {
    for (holder, other) in bundles::holders(connection)? {
        if other < version
            && let Some(new) = reissue(connection, signer, other, author, now)?
        {
            bundles::hand(connection, &holder, new, author, now)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
