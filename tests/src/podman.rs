//! Podman, which has no daemon, in a whole system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bench::Bench;
use crate::command::{Bounded as _, Ended};
use crate::engine::Engine;

/// How long one of its commands may take.
const COMMAND: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
/// A file system in memory is no layer of an overlay, and where it is the root no other can take its place (pivot_root).
const SETTINGS: [(&str, &str); 2] = [
    ("containers.conf", "[engine]\nno_pivot_root = true\n"),
    (
        "storage.conf",
        "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/containers/storage\"\ngraphroot = \"/var/lib/containers/storage\"\n",
    ),
];
/// A user who has containers of their own.
const USER: (&str, &str) = ("shop", "1000");

/// Podman of root, or of a user.
pub struct Podman {
    directory: PathBuf,
    user: Option<&'static str>,
}

impl Podman {
    /// Makes the system such that it can run containers, and has root's API served.
    pub fn start(bench: &Bench) -> Result<Self> {
        fs::create_dir_all("/etc/containers").context("make a directory")?;
        for (name, content) in SETTINGS {
            let path = Path::new("/etc/containers").join(name);
            fs::write(path, content).context("write Podman's settings")?;
        }
        let directory = bench.path("podman");
        fs::create_dir_all(&directory).context("make a directory")?;
        let podman = Self {
            directory,
            user: None,
        };
        run(&["systemctl", "start", "podman.socket"])?;
        Ok(podman)
    }

    /// Makes a user who has an API of theirs served, as they do who have no other rights; after [`Self::start`].
    pub fn of_user(bench: &Bench) -> Result<Self> {
        let (name, id) = USER;
        run(&["useradd", "--create-home", "--uid", id, name])?;
        run(&["systemctl", "--global", "enable", "podman.socket"])?;
        run(&["loginctl", "enable-linger", name])?;
        let directory = bench.path("podman-of-user");
        fs::create_dir_all(&directory).context("make a directory")?;
        let podman = Self {
            directory,
            user: Some(id),
        };
        let deadline = Instant::now() + COMMAND;
        while !podman.socket().exists() {
            let socket = podman.socket();
            ensure!(
                Instant::now() < deadline,
                "{} is not served",
                socket.display()
            );
            sleep(POLL);
        }
        Ok(podman)
    }
}

fn run(words: &[&str]) -> Result<Ended> {
    let (program, args) = words.split_first().context("no program")?;
    let ended = Command::new(program).args(args).output_within(COMMAND)?;
    ended.with_code(0).with_context(|| words.join(" "))
}

impl Engine for Podman {
    fn command(&self, args: &[&str]) -> Result<Ended> {
        let mut podman = Command::new("podman");
        if self.user.is_some() {
            // What the user's service starts is in the user's cgroups.
            let socket = format!("unix://{}", self.socket().display());
            podman.args(["--remote", "--url", &socket]);
        }
        podman.args(args).output_within(COMMAND)
    }

    fn socket(&self) -> PathBuf {
        match self.user {
            None => "/run/podman/podman.sock".into(),
            Some(id) => format!("/run/user/{id}/podman/podman.sock").into(),
        }
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn registry(&self) -> &'static str {
        "localhost/"
    }
}
