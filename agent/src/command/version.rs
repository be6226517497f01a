//! `holdfast version`

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const ABI: u16 = holdfast_wire::ABI_VERSION;
const MACHINE: &str = std::env::consts::ARCH;

/// What this binary is.
pub(super) fn facts() -> Value {
    json!({"version": VERSION, "abi": ABI, "machine": MACHINE})
}

pub(super) fn version(json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&facts());
    }
    output::text(&format!(
        "holdfast {VERSION} ({MACHINE}, kernel ABI {ABI})\n"
    ))
}
