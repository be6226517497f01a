//! What the actors are told at start: plain data, filled by the agent's configuration.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use holdfast_policy::document::Mode;
use holdfast_policy::redact::Redaction;
use holdfast_wire::control::Cap;
use holdfast_wire::event;

use crate::runtime::engine::Place;
use crate::uplink;

mod cloud;
mod os;

/// Everything that is set, and does not change while the sensor runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sensor's mode; only shown (the snapshot's rules already have it in them).
    pub mode: Mode,
    /// Globs of `event.action`s that are reported without a rule. Decides about `sensor.*` here; for
    /// what the kernel sees, the snapshot says what is reported.
    pub report: Vec<String>,
    /// The variables of the environment that events show, by name.
    pub environment: Vec<String>,
    /// What of arguments and environment is not to leave the sensor.
    pub redaction: Redaction,
    /// What is written to standard output; `None`: nothing.
    pub stdout: Option<Stdout>,
    /// The event log; `None`: no log.
    pub log: Option<Log>,
    /// Where allow-list policies of what happens are written to; `None`: none are made.
    pub derive: Option<PathBuf>,
    /// The Team Server; `None`: the sensor has none.
    pub uplink: Option<uplink::Settings>,
    /// Where container engines are that are asked what they know.
    pub engines: Vec<Place>,
    /// How long events wait for what engines know of their container.
    pub waits: Waits,
    /// Executables that are never killed besides the built-in ones: a path, or the last component
    /// of one.
    pub never_kill: Vec<String>,
    /// The most events of a cgroup; only shown (the kernel programs are told by the loader).
    pub cap: Option<Cap>,
    /// Where the sensor is.
    pub host: Host,
}

/// How long what comes from a container waits for its engine to tell of it. Nobody waits for a verdict meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// An event that no rule alerts on.
    pub event: Duration,
    /// An alert: somebody reads it.
    pub alert: Duration,
}

/// Standard output.
#[derive(Clone, Debug)]
pub struct Stdout {
    /// How events are written.
    pub format: Format,
    /// Where to; may block (it is polled before it is written to).
    pub to: Arc<OwnedFd>,
}

impl Stdout {
    /// The process's own standard output.
    ///
    /// # Errors
    /// When descriptor 1 is not open.
    pub fn own(format: Format) -> io::Result<Self> {
        let to = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        Ok(Self {
            format,
            to: Arc::new(to),
        })
    }
}

/// How events are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// One line for people.
    Pretty {
        /// With ANSI colours.
        colour: bool,
    },
}

/// The rotated event log, `events.jsonl` in a directory that exists.
#[derive(Clone, Debug)]
pub struct Log {
    /// The directory.
    pub directory: PathBuf,
    /// A file is rotated before it would grow beyond this many bytes.
    pub max_bytes: u64,
    /// Rotated files kept beside the current one: `events.jsonl.1` (the newest) and so on.
    pub keep: u32,
}

/// Where the sensor is: what identifies the host, and where its files are seen.
#[derive(Clone, Debug)]
pub struct Host {
    /// `host.*` of every event.
    pub event: event::Host,
    /// `cloud.*` of every event, where files on the host tell of one.
    pub cloud: Option<event::Cloud>,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The host's root directory: `/`, or where it is mounted when the sensor runs in a container.
    pub root: PathBuf,
}

impl Host {
    /// Reads the facts below `root`, the host's root directory.
    ///
    /// # Errors
    /// When the boot id cannot be read: there is no `/proc` at `root`.
    pub fn read(root: &Path) -> io::Result<Self> {
        let line = |path: &str| fs::read_to_string(root.join(path)).map(|s| s.trim().to_owned());
        let boot_id = line("proc/sys/kernel/random/boot_id")?;
        let id = line("etc/machine-id").ok().filter(|id| !id.is_empty());
        let event = event::Host {
            id: id.unwrap_or_else(|| boot_id.clone()),
            name: line("proc/sys/kernel/hostname")?,
            os: os::read(root),
        };
        Ok(Self {
            event,
            cloud: cloud::read(root),
            boot_id,
            root: root.to_owned(),
        })
    }

    /// A path in the host's `/proc`.
    #[must_use]
    pub fn proc(&self) -> PathBuf {
        self.root.join("proc")
    }
}
