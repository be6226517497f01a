//! The commands, one per file.

use crate::cli::{Command, Settings};
use crate::control::client::Client;
use crate::failure::Failure;

mod actors;
mod config;
mod containers;
mod doctor;
mod events;
mod maintenance;
mod namespaces;
mod policy;
mod processes;
mod recorded;
mod replay;
mod run;
mod status;
mod stop;
mod version;

/// Does what the command line asks for.
///
/// # Errors
/// Why it was not done.
pub(crate) fn execute(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Run(arguments) => run::run(arguments),
        Command::Doctor(arguments) => doctor::doctor(arguments),
        Command::Status(arguments) => status::status(arguments),
        Command::Events(arguments) => events::events(arguments),
        Command::Replay(arguments) => replay::replay(arguments),
        Command::Policy(arguments) => policy::policy(arguments),
        Command::Actors(arguments) => actors::actors(arguments),
        Command::Containers(arguments) => containers::containers(arguments),
        Command::Namespaces(arguments) => namespaces::namespaces(arguments),
        Command::Processes(arguments) => processes::processes(arguments),
        Command::Config(arguments) => config::config(arguments),
        Command::Maintenance(arguments) => maintenance::maintenance(arguments),
        Command::Stop(arguments) => stop::stop(arguments),
        Command::Version { json } => version::version(*json),
    }
}

/// The way to the running sensor.
fn client(settings: &Settings) -> Result<Client, Failure> {
    Ok(Client::new(&settings.inputs().load()?))
}
