//! What operations cost in instructions, where a guest's clock counts them: a nanosecond each.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{Mode, OFlags, open};

use crate::act;
use crate::bench::Bench;
use crate::cgroup::Cgroup;
use crate::load;

pub mod programs;
pub mod record;

/// Bursts; the least disturbed one counts.
pub const BURSTS: u32 = 40;
/// Between bursts, for whatever else is to run on the only CPU.
const PAUSE: Duration = Duration::from_millis(10);
/// What a worker says when it is to be told to begin.
const READY: &str = "ready";
/// No process serves this port.
const CLOSED_PORT: u16 = 1;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// fork(2) of a process that ends at once, and waiting for it.
    Fork,
    /// The start of a program of 130 bytes that ends at once, and waiting for it.
    Exec,
    /// open(2) for reading and close(2).
    Open,
    /// The same of a file whose open is refused.
    Refused,
    /// A new file, closed and unlinked.
    Create,
    /// A TCP socket, connect(2) to a closed port of the loopback, and close(2).
    Connect,
}

impl Operation {
    /// All but the one that something must refuse.
    pub const ALLOWED: [Self; 5] = [
        Self::Fork,
        Self::Exec,
        Self::Open,
        Self::Create,
        Self::Connect,
    ];

    /// What it is called in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Exec => "exec",
            Self::Open => "open",
            Self::Refused => "refused",
            Self::Create => "create",
            Self::Connect => "connect",
        }
    }

    /// So many fit between two timer interrupts, 4,000,000 instructions apart.
    pub fn burst(self) -> u32 {
        match self {
            Self::Fork => 16,
            Self::Exec => 10,
            Self::Open => 200,
            Self::Create => 100,
            // Their records are few enough that most bursts do not wake the reader.
            Self::Connect | Self::Refused => 60,
        }
    }
}

/// The files that operations are about.
#[derive(Debug)]
pub struct Subjects {
    program: PathBuf,
    /// What is opened.
    pub opened: PathBuf,
    /// What a rule is to refuse.
    pub refused: PathBuf,
    created: PathBuf,
}

impl Subjects {
    /// Those of this directory.
    pub fn of(directory: &Path) -> Self {
        let at = |name: &str| directory.join(name);
        Self {
            program: at("tiny"),
            opened: at("opened"),
            refused: at("refused"),
            created: at("created"),
        }
    }

    /// Makes them in the scenario's directory.
    pub fn make(bench: &Bench) -> Result<Self> {
        let subjects = Self::of(&bench.setting.dir);
        load::write_tiny_program(&subjects.program)?;
        for file in [&subjects.opened, &subjects.refused] {
            fs::write(file, "content").with_context(|| format!("write {}", file.display()))?;
        }
        Ok(subjects)
    }

    /// Does an operation once.
    pub fn act(&self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Fork => act::fork_once().context("fork"),
            Operation::Exec => load::execute(&self.program),
            Operation::Open => open(&self.opened, OFlags::RDONLY, Mode::empty())
                .map(drop)
                .context("open a file"),
            Operation::Refused => expect(
                File::open(&self.refused),
                ErrorKind::PermissionDenied,
                "the open",
            ),
            Operation::Create => {
                File::create(&self.created).context("create a file")?;
                fs::remove_file(&self.created).context("remove a file")
            }
            Operation::Connect => {
                let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, CLOSED_PORT));
                expect(connected, ErrorKind::ConnectionRefused, "the connection")
            }
        }
    }
}

fn expect<T>(result: Result<T, Error>, kind: ErrorKind, what: &str) -> Result<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{what} failed otherwise")),
        Ok(_) => bail!("{what} was not refused"),
    }
}

/// A process of its own that is to do an operation: small and always the same, whatever this one has in memory.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one in this cgroup, for the subjects of the scenario's directory. It waits until it is to begin.
    pub fn start(bench: &Bench, cgroup: &Cgroup, operation: Operation) -> Result<Self> {
        let mut deed = bench.act(&["cost", operation.name()]);
        deed.arg(&bench.setting.dir);
        let mut child = cgroup
            .run(bench, &deed)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a worker")?;
        let output = child.stdout.take().context("a worker's stdout is piped")?;
        let mut worker = Self {
            child,
            output: BufReader::new(output),
        };
        let said = worker.line()?;
        ensure!(said == READY, "a worker says '{said}'");
        Ok(worker)
    }

    /// Has it do its bursts, and says what the operation cost.
    pub fn cost(&mut self) -> Result<u64> {
        let input = self.child.stdin.as_mut();
        let input = input.context("a worker's stdin is piped")?;
        input.write_all(b"\n").context("tell a worker to begin")?;
        let said = self.line()?;
        said.parse()
            .with_context(|| format!("a worker says '{said}'"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("read what a worker says")?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has done what it was to do, or must end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process of a [`Worker`] does; it ends when it is no longer asked.
pub(crate) fn work(operation: &str, directory: &str) -> std::io::Result<()> {
    let all = Operation::ALLOWED.into_iter().chain([Operation::Refused]);
    let operation = all.into_iter().find(|it| it.name() == operation);
    let operation = operation.ok_or_else(|| Error::other("no such operation"))?;
    let subjects = Subjects::of(Path::new(directory));
    println!("{READY}");
    for line in std::io::stdin().lines() {
        line?;
        let cost = least(operation.burst(), || subjects.act(operation));
        println!(
            "{}",
            cost.map_err(|error| Error::other(format!("{error:#}")))?
        );
    }
    Ok(())
}

/// Instructions of an operation that is done so many times in a burst: those of the least disturbed one, so that they
/// are its own and what it waits for.
pub fn least(burst: u32, mut act: impl FnMut() -> Result<()>) -> Result<u64> {
    let mut least = u64::MAX;
    for _ in 0..BURSTS {
        sleep(PAUSE);
        let begun = Instant::now();
        for _ in 0..burst {
            act()?;
        }
        least = least.min(begun.elapsed().as_nanos() as u64);
    }
    Ok(least / u64::from(burst))
}
