//! What requests are signed by: where [AWS](https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html) has it.

use std::collections::BTreeMap;
use std::env;
use std::io::Read as _;
use std::path::Path;

use rusty_s3::Credentials;

use crate::forward::ForwardError;

/// Bytes of a file that are read.
const MAX_FILE: u64 = 64 << 10;
/// Variables of the environment, and the names of the same in a file: the key's id, the key, and a session's token, which is
/// for keys that are good for some time only.
const NAMES: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "aws_access_key_id"),
    ("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key"),
    ("AWS_SESSION_TOKEN", "aws_session_token"),
];
/// The section of a file that is read.
const SECTION: &str = "default";

/// Reads them from `file`, or else from the environment.
///
/// # Errors
/// [`ForwardError::Secret`], which repeats none of them.
pub(super) fn read(file: Option<&Path>) -> Result<Credentials, ForwardError> {
    let Some(file) = file else {
        return of(|(variable, _)| env::var(variable).ok()).ok_or_else(|| ForwardError::Secret {
            file: "the environment".into(),
            reason: format!("{} and {} are not set", NAMES[0].0, NAMES[1].0),
        });
    };
    let failed = |reason: String| ForwardError::Secret {
        file: file.to_owned(),
        reason,
    };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(|error| failed(error.to_string()))?;
    let read = opened.take(MAX_FILE).read_to_string(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    let known = section(&text);
    of(|(_, name)| known.get(name).map(|value| (*value).to_owned())).ok_or_else(|| {
        failed(format!(
            "[{SECTION}] has no {} and {}",
            NAMES[0].1, NAMES[1].1
        ))
    })
}

fn of(look: impl Fn((&str, &str)) -> Option<String>) -> Option<Credentials> {
    let look = |names| look(names).filter(|value| !value.is_empty());
    let (id, key) = (look(NAMES[0])?, look(NAMES[1])?);
    Some(match look(NAMES[2]) {
        Some(token) => Credentials::new_with_token(id, key, token),
        None => Credentials::new(id, key),
    })
}

/// What the section has: lines `name = value`.
fn section(text: &str) -> BTreeMap<&str, &str> {
    let mut known = BTreeMap::new();
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            is_ours = name.trim_end_matches(']').trim() == SECTION;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_ours) {
            known.insert(name.trim(), value.trim());
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_from_their_section_and_not_repeated() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("credentials");
        let written = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read(Some(&file))
        };
        let other = "[other]\naws_access_key_id = no\naws_secret_access_key = no\n";
        let found = written(&format!(
            "# theirs\n{other}[default]\naws_access_key_id=AKID\naws_secret_access_key = hunter=2\n"
        ));
        let found = found.unwrap();
        assert_eq!(
            (found.key(), found.secret(), found.token()),
            ("AKID", "hunter=2", None)
        );
        let said = written("[default]\naws_secret_access_key = hunter2\n").unwrap_err();
        assert!(!said.to_string().contains("hunter2"), "{said}");
        assert!(written(other).is_err());
    }
}
