//! The log on stderr, and what a panic looks like there.

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;

use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::config::levels;

mod json;
mod limit;

/// How lines are written: `log.format`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// For people, and for a journal.
    Text,
    /// An object each, for programs.
    Json,
}

/// Makes every panic one line, whatever `RUST_BACKTRACE` says: in the running sensor it is one
/// actor's, its supervisor knows what to do, and the line is for the report of a bug.
pub(crate) fn panics_are_one_line() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "holdfast", "internal error at {place}: {}", message(info));
        if !tracing::event_enabled!(target: "holdfast", tracing::Level::ERROR) {
            eprintln!("holdfast: internal error at {place}: {}", message(info));
        }
    }));
}

fn message(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload_as_str().unwrap_or("a panic without a message");
    crate::failure::one_line(text)
}

/// The filter of the running process, to be changed.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Logs to stderr what `levels` asks for, which is a value of `log.level`.
pub(crate) fn start(levels: &str, format: Format) {
    let (filter, handle) = reload::Layer::new(filter(levels));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        Format::Text => {
            let colour = colour(&io::stderr());
            lines.with_target(false).with_ansi(colour).boxed()
        }
        Format::Json => lines.event_format(json::Json).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines.with_filter(limit::Limit::default()))
        .init();
    // It is started once.
    let _ = FILTER.set(handle);
}

/// From now on what `levels` asks for is logged.
pub(crate) fn change(levels: &str) {
    // It fails where nothing is logged, which is as well.
    if let Some(handle) = FILTER.get() {
        let _ = handle.reload(filter(levels));
    }
}

fn filter(levels: &str) -> EnvFilter {
    // The value was checked when it was read.
    EnvFilter::new(levels::directives(levels).unwrap_or_default())
}

/// Whether to colour what goes to `stream`.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
