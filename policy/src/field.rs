//! The field table: what expressions can ask about, and how it is read from an event.
//!
//! The names in expressions are the names in events. A field that an event does not have is
//! [`Value::Absent`]; a list field is never absent, only empty.

use std::borrow::Cow;

use holdfast_wire::{Domain, Kind};

use crate::table::Dimension;

mod event;
mod recorded;
mod value;

pub use event::Shown;
pub use recorded::{Recorded, Unrecognised};
pub use value::{Map, ProcessList, Strings, Type, Value};

/// A set of kinds of events, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Kinds(u64);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self::of(Kind::ALL);
    const FILE: Self = Self::of_domain(Domain::File);
    const MOUNT: Self = Self::of(&[Kind::FileMount, Kind::FileUmount]);
    const NETWORK: Self = Self::of_domain(Domain::Network);
    /// Where there is somebody who connects or sends, or a socket that waits for them.
    const FROM: Self = Self::NETWORK.without(Self::of(&[Kind::NetworkSocket]));
    /// Where there is somebody to whom.
    const TO: Self = Self::FROM.without(Self::of(&[Kind::NetworkBind, Kind::NetworkListen]));
    /// What is loaded into the kernel.
    const LOADS: Self = Self::of(&[Kind::KernelModule, Kind::KernelKexec]);
    /// Where memory is mapped, or mapped memory changed.
    const MAPPINGS: Self = Self::of(&[Kind::MemoryMap, Kind::MemoryProtect]);
    /// Where a piece of memory is named.
    const PIECES: Self = Self::MAPPINGS.or(Self::of(&[Kind::MemoryProcessWrite]));
    /// Where a file is acted upon.
    const OF_FILES: Self = Self::FILE.or(Self::LOADS).or(Self::MAPPINGS);
    /// Where it is one that is there already.
    const OF_INODES: Self = Self::OF_FILES.without(Self::MOUNT);
    const SETUID: Self = Self::of(&[Kind::ProcessSetuid]);
    const SETGID: Self = Self::of(&[Kind::ProcessSetgid]);
    /// Where names of flags are shown.
    const FLAGGED: Self = Self::of(&[
        Kind::ProcessFork,
        Kind::ProcessPtrace,
        Kind::ProcessSetns,
        Kind::ProcessUnshare,
        Kind::FileOpen,
        Kind::FileSetxattr,
        Kind::MemoryMap,
        Kind::MemoryMemfd,
    ])
    .or(Self::IPC)
    .or(Self::MOUNT)
    .or(Self::LOADS);
    const IPC: Self = Self::SHM.or(Self::MQ);
    const SHM: Self = Self::of(&[Kind::IpcShm]);
    const MQ: Self = Self::of(&[Kind::IpcMq]);
    const BPF: Self = Self::of(&[Kind::KernelBpf]);
    const EXEC: Self = Self::of(&[Kind::ProcessExec]);
    const STARTS: Self = Self::of(&[Kind::ContainerStart]);
    /// Where a path is looked at from several sides.
    const WITH_PATH: Self = Self::FILE.or(Self::EXEC);
    /// Where there are two.
    const WITH_TARGET: Self = Self::of(&[Kind::FileRename, Kind::FileLink, Kind::FilePivotRoot]);

    /// Those in `kinds`.
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut set = 0;
        let mut i = 0;
        while i < kinds.len() {
            set |= 1 << kinds[i].index();
            i += 1;
        }
        Self(set)
    }

    /// Those of a domain.
    #[must_use]
    pub const fn of_domain(domain: Domain) -> Self {
        let mut set = Self::NONE;
        let mut i = 0;
        while i < Kind::ALL.len() {
            if Kind::ALL[i].domain() as u8 == domain as u8 {
                set.insert(Kind::ALL[i]);
            }
            i += 1;
        }
        set
    }

    /// Whether `kind` is one of them.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 >> kind.index() & 1 == 1
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in one or in both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds `kind`.
    pub const fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << kind.index();
    }

    /// Its kinds, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL
            .iter()
            .copied()
            .filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        let mut set = Self::NONE;
        kinds.into_iter().for_each(|kind| set.insert(kind));
        set
    }
}

/// What an expression is evaluated on.
pub trait Fields {
    /// The value of `field`, of the field's type or absent; a list is never absent, and neither is
    /// `container.id`: it is empty where there is no container.
    fn get(&self, field: Field) -> Value<'_>;
}

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($variant:ident $name:literal $kind:ident $on:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $(#[doc = concat!("`", $name, "`")] $variant,)* }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)* } }

            /// Its type.
            #[must_use]
            pub const fn value_type(self) -> Type { match self { $(Self::$variant => Type::$kind,)* } }

            /// The kinds of events that can have it.
            #[must_use]
            pub const fn kinds(self) -> Kinds { match self { $(Self::$variant => $on,)* } }
        }
    };
}

named! {
    /// A field of a process: below `process`, `process.parent`, `holdfast.target`, and of the
    /// elements of `process.ancestors`.
    Part {
        Pid "pid" Int Kinds::ALL;
        Executable "executable" String Kinds::ALL;
        Name "name" String Kinds::ALL;
        Args "args" Strings Kinds::ALL;
        CommandLine "command_line" String Kinds::ALL;
        EnvVars "env_vars" Strings Kinds::ALL;
        WorkingDirectory "working_directory" String Kinds::ALL;
        EntityId "entity_id" String Kinds::ALL;
        UserId "user.id" String Kinds::ALL;
        UserName "user.name" String Kinds::ALL;
        UserEffectiveId "user.effective.id" String Kinds::ALL;
        GroupId "group.id" String Kinds::ALL;
        TtyName "tty.name" String Kinds::ALL;
        Start "start" Timestamp Kinds::ALL;
    }
}

named! {
    /// A field of the event that is not a [`Part`] of a process.
    Plain {
        Timestamp "@timestamp" Timestamp Kinds::ALL;
        EventAction "event.action" String Kinds::ALL;
        EventOutcome "event.outcome" String Kinds::ALL;
        HostId "host.id" String Kinds::ALL;
        HostName "host.name" String Kinds::ALL;
        OsName "host.os.name" String Kinds::ALL;
        OsVersion "host.os.version" String Kinds::ALL;
        OsFull "host.os.full" String Kinds::ALL;
        OsFamily "host.os.family" String Kinds::ALL;
        OsPlatform "host.os.platform" String Kinds::ALL;
        OsKernel "host.os.kernel" String Kinds::ALL;
        CloudProvider "cloud.provider" String Kinds::ALL;
        CloudRegion "cloud.region" String Kinds::ALL;
        CloudZone "cloud.availability_zone" String Kinds::ALL;
        CloudInstance "cloud.instance.id" String Kinds::ALL;
        CloudMachine "cloud.machine.type" String Kinds::ALL;
        CloudAccount "cloud.account.id" String Kinds::ALL;
        ExitCode "process.exit_code" Int Kinds::of(&[Kind::ProcessExit]);
        ThreadId "process.thread.id" Int Kinds::ALL;
        Capabilities "process.thread.capabilities.effective" Strings Kinds::ALL;
        Ancestors "process.ancestors" Processes Kinds::ALL;
        FilePath "file.path" String Kinds::OF_FILES;
        FileTargetPath "file.target_path" String Kinds::of(&[Kind::FileRename, Kind::FileLink, Kind::FileSymlink, Kind::FilePivotRoot]);
        FileInode "file.inode" String Kinds::OF_INODES;
        FileDevice "file.device" String Kinds::OF_INODES;
        FileMode "file.mode" String Kinds::OF_INODES;
        FileUid "file.uid" String Kinds::OF_INODES;
        FileGid "file.gid" String Kinds::OF_INODES;
        SourceIp "source.ip" Ip Kinds::FROM;
        SourcePort "source.port" Int Kinds::FROM;
        DestinationIp "destination.ip" Ip Kinds::TO;
        DestinationPort "destination.port" Int Kinds::TO;
        NetworkTransport "network.transport" String Kinds::NETWORK;
        NetworkType "network.type" String Kinds::NETWORK;
        ContainerId "container.id" String Kinds::ALL;
        ContainerName "container.name" String Kinds::ALL;
        ContainerRuntime "container.runtime" String Kinds::ALL;
        ContainerImageName "container.image.name" String Kinds::ALL;
        ContainerImageTag "container.image.tag" Strings Kinds::ALL;
        ContainerImageHash "container.image.hash.all" Strings Kinds::ALL;
        ContainerLabels "container.labels" Map Kinds::ALL;
        ContainerPrivileged "container.privileged" Bool Kinds::ALL;
        AddedCapabilities "holdfast.container.added_capabilities" Strings Kinds::STARTS;
        HostNamespaces "holdfast.container.host_namespaces" Strings Kinds::STARTS;
        ContainerMounts "holdfast.container.mounts" Strings Kinds::STARTS;
        ContainerSandbox "holdfast.container.sandbox" Bool Kinds::STARTS;
        GuestKernel "holdfast.container.guest_kernel" String Kinds::STARTS;
        ContainerExitCode "holdfast.container.exit_code" Int Kinds::of(&[Kind::ContainerExit]);
        ImageOperation "holdfast.image.operation" String Kinds::of(&[Kind::ContainerImage]);
        OrchestratorType "orchestrator.type" String Kinds::ALL;
        OrchestratorNamespace "orchestrator.namespace" String Kinds::ALL;
        ResourceName "orchestrator.resource.name" String Kinds::ALL;
        ResourceType "orchestrator.resource.type" String Kinds::ALL;
        ResourceId "orchestrator.resource.id" String Kinds::ALL;
        ResourceLabel "orchestrator.resource.label" Strings Kinds::ALL;
        DnsType "dns.type" String Kinds::of(&[Kind::NetworkDns]);
        DnsId "dns.id" String Kinds::of(&[Kind::NetworkDns]);
        DnsOpCode "dns.op_code" String Kinds::of(&[Kind::NetworkDns]);
        DnsQuestionName "dns.question.name" String Kinds::of(&[Kind::NetworkDns]);
        DnsQuestionType "dns.question.type" String Kinds::of(&[Kind::NetworkDns]);
        DnsQuestionClass "dns.question.class" String Kinds::of(&[Kind::NetworkDns]);
        DnsResponseCode "dns.response_code" String Kinds::of(&[Kind::NetworkDns]);
        DnsResolvedIp "dns.resolved_ip" Strings Kinds::of(&[Kind::NetworkDns]);
        NetworkDirection "network.direction" String Kinds::TO;
        SocketFamily "holdfast.socket.family" String Kinds::NETWORK;
        SocketType "holdfast.socket.type" String Kinds::NETWORK;
        SocketPath "holdfast.socket.path" String Kinds::FROM.without(Kinds::of(&[Kind::NetworkDns]));
        Tier "holdfast.tier" String Kinds::ALL;
        UserId "user.changes.id" String Kinds::SETUID;
        UserName "user.changes.name" String Kinds::SETUID;
        UserEffectiveId "user.effective.id" String Kinds::SETUID;
        UserEffectiveName "user.effective.name" String Kinds::SETUID;
        GroupId "user.changes.group.id" String Kinds::SETGID;
        GroupEffectiveId "user.effective.group.id" String Kinds::SETGID;
        SavedId "holdfast.ids.saved" String Kinds::SETUID.or(Kinds::SETGID);
        FilesystemId "holdfast.ids.filesystem" String Kinds::SETUID.or(Kinds::SETGID);
        Groups "holdfast.ids.groups" Strings Kinds::SETGID;
        Flags "holdfast.flags" Strings Kinds::FLAGGED;
        JoinedNamespace "holdfast.joined_namespace" Int Kinds::of(&[Kind::ProcessSetns]);
        XattrName "holdfast.xattr.name" String Kinds::of(&[Kind::FileSetxattr]);
        XattrRemoved "holdfast.xattr.removed" Bool Kinds::of(&[Kind::FileSetxattr]);
        MountSource "holdfast.mount.source" String Kinds::MOUNT;
        MountType "holdfast.mount.type" String Kinds::MOUNT;
        Signal "holdfast.signal" String Kinds::of(&[Kind::ProcessSignal, Kind::ProcessExit]);
        LoginUid "holdfast.login_uid" Int Kinds::ALL;
        CgroupId "holdfast.cgroup_id" Int Kinds::ALL;
        MountNamespace "holdfast.namespaces.mnt" Int Kinds::ALL;
        PidNamespace "holdfast.namespaces.pid" Int Kinds::ALL;
        NetworkNamespace "holdfast.namespaces.net" Int Kinds::ALL;
        Capability "holdfast.capability" String Kinds::of(&[Kind::CapabilityUse]);
        UserNamespace "holdfast.user_namespace" Int Kinds::of(&[Kind::CapabilityUse]);
        Suppressed "holdfast.suppressed" Int Kinds::of(&[Kind::CapabilityUse]);
        CapabilitiesEffective "holdfast.capabilities.effective" Strings Kinds::of(&[Kind::CapabilitySet]);
        CapabilitiesPermitted "holdfast.capabilities.permitted" Strings Kinds::of(&[Kind::CapabilitySet]);
        CapabilitiesInheritable "holdfast.capabilities.inheritable" Strings Kinds::of(&[Kind::CapabilitySet]);
        RlimitResource "holdfast.rlimit.resource" String Kinds::of(&[Kind::ProcessRlimit]);
        RlimitSoft "holdfast.rlimit.soft" Int Kinds::of(&[Kind::ProcessRlimit]);
        RlimitHard "holdfast.rlimit.hard" Int Kinds::of(&[Kind::ProcessRlimit]);
        SchedulerCall "holdfast.scheduler.call" String Kinds::of(&[Kind::ProcessSetscheduler]);
        SchedulerPolicy "holdfast.scheduler.policy" String Kinds::of(&[Kind::ProcessSetscheduler]);
        SchedulerPriority "holdfast.scheduler.priority" Int Kinds::of(&[Kind::ProcessSetscheduler]);
        MemoryProtection "holdfast.memory.protection" Strings Kinds::MAPPINGS;
        MemoryPrevious "holdfast.memory.previous" Strings Kinds::of(&[Kind::MemoryProtect]);
        MemoryAnonymous "holdfast.memory.anonymous" Bool Kinds::MAPPINGS;
        MemoryRegion "holdfast.memory.region" String Kinds::MAPPINGS;
        MemoryAddress "holdfast.memory.address" String Kinds::PIECES;
        MemorySize "holdfast.memory.size" Int Kinds::PIECES;
        MemoryName "holdfast.memory.name" String Kinds::of(&[Kind::MemoryMemfd]);
        MemoryMethod "holdfast.memory.method" String Kinds::of(&[Kind::MemoryProcessWrite]);
        BpfCommand "holdfast.bpf.command" String Kinds::BPF;
        BpfProgramType "holdfast.bpf.program_type" String Kinds::BPF;
        BpfAttachType "holdfast.bpf.attach_type" String Kinds::BPF;
        BpfName "holdfast.bpf.name" String Kinds::BPF;
        IpcOperation "holdfast.ipc.operation" String Kinds::IPC;
        IpcKey "holdfast.ipc.key" String Kinds::SHM;
        IpcId "holdfast.ipc.id" Int Kinds::SHM;
        IpcOwner "holdfast.ipc.owner" String Kinds::SHM;
        IpcMode "holdfast.ipc.mode" String Kinds::SHM;
        IpcName "holdfast.ipc.name" String Kinds::MQ;
        ExecutableDeleted "holdfast.executable.deleted" Bool Kinds::EXEC;
        ExecutableMemfd "holdfast.executable.memfd" Bool Kinds::EXEC;
        ExecutableArgument "holdfast.executable.argument" String Kinds::EXEC;
        ExecutableScript "holdfast.executable.script" String Kinds::EXEC;
        ExecutableInterpreter "holdfast.executable.interpreter" String Kinds::EXEC;
        ExecutableInode "holdfast.executable.inode" String Kinds::EXEC;
        ExecutableDevice "holdfast.executable.device" String Kinds::EXEC;
        ExecutableSetuid "holdfast.executable.setuid" Bool Kinds::EXEC;
        ExecutableSetgid "holdfast.executable.setgid" Bool Kinds::EXEC;
        ExecutableUpperLayer "holdfast.executable.upper_layer" Bool Kinds::EXEC;
        CapabilitiesGained "holdfast.capabilities.gained" Strings Kinds::EXEC;
        PathProcess "holdfast.path.process" String Kinds::WITH_PATH;
        PathHost "holdfast.path.host" String Kinds::WITH_PATH;
        PathNamespace "holdfast.path.namespace" Int Kinds::WITH_PATH;
        PathOutsideRoot "holdfast.path.outside_root" Bool Kinds::WITH_PATH;
        PathDeleted "holdfast.path.deleted" Bool Kinds::WITH_PATH;
        TargetPathProcess "holdfast.target_path.process" String Kinds::WITH_TARGET;
        TargetPathHost "holdfast.target_path.host" String Kinds::WITH_TARGET;
        TargetPathOutsideRoot "holdfast.target_path.outside_root" Bool Kinds::WITH_TARGET;
    }
}

/// Whose [`Part`] a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// `process`: who did it; at `process.exec` as it is afterwards, with the new executable.
    Actor,
    /// `process.parent`
    Parent,
    /// `holdfast.target`: the process acted upon.
    Target,
}

impl Subject {
    const ALL: [Self; 3] = [Self::Actor, Self::Parent, Self::Target];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Actor => "process.",
            Self::Parent => "process.parent.",
            Self::Target => "holdfast.target.",
        }
    }

    const fn kinds(self) -> Kinds {
        match self {
            Self::Actor | Self::Parent => Kinds::ALL,
            Self::Target => Kinds::of(&[
                Kind::ProcessSignal,
                Kind::ProcessFork,
                Kind::ProcessPtrace,
                Kind::ProcessRlimit,
                Kind::ProcessSetscheduler,
                Kind::MemoryProcessWrite,
            ]),
        }
    }
}

/// A field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// One that has its own place.
    Plain(Plain),
    /// One of a process.
    Process(Subject, Part),
}

impl Field {
    /// `process.executable`
    pub const EXECUTABLE: Self = Self::Process(Subject::Actor, Part::Executable);
    /// `process.user.id`
    pub const USER: Self = Self::Process(Subject::Actor, Part::UserId);
    /// `container.id`
    pub const CONTAINER: Self = Self::Plain(Plain::ContainerId);

    /// Every field.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = Plain::ALL.iter().copied().map(Self::Plain);
        plain.chain(Subject::ALL.into_iter().flat_map(|subject| {
            Part::ALL
                .iter()
                .copied()
                .map(move |part| Self::Process(subject, part))
        }))
    }

    /// Every field's name.
    #[must_use]
    pub fn names() -> Vec<Cow<'static, str>> {
        Self::all().map(Self::name).collect()
    }

    /// The name in events and expressions, such as `process.parent.executable`.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Plain(plain) => plain.name().into(),
            Self::Process(subject, part) => format!("{}{}", subject.prefix(), part.name()).into(),
        }
    }

    /// The field with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let plain = Plain::ALL
            .iter()
            .find(|plain| plain.name() == name)
            .copied()
            .map(Self::Plain);
        plain.or_else(|| {
            Subject::ALL.into_iter().find_map(|subject| {
                let part = Part::from_name(name.strip_prefix(subject.prefix())?)?;
                Some(Self::Process(subject, part))
            })
        })
    }

    /// Its type.
    #[must_use]
    pub const fn value_type(self) -> Type {
        match self {
            Self::Plain(plain) => plain.value_type(),
            Self::Process(_, part) => part.value_type(),
        }
    }

    /// The kinds of events that can have it; it is absent from the others.
    #[must_use]
    pub const fn kinds(self) -> Kinds {
        match self {
            Self::Plain(plain) => plain.kinds(),
            Self::Process(subject, part) => subject.kinds().and(part.kinds()),
        }
    }

    /// Whether it is the same for all events of a container.
    #[must_use]
    pub const fn is_of_container(self) -> bool {
        matches!(
            self,
            Self::Plain(
                Plain::ContainerId
                    | Plain::ContainerName
                    | Plain::ContainerRuntime
                    | Plain::ContainerImageName
                    | Plain::ContainerImageTag
                    | Plain::ContainerImageHash
                    | Plain::ContainerLabels
                    | Plain::ContainerPrivileged
                    | Plain::OrchestratorType
                    | Plain::OrchestratorNamespace
                    | Plain::ResourceName
                    | Plain::ResourceType
                    | Plain::ResourceId
            )
        )
    }

    /// By which dimension the kernel programs look it up at the hook of `kind`, if they do.
    #[must_use]
    pub fn dimension(self, kind: Kind) -> Option<Dimension> {
        match self {
            Self::EXECUTABLE if kind == Kind::ProcessExec => Some(Dimension::Path),
            Self::EXECUTABLE => Some(Dimension::Executable),
            Self::Process(Subject::Parent, Part::Executable) => Some(Dimension::Parent),
            Self::Process(Subject::Actor, Part::UserId) if !changes_ids(kind) => {
                Some(Dimension::User)
            }
            Self::Process(Subject::Target, Part::Executable) if looks_at_target(kind) => {
                Some(Dimension::TargetExecutable)
            }
            Self::Plain(Plain::Ancestors) => Some(Dimension::Ancestors),
            Self::Plain(plain) if plain.kinds().contains(kind) => match plain {
                Plain::FilePath => Some(Dimension::Path),
                // What a symbolic link says is no path before it is followed.
                Plain::FileTargetPath if !matches!(kind, Kind::FileSymlink) => {
                    Some(Dimension::TargetPath)
                }
                Plain::SocketPath => Some(Dimension::Path),
                Plain::SourceIp if waits(kind) || kind == Kind::NetworkAccept => {
                    Some(Dimension::Address)
                }
                Plain::SourcePort if waits(kind) => Some(Dimension::Port),
                // Of what is accepted: who connects, and to which of the own ports.
                Plain::DestinationIp if kind != Kind::NetworkAccept => Some(Dimension::Address),
                Plain::DestinationPort | Plain::Capability => Some(Dimension::Port),
                Plain::DnsType => Some(Dimension::Access),
                Plain::Flags if matches!(kind, Kind::FileOpen) => Some(Dimension::Access),
                Plain::MemoryAnonymous | Plain::MemoryProtection => Some(Dimension::Access),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether the only end is the socket's own.
const fn waits(kind: Kind) -> bool {
    matches!(kind, Kind::NetworkBind | Kind::NetworkListen)
}

/// Whether there is a process acted upon before it happens: a fork's is not there yet.
const fn looks_at_target(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ProcessSignal
            | Kind::ProcessPtrace
            | Kind::ProcessRlimit
            | Kind::ProcessSetscheduler
            | Kind::MemoryProcessWrite
    )
}

/// Whether the ids of the process are others afterwards: not every tier has a hook before that.
const fn changes_ids(kind: Kind) -> bool {
    matches!(kind, Kind::ProcessSetuid | Kind::ProcessSetgid)
}

impl Part {
    /// The part with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|part| part.name() == name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_field() {
        for field in Field::all() {
            assert_eq!(
                Field::from_name(&field.name()),
                Some(field),
                "{}",
                field.name()
            );
        }
        assert_eq!(Field::from_name("process.parent"), None);
    }

    #[test]
    fn exec_looks_the_executable_up_as_its_path() {
        assert_eq!(
            Field::EXECUTABLE.dimension(Kind::ProcessExec),
            Some(Dimension::Path)
        );
        assert_eq!(
            Field::EXECUTABLE.dimension(Kind::FileOpen),
            Some(Dimension::Executable)
        );
        let path = Field::Plain(Plain::FilePath);
        assert_eq!(path.dimension(Kind::FileOpen), Some(Dimension::Path));
        assert_eq!(path.dimension(Kind::NetworkConnect), None);
    }
}
