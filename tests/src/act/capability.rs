//! What is done with capabilities, and to the kernel itself.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::kmod::{ModuleInitFlags, finit_module, init_module};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::{Done, call, parsed};

/// No module, but as long as the head of one, which the kernel looks at first.
const GARBAGE: &[u8] = &[0; 4096];

/// More than there are.
const NO_TYPE: u32 = 9999;

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["load-module", path] => {
            File::open(path).and_then(|file| Ok(finit_module(file, c"", ModuleInitFlags::empty())?))
        }
        ["load-module-data"] => init_module(GARBAGE, c"").map_err(io::Error::from),
        ["load-kernel", path] => File::open(path).and_then(|file| call::kexec_file_load(&file)),
        ["load-kernel-data"] => call::kexec_load_nothing(),
        ["chroot"] => nix::unistd::chroot("/").map_err(io::Error::from),
        ["chroot-often", count, seconds] => chroot_often(count, seconds),
        ["drop-capabilities"] => drop_capabilities(),
        ["drop-and-exec", path] => {
            drop_capabilities().and_then(|()| Err(Command::new(path).arg("true").exec()))
        }
        ["load-program"] => load_program(call::BPF_PROG_TYPE_SOCKET_FILTER),
        // Where it comes to nothing: no limit is in the way of that.
        ["try-to-load-program"] => call::load_program(call::BPF_PROG_TYPE_SOCKET_FILTER),
        // There is no such type, neither of programs nor of counters.
        ["load-wrong-program"] => load_program(NO_TYPE),
        ["map-by-number"] => call::map_by_number(1),
        ["count"] => call::perf_event_open(call::PERF_TYPE_SOFTWARE),
        ["count-wrong"] => call::perf_event_open(NO_TYPE.into()),
        _ => return None,
    })
}

/// So many times at once, and once again after so many seconds.
fn chroot_often(count: &str, seconds: &str) -> io::Result<()> {
    for _ in 0..parsed(count)? {
        nix::unistd::chroot("/")?;
    }
    std::thread::sleep(Duration::from_secs(parsed(seconds)?));
    Ok(nix::unistd::chroot("/")?)
}

/// Goes on with one capability in force and another that may be.
fn drop_capabilities() -> io::Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::CHOWN,
        permitted: CapabilitySet::CHOWN | CapabilitySet::KILL,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Before 5.11 programs count as locked memory of their user, and the sensor's are many. Where it is
/// not permitted to lift that limit, nothing else is lost than on those kernels.
fn load_program(program_type: u32) -> io::Result<()> {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    let _ = setrlimit(Resource::Memlock, unlimited);
    call::load_program(program_type)
}
