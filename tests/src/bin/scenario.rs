//! The scenarios, as a program: run natively, as `/init` of a guest, and as the offender in them.

use std::process::ExitCode;

use anyhow::{Result, bail};
use holdfast_tests::report::{Totals, Verdict};
use holdfast_tests::runner::{self, Setting};
use holdfast_tests::scenario::{self, Scenario};
use holdfast_tests::{act, init};

const USAGE: &str = "usage: scenario list
       scenario run [PATTERN[,PATTERN…]] [--holdfast FILE] [--fault FILE] [--policies DIR] [--dir DIR]
       scenario act DEED ARGUMENT…";

fn main() -> ExitCode {
    let result = if rustix::process::getpid().is_init() {
        init::main().map(|()| 0)
    } else {
        command()
    };
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("scenario: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn command() -> Result<i32> {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    if command == "act" {
        return act::main(&args.collect::<Vec<_>>());
    }
    let mut setting = Setting::native();
    let rest = setting.take_options(args)?;
    match (command.as_str(), rest.as_slice()) {
        ("list", []) => {
            for scenario in scenario::all() {
                println!("{:<28} {}", scenario.name, scenario.about);
            }
            Ok(0)
        }
        ("run", [] | [_]) => run(&setting, rest.first().map_or("", String::as_str)),
        ("one", [name]) => runner::one(setting, name),
        _ => bail!("{USAGE}"),
    }
}

fn run(setting: &Setting, pattern: &str) -> Result<i32> {
    let chosen: Vec<&Scenario> = scenario::matching(pattern, &setting.place);
    if chosen.is_empty() {
        bail!("no scenario for {} matches '{pattern}'", setting.place);
    }
    let mut totals = Totals::default();
    for scenario in chosen {
        let outcome = runner::run(setting, scenario);
        totals.add(outcome.verdict);
        let seconds = outcome.took.as_secs_f64();
        let (name, word) = (scenario.name, outcome.verdict.word());
        println!("{name:<28} {word:<8} {seconds:>6.1} s  {}", outcome.reason);
        if outcome.verdict == Verdict::Failed {
            outcome.log.iter().for_each(|line| println!("    | {line}"));
        }
    }
    println!("{totals}");
    Ok(i32::from(!totals.good()))
}
