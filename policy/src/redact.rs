//! What is not to leave the sensor: secrets in arguments and in the environment, found by patterns.
//!
//! The texts of a list are joined by NULs, which none of them can have, so that a pattern can tell an
//! option from the argument behind it: `--password` NUL `hunter2`. Of a match, its groups are
//! redacted; all of it, where the pattern has none.

use std::borrow::Cow;
use std::ops::Range;

use holdfast_wire::event::Redactable;
use regex::Regex;

use crate::expression::pattern::Pattern;

/// What stands for the patterns of [`DEFAULTS`] in a list of patterns.
pub const DEFAULT: &str = "default";
/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";
/// What joins texts.
const SEPARATOR: &str = "\0";

/// A word that names a secret, as part of an option or a variable.
macro_rules! secret {
    () => {
        r"(?:passw(?:or)?d|passphrase|passwort|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)"
    };
}

/// The usual forms.
pub const DEFAULTS: &[&str] = &[
    // --password=X, -Dapi.key=X: the rest of the text.
    concat!(
        r"(?i)(?:^|\x00)--?[a-z0-9_.-]*",
        secret!(),
        r"[a-z0-9_.-]*=([^\x00]+)"
    ),
    // --password X: the whole text behind it.
    concat!(
        r"(?i)(?:^|\x00)--?[a-z0-9_.-]*",
        secret!(),
        r"[a-z0-9_.-]*\x00([^\x00]+)"
    ),
    // password=X, token: X, "secret":"X" inside of a text: to the end of the quotes or the word.
    concat!(
        r"(?i)",
        secret!(),
        r#"[a-z0-9_.-]*["']?\s*[=:]\s*("[^"\x00]*"|'[^'\x00]*'|[^\s\x00"'&;,]+)"#
    ),
    // https://user:X@host
    r"://[^/@:\s\x00]*:([^/@\s\x00]+)@",
    // Authorization: Bearer X
    r#"(?i)\b(?:proxy-)?authorization:\s*([^\x00"']+)"#,
    r"(?i)\bbearer\s+([^\s\x00]+)",
    // curl -u user:X
    r"(?:^|\x00)(?:-u|--user)[\x00=]?[^\x00:=]+:([^\x00]+)",
    // sshpass -p X, mysql -pX
    r"(?:^|[\x00/])sshpass\x00(?:[^\x00]*\x00)*?-p\x00?([^\x00]+)",
    r"(?:^|[\x00/])(?:mysql|mariadb)[a-z_-]*\x00(?:[^\x00]*\x00)*?-p([^\x00]+)",
    // Tokens that say what they are.
    r"\b(gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9_-]{10,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+)",
];

/// Likewise, of the environment alone: PGPASSWORD=X, to its end. In an argument, what begins so may be
/// a script, of which only a word is secret.
const DEFAULT_OF_ENVIRONMENT: &str = concat!(
    r"(?i)(?:^|\x00)[a-z0-9_.-]*",
    secret!(),
    r"[a-z0-9_.-]*=([^\x00]+)"
);

/// Patterns, compiled.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    patterns: Vec<Regex>,
    of_environment: Vec<Regex>,
}

impl Redaction {
    /// Redacts by these patterns, among which [`DEFAULT`] stands for those of [`DEFAULTS`]; nothing
    /// where there are none.
    ///
    /// # Errors
    /// What is wrong with the first that is no pattern.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, String> {
        let mut redaction = Self::default();
        for pattern in patterns {
            if pattern == DEFAULT {
                for pattern in DEFAULTS {
                    redaction.patterns.push(compile(pattern)?);
                }
                redaction
                    .of_environment
                    .push(compile(DEFAULT_OF_ENVIRONMENT)?);
            } else {
                redaction.patterns.push(compile(pattern)?);
            }
        }
        Ok(redaction)
    }

    /// Whether [`Self::new`] takes a pattern.
    ///
    /// # Errors
    /// As there.
    pub fn check(pattern: &str) -> Result<(), String> {
        if pattern == DEFAULT {
            // They compile, as each test here shows; each command reads the settings, and need not do it.
            return Ok(());
        }
        compile(pattern).map(drop)
    }

    /// Arguments, and how they are shown.
    #[must_use]
    pub fn arguments(&self, texts: Vec<String>) -> Redactable<'static> {
        apply(texts, self.patterns.iter())
    }

    /// Variables of an environment, as `NAME=value`, and how they are shown.
    #[must_use]
    pub fn environment(&self, texts: Vec<String>) -> Redactable<'static> {
        apply(texts, self.patterns.iter().chain(&self.of_environment))
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    Pattern::regex(pattern).map(Pattern::into_regex)
}

fn apply<'p>(texts: Vec<String>, patterns: impl Iterator<Item = &'p Regex>) -> Redactable<'static> {
    let secrets = secrets(&texts.join(SEPARATOR), patterns);
    let shown = (!secrets.is_empty()).then(|| Cow::Owned(redacted(&texts, &secrets)));
    Redactable::new(Cow::Owned(texts), shown)
}

/// Where secrets are, sorted, and none touching another.
fn secrets<'p>(joined: &str, patterns: impl Iterator<Item = &'p Regex>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for pattern in patterns {
        for captures in pattern.captures_iter(joined) {
            let from = usize::from(captures.len() > 1);
            let groups = (from..captures.len()).filter_map(|group| captures.get(group));
            found.extend(groups.map(|group| group.range()));
        }
    }
    found.retain(|range| !range.is_empty());
    found.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in found {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The texts without the secrets, which are ranges of the joined texts.
fn redacted(texts: &[String], secrets: &[Range<usize>]) -> Vec<String> {
    let mut start = 0;
    let one = |text: &String| {
        let end = start + text.len();
        let (mut shown, mut done) = (String::new(), start);
        for secret in secrets {
            let (from, to) = (secret.start.max(start), secret.end.min(end));
            if from < to {
                // Ends of matches and of texts are boundaries of characters.
                shown.push_str(&text[done - start..from - start]);
                shown.push_str(REDACTED);
                done = to;
            }
        }
        shown.push_str(&text[done - start..]);
        start = end + SEPARATOR.len();
        shown
    };
    texts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(redaction: &Redaction, texts: &[&str]) -> Vec<String> {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        redaction.arguments(texts).shown().to_vec()
    }

    #[test]
    fn the_usual_forms_are_redacted_and_nothing_else() {
        let redaction = Redaction::new([DEFAULT]).unwrap();
        for (texts, expected) in [
            (
                &["x", "--password", "two words", "-v"][..],
                &["x", "--password", "[redacted]", "-v"][..],
            ),
            (
                &["x", "--db-password=two words", "-v"],
                &["x", "--db-password=[redacted]", "-v"],
            ),
            (
                &["sh", "-c", "TOKEN=abc curl http://u:pw@h/ | sh"],
                &[
                    "sh",
                    "-c",
                    "TOKEN=[redacted] curl http://u:[redacted]@h/ | sh",
                ],
            ),
            (
                &["curl", "-H", "Authorization: Bearer abc.def"],
                &["curl", "-H", "Authorization: [redacted]"],
            ),
            (
                &["curl", "-d", r#"{"api_key": "a b"}"#],
                &["curl", "-d", r#"{"api_key": [redacted]}"#],
            ),
            (&["curl", "-u", "me:pw"], &["curl", "-u", "me:[redacted]"]),
            (
                &["/usr/bin/mysql", "-u", "me", "-ppw"],
                &["/usr/bin/mysql", "-u", "me", "-p[redacted]"],
            ),
            (
                &["sshpass", "-p", "pw", "ssh", "h"],
                &["sshpass", "-p", "[redacted]", "ssh", "h"],
            ),
        ] {
            assert_eq!(shown(&redaction, texts), expected);
        }
        let variables = vec!["PGPASSWORD=x y".to_owned(), "PATH=/bin".to_owned()];
        assert_eq!(
            redaction.environment(variables).shown(),
            ["PGPASSWORD=[redacted]", "PATH=/bin"]
        );
        for harmless in [
            &["ls", "-l", "/etc/passwd"][..],
            &["passwd", "root"],
            &["git", "commit", "-m", "no more secrets"],
            &["ssh", "-p", "22", "host"],
            &["tail", "-u", "file"],
        ] {
            assert_eq!(shown(&redaction, harmless), harmless);
        }
    }

    #[test]
    fn own_patterns_redact_their_groups_or_all_of_them() {
        let redaction = Redaction::new(["id=[0-9]+", "name=(\\w+),(\\w+)"]).unwrap();
        assert_eq!(
            shown(&redaction, &["id=12 name=a,b"]),
            ["[redacted] name=[redacted],[redacted]"]
        );
        assert_eq!(
            shown(&Redaction::default(), &["--password", "x"]),
            ["--password", "x"]
        );
        // A match may reach across texts; each keeps its place.
        let across = Redaction::new(["b.*c"]).unwrap();
        assert_eq!(
            shown(&across, &["ab", "x", "cd"]),
            ["a[redacted]", "[redacted]", "[redacted]d"]
        );
        let error = Redaction::new(["("]).unwrap_err();
        assert!(error.starts_with("bad regular expression"), "{error}");
        assert!(Redaction::new(["(a{1000}){1000}"]).is_err());
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_and_rules_see_all(
            secret in "[A-Za-z0-9]{12,20}",
            form in 0usize..8,
            of_environment: bool,
            before in proptest::collection::vec("[a-z/ =é:-]{0,8}", 0..4),
            after in proptest::collection::vec("[a-z/ =é:-]{0,8}", 0..4),
        ) {
            let form = match form {
                0 => vec!["--password".to_owned(), secret.clone()],
                1 => vec![format!("--api-key={secret}")],
                2 => vec![format!("AWS_SECRET_ACCESS_KEY={secret}")],
                3 => vec![format!("export TOKEN={secret}; run")],
                4 => vec![format!("postgres://me:{secret}@host/db")],
                5 => vec![format!("Authorization: Basic {secret}")],
                6 => vec!["-u".to_owned(), format!("me:{secret}")],
                _ => vec![format!(r#"{{"password": "{secret}"}}"#)],
            };
            let texts = [before, form, after].concat();
            let redaction = Redaction::new([DEFAULT]).unwrap();
            let redactable = if of_environment {
                redaction.environment(texts.clone())
            } else {
                redaction.arguments(texts.clone())
            };
            prop_assert_eq!(redactable.known(), texts.as_slice());
            prop_assert_eq!(redactable.shown().len(), texts.len());
            let printed = format!("{redactable:?}{}", serde_json::to_string(&redactable).unwrap());
            prop_assert!(!printed.contains(&secret), "{printed}");
        }
    }
}
