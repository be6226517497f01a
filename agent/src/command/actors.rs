//! `holdfast actors`: the supervision tree of the running sensor.

use serde_json::Value;

use crate::cli::Show;
use crate::failure::Failure;
use crate::output::{self, Table};

pub(super) fn actors(arguments: &Show) -> Result<(), Failure> {
    let root = super::client(&arguments.settings)?.get("/v1/actors")?;
    if arguments.json {
        return output::json(&root);
    }
    output::text(&tree(&root, 0))
}

/// The tree as a table, one actor a line, each indented below its supervisor.
pub(super) fn tree(root: &Value, indent: usize) -> String {
    let mut table = Table::new([
        "ACTOR",
        "STATE",
        "STEP",
        "WAITING",
        "RESTARTS",
        "LAST ERROR",
    ]);
    add(&mut table, root, 0);
    table.render(indent)
}

/// The tree is as deep as supervision is; a bound keeps a wrong answer from recursing for ever.
const MAX_DEPTH: usize = 16;

fn add(table: &mut Table, actor: &Value, depth: usize) {
    let text = |key: &str| actor[key].as_str().unwrap_or_default().to_owned();
    table.row([
        format!("{}{}", "  ".repeat(depth), text("name")),
        text("state"),
        format!("{} ms", actor["step_ms"]),
        waiting(&actor["waiting"]),
        actor["restarts"].to_string(),
        text("last_error"),
    ]);
    if depth < MAX_DEPTH {
        for child in actor["children"].as_array().into_iter().flatten() {
            add(table, child, depth + 1);
        }
    }
}

/// What waits to be worked off by an actor.
fn waiting(waiting: &Value) -> String {
    let Some(unit) = waiting["unit"].as_str() else {
        return String::new();
    };
    format!("{} of {} {unit}", waiting["depth"], waiting["capacity"])
}
