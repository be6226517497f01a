//! The `bpf(2)` calls that aya has no name for.
#![allow(unsafe_code)] // system calls on structs from the kernel's headers

use std::ffi::{CString, c_char};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use aya_obj::Function;
use aya_obj::generated::bpf_link_type::BPF_LINK_TYPE_PERF_EVENT;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use aya_obj::generated::bpf_perf_event_type::BPF_PERF_EVENT_KPROBE;
use aya_obj::generated::{
    BPF_F_MMAPABLE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_prog_info, bpf_prog_type,
};

/// The verifier's log of a program that it refuses; where it is longer, the load fails for that.
const LOG_BYTES: usize = 16 << 20;
/// The verifier's statistics are a few lines; it has one for each function of the program.
const STATISTICS_BYTES: usize = 64 << 10;
/// `BPF_OBJ_NAME_LEN` of `include/uapi/linux/bpf.h`, without the NUL.
const NAME_BYTES: usize = 15;

fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: the attributes are a whole `bpf_attr`; what they point to outlives the call, see the
    // callers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attributes),
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(result: i64) -> OwnedFd {
    // SAFETY: a non-negative result of the two commands below is a new descriptor.
    unsafe { OwnedFd::from_raw_fd(result as i32) }
}

/// Loads an object's own BTF.
///
/// # Errors
/// What the kernel says.
pub(crate) fn load_btf(bytes: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: the member of the union that this command reads.
    let load = unsafe { &mut attributes.__bindgen_anon_7 };
    load.btf = bytes.as_ptr() as u64;
    load.btf_size = bytes.len() as u32;
    bpf(bpf_cmd::BPF_BTF_LOAD, &mut attributes).map(owned)
}

/// A program to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its code, relocated.
    pub(crate) function: &'a Function,
    /// The object's BTF. Without it the verifier takes global functions for static ones, and goes
    /// through them anew at every call.
    pub(crate) btf: BorrowedFd<'a>,
    /// What it is.
    pub(crate) kind: bpf_prog_type,
    /// How it is attached and to which kernel function, as an id in the kernel's BTF, where that
    /// decides about loading it.
    pub(crate) attach: Option<(bpf_attach_type, u32)>,
}

/// What the verifier is to write.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Log {
    /// `BPF_LOG_LEVEL1` of `include/linux/bpf_verifier.h`: what it refuses, and why.
    Refusal = 1,
    /// `BPF_LOG_STATS`: how much work it had.
    Statistics = 4,
}

/// Loads a program.
///
/// # Errors
/// What the kernel says, and the verifier's log.
pub(crate) fn load(program: &Program<'_>) -> Result<OwnedFd, (io::Error, String)> {
    // Writing the log takes the verifier longer than verifying: only where something is wrong.
    load_once(program, Log::Refusal, &mut []).or_else(|_| refusal(program))
}

/// Loads a program and lets go of it; what the verifier says of the work it had.
///
/// # Errors
/// What the kernel says, and the verifier's log.
pub(crate) fn verifier_statistics(program: &Program<'_>) -> Result<String, (io::Error, String)> {
    let mut log = vec![0u8; STATISTICS_BYTES];
    match load_once(program, Log::Statistics, &mut log) {
        Ok(_) => Ok(text(&log)),
        Err(_) => refusal(program).map(|_| String::new()),
    }
}

/// Loads a program that was refused once more, for the reason.
fn refusal(program: &Program<'_>) -> Result<OwnedFd, (io::Error, String)> {
    let mut log = vec![0u8; LOG_BYTES];
    load_once(program, Log::Refusal, &mut log).map_err(|error| (error, text(&log)))
}

fn text(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).into_owned()
}

fn load_once(program: &Program<'_>, level: Log, log: &mut [u8]) -> io::Result<OwnedFd> {
    let Program {
        name,
        function,
        btf,
        kind,
        attach,
    } = *program;
    let functions = function.func_info.func_info_bytes();
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: the member of the union that this command reads.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = kind as u32;
    load.insns = function.instructions.as_ptr() as u64;
    load.insn_cnt = function.instructions.len() as u32;
    load.license = c"GPL".as_ptr() as u64;
    if let Some((attach_type, target)) = attach {
        load.expected_attach_type = attach_type as u32;
        load.attach_btf_id = target;
    }
    load.prog_btf_fd = btf.as_raw_fd() as u32;
    load.func_info = functions.as_ptr() as u64;
    load.func_info_cnt = function.func_info.len() as u32;
    load.func_info_rec_size = function.func_info_rec_size as u32;
    if !log.is_empty() {
        load.log_level = level as u32;
        load.log_buf = log.as_mut_ptr() as u64;
        load.log_size = log.len() as u32;
    }
    for (to, from) in load.prog_name.iter_mut().zip(name.bytes().take(NAME_BYTES)) {
        *to = c_char::from_ne_bytes([from]);
    }
    bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes).map(owned)
}

/// Attaches a loaded program to the function that it was loaded for, or to a raw tracepoint; the descriptor is its
/// link, and closing it detaches.
///
/// # Errors
/// What the kernel says.
pub(crate) fn attach(program: BorrowedFd<'_>, tracepoint: Option<&str>) -> io::Result<OwnedFd> {
    let tracepoint = tracepoint.map(CString::new).transpose()?;
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    attributes.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    attributes.raw_tracepoint.name = tracepoint.as_ref().map_or(0, |name| name.as_ptr() as u64);
    bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attributes).map(owned)
}

/// Attaches a loaded program to a perf event (from 5.15); the descriptor is its link.
///
/// # Errors
/// What the kernel says.
pub(crate) fn attach_to_event(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: the member of the union that this command reads.
    let link = unsafe { &mut attributes.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    link.__bindgen_anon_2.target_fd = event.as_raw_fd() as u32;
    link.attach_type = bpf_attach_type::BPF_PERF_EVENT as u32;
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes).map(owned)
}

/// Nobody can write to this map any more (from 5.2).
///
/// # Errors
/// What the kernel says.
pub(crate) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    attributes.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attributes).map(drop)
}

/// Puts a value into an array, whose values have so many bytes.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_element(map: BorrowedFd<'_>, index: u32, value: &[u8]) -> io::Result<()> {
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: the member of the union that this command reads.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd() as u32;
    element.key = std::ptr::from_ref(&index) as u64;
    element.__bindgen_anon_1.value = value.as_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes).map(drop)
}

/// Runs of a program that the kernel skipped since the program was already running on that CPU
/// (`bpf_prog_info.recursion_misses`; 0 where the kernel does not count them: trampolines from 5.12,
/// raw tracepoints from 6.1, kprobes and system call tracepoints from 6.7).
///
/// # Errors
/// What the kernel says.
pub(crate) fn recursion_misses(program: impl AsFd) -> io::Result<u64> {
    // SAFETY: what is written for programs; all zeros is a valid `bpf_prog_info`.
    let info: bpf_prog_info = unsafe { info(program.as_fd()) }?;
    Ok(info.recursion_misses)
}

/// A descriptor of the program that a link attaches.
///
/// # Errors
/// What the kernel says.
pub(crate) fn program_of(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    attributes.__bindgen_anon_6.__bindgen_anon_1.prog_id = link_info(link)?.prog_id;
    bpf(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attributes).map(owned)
}

/// An array with one value of so many 64-bit words, which can be mapped (from 5.5).
///
/// # Errors
/// What the kernel says.
pub(crate) fn shared_array(words: usize) -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: the member of the union that this command reads.
    let map = unsafe { &mut attributes.__bindgen_anon_1 };
    map.map_type = BPF_MAP_TYPE_ARRAY as u32;
    map.key_size = size_of::<u32>() as u32;
    map.value_size = (words * size_of::<u64>()) as u32;
    map.max_entries = 1;
    map.map_flags = BPF_F_MMAPABLE;
    for (to, from) in map.map_name.iter_mut().zip("ACCOUNT".bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    bpf(bpf_cmd::BPF_MAP_CREATE, &mut attributes).map(owned)
}

/// Gives a map, program or link a name in a BPF file system, which keeps it.
///
/// # Errors
/// What the kernel says.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    attributes.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attributes.__bindgen_anon_4.bpf_fd = object.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attributes).map(drop)
}

/// A descriptor of what has this name in a BPF file system.
///
/// # Errors
/// What the kernel says.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    attributes.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    bpf(bpf_cmd::BPF_OBJ_GET, &mut attributes).map(owned)
}

/// Hits of a kprobe that its link says were missed since another was being handled on that CPU
/// (`bpf_link_info.perf_event.kprobe.missed`, from 6.7; 0 before).
///
/// # Errors
/// What the kernel says.
pub(crate) fn kprobe_misses(link: BorrowedFd<'_>) -> io::Result<u64> {
    let info = link_info(link)?;
    if info.type_ != BPF_LINK_TYPE_PERF_EVENT as u32 {
        return Ok(0);
    }
    // SAFETY: the member of the union for a link of this type; its own union, integers throughout, is read as
    // that of a kprobe if it is one. All is zero unless written.
    Ok(unsafe {
        let event = info.__bindgen_anon_1.perf_event;
        if event.type_ == BPF_PERF_EVENT_KPROBE as u32 {
            event.__bindgen_anon_1.kprobe.missed
        } else {
            0
        }
    })
}

fn link_info(link: BorrowedFd<'_>) -> io::Result<bpf_link_info> {
    // SAFETY: all zeros is a valid `bpf_link_info`, and the kernel writes no other values of it than valid ones.
    unsafe { info(link) }
}

/// What the kernel tells of an object.
///
/// # Safety
/// `T` is the struct that it writes for objects of this sort; all zeros is a value of it.
unsafe fn info<T>(object: BorrowedFd<'_>) -> io::Result<T> {
    // SAFETY: as the caller promises; all zeros is a valid `bpf_attr`.
    let (mut info, mut attributes): (T, bpf_attr) = unsafe { (zeroed(), zeroed()) };
    attributes.info.bpf_fd = object.as_raw_fd() as u32;
    attributes.info.info = std::ptr::from_mut(&mut info) as u64;
    attributes.info.info_len = size_of::<T>() as u32;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    Ok(info)
}

/// Lifts the limit on open files as far as this process may: perf buffers are some for each CPU, and each process of a tree
/// or container is held while it is killed. Failing is no error here: opening what is too much says so.
pub(crate) fn lift_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Lifts the limit on locked memory, which kernels before 5.11 charge maps to, and any kernel perf
/// buffers; whether it could. Failing is no error here: what is too much says so.
pub(crate) fn lift_memlock_limit() -> bool {
    let limit = rustix::process::Rlimit {
        current: None,
        maximum: None,
    };
    rustix::process::setrlimit(rustix::process::Resource::Memlock, limit).is_ok()
}

/// Where tracefs belongs (Documentation/trace/ftrace.rst).
const TRACEFS: &str = "/sys/kernel/tracing";

/// Where tracefs has the tracepoints of system calls.
pub(crate) fn syscall_events() -> Option<PathBuf> {
    let mut roots = [TRACEFS, "/sys/kernel/debug/tracing"].into_iter();
    roots.find_map(|root| {
        let events = Path::new(root).join("events/syscalls");
        events.is_dir().then_some(events)
    })
}

/// That the kernel has none of these system call tracepoints, and so none of the calls.
///
/// # Errors
/// When it has one, or does not tell.
pub(crate) fn lacks(calls: &[&str]) -> Result<(), String> {
    let events = syscall_events().ok_or("tracefs shows no system calls")?;
    match calls.iter().find(|call| events.join(call).exists()) {
        Some(call) => Err(format!("the kernel has {call}")),
        None => Ok(()),
    }
}

/// Mounts tracefs where nobody did, as systemd does at boot: syscall tracepoints and kprobes are
/// attached through it. Failing is no error here: what needs it says that it is not there.
pub(crate) fn mount_tracefs() {
    use rustix::mount::{MountFlags, mount};
    let there = std::path::Path::new(TRACEFS).join("events").exists()
        || std::path::Path::new("/sys/kernel/debug/tracing/events").exists();
    if !there {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        match mount("tracefs", TRACEFS, "tracefs", flags, None) {
            Ok(()) => tracing::info!("mounted tracefs at {TRACEFS}"),
            Err(error) => tracing::warn!("cannot mount tracefs at {TRACEFS}: {error}"),
        }
    }
}

/// Where the BPF file system belongs (`kernel/bpf/inode.c` makes the directory).
const BPFFS: &str = "/sys/fs/bpf";

/// `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`.
const BPFFS_MAGIC: rustix::fs::FsWord = 0xcafe_4a11;

/// Whether an open directory is in a BPF file system.
pub(crate) fn is_bpffs(directory: impl AsFd) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|it| it.f_type == BPFFS_MAGIC)
}

/// Mounts the BPF file system where nobody did, as systemd does at boot, if `directory` is to be in it. Failing is
/// no error here: what needs it says that it is not there.
pub(crate) fn mount_bpffs(directory: &Path) {
    use rustix::mount::{MountFlags, mount};
    let there = std::fs::File::open(BPFFS).is_ok_and(is_bpffs);
    if there || !directory.starts_with(BPFFS) {
        return;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("bpf", BPFFS, "bpf", flags, Some(c"mode=700")) {
        Ok(()) => tracing::info!("mounted the BPF file system at {BPFFS}"),
        Err(error) => tracing::warn!("cannot mount the BPF file system at {BPFFS}: {error}"),
    }
}
