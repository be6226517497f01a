//! One setting in the text of a configuration file: everything else in it stays as it is, comments and order among it.
//! Pure.

use serde_json::Value as Json;
use toml_edit::{Array, DocumentMut, Item, TableLike, Value, table};

use super::setting::Setting;
use crate::failure::one_line;

/// The text with `setting` set to `value`, which is of its kind.
///
/// # Errors
/// In one line, when the text is no TOML, or has the setting's section as something else.
pub(crate) fn set(text: &str, setting: &Setting, value: &Json) -> Result<String, String> {
    let mut document = parse(text)?;
    let (section, name) = split(setting.key);
    let place: &mut dyn TableLike = match section {
        Some(section) => document
            .entry(section)
            .or_insert_with(table)
            .as_table_like_mut()
            .ok_or_else(|| format!("{section} is no section"))?,
        None => document.as_table_mut(),
    };
    let mut new = toml(value).ok_or("it is of no kind that a file can have")?;
    match place.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            // A comment behind it stays.
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            place.insert(name, Item::Value(new));
        }
    }
    Ok(document.to_string())
}

/// The text without `setting`; `None` where it is not in it.
///
/// # Errors
/// As [`set`].
pub(crate) fn unset(text: &str, setting: &Setting) -> Result<Option<String>, String> {
    let mut document = parse(text)?;
    let (section, name) = split(setting.key);
    let place: Option<&mut dyn TableLike> = match section {
        Some(section) => document.get_mut(section).and_then(Item::as_table_like_mut),
        None => Some(document.as_table_mut()),
    };
    let removed = place.and_then(|place| place.remove(name));
    Ok(removed.map(|_| document.to_string()))
}

fn parse(text: &str) -> Result<DocumentMut, String> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| one_line(error.message()))
}

/// Section, if it is in one, and name.
fn split(key: &str) -> (Option<&str>, &str) {
    match key.split_once('.') {
        Some((section, name)) => (Some(section), name),
        None => (None, key),
    }
}

/// The normal form of a setting's value, as TOML.
fn toml(value: &Json) -> Option<Value> {
    Some(match value {
        Json::String(text) => text.as_str().into(),
        Json::Bool(flag) => (*flag).into(),
        Json::Number(number) => number.as_i64()?.into(),
        Json::Array(entries) => {
            let entries: Option<Array> = entries.iter().map(toml).collect();
            entries?.into()
        }
        Json::Null | Json::Object(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::{SETTINGS, find};

    const TEXT: &str =
        "# Ours.\nmode = \"observe\" # for now\n\n[log]\n# Five is enough.\nfiles = 5\n";

    fn changed(text: &str, key: &str, value: &str) -> String {
        let setting = find(key).unwrap();
        set(text, setting, &setting.kind.read_text(value).unwrap()).unwrap()
    }

    #[test]
    fn what_else_is_there_stays() {
        let text = changed(TEXT, "mode", "enforce");
        assert_eq!(text, TEXT.replace("observe", "enforce"));
        let text = changed(TEXT, "log.level", "debug");
        assert_eq!(text, format!("{TEXT}level = \"debug\"\n"));
        let text = changed(TEXT, "events.report", "file.*,process.exec");
        assert!(text.starts_with(TEXT), "{text}");
        assert!(
            text.ends_with("[events]\nreport = [\"file.*\", \"process.exec\"]\n"),
            "{text}"
        );
    }

    #[test]
    fn what_was_set_can_be_unset() {
        let mode = find("mode").unwrap();
        assert_eq!(unset("", mode).unwrap(), None);
        let level = find("log.level").unwrap();
        assert_eq!(unset(TEXT, level).unwrap(), None);
        let text = changed(TEXT, "log.level", "debug");
        assert_eq!(unset(&text, level).unwrap().as_deref(), Some(TEXT));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        let level = find("log.level").unwrap();
        let value = Json::from("debug");
        assert!(set("log = 1", level, &value).is_err());
        assert!(set("[log", level, &value).is_err());
        assert!(unset("[log", level).is_err());
    }

    #[test]
    fn every_default_can_be_written() {
        for setting in SETTINGS {
            let value = setting.kind.read_text(setting.default).unwrap();
            let text = set("", setting, &value).unwrap();
            assert!(unset(&text, setting).unwrap().is_some(), "{}", setting.key);
        }
    }
}
