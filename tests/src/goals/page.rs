//! The tables of `docs/performance.md` beside that of the goals.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Measured, shown};
use crate::cost::Operation;

/// All of them, each below its heading.
pub fn tables(measured: &Measured) -> String {
    [operations(measured), programs(measured), peers(measured)].concat()
}

fn cell(value: &Value) -> String {
    value.as_f64().map_or("–".to_owned(), shown)
}

fn operations(measured: &Measured) -> String {
    let mut text = "\n## Each operation\n\nInstructions: without a sensor, and what a sensor adds in line and in its own process.\n\n\
        | | without | by default, in line | agent | shipped policies, in line | agent | nothing asked, in line |\n\
        |---|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let guest = &measured["guest"];
    let (costs, rest) = (&guest["cost-operations"], &guest["cost-at-rest"]);
    let row = |text: &mut String, what: &str, name: &str, by_default: &Value| {
        let (shipped, unasked) = (&rest["shipped"][name], &rest["unasked"]["costs"][name]);
        let cells = [
            &costs["without"][name],
            &by_default[name]["in_line"],
            &by_default[name]["agent"],
            &shipped["in_line"],
            &shipped["agent"],
            &unasked["in_line"],
        ];
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {what} | {} |", cells.map(cell).join(" | "));
    };
    for operation in Operation::ALLOWED {
        row(
            &mut text,
            operation.name(),
            operation.name(),
            &costs["default"],
        );
    }
    let _ = writeln!(
        text,
        "| open, reported | {} | {} | {} | – | – | – |",
        cell(&costs["without"]["open"]),
        cell(&costs["opens"]["open"]["in_line"]),
        cell(&costs["opens"]["open"]["agent"])
    );
    row(
        &mut text,
        "open, refused and reported",
        "refused",
        &costs["default"],
    );
    text
}

fn programs(measured: &Measured) -> String {
    let mut text = "\n## Which programs that is\n\nBy default, per operation, as the kernel counts its programs' runs (`BPF_ENABLE_STATS`).\n\n\
        | operation | program | runs | instructions |\n|---|---|--:|--:|\n"
        .to_owned();
    let all = &measured["guest"]["cost-operations"]["programs"];
    for (operation, programs) in all.as_object().into_iter().flatten() {
        for (program, found) in programs.as_object().into_iter().flatten() {
            let (runs, instructions) = (cell(&found["runs"]), cell(&found["instructions"]));
            let _ = writeln!(
                text,
                "| {operation} | `{program}` | {runs} | {instructions} |"
            );
        }
    }
    text
}

fn peers(measured: &Measured) -> String {
    let mut text = "\n## Beside other tools\n\nInstructions for each operation, in the same guest and by the same load; of auditd with \
        the kernel's thread that feeds it. Told: lines written of so many operations.\n\n\
        | tool | operation | in line | in its processes | told of | done |\n|---|---|--:|--:|--:|--:|\n"
        .to_owned();
    for (tool, found) in measured["peers"].as_object().into_iter().flatten() {
        if let Some(why) = found["failed"].as_str() {
            let _ = writeln!(text, "| {tool} | not measured: {why} | | | | |");
            continue;
        }
        let costs = ["exec", "open"]
            .into_iter()
            .find(|name| found[name].is_object());
        let Some(operation) = costs else { continue };
        let cost = &found[operation];
        let cells = [
            &cost["in_line"],
            &cost["agent"],
            &found["told"],
            &found["done"],
        ];
        let _ = writeln!(
            text,
            "| {tool} | {operation} | {} |",
            cells.map(cell).join(" | ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_measured_is_said_and_has_no_figure() {
        let text = tables(&json!({
            "guest": {"cost-operations": {"without": {"open": 5754}}},
            "peers": {"a": {"failed": "no such file"}, "b": {"open": {"in_line": 7, "agent": 12_000}, "told": 3, "done": 3}},
        }));
        assert!(
            text.contains("| open | 5,754 | – | – | – | – | – |\n"),
            "{text}"
        );
        assert!(
            text.contains("| a | not measured: no such file | | | | |\n"),
            "{text}"
        );
        assert!(
            text.contains("| b | open | 7 | 12,000 | 3 | 3 |\n"),
            "{text}"
        );
    }
}
