//! Runs scenarios, each in a process of its own: one that crashes or hangs ends alone, and what it
//! started ends with it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

use crate::bench::{Bench, Skip};
use crate::place::Place;
use crate::report::{Outcome, Verdict, tail};
use crate::scenario::{self, Scenario};

/// Exit code of a scenario that can't run here; 0 and 1 are passed and failed.
const EXIT_SKIPPED: i32 = 77;
/// How often a running scenario is looked at: small beside any limit.
const POLL: Duration = Duration::from_millis(10);
/// Lines of the log that a failure shows: a sensor's start and its last words fit.
const LOG_LINES: usize = 60;

/// What scenarios run against.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where this is.
    pub place: Place,
    /// The sensor under test.
    pub holdfast: PathBuf,
    /// The sensor built with `fault-injection`.
    pub fault: PathBuf,
    /// The Team Server; natively only.
    pub server: PathBuf,
    /// The shipped policies.
    pub policies: PathBuf,
    /// The source of the kernel programs.
    pub hooks: PathBuf,
    /// Where a scenario may write; made by the runner, removed after it.
    pub dir: PathBuf,
}

impl Setting {
    /// This machine, with the binaries where `make` leaves them, seen from the repository's root.
    pub fn native() -> Self {
        Self {
            place: Place::Native,
            holdfast: PathBuf::from("dist/holdfast"),
            fault: PathBuf::from("target/holdfast-fault"),
            server: PathBuf::from("dist/holdfast-server"),
            policies: PathBuf::from("policies"),
            hooks: PathBuf::from("ebpf/src"),
            dir: PathBuf::from("/var/tmp/holdfast-tests"),
        }
    }

    /// A guest, with the files where the host put them into its initramfs.
    pub fn guest(place: Place) -> Self {
        Self {
            place,
            holdfast: PathBuf::from("/usr/bin/holdfast"),
            fault: PathBuf::from("/usr/bin/holdfast-fault"),
            server: PathBuf::from("/usr/bin/holdfast-server"),
            policies: PathBuf::from("/usr/share/holdfast/policies"),
            hooks: PathBuf::from("/usr/share/holdfast/hooks"),
            dir: PathBuf::from("/var/tmp/holdfast-tests"),
        }
    }

    /// Takes `--name value` pairs that change this setting off `args`; the rest is returned.
    pub fn take_options(&mut self, args: impl Iterator<Item = String>) -> Result<Vec<String>> {
        let mut rest = Vec::new();
        let mut args = args;
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--") else {
                rest.push(arg);
                continue;
            };
            let value = args
                .next()
                .with_context(|| format!("--{name} needs a value"))?;
            match name {
                "place" => self.place = value.parse()?,
                "holdfast" => self.holdfast = value.into(),
                "fault" => self.fault = value.into(),
                "server" => self.server = value.into(),
                "policies" => self.policies = value.into(),
                "hooks" => self.hooks = value.into(),
                "dir" => self.dir = value.into(),
                _ => bail!("unknown option --{name}"),
            }
        }
        // Scenarios change directories; what they are given must not depend on where they stand.
        for path in [
            &mut self.holdfast,
            &mut self.fault,
            &mut self.server,
            &mut self.policies,
            &mut self.hooks,
            &mut self.dir,
        ] {
            *path = std::path::absolute(&*path).context("make paths absolute")?;
        }
        Ok(rest)
    }

    fn options(&self) -> Vec<OsString> {
        let place = OsString::from(self.place.to_string());
        [
            ("--place", place),
            ("--holdfast", self.holdfast.clone().into()),
            ("--fault", self.fault.clone().into()),
            ("--server", self.server.clone().into()),
            ("--policies", self.policies.clone().into()),
            ("--hooks", self.hooks.clone().into()),
            ("--dir", self.dir.clone().into()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [OsString::from(name), value])
        .collect()
    }
}

/// Runs one scenario in a child process and says how it ended.
pub fn run(setting: &Setting, scenario: &Scenario) -> Outcome {
    let setting = Setting {
        dir: setting.dir.join(scenario.name),
        ..setting.clone()
    };
    let begun = Instant::now();
    let mut outcome = run_in(&setting, scenario)
        .unwrap_or_else(|error| Outcome::failed(scenario.name, format!("{error:#}"), Vec::new()));
    outcome.took = begun.elapsed();
    // What is left of it is in the outcome; a directory that stays hurts no later run.
    let _ = fs::remove_dir_all(&setting.dir);
    outcome
}

fn run_in(setting: &Setting, scenario: &Scenario) -> Result<Outcome> {
    let dir = &setting.dir;
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let (reason, log) = (dir.join("reason"), dir.join("log"));
    let program = std::env::current_exe().context("find this program's file")?;
    let child = Command::new(program)
        .arg("one")
        .arg(scenario.name)
        .args(setting.options())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(File::create(&reason).context("create the scenario's result file")?)
        .stderr(File::create(&log).context("create the scenario's log")?)
        // A group of its own, so that the sensor and what else it started can be ended with it.
        .process_group(0)
        .spawn()
        .context("start the scenario's process")?;
    let group = Pid::from_child(&child);
    let limit = scenario.limit(&setting.place);
    let code = wait_for(child, limit)?;
    // An empty group is an error that says only that nothing was left.
    let _ = kill_process_group(group, Signal::KILL);
    let mut outcome = Outcome {
        scenario: scenario.name.to_owned(),
        verdict: Verdict::Failed,
        took: Duration::ZERO,
        reason: read(&reason).trim_end().to_owned(),
        log: Vec::new(),
    };
    match code {
        Some(0) => outcome.verdict = Verdict::Passed,
        Some(EXIT_SKIPPED) => outcome.verdict = Verdict::Skipped,
        Some(1) => {}
        Some(code) => outcome.reason = format!("the scenario's process ended with {code}"),
        None => outcome.reason = format!("did not end within {} s", limit.as_secs()),
    }
    if outcome.verdict == Verdict::Failed {
        outcome.log = tail(read(&log).as_bytes(), LOG_LINES);
    }
    Ok(outcome)
}

fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Waits for the child within the limit: its exit code, 128 + signal, or `None` if it had to be ended.
fn wait_for(mut child: Child, limit: Duration) -> Result<Option<i32>> {
    let pid = Pid::from_child(&child);
    let deadline = Instant::now() + limit;
    // As pid 1 the orphans of the scenario are ours too, and zombies would look like survivors.
    let everybody = rustix::process::getpid().is_init();
    loop {
        let mut ended = None;
        if everybody {
            while let Ok(Some((who, status))) = wait(WaitOptions::NOHANG) {
                if who == pid {
                    ended = status
                        .exit_status()
                        .or(status.terminating_signal().map(|s| 128 + s));
                }
            }
        } else if let Some(status) = child.try_wait().context("wait for the scenario")? {
            use std::os::unix::process::ExitStatusExt as _;
            ended = status.code().or(status.signal().map(|signal| 128 + signal));
        }
        if ended.is_some() {
            return Ok(ended);
        }
        if Instant::now() >= deadline {
            kill_process_group(pid, Signal::KILL).context("end the scenario")?;
            if !everybody {
                child.wait().context("wait for the ended scenario")?;
            }
            return Ok(None);
        }
        sleep(POLL);
    }
}

/// What the child process does: runs the scenario, says the reason on stdout and the log on stderr.
/// Returns the exit code.
pub fn one(setting: Setting, name: &str) -> Result<i32> {
    let scenario = scenario::find(name)?;
    let bench = Bench::new(setting)?;
    let result = (scenario.run)(&bench);
    match result {
        Ok(()) => {
            println!("{}", bench.notes());
            Ok(0)
        }
        Err(error) => {
            println!("{error:#}");
            if error.is::<Skip>() {
                return Ok(EXIT_SKIPPED);
            }
            bench.show_logs();
            Ok(1)
        }
    }
}
