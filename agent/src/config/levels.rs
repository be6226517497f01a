//! `log.level`: what is logged from which level on, by module where that is asked for.

use std::fmt::Write as _;

use crate::nearest::hint;

/// From the fewest lines to the most.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// The modules of each crate, for a level of their own: the actors and what they stand on, then the rest.
const MODULES: [(&str, &[&str]); 2] = [
    (
        "holdfast_actors",
        &[
            "caps",
            "clock",
            "degraded",
            "evaluator",
            "health",
            "kernel",
            "killer",
            "lane",
            "ledger",
            "losses",
            "namespace",
            "probe",
            "reader",
            "ring",
            "root",
            "runtime",
            "sink",
            "supervisor",
            "uplink",
        ],
    ),
    (
        "holdfast",
        &[
            "allocator",
            "cgroup_namespace",
            "cli",
            "command",
            "config",
            "confinement",
            "control",
            "failure",
            "fanotify",
            "instance",
            "kernel",
            "loader",
            "logging",
            "metrics",
            "nearest",
            "output",
            "policies",
            "preflight",
            "privilege",
            "protection",
            "reload",
            "sensor",
            "since",
            "uplink",
        ],
    ),
];

/// The filter that `text` asks for, as `info` or `info,evaluator=debug`; what is not ours is logged from `warn` on.
///
/// # Errors
/// What is wrong with it, in one line.
pub(crate) fn directives(text: &str) -> Result<String, String> {
    let mut parts = text.split(',').map(str::trim);
    let own = level(parts.next().unwrap_or_default())?;
    let mut filter = format!("warn,holdfast={own},holdfast_actors={own}");
    for part in parts {
        let (module, own) = part
            .split_once('=')
            .ok_or_else(|| format!("expected MODULE=LEVEL, found \"{part}\""))?;
        let own = level(own.trim())?;
        let module = module.trim();
        let crates = MODULES
            .iter()
            .filter(|(_, modules)| modules.contains(&module));
        let mut known = false;
        for (of, _) in crates {
            known = true;
            // Writing to a string cannot fail.
            let _ = write!(filter, ",{of}::{module}={own}");
        }
        if !known {
            let modules = MODULES
                .iter()
                .flat_map(|(_, modules)| modules.iter().copied());
            return Err(format!(
                "there is no module \"{module}\"{}",
                hint(module, modules)
            ));
        }
    }
    Ok(filter)
}

fn level(text: &str) -> Result<&str, String> {
    if LEVELS.contains(&text) {
        return Ok(text);
    }
    Err(format!(
        "expected a level, one of {}, found \"{text}\"{}",
        LEVELS.join(", "),
        hint(text, LEVELS.into_iter())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_levels_of_their_own() {
        assert_eq!(
            directives("info").unwrap(),
            "warn,holdfast=info,holdfast_actors=info"
        );
        assert_eq!(
            directives("warn, evaluator=debug,kernel=trace").unwrap(),
            "warn,holdfast=warn,holdfast_actors=warn,holdfast_actors::evaluator=debug,\
             holdfast_actors::kernel=trace,holdfast::kernel=trace"
        );
        for (text, said) in [
            ("inffo", "did you mean \"info\"?"),
            ("info,evaluater=debug", "did you mean \"evaluator\"?"),
            ("info,evaluator", "MODULE=LEVEL"),
            ("evaluator=debug", "expected a level"),
            ("", "expected a level"),
        ] {
            let error = directives(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn the_modules_are_those_that_there_are() {
        let sources = [
            include_str!("../../../actors/src/lib.rs"),
            include_str!("../lib.rs"),
        ];
        for ((of, listed), source) in MODULES.into_iter().zip(sources) {
            let lines = source.lines();
            let there: Vec<&str> = lines
                .filter_map(|line| {
                    line.strip_prefix("pub ")
                        .unwrap_or(line)
                        .strip_prefix("mod ")
                })
                .filter_map(|rest| rest.strip_suffix(';'))
                .collect();
            assert_eq!(listed, there, "{of}");
        }
    }
}
