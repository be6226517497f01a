//! What the `holdfast` binary does: command line → command; and `run` is configuration → permissions →
//! policies → lock → kernel → run → drain (see [`command`]).

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

mod allocator;
mod cgroup_namespace;
mod cli;
mod command;
mod config;
mod confinement;
mod control;
mod failure;
mod fanotify;
mod instance;
mod kernel;
mod loader;
mod logging;
mod metrics;
mod nearest;
mod output;
mod policies;
mod preflight;
mod privilege;
mod protection;
mod reload;
mod sensor;
mod since;
mod uplink;

#[cfg(fuzzing)]
pub use config::fuzzing;
use failure::Failure;

/// Does what the command line says; the exit code is in `holdfast --help`.
#[must_use]
pub fn main() -> ExitCode {
    logging::panics_are_one_line();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match command::execute(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints help where it was asked for, and else what is wrong with the command line, in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // Nothing can be done about a stdout that does not take the help.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let said = text.split("Usage:").next().unwrap_or_default();
    let said = failure::one_line(said.trim_start_matches("error: "));
    let failure = Failure::Usage(format!("{said}; see `holdfast --help`"));
    say(&failure);
    ExitCode::from(failure.exit_code())
}

fn say(failure: &Failure) {
    if let Some(line) = failure.line() {
        eprintln!("holdfast: {line}");
    }
}
