//! Which process has a socket: the one that has a descriptor of it, looked up in `/proc/PID/fd`.

use std::collections::HashMap;

use crate::fanotify::proc::Proc;

/// Processes looked through at a time.
const PROCESSES: usize = 65_536;
/// Descriptors looked through at a time, over all processes: a few hundred milliseconds. Sockets that
/// were not found by then are counted as missed.
const DESCRIPTORS: usize = 200_000;

/// The owner of each of these inodes, as far as there is one. Of several processes that share a socket it
/// is that with the lowest pid, which is most often the one that made it.
pub(crate) fn find(proc: &Proc, inodes: &[u64]) -> HashMap<u64, u32> {
    let mut owners = HashMap::new();
    if inodes.is_empty() {
        return owners;
    }
    let mut left = DESCRIPTORS;
    for tgid in proc.processes(PROCESSES).unwrap_or_default() {
        // A process that is gone has none.
        let descriptors = proc.descriptors(tgid, left).unwrap_or_default();
        left -= descriptors.len();
        for descriptor in descriptors {
            if let Some(inode) = proc.socket(tgid, descriptor)
                && inodes.contains(&inode)
            {
                owners.entry(inode).or_insert(tgid);
            }
        }
        if left == 0 || owners.len() == inodes.len() {
            break;
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_owns_its_listener() {
        let proc = Proc::open(std::path::Path::new("/")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
        let owners = find(&proc, &[inode, u64::MAX]);
        assert_eq!(owners.get(&inode), Some(&std::process::id()));
        assert_eq!(owners.len(), 1);
        assert!(find(&proc, &[]).is_empty());
    }
}
