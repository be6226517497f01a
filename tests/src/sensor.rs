//! The sensor under test: started with everything it writes in the scenario's directory, ready when
//! it says so to its service manager, stopped as a service manager does.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::bench::Bench;
use crate::cgroup::Cgroup;
use crate::command::{Bounded as _, Ended};
use crate::events::{Events, Tally};
use crate::report::tail;

/// How long the sensor may take to be ready. In an emulated guest the verifier is slow: the programs
/// of every hook are then some hundred million instructions of work.
const READY: Duration = Duration::from_secs(60);
const READY_IN_GUEST: Duration = Duration::from_secs(240);
/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(60);
/// How long one of its commands may take.
const COMMAND: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// How the sensor is to be started.
pub struct Options<'a> {
    bench: &'a Bench,
    tally: Option<Tally>,
    binary: PathBuf,
    config: PathBuf,
    output: &'static str,
    args: Vec<OsString>,
    /// The deed by which it becomes the sensor, where it is to have less than others.
    deprived: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(bench: &'a Bench) -> Self {
        let at = |name: &str| bench.path(name).into_os_string();
        // A sensor that is already on this machine keeps its own files, and so does the one here.
        let environment = vec![
            ("HOLDFAST_OPT_STATE_DIR", at("state")),
            ("HOLDFAST_OPT_LOG_DIR", at("log.d")),
            ("HOLDFAST_OPT_CONTROL_SOCKET", at("control.sock")),
            ("HOLDFAST_OPT_KERNEL_PIN_DIR", pin_dir(bench)),
            // What a scenario leaves attached would judge the next.
            ("HOLDFAST_OPT_KERNEL_ON_EXIT", "fail-open".into()),
            ("NOTIFY_SOCKET", at("notify.sock")),
        ];
        Self {
            bench,
            binary: bench.setting.holdfast.clone(),
            config: "/dev/null".into(),
            output: "json",
            args: Vec::new(),
            deprived: Vec::new(),
            environment,
            tally: None,
        }
    }

    /// The binary built with `fault-injection` instead of the one that is shipped.
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.binary = self.bench.setting.fault.clone();
        self
    }

    /// With a configuration file; else it has none.
    #[must_use]
    pub fn config(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.config);
        self
    }

    /// Writes no events to stdout, only to its log.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.output = "none";
        self
    }

    /// Where bpf(2) is not permitted.
    #[must_use]
    pub fn without_bpf(mut self) -> Self {
        self.deprived = vec!["without-bpf".to_owned()];
        self
    }

    /// Without these capabilities, separated by commas.
    #[must_use]
    pub fn without_capabilities(mut self, names: &str) -> Self {
        self.deprived = vec!["without-capabilities".to_owned(), names.to_owned()];
        self
    }

    /// In this cgroup from its first instruction on.
    #[must_use]
    pub fn within(mut self, cgroup: &Cgroup) -> Self {
        let place = cgroup.place("cgroup.procs").display().to_string();
        self.deprived = vec!["within".to_owned(), place];
        self
    }

    /// One more option of `holdfast run` with its value.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.args
            .extend([OsString::from(format!("--{name}")), value.into()]);
        self
    }

    /// `--policy`.
    #[must_use]
    pub fn policy(self, path: &Path) -> Self {
        self.option("policy", path)
    }

    /// `--tier`.
    #[must_use]
    pub fn tier(self, tier: &str) -> Self {
        self.option("tier", tier)
    }

    /// `--mode enforce`.
    #[must_use]
    pub fn enforce(self) -> Self {
        self.option("mode", "enforce")
    }

    /// Where it pins what outlives it.
    pub fn pin_dir(&self) -> PathBuf {
        pin_dir(self.bench).into()
    }

    /// One variable of the sensor's environment.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Counts the events that this accepts, in loads that are too large to keep all.
    #[must_use]
    pub fn tally(mut self, tally: impl Fn(&Value) -> bool + Send + 'static) -> Self {
        self.tally = Some(Box::new(tally));
        self
    }

    /// A command of this binary with the same environment: `holdfast status …`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        self.complete(&mut command, args);
        command
    }

    /// The same, by a process that lacks what the sensor lacks.
    pub fn deprived_command(&self, args: &[&str]) -> Command {
        let mut command = self.deprived_binary();
        self.complete(&mut command, args);
        command
    }

    fn deprived_binary(&self) -> Command {
        if self.deprived.is_empty() {
            return Command::new(&self.binary);
        }
        let deed: Vec<&str> = self.deprived.iter().map(String::as_str).collect();
        let mut command = self.bench.act(&deed);
        command.arg(&self.binary);
        command
    }

    fn complete(&self, command: &mut Command, args: &[&str]) {
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.args(args).envs(environment);
    }

    /// `holdfast run` as it would be started, to be run to its end where it must refuse to start.
    pub fn run_command(&self) -> Command {
        let mut command = self.deprived_binary();
        self.complete(&mut command, &["run", "--output", self.output, "--config"]);
        command.arg(&self.config).args(&self.args);
        command
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Result<Sensor<'a>> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let stderr = self.bench.path(&format!("sensor-{number}.stderr"));
        let notify = self.bench.path("notify.sock");
        let _ = fs::remove_file(&notify);
        let notified = UnixDatagram::bind(&notify).context("create the notification socket")?;
        notified
            .set_read_timeout(Some(POLL))
            .context("set the notification socket's timeout")?;
        let mut child = self
            .run_command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).context("create the sensor's log")?)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        let stdout = child
            .stdout
            .take()
            .context("the sensor's stdout is not piped")?;
        let events = Events::read(stdout, self.tally);
        let options = Options {
            tally: None,
            ..self
        };
        let mut sensor = Sensor {
            child,
            events,
            stderr,
            options,
            notified,
        };
        sensor.wait_ready()?;
        Ok(sensor)
    }
}

/// Pins need the BPF file system, so they can't be in the scenario's directory.
fn pin_dir(bench: &Bench) -> OsString {
    let name = bench.setting.dir.file_name().unwrap_or_default();
    let mut path = OsString::from("/sys/fs/bpf/holdfast-test-");
    path.push(name);
    path
}

/// A running sensor; dropping it ends it.
pub struct Sensor<'a> {
    child: Child,
    /// What it writes to stdout.
    pub events: Events,
    stderr: PathBuf,
    options: Options<'a>,
    notified: UnixDatagram,
}

impl Sensor<'_> {
    fn wait_ready(&mut self) -> Result<()> {
        let limit = if self.options.bench.setting.place.is_guest() {
            READY_IN_GUEST
        } else {
            READY
        };
        let deadline = Instant::now() + limit;
        let mut datagram = [0; 4096];
        loop {
            if let Ok(length) = self.notified.recv(&mut datagram) {
                let text = String::from_utf8_lossy(&datagram[..length]);
                if text.lines().any(|line| line == "READY=1") {
                    return Ok(());
                }
            }
            if let Some(status) = self.child.try_wait().context("wait for the sensor")? {
                bail!(
                    "the sensor ended with {status} before it was ready: {}",
                    self.last_words()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "the sensor was not ready within {limit:?}"
            );
        }
    }

    /// Where it pins what outlives it.
    pub fn pin_dir(&self) -> PathBuf {
        self.options.pin_dir()
    }

    /// The sensor's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A command of the same binary that finds this sensor.
    pub fn command(&self, args: &[&str]) -> Result<Ended> {
        self.options.command(args).output_within(COMMAND)
    }

    /// `holdfast status --json`.
    pub fn status(&self) -> Result<Value> {
        let ended = self
            .command(&["status", "--json"])?
            .with_code(0)
            .context("holdfast status")?;
        serde_json::from_str(&ended.stdout)
            .with_context(|| format!("parse the status {:?}", ended.stdout))
    }

    /// Asks for the status until it satisfies `wanted`; `what` names that in the error.
    pub fn status_when(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status()?;
            if wanted(&status) {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "{what}: not within {limit:?}; status: {status}"
            );
            sleep(POLL);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("send the sensor a signal")
    }

    /// Sends it this signal and waits for its end.
    pub fn end_with(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait_for_end()
            .with_context(|| format!("after {signal:?}"))
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        let status = self.child.try_wait().context("wait for the sensor")?;
        Ok(status.is_some())
    }

    /// Waits for its end.
    pub fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = self.child.try_wait().context("wait for the sensor")? {
                break Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "the sensor did not end within {STOP:?}"
            );
            sleep(POLL);
        }
    }

    /// Stops it as a service manager does: it must end by itself, with exit code 0, and must have
    /// written nothing but events.
    pub fn stop(mut self) -> Result<Events> {
        let status = self.end_with(Signal::TERM)?;
        ensure!(
            status.code() == Some(0),
            "the sensor stopped with {status}: {}",
            self.last_words()
        );
        let strays = self.events.strays();
        ensure!(
            strays.is_empty(),
            "lines on stdout that are no events: {strays:?}"
        );
        Ok(self.events.clone())
    }

    /// All it wrote to stderr so far.
    pub fn log(&self) -> String {
        fs::read(&self.stderr)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn last_words(&self) -> String {
        tail(self.log().as_bytes(), 3).join(" / ")
    }
}

impl Drop for Sensor<'_> {
    fn drop(&mut self) {
        // It may have ended already; either way it must not outlive its scenario.
        if self.child.kill().is_err() {
            // One that is protected is ended by its own command.
            let _ = self.command(&["stop", "--unload"]);
        }
        let _ = self.child.wait();
    }
}
