//! What a scenario has in its hands: a directory of its own, programs to run, policies, the sensor.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::Bounded as _;
use crate::guest::MODULES;

use crate::report::tail;
use crate::runner::Setting;
use crate::sensor::Options;

/// Where busybox is, natively and in guests: one set of commands for both.
pub const BUSYBOX: &str = "/bin/busybox";
/// How long loading a module may take.
const MODULE: Duration = Duration::from_secs(20);
/// Lines shown of each of the sensor's logs when a scenario fails.
const LOG_LINES: usize = 40;

/// The error of a scenario that can't run here.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// The workbench of one scenario.
#[derive(Debug)]
pub struct Bench {
    /// What it runs against.
    pub setting: Setting,
    notes: RefCell<Vec<String>>,
    settings: RefCell<Vec<String>>,
}

impl Bench {
    /// A bench in the setting's directory.
    pub fn new(setting: Setting) -> Result<Self> {
        fs::create_dir_all(&setting.dir)
            .with_context(|| format!("create {}", setting.dir.display()))?;
        Ok(Self {
            setting,
            notes: RefCell::default(),
            settings: RefCell::default(),
        })
    }

    /// A path in the scenario's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.setting.dir.join(name)
    }

    /// Gives every sensor of this scenario from now on a setting, as `key=value`.
    pub fn set(&self, setting: impl Into<String>) {
        self.settings.borrow_mut().push(setting.into());
    }

    /// The sensor under test, with everything it writes in the scenario's directory.
    pub fn sensor(&self) -> Options<'_> {
        let settings = self.settings.borrow();
        settings
            .iter()
            .fold(Options::new(self), |options, setting| {
                options.option("set", setting)
            })
    }

    /// Something measured that the results should show.
    pub fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    /// All that was noted.
    pub fn notes(&self) -> String {
        self.notes.borrow().join("; ")
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Writes a policy with these rules, in enforce mode, and returns its file.
    pub fn policy(&self, name: &str, rules: &Value) -> Result<PathBuf> {
        let document = serde_json::json!({
            "apiVersion": "holdfast/v1", "kind": "Policy", "name": name, "mode": "enforce", "rules": rules,
        });
        self.file(&format!("{name}.json"), document.to_string())
    }

    /// A busybox applet.
    pub fn busybox(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BUSYBOX);
        command.args(args);
        command
    }

    /// A program of the scenario's own: busybox under another path, so that a rule can name it
    /// without naming anything else on the machine. The applet is its first argument, which busybox
    /// asks for only when its own name begins like this.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(&format!("busybox-{name}"));
        fs::copy(BUSYBOX, &path)
            .with_context(|| format!("copy {BUSYBOX} to {}", path.display()))?;
        make_executable(&path)?;
        Ok(path)
    }

    /// One of the deeds of [`crate::act`], done by this program in a process of its own.
    pub fn act(&self, deed: &[&str]) -> Command {
        // Without /proc there is no scenario at all.
        let mut command = Command::new("/proc/self/exe");
        command.arg("act").args(deed);
        command
    }

    /// Has the kernel know the file system `name`; natively it knows it or the scenario can't run.
    pub fn need_file_system(&self, name: &str) -> Result<()> {
        let known = || -> Result<bool> {
            let list = fs::read_to_string("/proc/filesystems").context("list file systems")?;
            Ok(list.split_whitespace().any(|word| word == name))
        };
        if known()? {
            return Ok(());
        }
        if !self.setting.place.is_guest() {
            return Err(Skip(format!("this kernel has no {name}")).into());
        }
        // The module of overlayfs is called overlay, and so is the type.
        self.load_module(name)?;
        ensure!(known()?, "{name} was loaded, and there is no {name}");
        Ok(())
    }

    /// Has the kernel list TCP sockets; natively it loads the modules for that by itself.
    pub fn need_socket_list(&self) -> Result<()> {
        let loaded = fs::read_to_string("/proc/modules").unwrap_or_default();
        if self.setting.place.is_guest() && !loaded.contains("tcp_diag") {
            self.load_module("inet_diag")?;
            self.load_module("tcp_diag")?;
        }
        Ok(())
    }

    fn load_module(&self, name: &str) -> Result<()> {
        let module = format!("{MODULES}/{name}.ko");
        self.busybox(&["insmod", &module])
            .output_within(MODULE)?
            .with_code(0)
            .with_context(|| format!("load {module}"))?;
        Ok(())
    }

    /// Writes the end of each of the sensor's logs to stderr.
    pub fn show_logs(&self) {
        for entry in fs::read_dir(&self.setting.dir)
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "stderr")
            {
                eprintln!("--- {}", path.display());
                for line in tail(&fs::read(&path).unwrap_or_default(), LOG_LINES) {
                    eprintln!("{line}");
                }
            }
        }
    }
}

/// Lets a file be executed.
pub fn make_executable(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", path.display()))
}
