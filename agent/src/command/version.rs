//! `holdfast version`

use serde_json::json;

use crate::failure::Failure;
use crate::output;

pub(super) fn version(json: bool) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let abi = holdfast_wire::ABI_VERSION;
    let machine = std::env::consts::ARCH;
    if json {
        return output::json(&json!({"version": version, "abi": abi, "machine": machine}));
    }
    output::text(&format!(
        "holdfast {version} ({machine}, kernel ABI {abi})\n"
    ))
}
