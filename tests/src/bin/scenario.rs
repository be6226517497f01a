//! The scenarios, as a program: run natively, as `/init` of a guest, and as the offender in them.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use holdfast_tests::bench::Bench;
use holdfast_tests::report::{Failures, Outcome, Totals};
use holdfast_tests::runner::{self, Setting};
use holdfast_tests::scenario::{self, Scenario};
use holdfast_tests::{act, init, native};

const USAGE: &str = "usage: scenario list
       scenario run [PATTERN[,PATTERN…]] [--holdfast FILE] [--fault FILE] [--server FILE] [--policies DIR] [--dir DIR]
       scenario bench FILE SECONDS [RATE…]
       scenario act DEED ARGUMENT…";

fn main() -> ExitCode {
    // The first process of a pid namespace of a scenario's own is one, too, and does what it is told.
    let is_told = std::env::args().nth(1).is_some_and(|word| word == "act");
    let result = if rustix::process::getpid().is_init() && !is_told {
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
        ("bench", [file, seconds, rates @ ..]) => bench(setting, file, seconds, rates),
        ("guest", []) => init::in_system().map(|()| 0),
        ("one", [name]) => runner::one(setting, name),
        _ => bail!("{USAGE}"),
    }
}

/// Measures what a sensor takes here, and each rate, or those that are tried by themselves; writes what came of it.
fn bench(setting: Setting, file: &str, seconds: &str, rates: &[String]) -> Result<i32> {
    let number = |text: &str| {
        text.parse()
            .with_context(|| format!("'{text}' is no number"))
    };
    let rates: Vec<u32> = rates
        .iter()
        .map(|rate| number(rate))
        .collect::<Result<_>>()?;
    let time = Duration::from_secs(number(seconds)?.into());
    let dir = setting.dir.join("bench");
    let bench = Bench::new(Setting { dir, ..setting })?;
    let figures = native::figures(&bench, &rates, time)?;
    fs::write(file, format!("{figures:#}\n")).with_context(|| format!("write {file}"))?;
    // What the sensor wrote is gigabytes.
    fs::remove_dir_all(&bench.setting.dir).context("remove the bench's directory")?;
    Ok(0)
}

fn run(setting: &Setting, pattern: &str) -> Result<i32> {
    let chosen: Vec<&Scenario> = scenario::matching(pattern, &setting.place);
    if chosen.is_empty() {
        bail!("no scenario for {} matches '{pattern}'", setting.place);
    }
    let mut failures = Failures::default();
    let mut verdicts = BTreeMap::new();
    for scenario in &chosen {
        let outcome = runner::run(setting, scenario);
        tell(&outcome);
        failures.note(&setting.place, &outcome);
        verdicts.insert(scenario.name, outcome.verdict);
    }
    let again = failures.again(&setting.place);
    for scenario in chosen.iter().filter(|it| again.contains(&it.name)) {
        let outcome = runner::run(setting, scenario).again();
        tell(&outcome);
        verdicts.insert(scenario.name, outcome.verdict);
    }
    let mut totals = Totals::default();
    verdicts.into_values().for_each(|it| totals.add(it));
    print!("\n{failures}");
    println!("{totals}");
    Ok(i32::from(!totals.good()))
}

fn tell(outcome: &Outcome) {
    let seconds = outcome.took.as_secs_f64();
    let (name, word) = (&outcome.scenario, outcome.verdict.word());
    println!("{name:<28} {word:<8} {seconds:>6.1} s  {}", outcome.reason);
    outcome.log.iter().for_each(|line| println!("    | {line}"));
}
