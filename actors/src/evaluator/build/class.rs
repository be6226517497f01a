//! What ECS calls an operation: category, types, outcome.

use holdfast_wire::Kind;

/// ECS category and types of a kind, as ECS 8 allows them together.
pub(super) const fn classes(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::ProcessExec | Kind::ProcessFork => (&["process"], &["start"]),
        Kind::ProcessExit => (&["process"], &["end"]),
        Kind::ContainerStart => (&["host"], &["start"]),
        Kind::ContainerExit => (&["host"], &["end"]),
        Kind::ContainerImage => (&["host"], &["change"]),
        Kind::ProcessSignal
        | Kind::ProcessSetuid
        | Kind::ProcessSetgid
        | Kind::ProcessSetns
        | Kind::ProcessUnshare => (&["process"], &["change"]),
        Kind::FileOpen => (&["file"], &["access"]),
        Kind::FileCreate => (&["file"], &["creation"]),
        Kind::FileDelete => (&["file"], &["deletion"]),
        Kind::FileLink | Kind::FileSymlink | Kind::FileMkdir => (&["file"], &["creation"]),
        Kind::FileRmdir => (&["file"], &["deletion"]),
        Kind::FileRename
        | Kind::FileChmod
        | Kind::FileChown
        | Kind::FileTruncate
        | Kind::FileSetxattr
        | Kind::FileMount
        | Kind::FileUmount
        | Kind::FilePivotRoot => (&["file"], &["change"]),
        Kind::ProcessPtrace => (&["process"], &["access"]),
        Kind::NetworkConnect => (&["network"], &["connection", "start"]),
        Kind::NetworkBind => (&["network"], &["info"]),
        Kind::NetworkListen => (&["network"], &["start"]),
        Kind::NetworkSocket => (&["network"], &["info"]),
        Kind::NetworkAccept => (&["network"], &["connection", "start"]),
        Kind::NetworkSend => (&["network"], &["connection"]),
        Kind::NetworkDns => (&["network"], &["protocol"]),
        Kind::MemoryMap
        | Kind::MemoryProtect
        | Kind::MemoryProcessWrite
        | Kind::ProcessRlimit
        | Kind::ProcessSetscheduler
        | Kind::CapabilitySet => (&["process"], &["change"]),
        Kind::CapabilityUse => (&["process"], &["info"]),
        Kind::MemoryMemfd => (&["file"], &["creation"]),
        Kind::KernelModule => (&["driver"], &["start"]),
        Kind::KernelBpf => (&["driver"], &["change"]),
        Kind::KernelKexec => (&["host"], &["change"]),
        Kind::KernelPerf => (&["host"], &["access"]),
        Kind::IpcShm | Kind::IpcMq => (&["process"], &["access"]),
    }
}

/// The types of an operation that was refused.
pub(crate) const fn denied(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::ProcessExec | Kind::ProcessFork | Kind::KernelModule | Kind::ContainerStart => {
            &["start", "denied"]
        }
        Kind::ProcessExit | Kind::ContainerExit => &["end", "denied"],
        Kind::ProcessSignal
        | Kind::ProcessSetuid
        | Kind::ProcessSetgid
        | Kind::ProcessSetns
        | Kind::ProcessUnshare
        | Kind::MemoryMap
        | Kind::MemoryProtect
        | Kind::MemoryProcessWrite
        | Kind::CapabilitySet
        | Kind::ProcessRlimit
        | Kind::ProcessSetscheduler
        | Kind::KernelBpf
        | Kind::KernelKexec
        | Kind::FileRename
        | Kind::FileChmod
        | Kind::FileChown
        | Kind::FileTruncate
        | Kind::FileSetxattr
        | Kind::FileMount
        | Kind::FileUmount
        | Kind::FilePivotRoot
        | Kind::ContainerImage => &["change", "denied"],
        Kind::ProcessPtrace | Kind::FileOpen | Kind::KernelPerf | Kind::IpcShm | Kind::IpcMq => {
            &["access", "denied"]
        }
        Kind::FileCreate
        | Kind::FileLink
        | Kind::FileSymlink
        | Kind::FileMkdir
        | Kind::MemoryMemfd => &["creation", "denied"],
        Kind::FileDelete | Kind::FileRmdir => &["deletion", "denied"],
        Kind::NetworkConnect | Kind::NetworkAccept | Kind::NetworkSend => &["connection", "denied"],
        Kind::NetworkDns => &["protocol", "denied"],
        Kind::NetworkBind | Kind::NetworkSocket | Kind::CapabilityUse => &["info", "denied"],
        Kind::NetworkListen => &["start", "denied"],
    }
}

/// The outcome of an operation that was not refused: known where it was seen after it happened, and
/// not where it was seen on its way.
pub(super) const fn outcome(kind: Kind) -> &'static str {
    match kind {
        Kind::ProcessExec
        | Kind::ProcessFork
        | Kind::ProcessExit
        | Kind::NetworkAccept
        | Kind::ContainerStart
        | Kind::ContainerExit
        | Kind::ContainerImage => "success",
        _ => "unknown",
    }
}
