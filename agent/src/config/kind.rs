//! The kinds of value that a setting can have, and how each is read from text (environment, flags)
//! and from TOML.

use std::net::SocketAddr;

use holdfast_actors::uplink::Server;
use holdfast_actors::uplink::server::Stated;
use holdfast_policy::redact::Redaction;
use serde_json::Value;
use toml::de::DeValue;

use super::action::ACTIONS;
use super::levels;
use crate::nearest::hint;

/// What a setting's value can be. Every kind has one normal form, a JSON value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// One line of text that is shown nowhere.
    Secret,
    /// Where a server is, or empty for "none".
    OptionalUrl,
    /// An absolute path.
    Path,
    /// An absolute path, or empty for "none".
    OptionalPath,
    /// What is logged from which level on: see [`levels`].
    Levels,
    /// An address with a port, or empty for "none".
    OptionalAddress,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number, bounds included.
    Integer { min: i64, max: i64 },
    /// A number of bytes, bounds included; `KiB`, `MiB` and `GiB` may follow it.
    Bytes {
        min: i64,
        max: i64,
        power_of_two: bool,
    },
    /// A time in milliseconds, bounds included; `ms`, `s`, `m`, `h` and `d` may follow it.
    Duration { min: i64, max: i64 },
    /// `true` or `false`.
    Flag,
    /// A list of texts; separated by commas, or line ends, where it is given as one text.
    List(Item),
}

/// What the entries of a list are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    /// Paths; relative ones are taken from where the sensor was started.
    Path,
    /// Names of actions, where `*` stands for any letters.
    ActionGlob,
    /// Any text of one line.
    Text,
    /// Names of variables of the environment.
    Variable,
    /// Regular expressions, or the word for the built-in ones. They may have commas, so that line ends
    /// separate them where they are given as one text.
    Pattern,
}

/// The most entries that a list may have: more is a mistake in a generator, not a wish.
const MAX_ENTRIES: usize = 256;

/// The longest text: `PATH_MAX` of Linux.
const MAX_TEXT: usize = 4096;

impl Kind {
    /// Reads a value given as text.
    ///
    /// # Errors
    /// One line that says what was expected.
    pub(crate) fn read_text(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Integer { .. } => {
                let number = text.trim().parse::<i64>();
                self.integer(number.map_err(|_| format!("expected {self}, found \"{text}\""))?)
            }
            Self::Flag => match text {
                "true" => Ok(true.into()),
                "false" => Ok(false.into()),
                _ => Err(format!("expected {self}, found \"{text}\"")),
            },
            Self::List(item) => item.list(
                text.split(item.separator())
                    .map(str::trim)
                    .filter(|entry| !entry.is_empty()),
            ),
            _ => self.one(text),
        }
    }

    /// Reads a value of a TOML file.
    ///
    /// # Errors
    /// One line that says what was expected.
    pub(crate) fn read_toml(self, value: &DeValue<'_>) -> Result<Value, String> {
        let wrong = || match self {
            Self::Secret => format!("expected {self}"),
            _ => format!("expected {self}, found {}", described(value)),
        };
        match (self, value) {
            (
                Self::Integer { .. } | Self::Bytes { .. } | Self::Duration { .. },
                DeValue::Integer(number),
            ) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                self.integer(number.map_err(|_| wrong())?)
            }
            (Self::Flag, DeValue::Boolean(flag)) => Ok((*flag).into()),
            (Self::List(item), DeValue::Array(entries)) => {
                let entries: Option<Vec<&str>> = entries
                    .iter()
                    .map(|entry| entry.get_ref().as_str())
                    .collect();
                item.list(entries.ok_or_else(wrong)?.into_iter())
            }
            (Self::Integer { .. } | Self::Flag | Self::List(_), _) => Err(wrong()),
            (_, DeValue::String(text)) => self.one(text),
            _ => Err(wrong()),
        }
    }

    /// Reads a value that is one text.
    fn one(self, text: &str) -> Result<Value, String> {
        if text.len() > MAX_TEXT || text.contains(['\n', '\0']) {
            return Err(format!("expected one line of at most {MAX_TEXT} bytes"));
        }
        match self {
            Self::OptionalPath | Self::OptionalAddress | Self::OptionalUrl if text.is_empty() => {
                Ok(text.into())
            }
            Self::OptionalUrl => match url(text) {
                Ok(()) => Ok(text.into()),
                Err(reason) => Err(reason),
            },
            Self::OptionalAddress => match text.parse::<SocketAddr>() {
                Ok(_) => Ok(text.into()),
                Err(_) => Err(format!("expected {self}, found \"{text}\"")),
            },
            Self::Path | Self::OptionalPath if !text.starts_with('/') => {
                Err(format!("expected {self}, found \"{text}\""))
            }
            Self::OneOf(words) => {
                if words.contains(&text) {
                    Ok(text.into())
                } else {
                    Err(format!(
                        "expected {self}, found \"{text}\"{}",
                        hint(text, words.iter().copied())
                    ))
                }
            }
            Self::Levels => levels::directives(text).map(|_| text.into()),
            Self::Bytes { .. } => {
                let bytes = parse_bytes(text);
                self.integer(bytes.ok_or_else(|| format!("expected {self}, found \"{text}\""))?)
            }
            Self::Duration { .. } => {
                let time = parse_with(text, &TIMES);
                self.integer(time.ok_or_else(|| format!("expected {self}, found \"{text}\""))?)
            }
            _ => Ok(text.into()),
        }
    }

    fn integer(self, number: i64) -> Result<Value, String> {
        let fits = match self {
            Self::Integer { min, max } | Self::Duration { min, max } => {
                (min..=max).contains(&number)
            }
            Self::Bytes {
                min,
                max,
                power_of_two,
            } => (min..=max).contains(&number) && (!power_of_two || number.count_ones() == 1),
            _ => true,
        };
        if fits {
            Ok(number.into())
        } else {
            Err(format!("expected {self}, found {number}"))
        }
    }
}

/// What is expected, as in "expected …".
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret => f.write_str("a text, which is shown nowhere"),
            Self::OptionalUrl => f.write_str("a URL, as https://team.example.org:5150, or nothing"),
            Self::Path => f.write_str("an absolute path"),
            Self::OptionalPath => f.write_str("an absolute path, or nothing"),
            Self::Levels => f.write_str(
                "a level (error, warn, info, debug, trace), then levels of modules, as \"info,evaluator=debug\"",
            ),
            Self::OptionalAddress => {
                f.write_str("an address and a port, as 127.0.0.1:9187, or nothing")
            }
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Bytes {
                min,
                max,
                power_of_two,
            } => {
                let what = if *power_of_two {
                    "a power of two"
                } else {
                    "a size"
                };
                write!(f, "{what} from {} to {}", bytes(*min), bytes(*max))
            }
            Self::Duration { min, max } => {
                write!(f, "a time from {} to {}", duration(*min), duration(*max))
            }
            Self::Flag => f.write_str("true or false"),
            Self::List(Item::Path) => f.write_str("a list of paths"),
            Self::List(Item::ActionGlob) => f.write_str("a list of actions such as \"file.*\""),
            Self::List(Item::Text) => f.write_str("a list of texts"),
            Self::List(Item::Variable) => f.write_str("a list of variables' names"),
            Self::List(Item::Pattern) => f.write_str("a list of regular expressions"),
        }
    }
}

impl Item {
    /// What separates entries that are given as one text.
    const fn separator(self) -> char {
        match self {
            Self::Pattern => '\n',
            _ => ',',
        }
    }

    fn list<'a>(self, entries: impl Iterator<Item = &'a str>) -> Result<Value, String> {
        let mut list = Vec::new();
        for entry in entries {
            if list.len() == MAX_ENTRIES {
                return Err(format!("expected at most {MAX_ENTRIES} entries"));
            }
            self.check(entry)?;
            list.push(Value::from(entry));
        }
        Ok(list.into())
    }

    fn check(self, entry: &str) -> Result<(), String> {
        if entry.is_empty() || entry.len() > MAX_TEXT || entry.contains(['\n', '\0']) {
            return Err(format!(
                "expected entries of one line and 1 to {MAX_TEXT} bytes"
            ));
        }
        match self {
            Self::Path | Self::Text => Ok(()),
            Self::Variable if entry.contains('=') => Err(format!(
                "expected the name of a variable, found \"{entry}\""
            )),
            Self::Variable => Ok(()),
            Self::Pattern => {
                Redaction::check(entry).map_err(|reason| format!("\"{entry}\": {reason}"))
            }
            Self::ActionGlob
                if ACTIONS
                    .iter()
                    .any(|action| super::action::matches(entry, action)) =>
            {
                Ok(())
            }
            Self::ActionGlob => Err(format!(
                "no action is called \"{entry}\"{}",
                hint(entry, ACTIONS.iter().copied())
            )),
        }
    }
}

/// A TOML value as people call it.
fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// Whether something can be reached by this URL; what else it depends on other settings say.
fn url(text: &str) -> Result<(), String> {
    let stated = Stated {
        url: text.to_owned(),
        insecure: true,
        ..Stated::default()
    };
    Server::new(&stated)
        .map(drop)
        .map_err(|error| error.to_string())
}

const UNITS: [(&str, i64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// In milliseconds.
const TIMES: [(&str, i64); 5] = [
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1000),
];

fn parse_bytes(text: &str) -> Option<i64> {
    parse_with(text, &UNITS)
}

fn parse_with(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let text = text.trim();
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1));
    number.trim().parse::<i64>().ok()?.checked_mul(factor)
}

/// A number of milliseconds with the largest unit that divides it.
pub(crate) fn duration(milliseconds: i64) -> String {
    let mut units = TIMES;
    units.sort_by_key(|(_, factor)| -factor);
    let fits = |(_, factor): &&(&str, i64)| milliseconds >= *factor && milliseconds % factor == 0;
    match units.iter().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", milliseconds / factor),
        None => milliseconds.to_string(),
    }
}

/// A number of bytes with the largest unit that divides it.
pub(crate) fn bytes(number: i64) -> String {
    match UNITS
        .iter()
        .find(|(_, factor)| number >= *factor && number % factor == 0)
    {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(parse_bytes("64MiB"), Some(64 << 20));
        assert_eq!(parse_bytes("4096"), Some(4096));
        assert_eq!(parse_bytes("9999999999GiB"), None);
        assert_eq!(bytes(64 << 20), "64MiB");
        assert_eq!(bytes(1000), "1000");
    }

    #[test]
    fn times_have_units() {
        let kind = Kind::Duration {
            min: 10,
            max: 7 * 24 * 3_600_000,
        };
        for (text, expected) in [
            ("10ms", 10),
            ("1500", 1500),
            ("2 m", 120_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(kind.read_text(text).unwrap(), expected, "{text}");
        }
        assert_eq!(
            kind.read_text("8d").unwrap_err(),
            "expected a time from 10ms to 7d, found 691200000"
        );
        assert!(kind.read_text("soon").is_err());
        assert_eq!(duration(90_000), "90s");
    }

    #[test]
    fn a_wrong_word_is_told_the_nearest() {
        let kind = Kind::OneOf(&["observe", "enforce"]);
        assert_eq!(kind.read_text("enforce").unwrap(), "enforce");
        assert_eq!(
            kind.read_text("enforced").unwrap_err(),
            "expected one of observe, enforce, found \"enforced\" (did you mean \"enforce\"?)"
        );
    }

    #[test]
    fn patterns_are_separated_by_line_ends_and_checked() {
        let kind = Kind::List(Item::Pattern);
        assert_eq!(
            kind.read_text("default\npin=([0-9]{4,8})").unwrap(),
            serde_json::json!(["default", "pin=([0-9]{4,8})"])
        );
        assert_eq!(kind.read_text("").unwrap(), serde_json::json!([]));
        let error = kind.read_text("pin=(").unwrap_err();
        assert_eq!(error, "\"pin=(\": bad regular expression: unclosed group");
        let huge = kind.read_text("(a{1000}){1000}").unwrap_err();
        assert!(huge.contains("when compiled"), "{huge}");
        let kind = Kind::List(Item::Variable);
        assert!(kind.read_text("LD_PRELOAD=x").is_err());
    }

    #[test]
    fn lists_are_split_at_commas_and_checked() {
        let kind = Kind::List(Item::ActionGlob);
        assert_eq!(
            kind.read_text("file.*, process.exec").unwrap(),
            serde_json::json!(["file.*", "process.exec"])
        );
        assert_eq!(
            kind.read_text("process.exce").unwrap_err(),
            "no action is called \"process.exce\" (did you mean \"process.exec\"?)"
        );
    }
}
