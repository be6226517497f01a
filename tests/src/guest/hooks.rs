//! `docs/hooks.md`: which hooked function is in which kernel, as the guests found it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::kept::{Columns, Table, any_difference};
use crate::scenario::hooks::HOOKS;

const HEAD: &str = "\
# What the programs are attached to

Found by `make guest-test`: in each guest kernel the prototype above each `hook!` and each raw tracepoint
in `ebpf/src` is compared with the kernel's own declaration of it, in its BTF (`tests/src/scenario/hooks.rs`).
One that differs is an error. F: the function (or the tracepoint) is declared there, L: the BPF LSM hook
is. What is missing is younger than the kernel, or the compiler has left no copy of it whose declaration
holds; the action is then seen by other means, as [coverage.md](coverage.md) shows.

";

/// `docs/hooks.md`
pub const TABLE: Table = Table {
    name: "hooks.md",
    scenario: HOOKS,
    write: |columns| Ok(table(columns)),
    differs: any_difference,
};

fn table(columns: &Columns) -> String {
    let mut text = HEAD.to_owned();
    let kernels: Vec<&str> = columns.iter().map(|(kernel, _)| kernel.as_str()).collect();
    let names: BTreeSet<&str> = columns
        .iter()
        .filter_map(|(_, found)| found.as_object())
        .flat_map(|found| found.keys().map(String::as_str))
        .collect();
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "| hook | {} |\n|---{}|\n",
        kernels.join(" | "),
        "|---".repeat(kernels.len())
    );
    for name in names {
        let cells: Vec<&str> = columns
            .iter()
            .map(|(_, found)| found[name].as_str().unwrap_or_default())
            .collect();
        let _ = writeln!(text, "| `{name}` | {} |", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_function_that_a_kernel_lacks_has_an_empty_cell() {
        let columns = [
            (
                "5.10".to_owned(),
                json!({"security_a": "", "security_b": "F"}),
            ),
            (
                "6.1".to_owned(),
                json!({"security_a": "FL", "security_b": "F"}),
            ),
        ];
        let text = table(&columns);
        assert!(text.contains("| hook | 5.10 | 6.1 |\n|---|---|---|\n"));
        assert!(text.ends_with("| `security_a` |  | FL |\n| `security_b` | F | F |\n"));
        assert_eq!((TABLE.differs)(&text, &text), None);
        assert!((TABLE.differs)(&text, "| new |").is_some());
    }
}
