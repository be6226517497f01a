//! `docs/coverage.md`: which action was seen in which tier on which kernel, as the guests found it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::Value;

use super::kept::{Table, any_difference};
use crate::scenario::coverage::{COVERAGE, Seen, TIERS};

/// `docs/coverage.md`
pub const TABLE: Table = Table {
    name: "coverage.md",
    scenario: COVERAGE,
    write: |columns| {
        let guest = |(place, seen): &(String, Value)| Ok((place.clone(), Seen::deserialize(seen)?));
        let guests: Result<Vec<_>> = columns.iter().map(guest).collect();
        Ok(table(&guests.context("read what the guests have seen")?))
    },
    differs: any_difference,
};

const HEAD: &str = "\
# Which action is seen where

Found by `make guest-test`: in each guest kernel and for each tier, a program does the action once, and
its event must come with its fields (`tests/src/scenario/coverage.rs`). The letters are the tiers in
which it came. On an operation that `lsm` and `fmod_ret` see, they can refuse it. `process.exec` is
reported from a tracepoint in every tier, since only there the new program is in place; it is refused
at `security_bprm_check` all the same.
";

/// The table of what each guest has seen.
fn table(guests: &[(String, Seen)]) -> String {
    let mut text = HEAD.to_owned();
    let actions: BTreeSet<&str> = guests
        .iter()
        .flat_map(|(_, seen)| seen.keys().map(String::as_str))
        .collect();
    let legend: Vec<String> = TIERS
        .iter()
        .map(|(tier, initial)| format!("{initial} `{tier}`"))
        .collect();
    let kernels: Vec<&str> = guests.iter().map(|(kernel, _)| kernel.as_str()).collect();
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "\n{}.\n\n| action | {} |\n|---{}|\n",
        legend.join(", "),
        kernels.join(" | "),
        "|---".repeat(kernels.len()),
    );
    for action in actions {
        let cells: Vec<&str> = guests
            .iter()
            .map(|(_, seen)| seen.get(action).map_or("", String::as_str))
            .collect();
        let _ = writeln!(text, "| `{action}` | {} |", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_an_action_has_an_empty_cell() {
        let seen = |cells: &[(&str, &str)]| -> Seen {
            cells
                .iter()
                .map(|(action, tiers)| ((*action).to_owned(), (*tiers).to_owned()))
                .collect()
        };
        let guests = [
            ("5.10".to_owned(), seen(&[("file.open", "MT")])),
            (
                "6.1".to_owned(),
                seen(&[("file.open", "LMT"), ("file.chown", "L")]),
            ),
        ];
        let text = table(&guests);
        assert!(text.contains("| action | 5.10 | 6.1 |\n|---|---|---|\n"));
        assert!(text.ends_with("| `file.chown` |  | L |\n| `file.open` | MT | LMT |\n"));
    }
}
