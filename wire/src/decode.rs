//! Bytes from a ring → a typed, borrowed [`Record`]. Bounds are checked; nothing is trusted.
#![allow(unsafe_code)] // `read_part` reads plain-old-data types at a checked offset.

use crate::record::{self, Header};
use crate::{ABI_VERSION, Kind};

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// Fewer bytes than the header, or than the kind's fixed part.
    Short,
    /// Written by kernel programs of another ABI version.
    Version(u16),
    /// A kind number that this agent does not know.
    Kind(u16),
    /// The header's length is not the number of bytes.
    Length,
    /// The strings' lengths add up to something else than the bytes that are left.
    Strings,
}

impl core::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short => f.write_str("record is shorter than its kind"),
            Self::Version(v) => write!(f, "record has ABI version {v}, expected {ABI_VERSION}"),
            Self::Kind(k) => write!(f, "record has unknown kind {k}"),
            Self::Length => f.write_str("record length does not match its header"),
            Self::Strings => f.write_str("record strings do not fit its length"),
        }
    }
}

impl core::error::Error for Corrupt {}

/// A record, borrowed from the ring or a batch. Strings are bytes as the kernel has them.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The common part.
    pub header: Header,
    /// What happened; agrees with the variant of `body`.
    pub kind: Kind,
    /// The part of the kind.
    pub body: Body<'a>,
}

/// The part of a record that depends on its kind.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// `process.exec`
    Exec {
        /// Fixed part.
        fixed: record::process::Exec,
        /// Resolved path of the executable.
        executable: &'a [u8],
        /// The path given to execve.
        filename: &'a [u8],
        /// The interpreter that a script names; empty for what is no script.
        interpreter: &'a [u8],
        /// Working directory.
        working_directory: &'a [u8],
        /// NUL-separated `argv`.
        arguments: &'a [u8],
        /// NUL-separated environment; empty when it was not asked for.
        environment: &'a [u8],
    },
    /// `process.fork`
    Fork(record::process::Fork),
    /// `process.exit`
    Exit(record::process::Exit),
    /// `process.signal`
    Signal(record::process::Signal),
    /// `process.ptrace`
    Ptrace(record::process::Ptrace),
    /// `process.setuid`, `process.setgid`
    Setid {
        /// Fixed part.
        fixed: record::process::Setid,
        /// Supplementary groups, a u32 each.
        groups: &'a [u8],
    },
    /// `process.setns`, `process.unshare`
    Namespaces(record::process::Namespaces),
    /// `process.rlimit`
    Rlimit(record::process::Rlimit),
    /// `process.setscheduler`
    Setscheduler(record::process::Setscheduler),
    /// `file.*`
    File {
        /// Fixed part.
        fixed: record::file::File,
        /// The path.
        path: &'a [u8],
        /// The new path of a rename or link, the content of a symbolic link; else empty.
        target: &'a [u8],
    },
    /// `file.mount`, `file.umount`
    Mount {
        /// Fixed part.
        fixed: record::file::Mount,
        /// Path of the mount point.
        path: &'a [u8],
        /// What is mounted there.
        source: &'a [u8],
        /// Type of the file system.
        file_system: &'a [u8],
    },
    /// `network.*`
    Socket {
        /// Fixed part.
        fixed: record::network::Socket,
        /// Name of a Unix socket, or the message of `network.dns`; else empty.
        path: &'a [u8],
    },
    /// `memory.map`, `memory.protect`
    Mapping {
        /// Fixed part.
        fixed: record::memory::Mapping,
        /// Path of the mapped file; empty where there is none.
        path: &'a [u8],
    },
    /// `memory.memfd`
    Memfd {
        /// Fixed part.
        fixed: record::memory::Memfd,
        /// Its name.
        name: &'a [u8],
    },
    /// `memory.process_write`
    ProcessWrite(record::memory::ProcessWrite),
    /// `capability.use`
    CapabilityUse(record::capability::Use),
    /// `capability.set`
    CapabilitySet(record::capability::Set),
    /// `kernel.module`, `kernel.kexec`
    Load {
        /// Fixed part.
        fixed: record::capability::Load,
        /// The file's path.
        path: &'a [u8],
    },
    /// `kernel.bpf`
    Bpf(record::capability::Bpf),
    /// `ipc.shm`
    Shm(record::ipc::Shm),
    /// `ipc.mq`
    Mq {
        /// Fixed part.
        fixed: record::ipc::Mq,
        /// The queue's name.
        name: &'a [u8],
    },
    /// `kernel.perf`, which has no more than a header.
    Perf,
    /// `container.start`, `container.exit`
    Container {
        /// Fixed part.
        fixed: record::container::Lifecycle,
        /// Id of the container.
        id: &'a [u8],
    },
    /// `container.image`
    Image {
        /// Fixed part.
        fixed: record::container::Image,
        /// What it is called, without tag and digest.
        name: &'a [u8],
        /// Its tags, with a space between one and the next.
        tags: &'a [u8],
        /// Its digests, likewise.
        digests: &'a [u8],
    },
}

/// Types whose every bit pattern is a value, and that have no padding: what records are made of.
///
/// # Safety
/// The implementor is `repr(C)`, has no padding, and consists of integers and arrays of integers.
pub unsafe trait Plain: Copy {}
// SAFETY: see the definitions in `record`; their sizes are asserted to be the sum of their fields.
unsafe impl Plain for Header {}
// SAFETY: as above.
unsafe impl Plain for record::process::Exec {}
// SAFETY: as above.
unsafe impl Plain for record::process::Fork {}
// SAFETY: as above.
unsafe impl Plain for record::process::Exit {}
// SAFETY: as above.
unsafe impl Plain for record::process::Signal {}
// SAFETY: as above.
unsafe impl Plain for record::file::File {}
// SAFETY: as above.
unsafe impl Plain for record::file::Mount {}
// SAFETY: as above.
unsafe impl Plain for record::network::Socket {}
// SAFETY: as above.
unsafe impl Plain for record::process::Ptrace {}
// SAFETY: as above.
unsafe impl Plain for record::process::Setid {}
// SAFETY: as above.
unsafe impl Plain for record::process::Namespaces {}
// SAFETY: as above.
unsafe impl Plain for record::capability::Load {}
// SAFETY: as above.
unsafe impl Plain for record::capability::Bpf {}
// SAFETY: as above.
unsafe impl Plain for record::container::Lifecycle {}
// SAFETY: as above.
unsafe impl Plain for record::container::Image {}
// SAFETY: as above.
unsafe impl Plain for record::ipc::Shm {}
// SAFETY: as above.
unsafe impl Plain for record::ipc::Mq {}
// SAFETY: as above.
unsafe impl Plain for record::process::Rlimit {}
// SAFETY: as above.
unsafe impl Plain for record::process::Setscheduler {}
// SAFETY: as above.
unsafe impl Plain for record::capability::Use {}
// SAFETY: as above.
unsafe impl Plain for record::capability::Set {}
// SAFETY: as above.
unsafe impl Plain for record::memory::Mapping {}
// SAFETY: as above.
unsafe impl Plain for record::memory::Memfd {}
// SAFETY: as above.
unsafe impl Plain for record::memory::ProcessWrite {}

fn read_part<'a, T: Plain>(bytes: &mut &'a [u8]) -> Result<T, Corrupt> {
    let (part, rest): (&'a [u8], &'a [u8]) = bytes
        .split_at_checked(size_of::<T>())
        .ok_or(Corrupt::Short)?;
    *bytes = rest;
    // SAFETY: `part` is exactly `size_of::<T>()` readable bytes; T is `Plain`, so any bytes are a
    // value; the read does not assume alignment.
    Ok(unsafe { part.as_ptr().cast::<T>().read_unaligned() })
}

fn read_string<'a>(bytes: &mut &'a [u8], length: u16) -> Result<&'a [u8], Corrupt> {
    let (string, rest) = bytes
        .split_at_checked(usize::from(length))
        .ok_or(Corrupt::Strings)?;
    *bytes = rest;
    Ok(string)
}

/// Decodes one record that takes up all of `bytes`.
///
/// # Errors
/// [`Corrupt`], when `bytes` are anything else than one whole record of this ABI version.
pub fn decode(mut bytes: &[u8]) -> Result<Record<'_>, Corrupt> {
    let length = bytes.len();
    let header: Header = read_part(&mut bytes)?;
    if header.version != ABI_VERSION {
        return Err(Corrupt::Version(header.version));
    }
    if header.length as usize != length {
        return Err(Corrupt::Length);
    }
    let kind = Kind::from_number(header.kind).ok_or(Corrupt::Kind(header.kind))?;
    let body = match kind {
        Kind::ProcessExec => {
            let fixed: record::process::Exec = read_part(&mut bytes)?;
            Body::Exec {
                fixed,
                executable: read_string(&mut bytes, fixed.executable_length)?,
                filename: read_string(&mut bytes, fixed.filename_length)?,
                interpreter: read_string(&mut bytes, fixed.interpreter_length)?,
                working_directory: read_string(&mut bytes, fixed.working_directory_length)?,
                arguments: read_string(&mut bytes, fixed.arguments_length)?,
                environment: read_string(&mut bytes, fixed.environment_length)?,
            }
        }
        Kind::ProcessFork => Body::Fork(read_part(&mut bytes)?),
        Kind::ProcessExit => Body::Exit(read_part(&mut bytes)?),
        Kind::ProcessSignal => Body::Signal(read_part(&mut bytes)?),
        Kind::ProcessPtrace => Body::Ptrace(read_part(&mut bytes)?),
        Kind::ProcessSetns | Kind::ProcessUnshare => Body::Namespaces(read_part(&mut bytes)?),
        Kind::ProcessSetuid | Kind::ProcessSetgid => {
            let fixed: record::process::Setid = read_part(&mut bytes)?;
            Body::Setid {
                fixed,
                groups: read_string(&mut bytes, fixed.groups_length)?,
            }
        }
        Kind::ProcessRlimit => Body::Rlimit(read_part(&mut bytes)?),
        Kind::ProcessSetscheduler => Body::Setscheduler(read_part(&mut bytes)?),
        Kind::FileOpen
        | Kind::FileCreate
        | Kind::FileDelete
        | Kind::FileRename
        | Kind::FileLink
        | Kind::FileSymlink
        | Kind::FileMkdir
        | Kind::FileRmdir
        | Kind::FileChmod
        | Kind::FileChown
        | Kind::FileTruncate
        | Kind::FileSetxattr
        | Kind::FilePivotRoot => {
            let fixed: record::file::File = read_part(&mut bytes)?;
            Body::File {
                fixed,
                path: read_string(&mut bytes, fixed.path_length)?,
                target: read_string(&mut bytes, fixed.target_length)?,
            }
        }
        Kind::FileMount | Kind::FileUmount => {
            let fixed: record::file::Mount = read_part(&mut bytes)?;
            Body::Mount {
                fixed,
                path: read_string(&mut bytes, fixed.path_length)?,
                source: read_string(&mut bytes, fixed.source_length)?,
                file_system: read_string(&mut bytes, fixed.type_length)?,
            }
        }
        Kind::NetworkConnect
        | Kind::NetworkBind
        | Kind::NetworkListen
        | Kind::NetworkSocket
        | Kind::NetworkAccept
        | Kind::NetworkSend
        | Kind::NetworkDns => {
            let fixed: record::network::Socket = read_part(&mut bytes)?;
            Body::Socket {
                fixed,
                path: read_string(&mut bytes, fixed.path_length)?,
            }
        }
        Kind::MemoryMap | Kind::MemoryProtect => {
            let fixed: record::memory::Mapping = read_part(&mut bytes)?;
            Body::Mapping {
                fixed,
                path: read_string(&mut bytes, fixed.file.path_length)?,
            }
        }
        Kind::MemoryMemfd => {
            let fixed: record::memory::Memfd = read_part(&mut bytes)?;
            Body::Memfd {
                fixed,
                name: read_string(&mut bytes, fixed.name_length)?,
            }
        }
        Kind::MemoryProcessWrite => Body::ProcessWrite(read_part(&mut bytes)?),
        Kind::CapabilityUse => Body::CapabilityUse(read_part(&mut bytes)?),
        Kind::CapabilitySet => Body::CapabilitySet(read_part(&mut bytes)?),
        Kind::KernelModule | Kind::KernelKexec => {
            let fixed: record::capability::Load = read_part(&mut bytes)?;
            Body::Load {
                fixed,
                path: read_string(&mut bytes, fixed.file.path_length)?,
            }
        }
        Kind::KernelBpf => Body::Bpf(read_part(&mut bytes)?),
        Kind::KernelPerf => Body::Perf,
        Kind::IpcShm => Body::Shm(read_part(&mut bytes)?),
        Kind::IpcMq => {
            let fixed: record::ipc::Mq = read_part(&mut bytes)?;
            Body::Mq {
                fixed,
                name: read_string(&mut bytes, fixed.name_length)?,
            }
        }
        Kind::ContainerStart | Kind::ContainerExit => {
            let fixed: record::container::Lifecycle = read_part(&mut bytes)?;
            Body::Container {
                fixed,
                id: read_string(&mut bytes, fixed.id_length)?,
            }
        }
        Kind::ContainerImage => {
            let fixed: record::container::Image = read_part(&mut bytes)?;
            Body::Image {
                fixed,
                name: read_string(&mut bytes, fixed.name_length)?,
                tags: read_string(&mut bytes, fixed.tags_length)?,
                digests: read_string(&mut bytes, fixed.digests_length)?,
            }
        }
    };
    if bytes.is_empty() {
        Ok(Record { header, kind, body })
    } else {
        Err(Corrupt::Strings)
    }
}

/// The kind that a record claims, even where the rest does not decode: whom to count a loss for.
#[must_use]
pub fn claimed_kind(bytes: &[u8]) -> Option<Kind> {
    let number = bytes
        .get(core::mem::offset_of!(Header, kind)..)?
        .first_chunk::<2>()?;
    Kind::from_number(u16::from_ne_bytes(*number))
}

/// The time that a record claims, nanoseconds of boot time; 0 for one that is too short to have it.
#[must_use]
pub fn claimed_time(bytes: &[u8]) -> u64 {
    bytes
        .get(core::mem::offset_of!(Header, boottime)..)
        .and_then(|rest| rest.first_chunk::<8>())
        .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::HEADER_BYTES;
    use proptest::prelude::*;

    fn exit_record(version: u16, kind: u16, length: u32, extra: usize) -> Vec<u8> {
        let mut bytes = vec![0u8; HEADER_BYTES];
        bytes[0..2].copy_from_slice(&version.to_ne_bytes());
        bytes[2..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&256i32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.resize(bytes.len() + extra, 0);
        bytes
    }

    const EXIT_BYTES: u32 = HEADER_BYTES as u32 + 8;

    #[test]
    fn a_whole_record_decodes() {
        let bytes = exit_record(ABI_VERSION, Kind::ProcessExit as u16, EXIT_BYTES, 0);
        let record = decode(&bytes).unwrap();
        assert_eq!(record.kind, Kind::ProcessExit);
        assert!(matches!(record.body, Body::Exit(exit) if exit.status == 256));
    }

    #[test]
    fn each_defect_is_named() {
        let exit = Kind::ProcessExit as u16;
        let defect = |bytes: &[u8]| decode(bytes).unwrap_err();
        assert_eq!(defect(&[]), Corrupt::Short);
        assert_eq!(
            defect(&exit_record(9, exit, EXIT_BYTES, 0)),
            Corrupt::Version(9)
        );
        assert_eq!(
            defect(&exit_record(ABI_VERSION, 63, EXIT_BYTES, 0)),
            Corrupt::Kind(63)
        );
        assert_eq!(
            defect(&exit_record(ABI_VERSION, exit, 7, 0)),
            Corrupt::Length
        );
        assert_eq!(
            defect(&exit_record(ABI_VERSION, exit, EXIT_BYTES + 3, 3)),
            Corrupt::Strings
        );
        let file = Kind::FileOpen as u16;
        assert_eq!(
            defect(&exit_record(ABI_VERSION, file, EXIT_BYTES, 0)),
            Corrupt::Short
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            kind in 0u16..crate::kind::KINDS as u16,
            tail in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let length = (HEADER_BYTES + tail.len()) as u32;
            let mut bytes = exit_record(ABI_VERSION, kind, length, 0);
            bytes.truncate(HEADER_BYTES);
            bytes.extend_from_slice(&tail);
            let _ = decode(&bytes);
            let _ = claimed_kind(&tail);
        }
    }
}
