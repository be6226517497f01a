//! The `holdfast-server` binary: command line → command; and `run` is store → first user → listener →
//! serve → stop (see [`command::run`]).

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

mod answer;
mod api;
mod app;
mod auth;
mod bundle;
mod cli;
mod client;
mod clock;
mod command;
mod compliance;
mod descriptors;
mod dryrun;
mod fleet;
mod forward;
mod ingest;
mod news;
mod ocsf;
mod retention;
mod rollout;
mod secret;
mod serve;
mod simulate;
mod store;
mod uplink;
mod web;

fn main() -> ExitCode {
    // Its own exit code for wrong use is the 2 that is documented.
    let cli = cli::Cli::parse();
    match command::execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_output(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The reader of the output went away, as `head` does.
fn is_closed_output(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
