//! Boots guest kernels, runs the scenarios in them and prints the table of results.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use holdfast_tests::guest::initramfs::Content;
use holdfast_tests::guest::kept::TABLES;
use holdfast_tests::guest::matrix::{self, Request};

const USAGE: &str = "usage: guest --scenario FILE [--kernels 'VERSION…'] [--tests PATTERN] \
    [--brief yes|no] [--holdfast FILE] [--fault FILE] [--policies DIR] [--dir DIR] [--notes FILE]";

fn main() -> ExitCode {
    match request().and_then(|request| run(&request)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("guest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is well.
fn run(request: &Request) -> Result<bool> {
    let results = matrix::run(request)?;
    if let Some(file) = &request.notes {
        let notes = format!("{:#}\n", results.notes());
        fs::write(file, notes).with_context(|| format!("write {}", file.display()))?;
    }
    let totals = results.totals();
    let tables: Vec<Result<()>> = TABLES
        .iter()
        .filter_map(|table| Some(table.compare(&results.columns(table.scenario)?, &request.dir)))
        .collect();
    print!("\n{results}\n");
    for error in tables.iter().filter_map(|compared| compared.as_ref().err()) {
        println!("{error:#}");
    }
    print!("{}", results.failures);
    println!("{totals}");
    Ok(totals.good() && tables.iter().all(Result::is_ok))
}

fn request() -> Result<Request> {
    let mut request = Request {
        kernels: Vec::new(),
        tests: String::new(),
        brief: false,
        content: Content {
            busybox: PathBuf::from("/bin/busybox"),
            holdfast: PathBuf::from("dist/holdfast"),
            fault: PathBuf::from("target/holdfast-fault"),
            scenario: PathBuf::new(),
            policies: PathBuf::from("policies"),
            hooks: PathBuf::from("ebpf/src"),
            dist: PathBuf::from("dist"),
        },
        dir: PathBuf::from("target/guest"),
        notes: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{name} needs a value\n{USAGE}"))?;
        match name.as_str() {
            "--kernels" => request.kernels = value.split_whitespace().map(str::to_owned).collect(),
            "--tests" => request.tests = value,
            "--brief" => request.brief = value == "yes",
            "--holdfast" => request.content.holdfast = value.into(),
            "--fault" => request.content.fault = value.into(),
            "--scenario" => request.content.scenario = value.into(),
            "--policies" => request.content.policies = value.into(),
            "--dir" => request.dir = value.into(),
            "--notes" => request.notes = Some(value.into()),
            _ => bail!("unknown option {name}\n{USAGE}"),
        }
    }
    Ok(request)
}
