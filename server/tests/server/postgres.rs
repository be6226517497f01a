//! A PostgreSQL of a test's own: in a directory that goes with it, at a Unix socket, with what it acknowledges on the disk.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than it takes to start again after it was killed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of `nobody` and `nogroup`: PostgreSQL does not run as root.
const NOBODY: u32 = 65534;

/// The latest PostgreSQL of the distribution.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let mut versions: Vec<_> = versions
        .expect("these tests take PostgreSQL: tools/setup test installs it")
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|path| path.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect("there is a PostgreSQL with initdb")
}

fn program(name: &str) -> Command {
    let mut command = Command::new(programs().join(name));
    command.env_clear().env("LC_ALL", "C.UTF-8");
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/");
    command
}

/// A cluster that runs until it is dropped.
pub(crate) struct Cluster {
    place: tempfile::TempDir,
    server: Option<Child>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = program("initdb")
            .arg("--pgdata")
            .arg(place.path().join("data"))
            .args([
                "--username=holdfast",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut cluster = Self {
            place,
            server: None,
        };
        cluster.run();
        cluster
    }

    /// Starts it, also after it was killed, and waits until it answers.
    pub(crate) fn run(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut server = program("postgres")
                .arg("-D")
                .arg(self.place.path().join("data"))
                .arg("-k")
                .arg(self.place.path())
                .args([
                    "-c",
                    "listen_addresses=",
                    "-c",
                    "fsync=on",
                    "-c",
                    "shared_buffers=64MB",
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(self.place.path().join("log")).unwrap())
                .spawn()
                .unwrap();
            while server.try_wait().unwrap().is_none() {
                assert!(Instant::now() < end, "PostgreSQL does not answer");
                let mut ready = program("pg_isready");
                ready.arg("-q").arg("-h").arg(self.place.path());
                if ready.status().unwrap().success() {
                    self.server = Some(server);
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
            // Processes of the one that was killed may be there for a moment.
            let log = fs::read_to_string(self.place.path().join("log")).unwrap();
            assert!(Instant::now() < end, "PostgreSQL does not start: {log}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Makes an empty database; its address.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.address(name)
    }

    pub(crate) fn address(&self, name: &str) -> String {
        format!(
            "postgres://holdfast@/{name}?host={}",
            self.place.path().display()
        )
    }

    /// What a statement answers, as psql prints it.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        let output = program("psql")
            .arg("-h")
            .arg(self.place.path())
            .args([
                "-U",
                "holdfast",
                "-d",
                database,
                "-X",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statement,
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        // Its processes notice, and write no more into the directory.
        thread::sleep(Duration::from_millis(200));
    }
}
