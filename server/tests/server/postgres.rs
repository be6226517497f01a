//! A PostgreSQL of a test's own: in a directory that goes with it, at a Unix socket, with what it acknowledges on the disk.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than it takes to start again after it was killed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of `nobody` and `nogroup`: PostgreSQL does not run as root.
const NOBODY: u32 = 65534;

/// The latest PostgreSQL of the distribution.
fn programs() -> PathBuf {
    let Ok(versions) = fs::read_dir("/usr/lib/postgresql") else {
        panic!("these tests take PostgreSQL: tools/setup test installs it");
    };
    let mut versions: Vec<_> = versions
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|path| path.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().unwrap()
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
    /// Beyond those that each has.
    options: Vec<String>,
    port: u16,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let mut cluster = Self::new();
        cluster.run();
        cluster
    }

    /// One that listens at `localhost`, by TLS alone; with its port.
    pub(crate) fn start_with_tls(certificate: &Path, key: &Path) -> (Self, u16) {
        let mut cluster = Self::new();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        for (from, name) in [(certificate, "certificate.pem"), (key, "key.pem")] {
            let to = cluster.place.path().join(name);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            if rustix::process::geteuid().is_root() {
                chown(&to, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let path = |name| cluster.place.path().join(name).display().to_string();
        cluster.port = port;
        cluster.options = vec![
            "listen_addresses=localhost".to_owned(),
            format!("port={port}"),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", path("certificate.pem")),
            format!("ssl_key_file={}", path("key.pem")),
        ];
        let rules = "local all all trust\nhostssl all all all scram-sha-256\n";
        fs::write(cluster.place.path().join("data/pg_hba.conf"), rules).unwrap();
        cluster.run();
        (cluster, port)
    }

    fn new() -> Self {
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
        Self {
            place,
            server: None,
            options: vec!["listen_addresses=".to_owned()],
            port: 5432,
        }
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
                .args(["-c", "fsync=on", "-c", "shared_buffers=64MB"])
                .args(self.options.iter().flat_map(|option| ["-c", option]))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(self.place.path().join("log")).unwrap())
                .spawn()
                .unwrap();
            while server.try_wait().unwrap().is_none() {
                assert!(Instant::now() < end, "PostgreSQL does not answer");
                let mut ready = program("pg_isready");
                ready.env("PGPORT", self.port.to_string());
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

    /// Has a new database be what `pg_dump` says of another, as the documentation has it; its address.
    pub(crate) fn dumped_into(&self, name: &str, new: &str) -> String {
        let dump = self.place.path().join("dump");
        let run = |of: &str, arguments: &[&str]| {
            let mut command = program(of);
            command.env("PGPORT", self.port.to_string());
            command
                .arg("-h")
                .arg(self.place.path())
                .args(["-U", "holdfast"]);
            let output = command.args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let file = dump.to_str().unwrap();
        run("pg_dump", &["--format=custom", "--file", file, name]);
        let address = self.database(new);
        run(
            "pg_restore",
            &["--exit-on-error", "--no-owner", "--dbname", new, file],
        );
        address
    }

    /// What a statement answers, as psql prints it.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        let output = program("psql")
            .env("PGPORT", self.port.to_string())
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
