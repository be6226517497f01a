//! The log on stderr, and what a panic looks like there.

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use tracing_subscriber::EnvFilter;

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

/// Logs to stderr from `level` on.
pub(crate) fn start(level: &str) {
    // The levels that the setting allows are directives that always parse.
    let filter = EnvFilter::new(format!("warn,holdfast={level},holdfast_actors={level}"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colour(&io::stderr()))
        .with_writer(io::stderr)
        .init();
}

/// Whether to colour what goes to `stream`.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
