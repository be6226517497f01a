//! Commands that end within a limit or are an error.

use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(2);

/// A command that ended.
#[derive(Debug)]
pub struct Ended {
    /// Its process.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Ended {
    /// Its exit code, if it ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Itself, if it ended with this code.
    pub fn with_code(self, code: i32) -> Result<Self> {
        ensure!(
            self.code() == Some(code),
            "ended with {}, not with exit code {code}; stdout: {:?}, stderr: {:?}",
            self.status,
            self.stdout.trim_end(),
            self.stderr.trim_end(),
        );
        Ok(self)
    }
}

/// Waiting with a limit.
pub trait Bounded {
    /// Runs to the end without input and returns what it wrote.
    fn output_within(&mut self, limit: Duration) -> Result<Ended>;
}

impl Bounded for Command {
    fn output_within(&mut self, limit: Duration) -> Result<Ended> {
        let mut child = self
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {self:?}"))?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = child.try_wait().context("wait for a command")? {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill().context("end a command")?;
                child.wait().context("wait for an ended command")?;
                bail!("{self:?} did not end within {limit:?}");
            }
            sleep(POLL);
        };
        let text = |reader: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
        };
        Ok(Ended {
            pid: child.id(),
            status,
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }
}

/// Reads to the end on a thread of its own: a full pipe would stop the command.
fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_how_it_ended() {
        let limit = Duration::from_secs(10);
        let ended = Command::new("sh")
            .args(["-c", "echo out; echo err >&2; exit 3"])
            .output_within(limit);
        let ended = ended.unwrap().with_code(3).unwrap();
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.as_str()),
            ("out\n", "err\n")
        );
        let killed = Command::new("sh")
            .args(["-c", "kill -9 $$"])
            .output_within(limit)
            .unwrap();
        assert_eq!(killed.signal(), Some(9));
        assert!(killed.with_code(0).is_err());
    }

    #[test]
    fn a_command_that_does_not_end_is_an_error() {
        let result = Command::new("sleep")
            .arg("60")
            .output_within(Duration::from_millis(50));
        assert!(result.unwrap_err().to_string().contains("did not end"));
    }
}
