//! Where engines are asked.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RETRY;
use super::listening::Listening;

/// Sockets that one setting may stand for: engines of users, of which a machine has a few.
const MAX_PRESENT: usize = 64;
/// How often it is looked where something listens.
const SEARCH: Duration = Duration::from_secs(30);
/// What stands for any directory.
const ANY: &str = "*";

/// What is before and after the first directory of a path that may be any.
fn split(path: &Path) -> Option<(&Path, &Path)> {
    let before = path
        .ancestors()
        .filter(|it| it.file_name().is_some_and(|name| name == ANY))
        .last()?;
    Some((before.parent()?, path.strip_prefix(before).ok()?))
}

/// Whether a user is believed about all containers.
pub(super) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// What is spoken at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// The Docker Engine API, which Podman serves, too.
    Docker,
    /// containerd's own.
    Containerd,
    /// That of the kubelet.
    Cri,
}

/// Where an engine, or several, may be.
#[derive(Clone, Debug)]
pub enum Place {
    /// At a path that is set.
    At(Socket),
    /// Where something listens as engines do.
    Listening(Listening),
}

impl Place {
    /// The name of the actor that watches it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::At(socket) => &socket.name,
            Self::Listening(listening) => listening.name(),
        }
    }

    /// The sockets that are there.
    #[must_use]
    pub fn present(&self) -> Vec<Socket> {
        match self {
            Self::At(socket) => socket.present(),
            Self::Listening(listening) => listening.present(),
        }
    }

    /// How often it is looked which are there.
    pub(super) const fn interval(&self) -> Duration {
        match self {
            Self::At(_) => RETRY,
            Self::Listening(_) => SEARCH,
        }
    }
}

/// The socket of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The actor's name, and that of what is degraded when it does not answer.
    pub name: String,
    /// `docker`, `podman`, `containerd` or `cri-o`.
    pub runtime: &'static str,
    /// Where it is; a directory of it may be `*`, which stands for each that has such a socket.
    pub path: PathBuf,
    pub(super) api: Api,
    /// The user whose engine it is, which is not to be believed about the containers of others; `None`: root's, or the sensor's own.
    pub(super) owner: Option<u32>,
}

impl Socket {
    /// A socket of the Docker Engine API at `path`, on a host whose root is `root`; the `number`-th of all
    /// that are set.
    #[must_use]
    pub fn docker(root: &Path, path: &Path, number: usize) -> Self {
        let is_podman = path.to_string_lossy().contains("podman");
        let runtime = if is_podman { "podman" } else { "docker" };
        Self::new(Api::Docker, (runtime, runtime), (root, path), number)
    }

    /// containerd's socket, likewise.
    #[must_use]
    pub fn containerd(root: &Path, path: &Path, number: usize) -> Self {
        Self::new(
            Api::Containerd,
            ("containerd", "containerd"),
            (root, path),
            number,
        )
    }

    /// A socket at which CRI is served, likewise: by containerd, by CRI-O, or by what stands before Docker.
    #[must_use]
    pub fn cri(root: &Path, path: &Path, number: usize) -> Self {
        let name = path.to_string_lossy();
        let runtime = if name.contains("crio") {
            "cri-o"
        } else if name.contains("docker") {
            "docker"
        } else {
            "containerd"
        };
        Self::new(Api::Cri, (runtime, "cri"), (root, path), number)
    }

    /// The sockets that are there.
    #[must_use]
    pub fn present(&self) -> Vec<Self> {
        let Some((before, after)) = split(&self.path) else {
            let found = self.found(self.name.clone(), self.path.clone());
            return found.into_iter().collect();
        };
        let entries = fs::read_dir(before).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let name = format!("{}.{}", self.name, entry.file_name().to_string_lossy());
            self.found(name, entry.path().join(after))
        });
        let mut found: Vec<Self> = found.collect();
        // Which of them are left out is at least always the same.
        found.sort_by(|one, other| one.path.cmp(&other.path));
        found.truncate(MAX_PRESENT);
        found
    }

    /// One of those for which it stands, if it is there.
    fn found(&self, name: String, path: PathBuf) -> Option<Self> {
        let owner = fs::metadata(&path).ok()?.uid();
        Some(Self {
            name,
            path,
            owner: (!is_trusted(owner)).then_some(owner),
            ..self.clone()
        })
    }

    /// What is spoken there.
    #[must_use]
    pub fn api(&self) -> &'static str {
        match self.api {
            Api::Docker => "docker",
            Api::Containerd => "containerd",
            Api::Cri => "cri",
        }
    }

    fn new(
        api: Api,
        (runtime, called): (&'static str, &'static str),
        (root, path): (&Path, &Path),
        number: usize,
    ) -> Self {
        let below = root.join(path.strip_prefix("/").unwrap_or(path));
        Self {
            name: format!("engine.{number}.{called}"),
            runtime,
            // A container may have it mounted anywhere.
            path: if below.exists() || !path.exists() {
                below
            } else {
                path.to_owned()
            },
            api,
            owner: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_star_stands_for_each_directory_that_has_such_a_socket() {
        let root = tempfile::tempdir().unwrap();
        let at = |user: &str| root.path().join("run/user").join(user);
        for user in ["1000", "1001", "1002"] {
            fs::create_dir_all(at(user).join("podman")).unwrap();
        }
        let _listening = ["1000", "1002"]
            .map(|user| UnixListener::bind(at(user).join("podman/podman.sock")).unwrap());
        let path = Path::new("/run/user/*/podman/podman.sock");
        let socket = Socket::docker(root.path(), path, 2);
        let present = socket.present();
        let names: Vec<&str> = present.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["engine.2.podman.1000", "engine.2.podman.1002"]);
        assert_eq!(present[0].path, at("1000").join("podman/podman.sock"));
        assert_eq!(present[0].runtime, "podman");
    }

    #[test]
    fn a_path_stands_for_itself_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("docker.sock");
        let socket = Socket::docker(Path::new("/"), &path, 0);
        assert_eq!(socket.present(), []);
        let _listening = UnixListener::bind(&path).unwrap();
        assert_eq!(socket.present(), std::slice::from_ref(&socket));
    }
}
