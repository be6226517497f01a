//! The commands, one file for each family.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;
use serde_json::json;

use crate::bundle::{self, Signer};
use crate::cli::{Command, Data};
use crate::clock::{now, rfc3339};
use crate::secret;
use crate::store::{self, Address, Connection, accounts};

mod destinations;
mod key;
mod run;
mod sensor;
mod simulate;
mod token;
mod user;

/// Who the audit log names for what a command changed.
const ACTOR: &str = "command line";
/// Events after which it is shown how many were brought.
const SHOWN_EVERY: i64 = 100_000;
/// Bytes of a file with a password that are read.
const MAX_PASSWORD_FILE: u64 = 4096;

/// Does what the command line asks for.
pub(crate) fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(arguments) => run::run(*arguments),
        Command::Key(arguments) => key::key(arguments),
        Command::Sensor(arguments) => sensor::sensor(arguments),
        Command::User(arguments) => user::user(arguments),
        Command::Token(arguments) => token::token(arguments),
        Command::Backup { file, data } => {
            let connection = open(&data)?;
            store::backup(&connection, &file)?;
            text(&format!("{}\n", file.display()))
        }
        Command::Restore {
            file,
            replace,
            data,
        } => {
            store::restore(&data.place()?, file.as_deref(), replace)?;
            let (sensors, latest) = changed(&data, "store.restore", |connection| {
                let seed = store::bundles::seed(connection, &secret::random()?)?;
                bundle::after_restore(connection, &signer(&seed)?, ACTOR, now())?;
                let latest = store::events::latest(connection)?;
                let sensors = store::sensors::count(connection)?;
                let detail = file.map(|file| file.display().to_string());
                Ok(((sensors, latest), detail.unwrap_or_default()))
            })?;
            let latest = latest.map_or("none".to_owned(), rfc3339);
            text(&format!(
                "restored: {sensors} sensors; the last event came: {latest}\n\
                 Sensors whose tokens were replaced since are refused until `holdfast-server sensor allow-enrol --all`.\n"
            ))
        }
        Command::Move { from, database } => {
            store::carry(&from, &Address::new(database.expose())?, |table, rows| {
                // Of events as often as somebody waits for it.
                if table != "event" || rows % SHOWN_EVERY == 0 {
                    eprintln!("{table}: {rows}");
                }
            })?;
            text("all is there\n")
        }
        Command::Simulate(arguments) => simulate::simulate(arguments),
        Command::Version { json } => version(json),
    }
}

fn version(json: bool) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        print(&json!({"version": version}))
    } else {
        text(&format!("holdfast-server {version}\n"))
    }
}

/// The store of a command; it is made by `run` and by the commands that put something into it.
fn open(data: &Data) -> anyhow::Result<Connection> {
    Ok(store::connect(&data.place()?)?)
}

/// Does `change` and notes it in the audit log, both or neither.
fn changed<T>(
    data: &Data,
    action: &str,
    change: impl FnOnce(&Connection) -> anyhow::Result<(T, String)>,
) -> anyhow::Result<T> {
    open(data)?.exclusively(|connection| {
        let (value, detail) = change(connection)?;
        accounts::audit(connection, ACTOR, "", action, &detail, now())?;
        Ok(value)
    })
}

/// What signs bundles, by its seed.
fn signer(seed: &[u8; 32]) -> anyhow::Result<Signer> {
    Signer::new(seed).ok_or_else(|| anyhow!("the key that signs bundles cannot be used"))
}

/// The password in a file, without the newline at its end.
fn password_of(file: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;

    let mut text = String::new();
    let opened =
        std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let read = opened.take(MAX_PASSWORD_FILE).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {}", file.display()))?;
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        bail!("{} is empty", file.display());
    }
    Ok(password.to_owned())
}

fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn print(value: &impl Serialize) -> anyhow::Result<()> {
    text(&format!("{}\n", serde_json::to_string(value)?))
}

/// Rows of cells, each column as wide as its widest.
fn table(rows: &[Vec<String>]) -> anyhow::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:<width$}  "))
            .collect();
        text(&format!("{}\n", line.trim_end()))?;
    }
    Ok(())
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}
