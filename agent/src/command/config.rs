//! `holdfast config`: settings, and where their values come from.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::cli::{Config, ConfigFile};
use crate::config::kind::{Kind, bytes, duration};
use crate::config::{self, ConfigError, DEFAULT_PATH, Inputs, Layers, Source, setting};
use crate::control::client::Client;
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::reload::TAKEN_OVER;

pub(super) fn config(arguments: &Config) -> Result<(), Failure> {
    match arguments {
        Config::Show { effective, show } => {
            let layers = show.settings.inputs().layers()?;
            if show.json {
                show_json(&layers, *effective)
            } else {
                show_text(&layers, *effective)
            }
        }
        Config::Get { key, show } => {
            let layers = show.settings.inputs().layers()?;
            let Some(resolved) = layers.get(key) else {
                return Err(ConfigError::unknown_key("config get".into(), key).into());
            };
            if show.json {
                output::json(resolved)
            } else {
                output::text(&format!("{}\n", plain(&resolved.shown())))
            }
        }
        Config::Set { key, value, file } => {
            let path = file.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
            config::set(path, key, value)?;
            let then = taken_over(key, file)?;
            output::text(&format!("{key} is set in {}{then}\n", path.display()))
        }
        Config::Unset { key, file } => {
            let path = file.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
            if !config::unset(path, key)? {
                let path = path.display();
                return Err(Failure::No(format!("{path} does not set {key}")));
            }
            let then = taken_over(key, file)?;
            output::text(&format!("{key} is unset in {}{then}\n", path.display()))
        }
    }
}

/// What the running sensor makes of a setting that was changed in the file; nothing where none runs.
fn taken_over(key: &str, file: &ConfigFile) -> Result<String, Failure> {
    let inputs = Inputs {
        file: file.config.clone(),
        flags: Vec::new(),
    };
    let (path, layers) = (file.config.as_deref(), inputs.layers()?);
    let path = path.unwrap_or(Path::new(DEFAULT_PATH));
    let source = layers.get(key).map(|resolved| &resolved.source);
    if let Some(other @ Source::File(of, ..)) = source
        && of != path
    {
        return Ok(format!("; but {other} says otherwise, and wins"));
    }
    let client = Client::new(&inputs.load()?);
    if !client.is_running() {
        return Ok(String::new());
    }
    if key != "log.level" {
        let how = if TAKEN_OVER.contains(&key) {
            "`holdfast policy reload` makes the running sensor take it over"
        } else {
            "the running sensor takes it over when it is started again"
        };
        return Ok(format!("; {how}"));
    }
    let now = client.post("/v1/log")?;
    let (level, source) = (plain(&now["value"]), plain(&now["source"]));
    Ok(format!(
        "; the running sensor logs by {level} now ({source})"
    ))
}

fn show_json(layers: &Layers, effective: bool) -> Result<(), Failure> {
    let shown: BTreeMap<_, _> = layers
        .iter()
        .filter(|(_, resolved)| effective || resolved.source != Source::Default)
        .collect();
    output::json(&shown)
}

fn show_text(layers: &Layers, effective: bool) -> Result<(), Failure> {
    let mut table = Table::new(["SETTING", "VALUE", "FROM", "MEANS"]);
    let mut shown = 0;
    for setting in setting::SETTINGS {
        let Some(resolved) = layers.get(setting.key) else {
            continue;
        };
        if !effective && resolved.source == Source::Default {
            continue;
        }
        shown += 1;
        let value = match setting.kind {
            Kind::Bytes { .. } => resolved.value.as_i64().map_or_else(String::new, bytes),
            Kind::Duration { .. } => resolved.value.as_i64().map_or_else(String::new, duration),
            _ => plain(&resolved.shown()),
        };
        let doc = format!("{} ({})", setting.doc, setting.kind);
        table.row([setting.key.into(), value, resolved.source.to_string(), doc]);
    }
    if shown == 0 {
        return output::text(
            "every setting has its default: `holdfast config show --effective` lists them\n",
        );
    }
    output::text(&table.render(0))
}

/// A value as it would be given in the environment.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(entries) => entries.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
