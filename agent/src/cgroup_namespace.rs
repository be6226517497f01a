//! The sensor's own cgroup namespace, which it leaves where it may: from inside of one, paths of cgroups begin where it does
//! (cgroup_namespaces(7)), and what is above is `..`.

use std::fs::{File, metadata};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The namespace of this thread, and of those that it is going to make.
const OWN: &str = "/proc/thread-self/ns/cgroup";

/// Goes to the cgroup namespace of the first process of the host whose root directory this is. It is to be called before there
/// are other threads, which would stay where they are. Where it cannot, the sensor goes on as it is.
pub(crate) fn leave(root: &Path) {
    let host = root.join("proc/1/ns/cgroup");
    match enter(&host) {
        Ok(true) => tracing::info!("left the container's cgroup namespace for the host's"),
        Ok(false) => {}
        // Before 4.6 there are none; without the host's processes it is not there.
        Err(error) => tracing::debug!("the cgroup namespace stays: {}: {error}", host.display()),
    }
}

/// `false`: it is there already.
fn enter(host: &Path) -> io::Result<bool> {
    if metadata(host)?.ino() == metadata(OWN)?.ino() {
        return Ok(false);
    }
    let host = File::open(host)?;
    move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_already_it_stays() {
        assert!(!enter(Path::new(OWN)).unwrap());
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(
            enter(&root.path().join("proc/1/ns/cgroup"))
                .unwrap_err()
                .kind(),
            io::ErrorKind::NotFound
        );
    }
}
