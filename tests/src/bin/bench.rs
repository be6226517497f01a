//! The tables of what was measured: printed, and kept in `docs/performance.md`; and what was counted beside what is recorded.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use holdfast_tests::cost::record;
use holdfast_tests::goals::{Measured, Table, page};
use serde_json::{Value, json};

const USAGE: &str = "usage: bench report DIR [--holdfast FILE] | bench keep DIR [--holdfast FILE] | bench compare FILE";
/// The guests whose clocks count instructions.
const GUEST: &str = "6.12+icount";
const PEERS: &str = "6.12+peers";
const PAGE: &str = "docs/performance.md";
/// Between these lines of the page the tables stand.
const MARKS: [&str; 2] = [
    "<!-- figures: made by `make bench` -->\n",
    "<!-- end of figures -->\n",
];

fn main() -> ExitCode {
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["compare", costs] = args.as_slice() {
        return compare(Path::new(costs));
    }
    let (command, dir, binary) = match args.as_slice() {
        [command, dir] => (*command, Path::new(dir), Path::new("dist/holdfast")),
        [command, dir, "--holdfast", binary] => (*command, Path::new(dir), Path::new(binary)),
        _ => bail!("{USAGE}"),
    };
    let guest = read(&dir.join("guest.json"))?;
    let size = fs::metadata(binary).with_context(|| format!("look at {}", binary.display()))?;
    let measured = json!({
        "guest": guest[GUEST], "peers": guest[PEERS]["cost-peers"],
        "native": read(&dir.join("native.json"))?, "binary": size.len(),
    });
    let table = Table::of(&measured);
    match command {
        "report" => {
            print!("\n{table}");
            let file = dir.join("goals.json");
            let text = format!("{:#}\n", table.json());
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))
        }
        "keep" => keep(&table, &measured),
        _ => bail!("{USAGE}"),
    }
}

/// Prints what was counted by path, and fails where one has become dearer than recorded.
fn compare(costs: &Path) -> Result<()> {
    let found = serde_json::from_value(read(costs)?).context("instructions by path")?;
    for (path, instructions) in &found {
        println!("{instructions:>8} instructions: {path}");
    }
    record::compare(&found)
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

/// Puts the tables where the page has the last ones.
fn keep(table: &Table, measured: &Measured) -> Result<()> {
    let [begin, end] = MARKS;
    let page = fs::read_to_string(PAGE).with_context(|| format!("read {PAGE}"))?;
    let (head, rest) = page
        .split_once(begin)
        .with_context(|| format!("{PAGE} has no {begin}"))?;
    let (_, tail) = rest
        .split_once(end)
        .with_context(|| format!("{PAGE} has no {end}"))?;
    let page = [
        head,
        begin,
        &table.markdown(),
        &page::tables(measured),
        end,
        tail,
    ]
    .concat();
    fs::write(PAGE, page).with_context(|| format!("write {PAGE}"))
}
