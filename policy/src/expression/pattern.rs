//! Regular expressions and globs, compiled when the policy is loaded.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

/// Memory that one compiled expression may take, in bytes: ample for what rules look for, and a
/// bound on what a hostile `(a{1000}){1000}` costs.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// A regular expression in RE2's syntax, found anywhere in the text.
    pub(crate) fn regex(text: &str) -> Result<Self, String> {
        RegexBuilder::new(text)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .build()
            .map(Self)
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(limit) => {
                    format!("the regular expression takes more than {limit} bytes when compiled")
                }
                // The last line says what is wrong; those before draw the expression.
                error => {
                    let text = error.to_string();
                    let line = text.lines().last().unwrap_or_default();
                    format!(
                        "bad regular expression: {}",
                        line.trim_start_matches("error: ")
                    )
                }
            })
    }

    /// The expression as text; that of a glob is what was made of it.
    pub(crate) fn text(&self) -> &str {
        self.0.as_str()
    }

    /// The expression itself.
    pub(crate) fn into_regex(self) -> Regex {
        self.0
    }

    /// A glob over the whole text: `*` and `?` stop at `/`, `**` does not, `[abc]` is a set.
    pub(super) fn glob(text: &str) -> Result<Self, String> {
        let mut regex = String::from(r"(?s)\A");
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '*' if rest.next_if_eq(&'*').is_some() => regex.push_str(".*"),
                '*' => regex.push_str("[^/]*"),
                '?' => regex.push_str("[^/]"),
                '[' => {
                    let set: String = rest.by_ref().take_while(|c| *c != ']').collect();
                    let (not, set) = match set.strip_prefix('!') {
                        Some(set) => ("^/", set),
                        None => ("", set.as_str()),
                    };
                    if set.is_empty() {
                        return Err("empty or unclosed `[` in the glob".into());
                    }
                    // Writing to a String does not fail.
                    let _ = write!(regex, "[{not}{}]", regex::escape(set).replace(r"\-", "-"));
                }
                other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
            }
        }
        regex.push_str(r"\z");
        Self::regex(&regex).map_err(|_| format!("bad glob `{text}`"))
    }

    /// Whether the text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let matches = |glob: &str, text: &str| Pattern::glob(glob).unwrap().matches(text);
        assert!(matches("/etc/cron*", "/etc/crontab"));
        assert!(!matches("/etc/cron*", "/etc/cron.d/x"));
        assert!(matches("/etc/cron**", "/etc/cron.d/x"));
        assert!(matches("/home/?/.ssh/[a-c]", "/home/x/.ssh/b"));
        assert!(!matches("a[!b]c", "abc") && matches("a[!b]c", "axc") && !matches("a[!b]c", "a/c"));
        assert!(matches("a.b", "a.b") && !matches("a.b", "axb"));
        assert!(Pattern::glob("a[").is_err());
    }

    #[test]
    fn regular_expressions_are_bounded_and_explained() {
        assert!(Pattern::regex("(?i)^BASH$").unwrap().matches("bash"));
        assert!(
            Pattern::regex("((a{100}){100}){100}")
                .unwrap_err()
                .contains("bytes")
        );
        assert!(
            Pattern::regex("(")
                .unwrap_err()
                .starts_with("bad regular expression: unclosed")
        );
    }
}
