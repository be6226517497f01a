//! What can happen: one [`Kind`] per action that an event can carry, and the [`Domain`] (ring) of each.

/// The number of kinds there is room for in per-kind tables.
///
/// A power of two, so that the kernel programs bound an index by a mask.
pub const KINDS: usize = 64;

/// A group of kinds that share a ring buffer, so that a storm in one cannot displace another's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Domain {
    /// Life and death of processes and containers, signals.
    Process = 0,
    /// Operations on paths and files.
    File = 1,
    /// Sockets.
    Network = 2,
    /// Mappings and their protection, shared memory.
    Memory = 3,
    /// Capabilities, and what changes the kernel itself.
    Capability = 4,
}

impl Domain {
    /// All domains that have a ring.
    pub const ALL: [Self; 5] = [
        Self::Process,
        Self::File,
        Self::Network,
        Self::Memory,
        Self::Capability,
    ];

    /// The name used in actor names, metrics and the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::File => "file",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Capability => "capability",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $domain:ident, $action:literal;)*) => {
        /// What happened. The number is the record's `kind`; the name is the event's `event.action`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Kind { $($(#[$doc])* $variant = $number,)* }

        impl Kind {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The `event.action` of this kind, such as `file.open`.
            #[must_use]
            pub const fn action(self) -> &'static str {
                match self { $(Self::$variant => $action,)* }
            }

            /// The ring that carries records of this kind.
            #[must_use]
            pub const fn domain(self) -> Domain {
                match self { $(Self::$variant => Domain::$domain,)* }
            }

            /// The kind with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The kind with this `event.action`, if there is one.
            #[must_use]
            pub fn from_action(action: &str) -> Option<Self> {
                match action { $($action => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// A program was executed, or refused.
    ProcessExec = 0, Process, "process.exec";
    /// A process (not a thread) was created.
    ProcessFork = 1, Process, "process.fork";
    /// The last thread of a process ended.
    ProcessExit = 2, Process, "process.exit";
    /// A signal was sent by a process to a process.
    ProcessSignal = 3, Process, "process.signal";
    /// A process began to trace another, or looked into its memory.
    ProcessPtrace = 4, Process, "process.ptrace";
    /// A process changed its user.
    ProcessSetuid = 5, Process, "process.setuid";
    /// A process changed its group, or its supplementary groups.
    ProcessSetgid = 6, Process, "process.setgid";
    /// A process joined a namespace that there was.
    ProcessSetns = 7, Process, "process.setns";
    /// A process made itself new namespaces.
    ProcessUnshare = 8, Process, "process.unshare";
    /// A limit on what a process may have was changed.
    ProcessRlimit = 9, Process, "process.rlimit";
    /// How or where a thread is scheduled was changed.
    ProcessSetscheduler = 10, Process, "process.setscheduler";
    /// A file was opened.
    FileOpen = 16, File, "file.open";
    /// A file came into being by open or mknod.
    FileCreate = 17, File, "file.create";
    /// A name was removed.
    FileDelete = 18, File, "file.delete";
    /// A name was changed.
    FileRename = 19, File, "file.rename";
    /// A file got another name (a hard link).
    FileLink = 20, File, "file.link";
    /// A symbolic link was made.
    FileSymlink = 21, File, "file.symlink";
    /// A directory was made.
    FileMkdir = 22, File, "file.mkdir";
    /// A directory was removed.
    FileRmdir = 23, File, "file.rmdir";
    /// A file's mode was changed.
    FileChmod = 24, File, "file.chmod";
    /// A file's owner or group was changed.
    FileChown = 25, File, "file.chown";
    /// A file was cut or lengthened.
    FileTruncate = 26, File, "file.truncate";
    /// An extended attribute was set or removed.
    FileSetxattr = 27, File, "file.setxattr";
    /// A file system, or a part of one, was mounted, moved or remounted.
    FileMount = 28, File, "file.mount";
    /// A mount was removed.
    FileUmount = 29, File, "file.umount";
    /// The root of a mount namespace was changed.
    FilePivotRoot = 30, File, "file.pivot_root";
    /// A socket was connected.
    NetworkConnect = 32, Network, "network.connect";
    /// A socket was bound to an address.
    NetworkBind = 33, Network, "network.bind";
    /// A socket began to listen.
    NetworkListen = 34, Network, "network.listen";
    /// A socket was made.
    NetworkSocket = 35, Network, "network.socket";
    /// A connection was accepted.
    NetworkAccept = 36, Network, "network.accept";
    /// Something was sent to an address that the call names.
    NetworkSend = 37, Network, "network.send";
    /// A name server was asked, or has answered.
    NetworkDns = 38, Network, "network.dns";
    /// Memory was mapped that may be executed.
    MemoryMap = 40, Memory, "memory.map";
    /// Mapped memory may be executed, or executed and written, that could not be before.
    MemoryProtect = 41, Memory, "memory.protect";
    /// A file was made that lives in memory alone.
    MemoryMemfd = 42, Memory, "memory.memfd";
    /// A process wrote to the memory of another, or got the means to.
    MemoryProcessWrite = 43, Memory, "memory.process_write";
    /// A process used a capability that it has.
    CapabilityUse = 48, Capability, "capability.use";
    /// A thread changed its capabilities.
    CapabilitySet = 49, Capability, "capability.set";
    /// A kernel module was loaded.
    KernelModule = 50, Capability, "kernel.module";
    /// A kernel to boot was loaded.
    KernelKexec = 51, Capability, "kernel.kexec";
    /// A BPF program was loaded, attached or detached, or a process got hold of another's.
    KernelBpf = 52, Capability, "kernel.bpf";
    /// A performance counter or a probe was opened.
    KernelPerf = 53, Capability, "kernel.perf";
    /// A System V shared memory segment was made, looked up or mapped.
    IpcShm = 56, Memory, "ipc.shm";
    /// A POSIX message queue was opened or made.
    IpcMq = 57, Memory, "ipc.mq";
    /// An engine has started a container.
    ContainerStart = 60, Process, "container.start";
    /// A container has ended.
    ContainerExit = 61, Process, "container.exit";
    /// An engine got an image, lost one, or calls one otherwise.
    ContainerImage = 62, Process, "container.image";
}

impl Kind {
    /// Whether hooks of the kernel tell of it. Of the others, container engines do.
    #[must_use]
    pub const fn is_hooked(self) -> bool {
        !matches!(
            self,
            Self::ContainerStart | Self::ContainerExit | Self::ContainerImage
        )
    }

    /// The kinds that hooks of the kernel tell of.
    pub fn hooked() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|kind| kind.is_hooked())
    }

    /// Whether an operation of this kind can be refused before it happens, where the tier allows it.
    #[must_use]
    pub const fn can_be_refused(self) -> bool {
        !matches!(
            self,
            Self::ProcessFork
                | Self::ProcessExit
                | Self::NetworkAccept
                | Self::ContainerStart
                | Self::ContainerExit
                | Self::ContainerImage
        )
    }

    /// Whether there is somebody who does it, and could be killed or stopped for it.
    #[must_use]
    pub const fn has_process(self) -> bool {
        !matches!(self, Self::ContainerImage)
    }

    /// Whether the operation has an effect that the death of its process does not undo: a process
    /// that is killed at its hook leaves it behind.
    #[must_use]
    pub const fn outlives_its_process(self) -> bool {
        matches!(
            self,
            Self::FileCreate
                | Self::FileDelete
                | Self::FileRename
                | Self::FileLink
                | Self::FileSymlink
                | Self::FileMkdir
                | Self::FileRmdir
                | Self::FileChmod
                | Self::FileChown
                | Self::FileTruncate
                | Self::FileSetxattr
                | Self::FileMount
                | Self::FileUmount
                | Self::FilePivotRoot
                | Self::NetworkSend
                | Self::NetworkDns
                | Self::ProcessRlimit
                | Self::ProcessSetscheduler
                | Self::MemoryProcessWrite
                | Self::KernelModule
                | Self::KernelKexec
                | Self::KernelBpf
        )
    }

    /// The index of this kind in per-kind tables; always below [`KINDS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

const _: () = {
    let mut i = 0;
    while i < Kind::ALL.len() {
        assert!(Kind::ALL[i].index() < KINDS);
        i += 1;
    }
};
