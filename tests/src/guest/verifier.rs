//! `docs/verifier.md`: how much of each program each kernel's verifier walks, as the guests found it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::Value;

use super::kept::Table;
use crate::scenario::verifier::{Became, Found, Refused, VERIFIER};

/// A program may grow by so many percent before the table has to be kept anew: what another compiler or
/// a kernel's update makes of the same program is less.
const GROWTH: u64 = 100;

const HEAD: &str = "\
# What the verifier walks

Found by `make guest-test`: each guest kernel verifies every program of the object, whatever tier it is
for (`holdfast doctor --programs`). The number is that of the instructions the verifier went through, each
as often as it came by, to three digits; a million is the most it takes, and its time grows with it. A
program that more than doubles on any kernel, is refused where it was not, or is new, fails the test until
the table is kept anew.

`-`: the kernel does not have the function. `no`: the kernel refuses the program, and its hook is in
another tier.

";

/// `docs/verifier.md`
pub const TABLE: Table = Table {
    name: "verifier.md",
    scenario: VERIFIER,
    write: |columns| {
        let guest =
            |(place, found): &(String, Value)| Ok((place.clone(), Found::deserialize(found)?));
        let guests: Result<Vec<_>> = columns.iter().map(guest).collect();
        Ok(table(&guests.context("read what the verifiers said")?))
    },
    differs,
};

fn table(guests: &[(String, Found)]) -> String {
    let mut text = HEAD.to_owned();
    let kernels: Vec<&str> = guests.iter().map(|(kernel, _)| kernel.as_str()).collect();
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "| program | {} |\n|---{}|\n",
        kernels.join(" | "),
        "|--:".repeat(kernels.len())
    );
    let programs = guests.iter().flat_map(|(_, found)| found.keys());
    for program in programs.collect::<std::collections::BTreeSet<_>>() {
        let cells: Vec<String> = guests
            .iter()
            .map(|(_, found)| found.get(program).map_or_else(String::new, cell))
            .collect();
        let _ = writeln!(text, "| `{program}` | {} |", cells.join(" | "));
    }
    text
}

fn cell(became: &Became) -> String {
    match became {
        Became::Verified(count) => rounded(*count).to_string(),
        Became::Refused(Refused::Missing) => "-".to_owned(),
        Became::Refused(Refused::Refused) => "no".to_owned(),
    }
}

/// To three digits.
fn rounded(count: u64) -> u64 {
    let mut unit = 1;
    while count / unit >= 1000 {
        unit *= 10;
    }
    (count + unit / 2) / unit * unit
}

/// The first cell that says less than was found.
fn differs(kept: &str, found: &str) -> Option<String> {
    let (kept, found) = (cells(kept), cells(found));
    found.iter().find_map(|(place, is)| {
        let was = kept.get(place).map_or("", String::as_str);
        let grown = match (was.parse::<u64>(), is.parse::<u64>()) {
            (Ok(was), Ok(is)) => is * 100 > was * (100 + GROWTH),
            // What is verified now and was not is no growth, save where it is new.
            (Err(_), Ok(_)) => was.is_empty(),
            _ => was != is,
        };
        let (program, kernel) = place;
        grown.then(|| format!("{program} on {kernel}: kept '{was}', found '{is}'"))
    })
}

/// By program and kernel.
fn cells(text: &str) -> BTreeMap<(String, String), String> {
    let split = |line: &str| -> Vec<String> {
        let line = line.trim_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows = text.lines().filter(|line| line.starts_with('|')).map(split);
    let kernels = rows.next().unwrap_or_default();
    let cells = rows.skip(1).flat_map(|row| {
        let program = row.first().cloned().unwrap_or_default();
        let cells = kernels.iter().zip(row).skip(1);
        let placed = cells.map(|(kernel, cell)| ((program.clone(), kernel.clone()), cell));
        placed.collect::<Vec<_>>()
    });
    cells.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(count: u64, other: Became) -> String {
        let found = |became| Found::from([("a".to_owned(), became)]);
        table(&[
            ("5.10".to_owned(), found(Became::Verified(count))),
            ("6.1".to_owned(), found(other)),
        ])
    }

    #[test]
    fn growth_is_found_and_little_is_forgiven() {
        let (missing, refused) = (Refused::Missing, Refused::Refused);
        let kept = found(10_000, Became::Refused(missing));
        assert!(kept.ends_with("| `a` | 10000 | - |\n"), "{kept}");
        for (count, other, differs) in [
            (10_000, Became::Refused(missing), false),
            (20_000, Became::Refused(missing), false),
            (5_000, Became::Verified(7), false),
            (20_100, Became::Refused(missing), true),
            (10_000, Became::Refused(refused), true),
        ] {
            let found = found(count, other);
            assert_eq!(super::differs(&kept, &found).is_some(), differs, "{found}");
        }
        assert!(super::differs("", &kept).unwrap().contains("`a` on 5.10"));
        assert_eq!(rounded(123_456), 123_000);
    }
}
