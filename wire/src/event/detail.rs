//! What single kinds of operations have beside the common fields.

use std::borrow::Cow;

use serde::Serialize;

use super::{Id, Number};

/// `user.*`, on `process.setuid` and `process.setgid`: who the process becomes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Becomes<'a> {
    /// The real user or group.
    pub changes: Identity<'a>,
    /// The effective user or group.
    pub effective: Identity<'a>,
}

/// A user (`process.setuid`) or a group (`process.setgid`).
#[derive(Clone, Debug, Default, Serialize)]
pub struct Identity<'a> {
    /// User, a number as ECS wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Number>,
    /// From the host's `/etc/passwd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Id>,
}

/// `holdfast.ids.*`, on `process.setuid` and `process.setgid`: what else the process becomes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ids {
    /// Saved user or group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<Number>,
    /// User or group that files are accessed as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Number>,
    /// Supplementary groups, where they are set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// `holdfast.bpf.*`, on `kernel.bpf`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bpf<'a> {
    /// `BPF_PROG_LOAD`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Cow<'a, str>>,
    /// `BPF_PROG_TYPE_KPROBE`, …: of a program that is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_type: Option<Cow<'a, str>>,
    /// `BPF_TRACE_FENTRY`, …: what a program is loaded for or attached by, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach_type: Option<Cow<'a, str>>,
    /// Name of a program that is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
}

/// `holdfast.ipc.*`, on `ipc.shm` and `ipc.mq`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ipc<'a> {
    /// The system call: `shmget`, `shmat` or `mq_open`.
    pub operation: &'static str,
    /// Key of a segment, hexadecimal as `ipcs(1)` shows it; none where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Id of a segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// User that owns a segment, a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Number>,
    /// Permissions of a segment, octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Number>,
    /// Name of a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
}

/// `holdfast.memory.*`, on `memory.*`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory<'a> {
    /// What is allowed afterwards, as `PROT_EXEC`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protection: Vec<&'static str>,
    /// What was allowed before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<&'static str>,
    /// Whether it is of no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
    /// `file`, `anonymous`, `heap` or `stack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<&'static str>,
    /// Where it begins, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Name of a file that lives in memory alone, as it was given to `memfd_create(2)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// How another's memory is written to: `process_vm_writev` or `proc_mem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
}

/// `holdfast.capabilities.*`, on `capability.set` what the thread has afterwards, on `process.exec` what
/// the process got by it. Names, as `CAP_SYS_ADMIN`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CapabilitySets {
    /// Those in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<&'static str>,
    /// Those that may be put in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<&'static str>,
    /// Those kept by an exec, as far as the file agrees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<&'static str>,
    /// Those in force that were not before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gained: Vec<&'static str>,
}

/// `holdfast.rlimit.*`, on `process.rlimit`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rlimit<'a> {
    /// `RLIMIT_NOFILE`, …
    pub resource: Cow<'a, str>,
    /// The limit in force afterwards, in the resource's unit; `i64::MAX` where there is none.
    pub soft: i64,
    /// What the process may raise it to, likewise.
    pub hard: i64,
}

/// `holdfast.scheduler.*`, on `process.setscheduler`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scheduler<'a> {
    /// The system call; absent where the thread was moved into a cgroup that has CPUs of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<&'static str>,
    /// `SCHED_FIFO`, …; absent where it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Cow<'a, str>>,
    /// Real-time priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}
