//! Which fields of an event are cut.

use holdfast_wire::decode::{Body, Record};
use holdfast_wire::record::file::file_flags;
use holdfast_wire::record::flags;
use holdfast_wire::record::process::exec_flags;

/// Of a path that the kernel programs walked, the beginning is cut off; of all else, the end.
pub(super) fn fields(record: &Record<'_>) -> Vec<&'static str> {
    const FILE: [(u32, &str); 2] = [
        (file_flags::PATH_CUT, "file.path"),
        (file_flags::TARGET_CUT, "file.target_path"),
    ];
    const EXEC: [(u32, &str); 4] = [
        (exec_flags::EXECUTABLE_CUT, "process.executable"),
        (
            exec_flags::WORKING_DIRECTORY_CUT,
            "process.working_directory",
        ),
        (exec_flags::FILENAME_CUT, "holdfast.executable.argument"),
        (
            exec_flags::INTERPRETER_CUT,
            "holdfast.executable.interpreter",
        ),
    ];
    const ALL: [(u32, &str); 3] = [
        (flags::ARGUMENTS_TRUNCATED, "process.args"),
        (flags::ENVIRONMENT_TRUNCATED, "process.env_vars"),
        (flags::MESSAGE_TRUNCATED, "dns"),
    ];
    let (of_kind, names): (u32, &[(u32, &str)]) = match record.body {
        Body::File { fixed, .. } => (fixed.flags, &FILE),
        Body::Exec { fixed, .. } => (fixed.flags, &EXEC),
        _ => (record.header.flags, &[(flags::PATH_TRUNCATED, "path")]),
    };
    let set = |bits: u32, names: &[(u32, &'static str)]| -> Vec<&'static str> {
        let names = names.iter().filter(|(bit, _)| bits & bit != 0);
        names.map(|(_, name)| *name).collect()
    };
    [set(of_kind, names), set(record.header.flags, &ALL)].concat()
}
