//! A real container engine, with everything that it has in the scenario's directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{BUSYBOX, Bench};
use crate::command::{Bounded as _, Ended};

/// How long it may take to be there, or to go.
const START: Duration = Duration::from_secs(60);
/// How long one of its commands may take.
const COMMAND: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What runs containers, by a command line that is Docker's.
pub trait Engine {
    /// `docker …`, or `podman …`.
    fn command(&self, args: &[&str]) -> Result<Ended>;

    /// Where it listens.
    fn socket(&self) -> PathBuf;

    /// Where it may keep files.
    fn directory(&self) -> &Path;

    /// Before the name of an image that was made here.
    fn registry(&self) -> &'static str;

    /// An image with busybox in it, and files to read below `/data`.
    fn image(&self, reference: &str) -> Result<()> {
        let archive = archive(self.directory())?;
        self.command(&["import", &archive, reference])?
            .with_code(0)?;
        Ok(())
    }
}

/// What is in an image's `/data`: each is what it is called.
pub const FILES: [&str; 3] = ["image", "label", "name"];

/// Makes the archive of an image below a directory.
fn archive(directory: &Path) -> Result<String> {
    let root = directory.join("image");
    fs::create_dir_all(root.join("bin")).context("make an image")?;
    fs::copy(BUSYBOX, root.join("bin/busybox")).context("copy busybox")?;
    for name in ["sh", "cat", "sleep", "true"] {
        let link = root.join("bin").join(name);
        if !link.exists() {
            std::os::unix::fs::symlink("busybox", link).context("make a link")?;
        }
    }
    fs::create_dir_all(root.join("data")).context("make an image")?;
    for name in FILES {
        fs::write(root.join("data").join(name), name).context("make an image")?;
    }
    let archive = directory.join("image.tar").display().to_string();
    Command::new("tar")
        .args(["-c", "-f", &archive, "-C"])
        .arg(&root)
        .arg(".")
        .output_within(COMMAND)?
        .with_code(0)?;
    Ok(archive)
}

/// Docker's daemon; dropping it ends it, and what it runs.
pub struct Docker {
    directory: PathBuf,
    daemon: Child,
}

impl Docker {
    /// What a guest needs for it.
    pub const PROGRAMS: [&str; 5] = [
        "docker",
        "dockerd",
        "containerd",
        "containerd-shim-runc-v2",
        "runc",
    ];

    /// Starts it, and waits until it answers.
    pub fn start(bench: &Bench) -> Result<Self> {
        let directory = bench.path("docker");
        fs::create_dir_all(&directory).context("make the engine's directory")?;
        let in_guest = bench.setting.place.is_guest();
        let log = File::create(directory.join("log")).context("make the engine's log")?;
        let at = |name: &str| directory.join(name).display().to_string();
        let daemon = Command::new("dockerd")
            .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
            .args([
                "--pidfile",
                &at("pid"),
                "--host",
                &format!("unix://{}", at("docker.sock")),
            ])
            // Of the machine's network nothing is touched.
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            // A file system in memory is no layer of an overlay where it is the root: guests have nothing else.
            .args(in_guest.then_some("--storage-driver=vfs"))
            // Nor can another root take its place (pivot_root).
            .envs(in_guest.then_some(("DOCKER_RAMDISK", "true")))
            .envs(in_guest.then_some(("PATH", "/usr/bin:/usr/sbin:/bin:/sbin")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start dockerd: `tools/setup test` installs it")?;
        let docker = Self { directory, daemon };
        let deadline = Instant::now() + START;
        while docker.command(&["version"])?.code() != Some(0) {
            ensure!(
                Instant::now() < deadline,
                "dockerd did not answer within {START:?}: {}",
                docker.log()
            );
            sleep(POLL);
        }
        Ok(docker)
    }

    /// Where its containerd listens.
    pub fn containerd(&self) -> PathBuf {
        self.directory.join("exec/containerd/containerd.sock")
    }

    /// Of a file of that name in its directory.
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// `ctr …`, to its containerd.
    pub fn ctr(&self, args: &[&str]) -> Result<Ended> {
        let socket = self.containerd().display().to_string();
        Command::new("ctr")
            .args(["--address", &socket])
            .args(args)
            .output_within(COMMAND)
    }

    /// Kills its containerd, which the daemon starts again.
    pub fn kill_containerd(&self) -> Result<()> {
        let pid = fs::read_to_string(self.directory.join("exec/containerd/containerd.pid"));
        let pid = pid.context("read containerd's pid")?;
        let pid = Pid::from_raw(pid.trim().parse().context("read containerd's pid")?);
        kill_process(pid.context("containerd has no pid")?, Signal::KILL).context("kill containerd")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// An image like those of [`Engine::image`], of which there is one, and of which a container only sleeps.
    pub fn image_that_sleeps(&self, reference: &str) -> Result<()> {
        let archive = self.directory.join("image.tar").display().to_string();
        let command = r#"CMD ["/bin/sleep", "600"]"#;
        self.command(&["import", "--change", command, &archive, reference])?
            .with_code(0)?;
        Ok(())
    }

    /// Kills the daemon as a machine does that is out of memory.
    pub fn kill(mut self) -> Result<()> {
        self.daemon.kill().context("kill dockerd")?;
        self.daemon.wait().context("wait for dockerd")?;
        // Its containerd dies with it, and stays a zombie where nobody waits for it: the next dockerd would take it
        // for one that lives.
        let left = self.directory.join("exec/containerd/containerd.pid");
        fs::remove_file(left).context("remove containerd's pid file")?;
        Ok(())
    }
}

impl Engine for Docker {
    fn command(&self, args: &[&str]) -> Result<Ended> {
        let host = format!("unix://{}", self.socket().display());
        Command::new("docker")
            .args(["--host", &host])
            .args(args)
            .output_within(COMMAND)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn registry(&self) -> &'static str {
        ""
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if !matches!(self.daemon.try_wait(), Ok(None)) {
            return;
        }
        end(&mut self.daemon, &self.directory);
    }
}

/// Has a daemon end, and unmounts what it has left mounted in its directory, which would keep that from being removed.
pub(crate) fn end(daemon: &mut Child, directory: &Path) {
    let _ = kill_process(Pid::from_child(daemon), Signal::TERM);
    let deadline = Instant::now() + START;
    while matches!(daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
        sleep(POLL);
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut own: Vec<&str> = points
        .filter(|it| Path::new(it).starts_with(directory))
        .collect();
    // What was mounted last is on top.
    own.reverse();
    for point in own {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
}
