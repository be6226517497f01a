//! Errors of loading and attaching, each brought to one line that says why.

use std::error::Error;
use std::io;

/// Why a program could not be loaded: the kernel's error and the verifier's last word.
pub(crate) fn of_load(error: &io::Error, log: &str) -> String {
    let last = log
        .lines()
        .map(str::trim)
        .rfind(|line| {
            !line.is_empty()
                && !line.starts_with("processed ")
                && !line.starts_with("verification time")
                && !line.starts_with("stack depth")
        })
        .unwrap_or_default();
    match (error.raw_os_error(), last) {
        (Some(libc::EPERM), "") => "the kernel does not permit it (EPERM)".to_owned(),
        (_, "") => error.to_string(),
        (_, last) => format!("{error}: {last}"),
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = inner.source();
    }
    line.replace('\n', " ")
}
