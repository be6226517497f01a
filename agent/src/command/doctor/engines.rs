//! Which container engines are here.

use holdfast_actors::runtime::engine::{self, Place, Socket};
use serde_json::{Value, json};

use crate::config::Config;
use crate::control::client::block_on;
use crate::failure::Failure;

/// Each socket that is set or was found, and whether an engine answers there.
pub(super) fn found(config: &Config) -> Result<Value, Failure> {
    let mut found = Vec::new();
    for place in config.engines() {
        let present = place.present();
        if let (Place::At(socket), true) = (&place, present.is_empty()) {
            found.push(described(socket, Err("there is no such socket".to_owned())));
        }
        for socket in present {
            let version = block_on(async { Ok(engine::version(&socket).await) })?;
            found.push(described(&socket, version));
        }
    }
    Ok(found.into())
}

fn described(socket: &Socket, version: Result<String, String>) -> Value {
    json!({"runtime": socket.runtime, "api": socket.api(), "socket": socket.path,
           "version": version.as_ref().ok(), "reason": version.as_ref().err()})
}

/// One line for people.
pub(super) fn line(engines: &Value) -> String {
    let text = |engine: &Value, key: &str| engine[key].as_str().unwrap_or_default().to_owned();
    let of = |engine: &Value| {
        let (mut runtime, socket) = (text(engine, "runtime"), text(engine, "socket"));
        if engine["api"] == "cri" {
            runtime.push_str(" (CRI)");
        }
        match engine["version"].as_str() {
            Some(version) => format!("{runtime} {version} at {socket}"),
            None => format!("no {runtime} at {socket} ({})", text(engine, "reason")),
        }
    };
    let engines: Vec<String> = engines.as_array().into_iter().flatten().map(of).collect();
    if engines.is_empty() {
        "none are asked: runtime.docker, runtime.containerd and runtime.cri name none".to_owned()
    } else {
        engines.join("; ")
    }
}
