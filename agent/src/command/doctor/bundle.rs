//! `--bundle`: what whoever helps wants to know, as one document that can be read before it is given away.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::version;
use crate::config::Layers;
use crate::control::client::Client;
use crate::failure::Failure;

/// The bundle around what `doctor` found. No events, no text of policies and no environment are in it; of
/// settings, all values but those of secrets, and where they come from.
pub(super) fn bundle(doctor: &Value, layers: &Layers, client: &Client) -> Result<Value, Failure> {
    let running = doctor["running"] == true;
    let ask = |path| {
        if running {
            client.get(path)
        } else {
            Ok(Value::Null)
        }
    };
    let settings: BTreeMap<_, _> = layers.iter().collect();
    Ok(json!({
        "version": version::facts(),
        "doctor": doctor,
        "settings": settings,
        "status": ask("/v1/status")?,
        "policies": ask("/v1/policies")?,
    }))
}
