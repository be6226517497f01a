//! Who did it: applies a record to the process table, and finds the process and program in it that
//! the record is about. What neither table nor record knows is read from `/proc`, if it is still
//! there.

use std::borrow::Cow;
use std::sync::Arc;

use holdfast_wire::Kind;
use holdfast_wire::decode::{Body, Record};
use holdfast_wire::record::process::exec_flags;
use holdfast_wire::record::{Header, flags};
use holdfast_wire::text;

use super::build;
use super::path;
use super::processes::scan::{self, Reading};
use super::processes::{
    Credentials, Effective, Found, Image, Key, Process, Program, Table, capabilities_of,
};

/// The process, and the program that it ran at the time of the record. Handling a record twice does
/// no harm.
pub(crate) fn attribute(
    table: &mut Table,
    record: &Record<'_>,
    reading: &Reading<'_>,
) -> (Process, Program) {
    let header = &record.header;
    let is_first_known = header.tgid != 0 && record.kind != Kind::ContainerExit;
    if matches!(record.body, Body::Image { .. })
        || matches!(record.body, Body::Container { .. }) && !is_first_known
    {
        // There is none, or a container's first process is not known, or has ended: another one may have its pid.
        return transient(table, unknown(header));
    }
    if let Body::Exec {
        executable,
        filename,
        working_directory,
        arguments,
        environment,
        fixed,
        ..
    } = &record.body
    {
        let lacks_fields = header.flags & flags::NO_TASK_FIELDS != 0;
        let text = |bytes| build::path_text(bytes).map(|text| text.into_owned());
        let mut image = Image {
            executable: text(executable),
            name: comm(header),
            arguments: reading.arguments(arguments),
            environment: reading.environment(environment),
            working_directory: text(working_directory),
        };
        if header.flags & flags::REFUSED != 0 {
            // It still runs what it ran; the event shows what it wanted to run.
            let (process, mut program) = find(table, header, reading);
            image
                .working_directory
                .clone_from(&program.image.working_directory);
            program.image = Arc::new(image);
            return (process, program);
        }
        let is_argument = header.flags & flags::PATH_IS_ARGUMENT != 0;
        if lacks_fields || image.executable.is_none() || is_argument {
            complete(&mut image, header, filename, reading);
        }
        let terminal = named(&fixed.terminal).map(|name| name.as_ref().into());
        let key = Key::of(header);
        if table.get(key).is_none() {
            table.insert(Found {
                image: image.clone(),
                ..unknown(header)
            });
        }
        table.drop_root(header);
        let is_told = fixed.flags & exec_flags::CAPABILITIES_BEFORE != 0;
        let effective = Effective {
            before: is_told.then_some(fixed.capabilities_before),
            now: capabilities_of(header),
        };
        table.exec(key, header.exec_id, image, terminal, effective);
    }
    let (process, program) = find(table, header, reading);
    match record.body {
        Body::Fork(fork) => {
            let child = Key {
                tgid: fork.child_tgid,
                start: fork.child_start_boottime,
            };
            table.fork(&process, child, fork.child_exec_id);
        }
        Body::Exit(_) => table.exit(process.key, header.boottime),
        _ => {}
    }
    (process, program)
}

fn find(table: &mut Table, header: &Header, reading: &Reading<'_>) -> (Process, Program) {
    let is_settled = table.is_settled(header);
    if !is_settled && let Some(found) = table.attribute(header) {
        return found;
    }
    let key = Key::of(header);
    let current = table.get(key).and_then(|process| process.program.exec_id);
    if let Some(process) = table.get(key)
        && current.is_some_and(|current| header.exec_id < current)
    {
        // An event of a program before those that are remembered.
        let program = table.describe(unknown(header)).program;
        return (process.clone(), program);
    }
    if current.is_some_and(|current| header.exec_id > current) {
        // Its exec was lost. By now it may have gone on to yet another program, and that would be told.
        table.insert_lost(unknown(header), header.boottime);
        if let Some(found) = table.attribute(header) {
            return found;
        }
    }
    let in_proc = scan::process(reading, header.tgid).filter(|found| {
        let known = header.start_boottime != 0;
        let same = found.key.start.abs_diff(header.start_boottime) <= scan::TICK;
        if known {
            same
        } else {
            found.key.start <= header.boottime
        }
    });
    let found = match in_proc {
        Some(found) => Found {
            key: if header.start_boottime == 0 {
                found.key
            } else {
                key
            },
            exec_id: unknown(header).exec_id,
            credentials: Credentials::of(header).or(found.credentials),
            ..found
        },
        None => {
            if let Some(parent) = forked_by(table, header) {
                table.fork(&parent, key, header.exec_id);
            }
            unknown(header)
        }
    };
    if !is_settled && let Some(found) = table.attribute(header) {
        return found;
    }
    table.insert(found.clone());
    // It was just inserted, and no insertion evicts the newest.
    table
        .attribute(header)
        .unwrap_or_else(|| transient(table, found))
}

/// The parent of a process that is gone and whose fork was not reported, if it still runs the program
/// that the child was forked with: a fork copies the exec id. An orphan's new parent proves nothing.
fn forked_by(table: &Table, header: &Header) -> Option<Process> {
    let known = header.start_boottime != 0 && header.ppid > 1;
    let key = Key {
        tgid: header.ppid,
        start: 0,
    };
    let parent = table.get(key).filter(|_| known)?;
    (parent.program.exec_id == Some(header.exec_id)).then(|| parent.clone())
}

/// What the header alone tells.
fn unknown(header: &Header) -> Found {
    Found {
        key: Key::of(header),
        ppid: header.ppid,
        exec_id: (header.start_boottime != 0).then_some(header.exec_id),
        image: Image {
            name: comm(header),
            ..Image::default()
        },
        credentials: Credentials::of(header),
        terminal: None,
        capabilities: capabilities_of(header),
    }
}

/// The process of `found` without a place in the table.
fn transient(table: &Table, found: Found) -> (Process, Program) {
    let process = table.describe(found);
    let program = process.program.clone();
    (process, program)
}

/// Fills in what the kernel programs could not read, from the live process.
fn complete(image: &mut Image, header: &Header, filename: &[u8], reading: &Reading<'_>) {
    let live = scan::process(reading, header.tgid);
    let live = live
        .filter(|live| live.key.start <= header.boottime)
        .map(|live| live.image);
    let directory = live
        .as_ref()
        .and_then(|live| live.working_directory.clone());
    image.working_directory = image.working_directory.take().or(directory);
    if let Some(live) = live {
        // A process that has gone on to another program says so by its name.
        if live.name == image.name || image.name.is_none() {
            image.executable = live.executable.or(image.executable.take());
            if image.arguments.is_empty() {
                image.arguments = live.arguments;
            }
            if image.environment.is_empty() {
                image.environment = live.environment;
            }
        }
    }
    if image
        .executable
        .as_deref()
        .is_none_or(|path| !path.starts_with('/'))
    {
        let given = image.executable.take();
        let given = given.or_else(|| build::path_text(filename).map(|text| text.into_owned()));
        let here = holdfast_wire::record::file::AT_FDCWD;
        let cwd = image.working_directory.as_deref();
        let proc = reading.proc;
        image.executable = given.map(|given| path::resolve(proc, header.tgid, here, &given, cwd));
    }
}

fn comm(header: &Header) -> Option<String> {
    named(&header.comm).map(|name| name.into_owned())
}

/// A name that is padded with NULs; nothing for nothing.
fn named(padded: &[u8]) -> Option<Cow<'_, str>> {
    let name = padded.split(|byte| *byte == 0).next().unwrap_or_default();
    (!name.is_empty()).then(|| text::lossy(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::testing;
    use holdfast_policy::redact::Redaction;
    use holdfast_wire::decode::decode;
    use std::path::Path;

    fn attributed(table: &mut Table, record: &[u8]) -> (Process, Program) {
        attributed_by(Path::new("/nonexistent"), table, record)
    }

    fn attributed_by(proc: &Path, table: &mut Table, record: &[u8]) -> (Process, Program) {
        let redaction = Redaction::default();
        let reading = Reading {
            proc,
            environment: &[],
            redaction: &redaction,
        };
        attribute(table, &decode(record).unwrap(), &reading)
    }

    #[test]
    fn a_child_whose_fork_was_not_seen_runs_its_parents_program() {
        let mut table = Table::new("boot");
        let shell = testing::header(Kind::ProcessExec, 50);
        attributed(
            &mut table,
            &testing::exec(shell, "/bin/sh", &["sh", "-c", "x"]),
        );
        let child = Header {
            ppid: 50,
            ..testing::header(Kind::FileOpen, 51)
        };
        let (process, program) = attributed(&mut table, &testing::file(child, "/x", ""));
        assert_eq!(program.image.executable.as_deref(), Some("/bin/sh"));
        assert_eq!(process.parent.map(|parent| parent.tgid), Some(50));
        // One that has executed another program since: only its name is known.
        let other = Header {
            ppid: 50,
            exec_id: 9,
            ..testing::header(Kind::FileOpen, 52)
        };
        let (_, program) = attributed(&mut table, &testing::file(other, "/x", ""));
        assert_eq!(program.image.executable, None);
        assert_eq!(program.image.name.as_deref(), Some("test"));
    }

    #[test]
    fn a_refused_exec_shows_what_was_wanted_and_changes_nothing() {
        let mut table = Table::new("boot");
        let shell = testing::header(Kind::ProcessExec, 50);
        let (_, before) = attributed(&mut table, &testing::exec(shell, "/bin/sh", &["sh"]));
        let refused = Header {
            flags: flags::REFUSED,
            ..shell
        };
        let (_, wanted) = attributed(&mut table, &testing::exec(refused, "/tmp/evil", &[]));
        assert_eq!(wanted.image.executable.as_deref(), Some("/tmp/evil"));
        assert_eq!(wanted.entity_id, before.entity_id);
        let exit = testing::exit(testing::header(Kind::ProcessExit, 50), 0);
        let (_, after) = attributed(&mut table, &exit);
        assert_eq!(after.image.executable.as_deref(), Some("/bin/sh"));
    }

    #[test]
    fn without_task_fields_the_newest_of_the_pid_is_meant() {
        let mut table = Table::new("boot");
        let bare = |kind| Header {
            start_boottime: 0,
            exec_id: 0,
            flags: flags::NO_TASK_FIELDS,
            ..testing::header(kind, 50)
        };
        attributed(
            &mut table,
            &testing::exec(bare(Kind::ProcessExec), "/bin/a", &["a"]),
        );
        attributed(
            &mut table,
            &testing::exec(bare(Kind::ProcessExec), "/bin/b", &["b"]),
        );
        let open = testing::file(bare(Kind::FileOpen), "/x", "");
        let (process, program) = attributed(&mut table, &open);
        assert_eq!(program.image.arguments.known(), ["b"]);
        assert_eq!((process.key.start, process.credentials), (0, None));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_program_whose_exec_was_lost_is_looked_up_once_it_stays() {
        let proc = Path::new("/proc");
        let this = std::process::id();
        let start = scan::stat(proc, this).unwrap().start;
        let mut table = Table::new("boot");
        let header = |kind, exec_id, later| Header {
            start_boottime: start,
            exec_id,
            boottime: start + later,
            ..testing::header(kind, this)
        };
        let exec = testing::exec(header(Kind::ProcessExec, 1, 0), "/bin/sh", &["sh"]);
        attributed_by(proc, &mut table, &exec);
        let mut open = |exec_id, later| {
            let open = testing::file(header(Kind::FileOpen, exec_id, later), "/x", "");
            let (_, program) = attributed_by(proc, &mut table, &open);
            (program.exec_id, program.image.executable.clone())
        };
        assert_eq!(open(1, 1), (Some(1), Some("/bin/sh".to_owned())));
        // It is there, but may have executed something else since.
        assert_eq!(open(2, 2), (Some(2), None));
        assert_eq!(open(2, 999_999_999), (Some(2), None));
        let own = std::env::current_exe().unwrap().display().to_string();
        assert_eq!(open(2, 1_000_000_002), (Some(2), Some(own.clone())));
        assert_eq!(open(2, 1_000_000_003), (Some(2), Some(own)));
        assert_eq!(open(1, 1_000_000_004).0, Some(1));
    }
}
