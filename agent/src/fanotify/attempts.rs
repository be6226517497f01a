//! Execs that have begun: files that were opened to be executed, as permission events tell of them. The
//! connector tells that an exec has happened, but not of what, and by then the process may be gone.
//!
//! One execve opens the script, its interpreter and so on, the program, and the program's loader
//! (`ld.so`), which is no program that is executed by anybody's wish.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Statx;

use super::recent::Recent;

/// Processes whose attempts are remembered: far more than exec at a time. An attempt is forgotten when
/// the connector tells of the exec or of the end of its process, or for one of a later process.
const PROCESSES: usize = 4096;
/// Attempts remembered of a process: a chain of interpreters has six at most
/// (`exec_binprm` of `fs/exec.c`), and a shell may fail a few times along its `PATH`.
const ATTEMPTS: usize = 16;

/// A file that was opened to be executed.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub(crate) time: u64,
    /// Its path.
    pub(crate) path: Vec<u8>,
    /// What is known of the file.
    pub(crate) file: Option<Statx>,
    /// It was opened as the loader of the one before.
    pub(crate) is_loader: bool,
}

/// What became of an exec.
#[derive(Clone, Debug, Default)]
pub(crate) struct Begun {
    /// The program, if its opening was seen.
    pub(crate) program: Option<Attempt>,
    /// The path of the script whose interpreter, or the interpreter's, the program is.
    pub(crate) script: Option<Vec<u8>>,
    /// Number of the program, if the process was met while it ran it.
    pub(crate) seen: Option<u32>,
    /// The process has begun another exec since.
    pub(crate) is_over: bool,
}

/// The attempts of all processes, and which programs they were met with.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    begun: Mutex<Recent<u32, Vec<Attempt>, PROCESSES>>,
    /// By process: times and numbers of programs, those of the last few.
    seen: Mutex<Recent<u32, Vec<(u64, u32)>, PROCESSES>>,
}

impl Attempts {
    /// A process was met while it ran the program with this number.
    pub(crate) fn saw(&self, tgid: u32, time: u64, program: u32) {
        let mut processes = lock(&self.seen);
        let programs = processes.entry(tgid, Vec::new);
        if programs.last().is_some_and(|(_, last)| *last == program) {
            return;
        }
        if programs.len() >= ATTEMPTS {
            programs.remove(0);
        }
        programs.push((time, program));
    }

    /// A process opened a file to execute it.
    pub(crate) fn add(&self, tgid: u32, attempt: Attempt) {
        let mut processes = lock(&self.begun);
        let attempts = processes.entry(tgid, Vec::new);
        if attempts.len() >= ATTEMPTS {
            attempts.remove(0);
        }
        attempts.push(attempt);
    }

    /// Whether a process has an exec under way, for which a loader may be opened.
    pub(crate) fn any(&self, tgid: u32) -> bool {
        lock(&self.begun).get(tgid).is_some()
    }

    /// Mode of the program that a process is about to execute; 0: none that is known.
    pub(crate) fn mode(&self, tgid: u32) -> u16 {
        let processes = lock(&self.begun);
        let attempts = processes.get(tgid).map_or(&[][..], Vec::as_slice);
        let program = attempts.iter().rev().find(|attempt| !attempt.is_loader);
        program
            .and_then(|program| program.file)
            .map_or(0, |file| file.stx_mode)
    }

    /// An exec of a process happened at this time: takes what began before.
    pub(crate) fn take(&self, tgid: u32, time: u64) -> Begun {
        let mut processes = lock(&self.begun);
        let Some(attempts) = processes.get_mut(tgid) else {
            let seen = self.seen_between(tgid, time, u64::MAX);
            return Begun {
                seen,
                ..Begun::default()
            };
        };
        let later = attempts.partition_point(|attempt| attempt.time <= time);
        let before: Vec<_> = attempts.drain(..later).collect();
        let is_over = !attempts.is_empty();
        let next = attempts.first().map_or(u64::MAX, |attempt| attempt.time);
        if !is_over {
            processes.remove(tgid);
        }
        let mut programs = before.iter().filter(|attempt| !attempt.is_loader);
        // What is no program and no script was opened for nothing, and a shell has gone on to run it.
        let first = programs.next();
        let last = programs.next_back();
        Begun {
            script: last.and(first).map(|script| script.path.clone()),
            program: last.or(first).cloned(),
            seen: self.seen_between(tgid, time, next),
            is_over,
        }
    }

    fn seen_between(&self, tgid: u32, from: u64, until: u64) -> Option<u32> {
        let processes = lock(&self.seen);
        let mut programs = processes.get(tgid)?.iter();
        let found = programs.find(|(time, _)| (from..until).contains(time));
        found.map(|(_, program)| *program)
    }

    /// A process is gone.
    pub(crate) fn forget(&self, tgid: u32) {
        lock(&self.begun).remove(tgid);
        lock(&self.seen).remove(tgid);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held leaves at worst an entry too few.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this is a loader by name and by who may write it: a file of root's that nobody else can
/// change, called `ld-linux-x86-64.so.2`, `ld-musl-x86_64.so.1`, `ld64.so.2`, `ld.so.1` and so on.
pub(crate) fn is_loader(path: &[u8], file: &Statx) -> bool {
    const OTHERS_WRITE: u16 = 0o022;
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let begins: [&[u8]; 3] = [b"ld-", b"ld.so", b"ld64.so"];
    let named = begins.iter().any(|beginning| name.starts_with(beginning))
        && name.windows(3).any(|part| part == b".so");
    named && file.stx_uid == 0 && file.stx_mode & OTHERS_WRITE == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

    fn attempt(time: u64, path: &str) -> Attempt {
        Attempt {
            time,
            path: path.into(),
            file: None,
            is_loader: path.ends_with("ld.so"),
        }
    }

    fn program(begun: &Begun) -> &str {
        let program = begun.program.as_ref().unwrap();
        std::str::from_utf8(&program.path).unwrap()
    }

    #[test]
    fn the_program_is_what_was_opened_last_before_the_loader() {
        let attempts = Attempts::default();
        for (time, path) in [(1, "/script"), (2, "/bin/sh"), (3, "/lib/ld.so")] {
            attempts.add(7, attempt(time, path));
        }
        assert!(attempts.any(7) && !attempts.any(8));
        let begun = attempts.take(7, 9);
        assert_eq!((program(&begun), begun.is_over), ("/bin/sh", false));
        assert!(attempts.take(7, 9).program.is_none());
    }

    #[test]
    fn execs_in_quick_succession_are_told_apart_by_time() {
        let attempts = Attempts::default();
        for (time, path) in [(1, "/a"), (2, "/lib/ld.so"), (5, "/b"), (6, "/lib/ld.so")] {
            attempts.add(7, attempt(time, path));
        }
        let first = attempts.take(7, 4);
        assert_eq!((program(&first), first.is_over), ("/a", true));
        let second = attempts.take(7, 8);
        assert_eq!((program(&second), second.is_over), ("/b", false));
    }

    #[test]
    fn a_program_that_was_met_is_the_one_executed_before() {
        let attempts = Attempts::default();
        for (time, path) in [(1, "/a"), (5, "/b")] {
            attempts.add(7, attempt(time, path));
        }
        for (time, program) in [(0, 10), (3, 11), (4, 11), (7, 12)] {
            attempts.saw(7, time, program);
        }
        assert_eq!(attempts.take(7, 2).seen, Some(11));
        assert_eq!(attempts.take(7, 6).seen, Some(12));
        assert_eq!(attempts.take(7, 8).seen, None);
    }

    #[test]
    fn a_processs_memory_is_bounded() {
        let attempts = Attempts::default();
        for time in 0..100 {
            attempts.add(7, attempt(time, "/x"));
            attempts.saw(7, time, time as u32);
        }
        assert_eq!(lock(&attempts.begun).get(7).unwrap().len(), ATTEMPTS);
        assert_eq!(lock(&attempts.seen).get(7).unwrap().len(), ATTEMPTS);
        attempts.forget(7);
        assert!(!attempts.any(7));
    }

    #[test]
    fn a_loader_is_roots_and_named_so() {
        let of = |path: &str| statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS).unwrap();
        let roots = of("/proc/version");
        for path in [
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-musl-x86_64.so.1",
            "/lib/ld.so.1",
            "/lib64/ld64.so.2",
        ] {
            assert!(is_loader(path.as_bytes(), &roots), "{path}");
        }
        assert!(!is_loader(b"/usr/bin/ld", &roots));
        assert!(!is_loader(b"/usr/bin/ld-x", &roots));
        let everybodys = of("/tmp");
        assert!(!is_loader(b"/lib/ld.so.1", &everybodys));
    }
}
