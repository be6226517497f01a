//! `docs/configuration.md`: every setting, from the table.

use std::fmt::Write as _;
use std::path::Path;

use super::kind::{Kind, bytes, duration};
use super::setting::{ENVIRONMENT_ALIASES, SETTINGS, Setting};

const INTRODUCTION: &str = "\
# Settings

Written by a test from the table in `agent/src/config/setting.rs`; `holdfast config show --effective` shows the same with the values in \
force and where each comes from.

Flags win over the environment, that over the files, and these over the defaults. The file is `/etc/holdfast/config.toml`, or what \
`--config` names; `*.toml` in the directory of its name with `.d` behind it come after it, in the order of their names. In a file, `section.name` stands as `name` below \
`[section]`. In the environment a list is separated by commas, that of `events.redact` by line ends. A key that there is not, or a value \
that a setting cannot have, is an error that says where it stands, and changes nothing.

`holdfast config set KEY VALUE` and `holdfast config unset KEY` change the file. `holdfast policy reload`, or SIGHUP, reads it again; \
what cannot change while the sensor runs is said to wait for a restart.
";

fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for setting in SETTINGS {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}", section(setting));
    }
    text
}

fn section(setting: &Setting) -> String {
    let Setting { key, kind, doc, .. } = setting;
    let environment = setting.environment();
    let aliases = ENVIRONMENT_ALIASES.iter().filter(|(_, of)| of == key);
    let variables: Vec<String> = std::iter::once(environment)
        .chain(aliases.map(|(alias, _)| (*alias).to_owned()))
        .map(|name| format!("`{name}`"))
        .collect();
    let default = match (kind, setting.default) {
        (_, "") => "none".to_owned(),
        (Kind::Bytes { .. }, text) => {
            let number = kind.read_text(text).ok().and_then(|it| it.as_i64());
            format!("`{}`", number.map_or_else(|| text.to_owned(), bytes))
        }
        (Kind::Duration { .. }, text) => {
            let number = kind.read_text(text).ok().and_then(|it| it.as_i64());
            format!("`{}`", number.map_or_else(|| text.to_owned(), duration))
        }
        (_, text) => format!("`{text}`"),
    };
    let later = if setting.available {
        ""
    } else {
        " Not in this version: only its default is taken."
    };
    let mut doc = (*doc).to_owned();
    if let Some(first) = doc.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!(
        "## `{key}`\n\n{doc}.{later}\n\n- takes {kind}\n- default: {default}\n- environment: {}\n",
        variables.join(", ")
    )
}

#[test]
fn the_page_of_settings_is_what_the_table_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let wanted = reference();
    let is = std::fs::read_to_string(&page).unwrap_or_default();
    if is != wanted {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/configuration.md");
        std::fs::write(&beside, &wanted).unwrap();
        panic!("docs/configuration.md is not what the table says; target/configuration.md is");
    }
}
