//! The Team Server of a scenario.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{ANSWERED, EVENT, POLL, RULE, once_each};
use crate::bench::Bench;
use crate::command::Bounded as _;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// A server that runs or not.
pub(super) struct Team {
    binary: PathBuf,
    data: PathBuf,
    password: PathBuf,
    log: PathBuf,
}

/// One that runs; dropping it ends it.
pub(super) struct Running {
    child: Child,
    address: String,
}

impl Team {
    pub(super) fn new(bench: &Bench) -> Result<Self> {
        Ok(Self {
            binary: bench.setting.server.clone(),
            data: bench.path("server"),
            password: bench.file("password", "a password of the tests\n")?,
            log: bench.path("server.stderr"),
        })
    }

    /// What a command of it prints.
    pub(super) fn command(&self, args: &[&str]) -> Result<String> {
        let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
        args.extend(["--data".into(), self.data.clone().into()]);
        self.run(&args)
    }

    /// What it prints with these arguments alone.
    pub(super) fn run(&self, args: &[OsString]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        let ended = command.args(args).output_within(EVENT)?.with_code(0)?;
        Ok(ended.stdout.trim().to_owned())
    }

    /// Where its store is.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The admin's password.
    pub(super) fn password(&self) -> Result<String> {
        let password = fs::read_to_string(&self.password).context("read the password")?;
        Ok(password.trim_end().to_owned())
    }

    /// The key in a file.
    pub(super) fn key_of(&self, file: &Path) -> Result<String> {
        fs::read_to_string(file).context("read the key")
    }

    /// Starts it, and waits until it serves.
    pub(super) fn start(&self) -> Result<Running> {
        let mut args: Vec<OsString> = ["run", "--listen", "127.0.0.1:0", "--data"]
            .map(OsString::from)
            .to_vec();
        args.extend([self.data.clone().into(), "--admin-password-file".into()]);
        args.push(self.password.clone().into());
        Ok(self.start_as(&args)?.0)
    }

    /// The same with these arguments; and what it printed until it served.
    pub(super) fn start_as(&self, args: &[OsString]) -> Result<(Running, Vec<String>)> {
        let log = File::options().create(true).append(true).open(&self.log);
        let mut child = Command::new(&self.binary)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.context("open the server's log")?)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        let stdout = child.stdout.take().context("its stdout is not piped")?;
        let mut running = Running {
            child,
            address: String::new(),
        };
        let mut printed = Vec::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let address = line.split_once("http://").map(|it| it.1.trim().to_owned());
            printed.push(line);
            if let Some(address) = address {
                running.address = address;
                return Ok((running, printed));
            }
        }
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        bail!("the server ended before it served: {said}")
    }
}

impl Running {
    /// Address and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Ends it at once, as a crash does.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the server")?;
        self.child.wait().context("wait for the server")?;
        Ok(())
    }

    /// Asks its API; no body where `body` is null.
    pub(super) fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = TcpStream::connect(&self.address).context("connect to the server")?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .context("read the server's answer")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        ensure!(
            head.starts_with("HTTP/1.1 200"),
            "{method} {path}: {answer}"
        );
        serde_json::from_str(body).with_context(|| format!("{path}: {body}"))
    }

    /// Waits until it has so many alerts, each once.
    pub(super) fn stored(&self, token: &str, alerts: usize) -> Result<()> {
        let path = format!("/api/v1/alerts?limit=500&rule={RULE}");
        let mut stored = 0;
        let waited = self.when("the alerts are stored", |running| {
            stored = once_each(&running.ask("GET", &path, token, &Value::Null)?)?;
            Ok(stored >= alerts)
        });
        waited.with_context(|| format!("{stored} of {alerts}"))?;
        ensure!(stored == alerts, "{stored} alerts are stored, of {alerts}");
        Ok(())
    }

    /// Waits until it is so; `what` names that in the error.
    pub(super) fn when(
        &self,
        what: &str,
        mut is_so: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + ANSWERED;
        while !is_so(self)? {
            ensure!(Instant::now() < deadline, "{what}: not within {ANSWERED:?}");
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
