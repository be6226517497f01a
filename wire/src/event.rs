//! The event: what people see, as one JSON object with Elastic Common Schema names.
//!
//! An [`Event`] borrows from the record and the process table and lives only while it is judged and
//! written. A field that is `None` (or empty) is not known and is not printed: nothing is made up.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;

mod cloud;
mod container;
mod detail;
mod dns;
mod executable;
mod json;
mod names;
mod path;
mod redactable;
mod rendered;
mod short;
mod time;

pub use cloud::{Cloud, Named, Typed};
pub use container::{
    Container, Grants, Image, ImageChange, ImageHash, Lifecycle, Orchestrator, Resource,
};
pub use detail::{Becomes, Bpf, CapabilitySets, Identity, Ids, Ipc, Memory, Rlimit, Scheduler};
pub use dns::{Dns, DnsAnswer, DnsQuestion};
pub use executable::Executable;
pub use names::{
    bpf_attach_type_name, bpf_command_name, bpf_program_type_name, capability_name,
    capability_names, capability_number, clone_flag_names, load_source_name, map_flag_names,
    memfd_flag_names, mount_flag_names, open_flag_names, protection_names, protocol_name,
    region_name, resource_name, scheduling_call_name, scheduling_policy_name, shmat_flag_names,
    shmget_flag_names, signal_name, socket_family_name, socket_type_name, umount_flag_names,
    write_method_name, xattr_flag_names,
};
pub use path::PathView;
pub use redactable::Redactable;
pub use rendered::Rendered;
pub use short::{EventId, Number, Time, device, number, permissions};
pub use time::{rfc3339, unix_nanoseconds};

/// One event. Field names and nesting are ECS (<https://www.elastic.co/guide/en/ecs/current/>); what
/// ECS has no name for lives under `holdfast`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Event<'a> {
    /// Wall-clock time of the operation, RFC 3339 with nanoseconds.
    #[serde(rename = "@timestamp")]
    pub timestamp: Time,
    /// What happened.
    pub event: EventFields<'a>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a Rendered<Host>>,
    /// In which cloud that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud: Option<&'a Rendered<Cloud>>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process<'a>>,
    /// Who the process becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Becomes<'a>>,
    /// The file it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<File<'a>>,
    /// Who connects or sends: the socket's own end, but at `network.accept` the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Endpoint>,
    /// To whom: the peer, but at `network.accept` the socket's own end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Endpoint>,
    /// Transport and address family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network<'a>>,
    /// The container that the process is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Rendered<Container>>,
    /// The pod that the container is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<Orchestrator<'a>>,
    /// What a name server was asked, or has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns<'a>>,
    /// The rule that matched, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule<'a>>,
    /// The techniques that the rule names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threat: Option<Threat<'a>>,
    /// The rule's message, filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What is Holdfast's own.
    pub holdfast: Holdfast<'a>,
}

/// `event.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct EventFields<'a> {
    /// Unique: boot, CPU and sequence of the record.
    pub id: EventId,
    /// `event`, `alert` or `state`.
    pub kind: &'a str,
    /// `process.exec`, `file.open`, …
    pub action: &'a str,
    /// ECS categories.
    pub category: &'a [&'a str],
    /// ECS types.
    #[serde(rename = "type")]
    pub types: &'a [&'a str],
    /// `success`, `failure` or `unknown`: of the operation, not of the rule.
    pub outcome: &'a str,
    /// The record's sequence number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// 1 low, 2 medium, 3 high, 4 critical; absent without a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<u8>,
    /// Why, for `sensor.*` events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
}

/// `host.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// `/etc/machine-id`, or the boot id where there is none.
    pub id: String,
    /// `uname -n`.
    pub name: String,
    /// What it runs.
    pub os: Os,
}

/// `host.os.*`, from os-release(5)
#[derive(Clone, Debug, Default, Serialize)]
pub struct Os {
    /// As `Debian GNU/Linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As `12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Both, as people read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,
    /// `debian`, `redhat`, `suse`, `arch`, or the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// As `debian`, `ubuntu`, `rocky`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// `uname -r`.
    pub kernel: String,
}

/// `process.*`, also as `process.parent`, `process.ancestors[]` and `holdfast.target`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Process<'a> {
    /// Unique for a process image on this host: pid, start time and exec id, hashed with the boot id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<Cow<'a, str>>,
    /// In the initial pid namespace.
    pub pid: i32,
    /// Resolved path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Cow<'a, str>>,
    /// `comm`, or the last component of the executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// `argv`.
    #[serde(skip_serializing_if = "Redactable::is_empty")]
    pub args: Redactable<'a>,
    /// Those variables of the environment that `events.environment` names, as `NAME=value`.
    #[serde(skip_serializing_if = "Redactable::is_empty")]
    pub env_vars: Redactable<'a>,
    /// At the time of exec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<Cow<'a, str>>,
    /// Start of the process, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    /// Real user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User<'a>>,
    /// Real group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Id>,
    /// Of `process.exit`; absent when a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<Thread>,
    /// Controlling terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<Tty<'a>>,
    /// The parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Rendered<Process<'static>>>,
    /// The parent's parent and so on, nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Rendered<Process<'static>>>,
}

/// `user.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct User<'a> {
    /// Number, as ECS wants it: a string.
    pub id: Number,
    /// From the host's `/etc/passwd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The effective user, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Id>,
}

/// An object that has just an `id`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Id {
    /// Number, as ECS wants it: a string.
    pub id: Number,
}

/// `process.thread.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Thread {
    /// Thread id in the initial pid namespace.
    pub id: u32,
    /// Its capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Rendered<Capabilities>>,
}

/// `process.thread.capabilities.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Capabilities {
    /// Names, as `CAP_SYS_ADMIN`.
    pub effective: Vec<&'static str>,
}

/// `process.tty.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tty<'a> {
    /// `pts0`, `tty1`, …
    pub name: Cow<'a, str>,
}

/// `file.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct File<'a> {
    /// Absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Cow<'a, str>>,
    /// The new path of a rename or link; what a symbolic link says, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_path: Option<Cow<'a, str>>,
    /// Inode number, as ECS wants it: a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inode: Option<Number>,
    /// `major:minor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Number>,
    /// Permission bits in octal, four digits: the new ones of a chmod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Number>,
    /// Owner, a number as ECS wants it: the new one of a chown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Number>,
    /// Group, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<Number>,
}

/// `source.*`, `destination.*`
#[derive(Clone, Debug, Serialize)]
pub struct Endpoint {
    /// The address; an IPv4-mapped IPv6 address is shown as what it was given as.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

/// `network.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Network<'a> {
    /// `tcp`, `udp`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Cow<'a, str>>,
    /// `ipv4` or `ipv6`; absent for other families.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub family: Option<&'a str>,
    /// `ingress` for what came to the socket, `egress` for what goes from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'a str>,
}

/// `rule.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rule<'a> {
    /// `id` of the rule.
    pub id: &'a str,
    /// The rule's `name`, or its id.
    pub name: &'a str,
    /// Name of the policy.
    pub ruleset: &'a str,
    /// ATT&CK pages of its techniques.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub reference: &'a [String],
}

/// `threat.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Threat<'a> {
    /// `threat.technique.*`
    pub technique: Technique<'a>,
}

/// `threat.technique.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Technique<'a> {
    /// ATT&CK ids.
    pub id: &'a [String],
}

/// `holdfast.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Holdfast<'a> {
    /// Tier of the program that saw it; absent for `sensor.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<&'a str>,
    /// What the rule asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'a str>,
    /// `allowed`, `blocked`, `killed`, `killed_after` or `would_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'a str>,
    /// `observe` or `enforce`: the mode that the rule had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'a str>,
    /// `self_exec_id` of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_id: Option<u32>,
    /// Login uid (audit), where it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// cgroup v2 id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
    /// Inode numbers of namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
    /// Names of open flags, as `O_WRONLY`; of a trace, `PTRACE_MODE_ATTACH` or `PTRACE_TRACEME`; of a
    /// mount, as `MS_BIND`; of a module or a kernel, where it is loaded from, as `READING_MODULE`; of
    /// namespaces, as `CLONE_NEWNS`; of shared memory, as `IPC_CREAT` or `SHM_EXEC`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<&'static str>,
    /// Inode number of the namespace that is joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined_namespace: Option<u32>,
    /// Name of the signal sent, or that ended the process, as `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Cow<'a, str>>,
    /// The process acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<Process<'a>>>,
    /// Facts about an executed file that ECS has no name for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Executable<'a>>,
    /// The socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<Socket<'a>>,
    /// The extended attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xattr: Option<Xattr<'a>>,
    /// What a mount is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount: Option<Mount<'a>>,
    /// What else a process becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// What is done by `bpf(2)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bpf: Option<Bpf<'a>>,
    /// Shared memory or a message queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<Ipc<'a>>,
    /// How others see `file.path`; at `process.exec`, `process.executable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathView<'a>>,
    /// How others see `file.target_path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_path: Option<PathView<'a>>,
    /// The capability that is used, as `CAP_SYS_MODULE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<Cow<'a, str>>,
    /// Inode number of the user namespace in which it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<u32>,
    /// Uses of it that were not told of since the last that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<u64>,
    /// The capabilities that a thread has afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<CapabilitySets>,
    /// The limit that is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rlimit: Option<Rlimit<'a>>,
    /// How a thread is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler<'a>>,
    /// How a container starts, or ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Lifecycle<'a>>,
    /// What happened to an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageChange>,
    /// The memory that is mapped, protected, made or written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory<'a>>,
    /// Which fields are cut, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<&'static str>,
    /// `argument` where `file.path` is the caller's argument, not what the kernel resolved, and where
    /// `holdfast.memory.name` is the caller's, which it could change after it was read; `filesystem` where
    /// `file.path` is one that the file has, but not surely the one by which the caller came to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_source: Option<&'a str>,
}

/// `holdfast.xattr.*`, on `file.setxattr`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Xattr<'a> {
    /// `security.capability`, `system.posix_acl_access`, `user.…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// It is removed, not set.
    pub removed: bool,
}

/// `holdfast.mount.*`, on `file.mount` and `file.umount`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Mount<'a> {
    /// The device or path that is mounted: as it was given to mount(2); of what is moved its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    /// Type of the file system, as `overlay`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub file_system: Option<Cow<'a, str>>,
}

/// `holdfast.socket.*`, on `network.*`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Socket<'a> {
    /// `AF_UNIX`, `AF_INET`, …
    pub family: Cow<'a, str>,
    /// `SOCK_STREAM`, `SOCK_RAW`, …
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub socket_type: Option<Cow<'a, str>>,
    /// Name of a Unix socket; an abstract one begins with `@`, as ss(8) shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Cow<'a, str>>,
}

/// `holdfast.namespaces.*`
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Namespaces {
    /// Mount namespace.
    pub mnt: u32,
    /// Active pid namespace.
    pub pid: u32,
    /// Network namespace.
    pub net: u32,
}

impl Process<'_> {
    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Process<'static> {
        Process {
            entity_id: owned(self.entity_id),
            pid: self.pid,
            executable: owned(self.executable),
            name: owned(self.name),
            args: self.args.into_owned(),
            env_vars: self.env_vars.into_owned(),
            working_directory: owned(self.working_directory),
            start: self.start,
            user: self.user.map(|user| User {
                name: owned(user.name),
                ..user
            }),
            group: self.group,
            exit_code: self.exit_code,
            thread: self.thread,
            tty: self.tty.map(|tty| Tty {
                name: Cow::Owned(tty.name.into_owned()),
            }),
            parent: self.parent,
            ancestors: self.ancestors,
        }
    }
}

fn owned(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
    text.map(|text| Cow::Owned(text.into_owned()))
}

impl Event<'_> {
    /// Appends the event as one line of JSON, newline included.
    ///
    /// # Errors
    /// None that can happen with this type: it has nothing in it that is not written.
    pub fn write_line(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        json::write(self, out)?;
        out.push(b'\n');
        Ok(())
    }
}
