//! `holdfast events`: events as they happen, and from the event log.

use std::collections::HashSet;
use std::io::{self, BufRead, Write};

use holdfast_policy::expression::Filter;
use serde_json::Value;

use crate::cli::Events;
use crate::control::client::{Client, Stream, block_on};
use crate::failure::Failure;

mod log;
mod pretty;
mod reader;

pub(super) use pretty::{line, plain};

pub(super) fn events(arguments: &Events) -> Result<(), Failure> {
    let filter = arguments.filter.as_deref().map(Filter::parse).transpose();
    let filter = filter.map_err(|problem| Failure::Usage(format!("--filter: {problem}")))?;
    let config = arguments.show.settings.inputs().load()?;
    let client = Client::new(&config);
    let mut printer = Printer {
        filter,
        json: arguments.show.json,
        skip: HashSet::new(),
    };

    let Some(since) = &arguments.since else {
        return block_on(async { follow(client.follow("/v1/events").await?, &mut printer).await });
    };
    if !log::exists(&config.log.dir) {
        let log = format!("there is no event log in {}", config.log.dir.display());
        return Err(if client.is_running() {
            Failure::No(format!("{log}: name the sensor's with --set log.dir=DIR"))
        } else {
            Failure::NotRunning(format!(
                "{log}, and the sensor is not running: start it with `holdfast run`"
            ))
        });
    }
    if !arguments.follow {
        return recorded(&config.log.dir, since, None, &mut printer);
    }
    block_on(async {
        // Subscribed before the log is read, so that nothing falls between them; what is in both is
        // told by its id. An event that the log had not yet taken at that moment comes live.
        let now = crate::since::now();
        let stream = client.follow("/v1/events").await?;
        recorded(&config.log.dir, since, Some(&now), &mut printer)?;
        follow(stream, &mut printer).await
    })
}

/// Prints what the event log has from `since` on, and remembers the ids of events from `overlap` on.
fn recorded(
    directory: &std::path::Path,
    since: &str,
    overlap: Option<&str>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    for file in log::files(directory)? {
        for line in io::BufReader::new(file).lines() {
            let line = line?;
            // The last line of a sensor that was killed may be cut.
            let Ok(event) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            let Some(time) = event["@timestamp"].as_str().filter(|time| *time >= since) else {
                continue;
            };
            printer.print(&line, &event)?;
            if overlap.is_some_and(|overlap| time >= overlap) {
                printer.skip.insert(id(&event).to_owned());
            }
        }
    }
    Ok(())
}

async fn follow(mut stream: Stream, printer: &mut Printer) -> Result<(), Failure> {
    let mut gone = std::pin::pin!(reader::gone());
    loop {
        let line = tokio::select! {
            line = stream.line() => line?,
            () = &mut gone => return Err(Failure::OutputClosed),
        };
        let Some(line) = line else { return Ok(()) };
        let line = String::from_utf8_lossy(&line);
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if let Some(lost) = event["holdfast"]["lost"].as_u64() {
            eprintln!("holdfast: {lost} events were not shown: this reader is too slow");
        } else if !printer.skip.remove(id(&event)) {
            printer.print(&line, &event)?;
        }
    }
}

fn id(event: &Value) -> &str {
    event["event"]["id"].as_str().unwrap_or_default()
}

struct Printer {
    filter: Option<Filter>,
    json: bool,
    /// Ids of events that were printed from the log and come again.
    skip: HashSet<String>,
}

impl Printer {
    fn print(&self, line: &str, event: &Value) -> Result<(), Failure> {
        if self
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.matches(event))
        {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}", pretty::line(event))?;
        }
        Ok(())
    }
}
