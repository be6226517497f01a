//! What single kinds of operations have beside the common fields.

use std::borrow::Cow;

use serde::Serialize;

use super::Id;

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
    pub id: Option<String>,
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
    pub saved: Option<String>,
    /// User or group that files are accessed as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
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
    pub owner: Option<String>,
    /// Permissions of a segment, octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Name of a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
}
