//! The archive with its installer, where there is neither a package manager nor a service manager.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    ENFORCE, INSTALL, POLICY, POLL, SECRET, SETTINGS, becomes_readable, files, is_logged,
    is_readable, is_ready, make_secret, packaged, policy,
};
use crate::bench::{BUSYBOX, Bench};
use crate::command::Bounded as _;

const INSTALLED: &str = "/usr/bin/holdfast";

pub(super) fn run(bench: &Bench) -> Result<()> {
    let _aside = Aside::put()?;
    let before = files()?;
    make_secret()?;
    let directory = bench.path("archive").display().to_string();
    fs::create_dir_all(&directory).context("make a directory")?;
    super::run(&["tar", "-xzf", &packaged(".tar.gz")?, "-C", &directory])?;
    let unpacked = fs::read_dir(&directory).context("list what was unpacked")?;
    let unpacked = unpacked.flatten().next().context("nothing was unpacked")?;
    let script = |name: &str| unpacked.path().join(name).display().to_string();

    let said = super::run(&[&script("install.sh")])?.stdout;
    ensure!(said.contains("holdfast run --output none"), "{said}");
    let mut sensor = Running::start(bench)?;
    is_ready("observe")?;
    super::run(&["holdfast", "doctor"])?;
    ensure!(
        is_readable(Path::new(SECRET))?,
        "nothing was to be refused yet"
    );
    is_logged(BUSYBOX)?;

    fs::write(SETTINGS, ENFORCE).context("change the settings")?;
    fs::write(POLICY, policy()).context("write a policy")?;
    kill_process(Pid::from_child(&sensor.0), Signal::TERM).context("stop the sensor")?;
    sensor.ends()?;
    let mut sensor = Running::start(bench)?;
    is_ready("enforce")?;
    ensure!(!is_readable(Path::new(SECRET))?, "the secret was read");

    // A newer version over it.
    let said = super::run(&[&script("install.sh")])?.stdout;
    ensure!(said.contains(&format!("kept {SETTINGS}")), "{said}");
    let kept = fs::read_to_string(SETTINGS).context("read the settings")?;
    ensure!(kept == ENFORCE, "it changed the settings: {kept}");
    ensure!(
        !is_readable(Path::new(SECRET))?,
        "the secret was read meanwhile"
    );

    super::run(&[&script("uninstall.sh"), "--purge"])?;
    sensor.ends()?;
    becomes_readable(Path::new(SECRET))?;
    fs::remove_file(SECRET).context("remove the secret")?;
    let after = files()?;
    let left: Vec<&String> = after.difference(&before).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The sensor that was installed; dropping it ends it.
struct Running(Child);

impl Running {
    /// Starts it as the installer says, and waits until it is ready.
    fn start(bench: &Bench) -> Result<Self> {
        let log = bench.path("sensor.log");
        let sensor = Command::new(INSTALLED)
            .args(["run", "--output", "none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).context("make the sensor's log")?)
            .spawn();
        let mut sensor = Self(sensor.context("start the sensor")?);
        let deadline = Instant::now() + INSTALL;
        loop {
            let asked = Command::new(INSTALLED)
                .args(["status", "--ready"])
                .output_within(INSTALL)?;
            if asked.code() == Some(0) {
                return Ok(sensor);
            }
            let ended = sensor.0.try_wait().context("look after the sensor")?;
            ensure!(
                ended.is_none() && Instant::now() < deadline,
                "{ended:?}, {}: {}",
                asked.stderr.trim(),
                fs::read_to_string(&log).unwrap_or_default()
            );
            sleep(POLL);
        }
    }

    /// Waits until it has ended by itself.
    fn ends(&mut self) -> Result<()> {
        let deadline = Instant::now() + INSTALL;
        loop {
            if let Some(status) = self.0.try_wait().context("wait for the sensor")? {
                ensure!(status.code() == Some(0), "the sensor ended with {status}");
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the sensor does not end");
            sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless the scenario failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The guest's own sensor out of the way, until this is dropped.
struct Aside;

impl Aside {
    const PATH: &str = "/usr/bin/holdfast-aside";

    fn put() -> Result<Self> {
        fs::rename(INSTALLED, Self::PATH).context("put the guest's sensor aside")?;
        Ok(Self)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(error) = fs::rename(Self::PATH, INSTALLED) {
            eprintln!("the guest's sensor stays aside: {error}");
        }
    }
}
