//! Processes as `/proc` has them: those that ran before the sensor, and what a record lacks.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use holdfast_policy::redact::Redaction;
use holdfast_wire::event::Redactable;
use holdfast_wire::record::{ARGUMENT_BYTES, ENVIRONMENT_BYTES};
use holdfast_wire::text;
use holdfast_wire::uapi::process::{Stat, parse_stat, parse_status, terminal_name};

use super::{Credentials, Found, Image, Key};

/// What is taken of any file but `cmdline`: `status` has about 1,500 bytes.
const MAX_FILE: u64 = 16 * 1024;
/// A path of up to 4 KiB (`proc_cgroup_show` of kernel/cgroup/cgroup.c) for each of the hierarchies, of which there are some twelve.
const MAX_CGROUPS: u64 = 64 * 1024;

/// How far a start time from `/proc` may be below the kernel's, nanoseconds: it counts in clock ticks
/// (`USER_HZ`, 100 a second on every architecture that is served).
pub(crate) const TICK: u64 = 10_000_000;

/// Splits `argv` as the kernel has it: each argument ends in NUL.
pub(crate) fn split_arguments(bytes: &[u8]) -> Vec<String> {
    let Some(bytes) = bytes
        .strip_suffix(b"\0")
        .or((!bytes.is_empty()).then_some(bytes))
    else {
        return Vec::new();
    };
    bytes
        .split(|byte| *byte == 0)
        .map(|part| text::lossy(part).into_owned())
        .collect()
}

/// Reads a file, at most `limit` bytes of it.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_text(path: &Path) -> io::Result<String> {
    read(path, MAX_FILE).map(|bytes| text::lossy(&bytes).into_owned())
}

/// Where a link of a process's directory in `/proc` points, such as `exe` or `fd/3`; a removed
/// file's mark is cut off.
pub(crate) fn link(process: &Path, name: &str) -> Option<String> {
    let link = process.join(name);
    let target = fs::read_link(&link).ok()?.into_os_string().into_vec();
    let unmarked = target.strip_suffix(b" (deleted)");
    let path = unmarked.filter(|_| !leads_to(process, &target, &link));
    Some(text::path(path.unwrap_or(&target)).into_owned())
}

/// Whether a file of that very name is there, as the process sees it, and is the one behind `link`.
fn leads_to(process: &Path, target: &[u8], link: &Path) -> bool {
    let below_root = OsStr::from_bytes(target.strip_prefix(b"/").unwrap_or(target));
    let named = fs::metadata(process.join("root").join(below_root));
    match (named, fs::metadata(link)) {
        (Ok(named), Ok(linked)) => (named.dev(), named.ino()) == (linked.dev(), linked.ino()),
        _ => false,
    }
}

/// When the process with this pid started.
pub(crate) fn stat(proc: &Path, tgid: u32) -> Option<Stat> {
    try_stat(proc, tgid).ok().flatten()
}

/// The same, and why it cannot be read: there may be no descriptor for it.
pub(crate) fn try_stat(proc: &Path, tgid: u32) -> io::Result<Option<Stat>> {
    let text = read_text(&proc.join(tgid.to_string()).join("stat"))?;
    Ok(parse_stat(&text, rustix::param::clock_ticks_per_second()))
}

/// What `/proc/PID/cgroup` says, each path as its text: a cgroup's name may have any bytes but `/` and newline.
pub(crate) fn cgroups(proc: &Path, tgid: u32) -> io::Result<String> {
    let bytes = read(&proc.join(tgid.to_string()).join("cgroup"), MAX_CGROUPS)?;
    Ok(text::path(&bytes).into_owned())
}

/// How processes are read: from where, and what of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    /// The host's `/proc`.
    pub(crate) proc: &'a Path,
    /// The variables of the environment that are kept.
    pub(crate) environment: &'a [String],
    /// What of them and of the arguments is not shown.
    pub(crate) redaction: &'a Redaction,
}

impl Reading<'_> {
    /// Arguments as the kernel has them.
    pub(crate) fn arguments(&self, bytes: &[u8]) -> Redactable<'static> {
        self.redaction.arguments(split_arguments(bytes))
    }

    /// What is kept of an environment as the kernel has it. A variable that is cut is kept as far as it
    /// goes.
    pub(crate) fn environment(&self, bytes: &[u8]) -> Redactable<'static> {
        let is_kept = |variable: &String| {
            let name = variable.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| self.environment.iter().any(|kept| kept == name))
        };
        let variables = bytes.split(|byte| *byte == 0).map(text::lossy);
        let kept = variables.map(Cow::into_owned).filter(is_kept).collect();
        self.redaction.environment(kept)
    }
}

/// Reads one process; `None` when it is gone. What may not be read is left out.
pub(crate) fn process(reading: &Reading<'_>, tgid: u32) -> Option<Found> {
    let proc = reading.proc;
    let stat = stat(proc, tgid)?;
    let directory = proc.join(tgid.to_string());
    let read_text = |name: &str| read_text(&directory.join(name)).ok();
    let loginuid = read_text("loginuid").and_then(|text| text.trim().parse().ok());
    let status = read_text("status").and_then(|text| parse_status(&text));
    let capabilities = status.as_ref().map(|status| status.capabilities);
    let credentials = status.map(|status| Credentials {
        uid: status.uid,
        euid: status.euid,
        gid: status.gid,
        loginuid: loginuid.unwrap_or(u32::MAX),
    });
    let image = Image {
        executable: link(&directory, "exe"),
        name: Some(stat.name),
        arguments: read(&directory.join("cmdline"), ARGUMENT_BYTES as u64)
            .ok()
            .map_or_else(Redactable::default, |bytes| reading.arguments(&bytes)),
        environment: (!reading.environment.is_empty())
            .then(|| read(&directory.join("environ"), ENVIRONMENT_BYTES as u64).ok())
            .flatten()
            .map_or_else(Redactable::default, |bytes| reading.environment(&bytes)),
        working_directory: link(&directory, "cwd"),
    };
    Some(Found {
        key: Key {
            tgid,
            start: stat.start,
        },
        ppid: stat.ppid,
        exec_id: None,
        image,
        credentials,
        terminal: terminal_name(stat.terminal).map(Into::into),
        capabilities,
    })
}

/// The pids that there are, in ascending order, so that most parents come before their children.
/// At most `limit`.
pub(crate) fn pids(proc: &Path, limit: usize) -> io::Result<Vec<u32>> {
    let entries = fs::read_dir(proc)?.filter_map(Result::ok);
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut pids: Vec<u32> = entries.filter_map(pid).take(limit).collect();
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split() {
        assert_eq!(split_arguments(b"a\0\0b c\0"), ["a", "", "b c"]);
        assert_eq!(split_arguments(b"cut"), ["cut"]);
        assert!(split_arguments(b"").is_empty());
    }

    #[test]
    fn only_the_kernels_mark_is_cut_off() {
        use std::os::fd::AsRawFd;
        let own = Path::new("/proc/self");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x (deleted)");
        let file = File::create(&path).unwrap();
        let shown = || link(own, &format!("fd/{}", file.as_raw_fd())).unwrap();
        assert_eq!(shown(), path.to_str().unwrap());
        // The mark of the kernel comes behind that of the name.
        fs::remove_file(&path).unwrap();
        assert_eq!(shown(), path.to_str().unwrap());
    }

    #[test]
    fn this_process_is_found() {
        let redaction = Redaction::default();
        let reading = Reading {
            proc: Path::new("/proc"),
            environment: &["PATH".to_owned(), "NO_SUCH".to_owned()],
            redaction: &redaction,
        };
        let own = process(&reading, std::process::id()).unwrap();
        let arguments: Vec<String> = std::env::args().collect();
        assert_eq!(own.image.arguments.known(), arguments);
        let path = format!("PATH={}", std::env::var("PATH").unwrap());
        let seen = own.image.environment.known();
        assert!(seen.iter().all(|variable| *variable == path), "{seen:?}");
        assert_eq!(
            own.image.executable.unwrap(),
            std::env::current_exe().unwrap().to_string_lossy()
        );
        assert!(own.key.start < crate::clock::boottime());
        assert!(
            pids(Path::new("/proc"), 100_000)
                .unwrap()
                .contains(&std::process::id())
        );
        assert!(process(&reading, u32::MAX).is_none());
    }
}
