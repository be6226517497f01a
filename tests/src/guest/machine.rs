//! One boot: starts the emulator, follows what the guest says, and ends it when it says nothing.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::initramfs::{self, Content};
use crate::place::{Place, Variant};
use crate::report::{Line, Outcome, tail};
use crate::scenario::Scenario;

/// From power on to the first scenario: 3 s on an idle machine.
const BOOT: Duration = Duration::from_secs(90);
/// Likewise, of a whole system: 20 s.
const BOOT_OF_SYSTEM: Duration = Duration::from_secs(240);
/// What a guest may take beyond a scenario's own limit, which it enforces itself.
const GRACE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Lines of the console that a dead guest shows: a kernel panic with its trace fits.
const CONSOLE_LINES: usize = 60;
const COMMAND_LINE: &str = "panic=-1 loglevel=4 printk.devkmsg=on";

/// A guest to boot.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its kernel and how it differs.
    pub place: Place,
    /// The kernel's image.
    pub kernel: PathBuf,
    /// What is put into it beside its root.
    pub content: Content,
    /// Where its console and results are kept.
    pub dir: PathBuf,
}

impl Machine {
    /// Runs the scenarios; each has exactly one outcome. What one scenario does to the kernel ends
    /// that boot, and the rest gets another.
    pub fn run(
        &self,
        archive: &[u8],
        scenarios: &[&Scenario],
        mut tell: impl FnMut(Outcome),
    ) -> Result<()> {
        let mut left = scenarios.to_vec();
        while !left.is_empty() {
            let boot = self.boot(archive, &left)?;
            for outcome in boot.outcomes {
                left.retain(|scenario| scenario.name != outcome.scenario);
                tell(outcome);
            }
            let Some(why) = boot.died else { continue };
            let console = fs::read(self.dir.join("console")).unwrap_or_default();
            let console = tail(&console, CONSOLE_LINES);
            let why = panic_line(&console).map_or(why, str::to_owned);
            let Some(name) = boot.running else {
                // Nothing was running: it would die the same way again.
                for scenario in left.drain(..) {
                    tell(Outcome::failed(scenario.name, why.clone(), console.clone()));
                }
                break;
            };
            left.retain(|scenario| scenario.name != name);
            tell(Outcome::failed(&name, why, console));
        }
        Ok(())
    }

    fn boot(&self, archive: &[u8], scenarios: &[&Scenario]) -> Result<Boot> {
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
        let plan = initramfs::plan(&self.content, &self.place.to_string(), &names, &self.kernel)?;
        fs::create_dir_all(&self.dir).with_context(|| format!("create {}", self.dir.display()))?;
        let initrd = self.dir.join("initramfs");
        fs::write(&initrd, [archive, plan.as_slice()].concat()).context("write the initramfs")?;
        let results = self.dir.join("results");
        File::create(&results).context("create the results' file")?;
        let is_system = self.place.is_system();
        let memory = match self.place.variant() {
            // Images and containers are in it, too.
            Variant::Podman => "4G",
            Variant::System => "2G",
            // Two compilers are in it.
            Variant::Peers => "4G",
            _ if initramfs::needs_docker(&names) => "2G",
            _ => "1G",
        };
        let mut emulator = self.emulator(&initrd, &results, memory)?;
        let limit = if is_system { BOOT_OF_SYSTEM } else { BOOT };
        let boot = follow(&mut emulator, &results, limit);
        // It has ended by itself, or must end now.
        let _ = emulator.kill();
        emulator.wait().context("wait for the emulator")?;
        boot
    }

    fn emulator(&self, initrd: &Path, results: &Path, memory: &str) -> Result<Child> {
        let variant = self.place.variant();
        let [console, _] = variant.ports();
        let serial = |path: &Path| format!("file:{}", path.display());
        let errors =
            File::create(self.dir.join("emulator")).context("create the emulator's log")?;
        Command::new(variant.emulator())
            .args(variant.machine())
            .args(["-m", memory])
            .args(["-no-reboot", "-nodefaults", "-display", "none"])
            .args([
                "-serial",
                &serial(&self.dir.join("console")),
                "-serial",
                &serial(results),
            ])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(initrd)
            .args([
                "-append",
                &format!(
                    "console={console} {COMMAND_LINE} {} {}",
                    variant.timer(),
                    variant.command_line()
                ),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| {
                format!(
                    "start {} (tools/setup test or guest installs it)",
                    variant.emulator()
                )
            })
    }
}

/// What the kernel itself says about its end.
fn panic_line(console: &[String]) -> Option<&str> {
    let line = console.iter().find(|line| line.contains("Kernel panic"))?;
    Some(
        line.split_once("] ")
            .map_or(line.as_str(), |(_, text)| text),
    )
}

#[derive(Default)]
struct Boot {
    outcomes: Vec<Outcome>,
    /// The scenario that was running when the guest died.
    running: Option<String>,
    /// Why the guest did not end its plan.
    died: Option<String>,
}

fn follow(emulator: &mut Child, results: &Path, limit: Duration) -> Result<Boot> {
    let mut file = File::open(results).context("open the results")?;
    let mut text = Vec::new();
    let mut boot = Boot::default();
    let mut deadline = Instant::now() + limit;
    loop {
        // Asked first: what it wrote before its end is then certainly in the file.
        let ended = emulator.try_wait().context("wait for the emulator")?;
        file.read_to_end(&mut text).context("read the results")?;
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match Line::decode(&String::from_utf8_lossy(&line)) {
                Some(Line::Started { scenario, limit }) => {
                    boot.running = Some(scenario);
                    deadline = Instant::now() + limit + GRACE;
                }
                Some(Line::Ended(outcome)) => {
                    boot.running = None;
                    deadline = Instant::now() + GRACE;
                    boot.outcomes.push(outcome);
                }
                Some(Line::Done) => return Ok(boot),
                None => {}
            }
        }
        if ended.is_some() {
            boot.died = Some("the guest died".to_owned());
            return Ok(boot);
        }
        if Instant::now() >= deadline {
            boot.died = Some("the guest hangs".to_owned());
            return Ok(boot);
        }
        sleep(POLL);
    }
}
