//! Records for tests, as the kernel programs write them.

use holdfast_wire::encode::encode;
use holdfast_wire::record::network::ends;
use holdfast_wire::record::{HEADER_BYTES, Header, NO_RULE};
use holdfast_wire::{ABI_VERSION, Kind};

/// A header of `kind` for the process `tgid`, which started at `tgid` seconds.
pub(crate) fn header(kind: Kind, tgid: u32) -> Header {
    Header {
        version: ABI_VERSION,
        kind: kind as u16,
        length: HEADER_BYTES as u32,
        sequence: 0,
        boottime: crate::clock::boottime(),
        start_boottime: u64::from(tgid) * 1_000_000_000,
        cgroup_id: 0,
        effective_capabilities: 0,
        exec_id: 1,
        tgid,
        tid: tgid,
        ppid: 1,
        uid: 0,
        gid: 0,
        euid: 0,
        loginuid: u32::MAX,
        mount_namespace: 0,
        pid_namespace: 0,
        network_namespace: 0,
        flags: 0,
        epoch: 1,
        rule: NO_RULE,
        cpu: 0,
        comm: *b"test\0\0\0\0\0\0\0\0\0\0\0\0",
        tier: 4,
        verdict: 0,
        reserved: 0,
        reserved_word: 0,
    }
}

/// The record with this header, fixed part and strings.
pub(crate) fn record(header: Header, fixed: &[u8], strings: &[u8]) -> Vec<u8> {
    encode(header, fixed, &[strings])
}

/// A whole `process.exec`.
pub(crate) fn exec(header: Header, executable: &str, arguments: &[&str]) -> Vec<u8> {
    let arguments: String = arguments.iter().flat_map(|it| [*it, "\0"]).collect();
    let mut fixed = Vec::new();
    // Inode; no capabilities before.
    for word in [7u64, 0] {
        fixed.extend(word.to_ne_bytes());
    }
    for word in [8 << 20 | 1u32, 1, 0o100_755] {
        fixed.extend(word.to_ne_bytes());
    }
    // Neither an interpreter nor an environment.
    let lengths = [executable.len(), executable.len(), 1, arguments.len(), 0, 0];
    for length in lengths {
        fixed.extend((length as u16).to_ne_bytes());
    }
    // Namespace and mount; above the root and in the mount; flags.
    fixed.extend([0; 8 + 4 + 4]);
    fixed.extend(*b"pts0\0\0\0\0\0\0\0\0\0\0\0\0");
    record(
        header,
        &fixed,
        format!("{executable}{executable}/{arguments}").as_bytes(),
    )
}

/// A whole `process.exit`.
pub(crate) fn exit(header: Header, status: i32) -> Vec<u8> {
    record(header, &[status.to_ne_bytes(), [0; 4]].concat(), &[])
}

/// A whole `process.fork`.
pub(crate) fn fork(header: Header, child: u32) -> Vec<u8> {
    let mut fixed = (u64::from(child) * 1_000_000_000).to_ne_bytes().to_vec();
    fixed.extend(1u32.to_ne_bytes());
    fixed.extend(child.to_ne_bytes());
    // No new namespaces, and the padding.
    fixed.extend([0; 8]);
    record(header, &fixed, &[])
}

/// A whole `file.*`.
pub(crate) fn file(header: Header, path: &str, target: &str) -> Vec<u8> {
    let mut fixed = 9u64.to_ne_bytes().to_vec();
    // Device, mode, flags, owner, group.
    for word in [8 << 20 | 2u32, 0o100_640, 0o1101, 0, 42] {
        fixed.extend(word.to_ne_bytes());
    }
    for directory in [holdfast_wire::record::file::AT_FDCWD; 2] {
        fixed.extend(directory.to_ne_bytes());
    }
    fixed.extend((path.len() as u16).to_ne_bytes());
    fixed.extend((target.len() as u16).to_ne_bytes());
    // Namespace and mount; above the root and in the mount, twice; flags and padding.
    fixed.extend([0; 8 + 8 + 8]);
    record(header, &fixed, format!("{path}{target}").as_bytes())
}

/// A whole `network.connect` to 192.0.2.1:443.
pub(crate) fn connect(header: Header) -> Vec<u8> {
    let mut fixed = vec![0; 16];
    fixed.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1]);
    // Ports, family, protocol, type, which ends are known.
    for short in [0, 443u16, 2, 6, 1, ends::PEER, 0, 0] {
        fixed.extend(short.to_ne_bytes());
    }
    record(header, &fixed, &[])
}
