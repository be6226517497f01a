//! `docs/evasion.md`: what rules see of attempts, and what to ask for where they don't.

use std::fmt::Write as _;

use super::attempt::{ATTEMPTS, Attempt, Seen, Target};
use super::ring::OPERATIONS;

const HEAD: &str = "\
# Ways around a rule

Each line is tried by the scenarios `evade-best-tier`, `evade-kprobe` and `evade-tracepoint`
(`tests/src/scenario/evade.rs`), first without a sensor, where it must succeed, then under the rule.
This page is made from their table. In `lsm` and `fmod_ret` **refused** is before it happens; in `fentry`, `kprobe` and `tracepoint`
**killed** is before the process has what it asked for.

The tier `tracepoint` looks at system calls: an open is judged when it returns, by the file that was opened; what else there is, by
what the call is given. It does not see what goes without a system call of its own, and `holdfast doctor` says so of each hook.
";

const RING: &str = "
## Through an io_uring

Each operation that a hook watches and a ring can do is forbidden to a program that does it so, by itself and by a worker of the
kernel's (`ring-best-tier`, `ring-kprobe`, `ring-tracepoint`): refused in `lsm` and `fmod_ret`, killed in `fentry` and `kprobe`,
**not seen** in `tracepoint`. Of these, those that the kernel knows:

";

const TAIL: &str = "
## Identity

`evade-identity`: two processes that had the same number one after the other are told apart by `process.entity_id`; a process's
arguments are those it was started with, whatever it writes over them; its executable is the kernel's, not what it calls itself.

## Not tried here

What a process does with a file that it was allowed to open, or that another has opened for it; raw block devices; libraries that an
allowed program is made to load (`LD_PRELOAD`: rules on `memory.map` and the policy `ld-preload`); programs given to an interpreter or
to `ld.so` as an argument, which execute the interpreter (`memory.map` with `holdfast.memory.protection`, or rules on `process.args`).
";

/// The page.
pub fn page() -> String {
    let mut text = HEAD.to_owned();
    for target in Target::ALL {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n## {}\n\n| attempt | `lsm`, `fmod_ret` | `fentry`, `kprobe` | `tracepoint` | instead |\n|---|---|---|---|---|\n",
            target.title()
        );
        for attempt in ATTEMPTS.iter().filter(|attempt| attempt.on == target) {
            let _ = writeln!(text, "{}", row(attempt));
        }
    }
    let operations = OPERATIONS.map(|(action, _)| format!("`{action}`"));
    text + RING + &operations.join(", ") + ".\n" + TAIL
}

fn row(attempt: &Attempt) -> String {
    let Attempt {
        what,
        seen,
        instead,
        ..
    } = attempt;
    let (refused, killed, by_arguments) = match seen {
        Seen::Always => ("refused", "killed", "killed"),
        Seen::NotByArguments => ("refused", "killed", "**not seen**"),
        Seen::Never => ("**not seen**", "**not seen**", "**not seen**"),
    };
    format!("| {what} | {refused} | {killed} | {by_arguments} | {instead} |")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::ensure_kept;

    #[test]
    fn the_page_is_what_is_tried() {
        ensure_kept("evasion.md", &page());
    }

    #[test]
    fn who_is_not_seen_is_told_what_to_ask_for() {
        for attempt in ATTEMPTS {
            let is_never = attempt.seen == Seen::Never;
            assert_eq!(is_never, !attempt.instead.is_empty(), "{}", attempt.what);
        }
    }
}
