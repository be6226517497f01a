//! Where values come from, and which one wins: flags, then the environment, then the file, then the
//! default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::ConfigError;
use super::kind::Kind;
use super::setting::{self, ENVIRONMENT_ALIASES, ENVIRONMENT_PREFIX, SETTINGS, Setting};
use crate::nearest::hint;

/// What is shown of a secret.
const REDACTED: &str = "[redacted]";

/// Where a value comes from, from the weakest to the strongest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The table of settings.
    Default,
    /// A file, with line and column, both from 1.
    File(PathBuf, usize, usize),
    /// An environment variable.
    Environment(String),
    /// A flag, as `--mode`.
    Flag(String),
}

impl Source {
    /// The word for it in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File(..) => "file",
            Self::Environment(_) => "env",
            Self::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A setting's value, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// In the normal form of its kind.
    pub(crate) value: Value,
    /// The layer that won.
    pub(crate) source: Source,
    /// Whether the value is shown nowhere.
    is_secret: bool,
}

impl Resolved {
    /// The value as it may be shown.
    pub(crate) fn shown(&self) -> Value {
        if self.is_secret && self.value != "" {
            return REDACTED.into();
        }
        self.value.clone()
    }
}

impl Serialize for Resolved {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Resolved", 3)?;
        object.serialize_field("value", &self.shown())?;
        object.serialize_field("source", self.source.name())?;
        object.serialize_field("origin", &self.source.to_string())?;
        object.end()
    }
}

/// A value given as text by the environment or a flag.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The setting it is for.
    pub(crate) key: String,
    /// The value.
    pub(crate) text: String,
    /// Who gave it.
    pub(crate) source: Source,
}

impl Given {
    /// A value given by the flag `flag`.
    pub(crate) fn by_flag(flag: &str, key: &str, text: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            text: text.into(),
            source: Source::Flag(flag.into()),
        }
    }
}

/// Every setting by its key, each with the value that won so far.
#[derive(Clone, Debug)]
pub(crate) struct Layers(BTreeMap<&'static str, Resolved>);

impl Layers {
    /// Every setting with its default.
    ///
    /// # Errors
    /// None: a test reads every default.
    pub(crate) fn defaults() -> Result<Self, ConfigError> {
        let mut layers = Self(BTreeMap::new());
        for setting in SETTINGS {
            layers.put(
                setting,
                setting.kind.read_text(setting.default),
                Source::Default,
            )?;
        }
        Ok(layers)
    }

    /// Puts a value over what was there.
    ///
    /// # Errors
    /// When the value is bad, or another than the default of a setting that this version lacks.
    pub(crate) fn put(
        &mut self,
        setting: &'static Setting,
        value: Result<Value, String>,
        source: Source,
    ) -> Result<(), ConfigError> {
        let bad = |source: &Source, reason: String| ConfigError::Value {
            at: source.to_string(),
            key: setting.key,
            reason,
        };
        let value = value.map_err(|reason| bad(&source, reason))?;
        let is_default = setting.kind.read_text(setting.default).as_ref() == Ok(&value);
        if !setting.available && !is_default {
            return Err(bad(
                &source,
                "is not available in this version: leave it out".into(),
            ));
        }
        let is_secret = matches!(setting.kind, Kind::Secret);
        self.0.insert(
            setting.key,
            Resolved {
                value,
                source,
                is_secret,
            },
        );
        Ok(())
    }

    /// Puts values given as text over what was there, in their order.
    ///
    /// # Errors
    /// At the first unknown key or bad value.
    pub(crate) fn put_all(
        &mut self,
        given: impl IntoIterator<Item = Given>,
    ) -> Result<(), ConfigError> {
        for Given { key, text, source } in given {
            let Some(setting) = setting::find(&key) else {
                return Err(ConfigError::unknown_key(source.to_string(), &key));
            };
            self.put(setting, setting.kind.read_text(&text), source)?;
        }
        Ok(())
    }

    /// Every setting by its key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Resolved)> {
        self.0.iter().map(|(key, resolved)| (*key, resolved))
    }

    /// The value of `key` and its source.
    pub(crate) fn get(&self, key: &str) -> Option<&Resolved> {
        self.0.get(key)
    }

    /// The keys whose values differ from those in `other`.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        self.iter()
            .filter(|(key, resolved)| other.get(key).is_none_or(|it| it.value != resolved.value))
            .map(|(key, _)| key)
            .collect()
    }

    /// The values as nested objects, as a file would have them.
    pub(crate) fn nested(&self) -> Value {
        let mut root = serde_json::Map::new();
        for (key, resolved) in &self.0 {
            let value = resolved.value.clone();
            match key.split_once('.') {
                None => {
                    root.insert((*key).into(), value);
                }
                Some((section, name)) => {
                    let section = root
                        .entry(section)
                        .or_insert_with(|| Value::Object(Default::default()));
                    section[name] = value;
                }
            }
        }
        root.into()
    }
}

/// What the environment sets. Empty aliases (`HOST_FS=`) are as good as none.
///
/// # Errors
/// When a variable has the prefix of settings and names none.
pub(crate) fn from_environment(
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Vec<Given>, ConfigError> {
    let mut aliases = Vec::new();
    let mut own = Vec::new();
    for (name, text) in variables {
        let alias = ENVIRONMENT_ALIASES.iter().find(|(alias, _)| *alias == name);
        if let Some((_, key)) = alias.filter(|_| !text.is_empty()) {
            aliases.push(Given {
                key: (*key).into(),
                text,
                source: Source::Environment(name),
            });
        } else if name.starts_with(ENVIRONMENT_PREFIX) {
            let names: Vec<String> = SETTINGS.iter().map(Setting::environment).collect();
            let Some(at) = names.iter().position(|known| *known == name) else {
                return Err(ConfigError::UnknownVariable {
                    hint: hint(&name, names.iter().map(String::as_str)),
                    name,
                });
            };
            own.push(Given {
                key: SETTINGS[at].key.into(),
                text,
                source: Source::Environment(name),
            });
        }
    }
    // The longer name is the more deliberate one: it wins.
    aliases.extend(own);
    Ok(aliases)
}
