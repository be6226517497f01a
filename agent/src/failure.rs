//! How a command ends when it does not end well: one line for people, one exit code for scripts.

use std::io;

use anyhow::anyhow;

use crate::config::ConfigError;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The answer is no: a policy with errors, a failing test, a degraded sensor.
    #[error("{0}")]
    No(String),
    /// Wrong use: a flag, a key or a value that does not exist.
    #[error("{0}")]
    Usage(String),
    /// The sensor is not running.
    #[error("{0}")]
    NotRunning(String),
    /// This user may not do that.
    #[error("{0}")]
    NotPermitted(String),
    /// The sensor cannot start here; the text says what is missing.
    #[error("{0}")]
    CannotStart(String),
    /// Files with errors, or tests that failed: the answer is no. The first is shown, and how many
    /// more there are.
    #[error("{}", first_of(.0))]
    Refused(Vec<String>),
    /// Something that should not go wrong did.
    #[error("{0:#}")]
    Other(anyhow::Error),
    /// The reader of the output went away, as `head` does. Not an error.
    #[error("output closed")]
    OutputClosed,
}

impl Failure {
    /// The exit code that scripts rely on.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::No(_) | Self::Refused(_) | Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::NotRunning(_) => 3,
            Self::NotPermitted(_) => 4,
            Self::CannotStart(_) => 5,
        }
    }

    /// Something failed at the start: for good, or for want of what may be had a moment later, for which service managers try again.
    pub(crate) fn at_start(text: String, error: &io::Error) -> Self {
        if may_pass(error) {
            Self::Other(anyhow!(text))
        } else {
            Self::CannotStart(text)
        }
    }

    /// The line for stderr; `None` when there is nothing to say.
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            Self::OutputClosed => None,
            other => Some(one_line(&other.to_string())),
        }
    }
}

/// Whether an error says that something is used up or busy at the moment.
fn may_pass(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lacks = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::NOMEM,
        Errno::MFILE,
        Errno::NFILE,
        Errno::AGAIN,
        Errno::BUSY,
        Errno::IO,
    ];
    Errno::from_io_error(error).is_some_and(|error| lacks.contains(&error))
}

fn first_of(errors: &[String]) -> String {
    let first = errors.first().map_or("refused", String::as_str);
    match errors.len().saturating_sub(1) {
        0 => first.to_owned(),
        1 => format!("{first} (and 1 more error)"),
        more => format!("{first} (and {more} more errors)"),
    }
}

/// Folds a message of several lines into one.
pub(crate) fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::Write { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::NotPermitted(error.to_string())
            }
            ConfigError::Write { .. } => Self::No(error.to_string()),
            ConfigError::Read { source, .. } if may_pass(source) => {
                Self::Other(anyhow!(error.to_string()))
            }
            _ => Self::Usage(error.to_string()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Other(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(one_line("a\n\n  b\n"), "a; b");
        assert_eq!(Failure::Usage("a\nb".into()).line().unwrap(), "a; b");
    }

    #[test]
    fn of_many_errors_the_first_is_shown() {
        let line = |errors: &[&str]| {
            let errors = errors.iter().map(|error| (*error).to_owned());
            Failure::Refused(errors.collect()).line().unwrap()
        };
        assert_eq!(line(&["a"]), "a");
        assert_eq!(line(&["a", "b", "c"]), "a (and 2 more errors)");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let code =
            |error: rustix::io::Errno| Failure::at_start(String::new(), &error.into()).exit_code();
        assert_eq!(code(rustix::io::Errno::NOSPC), 1);
        assert_eq!(code(rustix::io::Errno::MFILE), 1);
        assert_eq!(code(rustix::io::Errno::ROFS), 5);
        assert_eq!(code(rustix::io::Errno::NOTDIR), 5);
    }

    #[test]
    fn a_closed_pipe_is_fine() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit_code(), failure.line()), (0, None));
    }
}
