//! Events of processes.

use holdfast_wire::event::{self, Event};
use holdfast_wire::record::process::{Exec, Ptrace, Rlimit, Setscheduler, exec_flags};

use super::path_text;
use crate::evaluator::path;
use crate::evaluator::processes::Program;

/// `include/uapi/linux/stat.h`
const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;

pub(super) fn exec<'a>(
    event: &mut Event<'a>,
    fixed: &Exec,
    filename: &'a [u8],
    interpreter: &'a [u8],
    program: &Program,
) {
    let known = fixed.inode != 0;
    let executable = event
        .process
        .as_ref()
        .and_then(|process| process.executable.as_deref());
    // `memfd:` is the kernel's name for it (mm/memfd.c); a real file cannot be called so at the root
    // of a file system without links to it.
    let memfd = known
        && fixed.links == 0
        && executable.is_some_and(|path| path.trim_start_matches('/').starts_with("memfd:"));
    let argument = path_text(filename);
    let interpreter = path_text(interpreter);
    let script = argument.as_deref().filter(|_| interpreter.is_some());
    let directory = program.image.working_directory.as_deref();
    let is = |flag: u32| fixed.flags & flag != 0;
    let (device, mode) = (fixed.device, fixed.mode);
    event.holdfast.executable = Some(event::Executable {
        script: script.map(|script| path::absolute(script, directory).into()),
        argument,
        interpreter,
        inode: known.then(|| event::number(fixed.inode)),
        device: (device != 0).then(|| event::device(device)),
        setuid: (mode != 0).then_some(mode & S_ISUID != 0),
        setgid: (mode != 0).then_some(mode & S_ISGID != 0),
        upper_layer: is(exec_flags::ON_OVERLAY).then(|| is(exec_flags::IN_UPPER_LAYER)),
        deleted: known && (fixed.links == 0 || is(exec_flags::UNLINKED)) && !memfd,
        memfd,
    });
    if program.gained != 0 {
        event.holdfast.capabilities = Some(event::CapabilitySets {
            gained: event::capability_names(program.gained),
            ..Default::default()
        });
    }
}

pub(super) fn exited(event: &mut Event<'_>, status: i32) {
    // wait(2): the low seven bits are the signal, 0 for an exit. -1: not known.
    match (status, status & 0x7f) {
        (-1, _) => {}
        (_, 0) => {
            if let Some(process) = &mut event.process {
                process.exit_code = Some(status >> 8 & 0xff);
            }
        }
        (_, signal) => event.holdfast.signal = Some(event::signal_name(signal.cast_unsigned())),
    }
}

/// What a tracer asks for.
pub(super) const fn tracing(ptrace: &Ptrace) -> &'static str {
    match ptrace.mode {
        0 => "PTRACE_TRACEME",
        _ => "PTRACE_MODE_ATTACH",
    }
}

/// Adds what a `process.rlimit` says, but for its target.
pub(super) fn limited(event: &mut Event<'_>, fixed: &Rlimit) {
    // No limit is the greatest number, and more than an `int` holds.
    let limit = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX);
    event.holdfast.rlimit = Some(event::Rlimit {
        resource: event::resource_name(fixed.resource),
        soft: limit(fixed.soft),
        hard: limit(fixed.hard),
    });
}

/// Adds what a `process.setscheduler` says, but for its target.
pub(super) fn scheduled(event: &mut Event<'_>, fixed: &Setscheduler) {
    event.holdfast.scheduler = Some(event::Scheduler {
        call: event::scheduling_call_name(fixed.call),
        policy: (fixed.policy != u32::MAX).then(|| event::scheduling_policy_name(fixed.policy)),
        priority: (fixed.priority >= 0).then_some(fixed.priority),
    });
}
