//! The names of actions, for settings that select some of them.

/// Every `event.action` of the interface, whether this version reports it or not: a configuration
/// that names one is not wrong on a version that does not have it.
pub(crate) const ACTIONS: &[&str] = &[
    "process.exec",
    "process.fork",
    "process.exit",
    "process.signal",
    "process.ptrace",
    "process.setuid",
    "process.setgid",
    "process.setns",
    "process.unshare",
    "process.rlimit",
    "process.setscheduler",
    "file.open",
    "file.create",
    "file.delete",
    "file.rename",
    "file.link",
    "file.symlink",
    "file.chmod",
    "file.chown",
    "file.truncate",
    "file.mkdir",
    "file.rmdir",
    "file.setxattr",
    "file.mount",
    "file.umount",
    "file.pivot_root",
    "network.socket",
    "network.connect",
    "network.bind",
    "network.listen",
    "network.accept",
    "network.send",
    "network.dns",
    "memory.map",
    "memory.protect",
    "memory.memfd",
    "memory.process_write",
    "capability.use",
    "capability.set",
    "kernel.module",
    "kernel.bpf",
    "kernel.perf",
    "kernel.kexec",
    "ipc.shm",
    "ipc.mq",
    "container.start",
    "container.exit",
    "container.image",
    "sensor.start",
    "sensor.stop",
    "sensor.degraded",
    "sensor.recovered",
    "sensor.loss",
    "sensor.policy",
    "sensor.restart",
];

/// Whether `glob`, in which `*` stands for any letters (also none, also dots), matches `name`.
pub(crate) fn matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let head = parts.next().unwrap_or_default();
    let Some(tail) = parts.next_back() else {
        return glob == name;
    };
    let Some(mut rest) = name
        .strip_prefix(head)
        .and_then(|rest| rest.strip_suffix(tail))
    else {
        return false;
    };
    // What stands between two stars is taken where it comes first: that leaves the most to the next.
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        assert!(matches("*", "file.open"));
        assert!(matches("file.*", "file.open"));
        assert!(matches("*.ex*", "process.exec"));
        assert!(matches("file.open", "file.open"));
        assert!(!matches("file.*", "process.exec"));
        assert!(!matches("file", "file.open"));
    }

    #[test]
    fn every_kind_of_record_has_its_action_here() {
        for kind in holdfast_wire::Kind::ALL {
            assert!(ACTIONS.contains(&kind.action()), "{}", kind.action());
        }
    }
}
