//! The configuration file: TOML, with the line and column of every value kept for errors.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::setting::{self, SETTINGS};
use super::source::{Layers, Source};
use crate::failure::one_line;

/// The largest configuration file: a thousand times what all settings take.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the file at `path`, if it is there.
///
/// # Errors
/// When it cannot be read, or is larger than any configuration is.
pub(crate) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.into(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ConfigError::TooLarge {
            path: path.into(),
            limit: MAX_BYTES,
        });
    }
    Ok(Some(text))
}

/// Where the files are that say more than the one at `path`: in the directory of its name with `.d` behind it.
pub(crate) fn drop_in_directory(path: &Path) -> PathBuf {
    let mut directory = path.as_os_str().to_owned();
    directory.push(".d");
    directory.into()
}

/// The files that say more than the one at `path`: `*.toml` in [`drop_in_directory`], in the order of
/// their names. Of several the last one wins.
///
/// # Errors
/// When the directory is there and cannot be read.
pub(crate) fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let directory = drop_in_directory(path);
    let failed = |source| ConfigError::Read {
        path: directory.clone(),
        source,
    };
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Puts `text` in the place of the file at `path`, with its permissions, or makes it.
///
/// # Errors
/// When it cannot be written; it is then as it was.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let before = fs::metadata(&path).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return Err(io::Error::other("it is no file"));
    }
    let beside = path.with_extension("toml.new");
    let mut file = File::create(&beside)?;
    if let Some(before) = before {
        file.set_permissions(before.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)
}

/// Puts the values in `text` over what is in `layers`.
///
/// # Errors
/// At the first syntax error, unknown key or bad value, with its line and column.
pub(crate) fn apply(path: &Path, text: &str, layers: &mut Layers) -> Result<(), ConfigError> {
    let document = Document { path, text };
    let root = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        at: document
            .source(error.span().map_or(0, |span| span.start))
            .to_string(),
        reason: one_line(error.message()),
    })?;
    document.apply("", root.get_ref(), layers)
}

struct Document<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Document<'_> {
    fn apply(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        layers: &mut Layers,
    ) -> Result<(), ConfigError> {
        // In the order of the file, so that the first error is the topmost.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let key = format!("{prefix}{}", name.get_ref());
            let section = format!("{key}.");
            if let Some(setting) = setting::find(&key) {
                let read = setting.kind.read_toml(value.get_ref());
                layers.put(setting, read, self.source(value.span().start))?;
            } else if SETTINGS
                .iter()
                .any(|setting| setting.key.starts_with(&section))
            {
                let DeValue::Table(table) = value.get_ref() else {
                    return Err(ConfigError::Syntax {
                        at: self.source(value.span().start).to_string(),
                        reason: format!("{key} is a section: write [{key}] and its keys below it"),
                    });
                };
                self.apply(&section, table, layers)?;
            } else {
                let at = self.source(name.span().start).to_string();
                return Err(match value.get_ref() {
                    DeValue::Table(table) if prefix.is_empty() => {
                        // The first key below tells best which section was meant.
                        let below = table
                            .iter()
                            .next()
                            .map(|(name, _)| format!("{key}.{}", name.get_ref()));
                        ConfigError::unknown_key(at, below.as_deref().unwrap_or(&key))
                    }
                    _ => ConfigError::unknown_key(at, &key),
                });
            }
        }
        Ok(())
    }

    fn source(&self, offset: usize) -> Source {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Source::File(self.path.into(), line, column)
    }
}
