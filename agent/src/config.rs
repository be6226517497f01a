//! The configuration: one section per concern, resolved from flags, environment, file and defaults.
//!
//! The table in [`setting`] says what there is; the structs here are the typed image of what this
//! version uses, and a test holds the two together.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use holdfast_actors::runtime::engine::{Listening, Place, Socket};
use holdfast_actors::uplink::server::{Server, ServerError, Stated};
use holdfast_wire::uplink::Secret;
use serde::Deserialize;

pub(crate) mod action;
mod edit;
mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod kind;
pub(crate) mod levels;
#[cfg(test)]
mod reference;
pub(crate) mod setting;
mod source;

pub(crate) use file::drop_in_directory;
pub(crate) use source::{Given, Layers, Source};

use crate::nearest::hint;

/// Where the configuration is when no flag says otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/holdfast/config.toml";

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file that was asked for is not there.
    #[error(
        "there is no configuration {0}: name another with --config, or /dev/null for the defaults"
    )]
    Missing(PathBuf),
    /// The file is larger than any configuration.
    #[error("the configuration {path} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest there may be, in bytes.
        limit: u64,
    },
    /// It is not TOML, or not of the right shape.
    #[error("{at}: {reason}")]
    Syntax {
        /// File, line and column.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be written.
    #[error("cannot write the configuration {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key that does not exist.
    #[error("{at}: there is no setting \"{key}\"{hint}")]
    UnknownKey {
        /// Who named it.
        at: String,
        /// The name.
        key: String,
        /// The nearest one that exists.
        hint: String,
    },
    /// An environment variable for a setting that does not exist.
    #[error("environment: no setting belongs to {name}{hint}")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The nearest one that exists.
        hint: String,
    },
    /// A value that a setting cannot have.
    #[error("{at}: {key}: {reason}")]
    Value {
        /// Who gave it.
        at: String,
        /// The setting.
        key: &'static str,
        /// What was expected.
        reason: String,
    },
}

impl ConfigError {
    /// An unknown key, with the nearest that exists.
    pub(crate) fn unknown_key(at: String, key: &str) -> Self {
        let hint = hint(key, setting::SETTINGS.iter().map(|setting| setting.key));
        Self::UnknownKey {
            at,
            key: key.into(),
            hint,
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    /// `observe`, `enforce` or `derive`.
    pub(crate) mode: String,
    /// `auto` or the name of a tier.
    pub(crate) tier: String,
    /// `pretty`, `json` or `none`.
    pub(crate) output: String,
    /// Which events are wanted.
    pub(crate) events: Events,
    /// Where policies are.
    pub(crate) policy: Policy,
    /// Executables that are never killed, by path or last component.
    pub(crate) never_kill: Vec<String>,
    /// What outlives a run.
    pub(crate) state: State,
    /// Logs and the event file.
    pub(crate) log: Log,
    /// The control socket.
    pub(crate) control: Control,
    /// Metrics over HTTP.
    pub(crate) metrics: Metrics,
    /// The kernel side.
    pub(crate) kernel: Kernel,
    /// What one part of the machine may take from the others.
    pub(crate) limits: Limits,
    /// Container engines.
    pub(crate) runtime: Runtime,
    /// Where the host is, seen from a container.
    pub(crate) host: Host,
    /// The Team Server.
    pub(crate) uplink: Uplink,
    /// What others may not do to the sensor.
    #[serde(rename = "self")]
    pub(crate) own: Own,
}

macro_rules! sections {
    ($($(#[$doc:meta])* $section:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        pub(crate) struct $section { $($(#[$field_doc])* pub(crate) $field: $type,)* }
    )*};
}

sections! {
    /// `[events]`
    Events {
        /// Globs over actions.
        report: Vec<String>,
        /// Names of variables.
        environment: Vec<String>,
        /// Regular expressions, and the word for the built-in ones.
        redact: Vec<String>,
    }
    /// `[policy]`
    Policy {
        /// Files and directories.
        paths: Vec<PathBuf>,
    }
    /// `[state]`
    State {
        /// What outlives a run.
        dir: PathBuf,
    }
    /// `[log]`
    Log {
        /// Directory of the event file.
        dir: PathBuf,
        /// `text` or `json`.
        format: crate::logging::Format,
        /// `error` to `trace`.
        level: String,
        /// Bytes.
        max_size: u64,
        /// Rotated files kept.
        files: u32,
    }
    /// `[control]`
    Control {
        /// The Unix socket.
        socket: PathBuf,
    }
    /// `[metrics]`
    Metrics {
        /// Address and port; empty for nowhere.
        listen: String,
    }
    /// `[kernel]`
    Kernel {
        /// BTF file; empty for the kernel's own.
        btf: PathBuf,
        /// `never` or `auto`.
        fanotify: String,
        /// Below a BPF file system.
        pin_dir: PathBuf,
        /// `auto`, `fail-closed` or `fail-open`.
        on_exit: String,
        /// Bytes of the ring of the process domain.
        process_ring: u32,
        /// Bytes of the ring of the file domain.
        file_ring: u32,
        /// Bytes of the ring of the network domain.
        network_ring: u32,
        /// Bytes of the ring of the memory domain.
        memory_ring: u32,
        /// Bytes of the ring of the capability domain.
        capability_ring: u32,
        /// `auto`, `ring` or `perf`.
        buffer: String,
    }
    /// `[limits]`
    Limits {
        /// Events of a cgroup; 0 for any number.
        cgroup_events_per_second: u32,
        /// Events; 0 for those of a second.
        cgroup_burst: u32,
    }
    /// `[runtime]`
    Runtime {
        /// Sockets of the Docker Engine API.
        docker: Vec<PathBuf>,
        /// Sockets of containerd's API.
        containerd: Vec<PathBuf>,
        /// Sockets at which CRI is served.
        cri: Vec<PathBuf>,
        /// Whether engines are also found by where they listen.
        listening: bool,
        /// Milliseconds.
        event_wait: u64,
        /// Milliseconds.
        alert_wait: u64,
    }
    /// `[host]`
    Host {
        /// The host's root.
        fs: PathBuf,
    }
    /// `[uplink]`
    Uplink {
        /// The server; empty for none.
        url: String,
        /// The installation key; empty for none.
        key: Secret,
        /// A file that has it; empty for none.
        key_file: PathBuf,
        /// PEM; empty for the system's.
        ca: PathBuf,
        /// PEM; or empty.
        client_certificate: PathBuf,
        /// PEM; or empty.
        client_key: PathBuf,
        /// A URL; empty for none.
        proxy: String,
        /// Whether `http://` may go anywhere.
        insecure: bool,
        /// Globs over actions.
        events: Vec<String>,
        /// Events.
        batch_events: usize,
        /// Bytes.
        batch_bytes: usize,
        /// Milliseconds.
        batch_interval: u64,
        /// Bytes a second; 0 for any number.
        bandwidth: u64,
        /// Bytes.
        spool_max_size: u64,
        /// Milliseconds.
        spool_max_age: u64,
    }
    /// `[self]`
    Own {
        /// Whether others are kept from the sensor's process, files and pins.
        protect: bool,
        /// Executables that these others are not.
        managers: Vec<PathBuf>,
    }
}

/// The directory of policies that may be missing, unlike one that somebody named.
const USUAL_POLICIES: &str = "/etc/holdfast/policies";

/// What a command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    /// The file that was asked for; `None` for the usual one, which may be missing.
    pub(crate) file: Option<PathBuf>,
    /// What flags set.
    pub(crate) flags: Vec<Given>,
}

/// Sets `key` in the file at `path`, which is made where it is not there.
///
/// # Errors
/// When there is no such setting, it cannot have that value, or the file is wrong or would be; the file is then as it was.
pub(crate) fn set(path: &Path, key: &str, text: &str) -> Result<(), ConfigError> {
    let at = "config set";
    let setting = setting::find(key).ok_or_else(|| ConfigError::unknown_key(at.into(), key))?;
    // Also refuses what this version does not have.
    let mut layers = Layers::defaults()?;
    layers.put_all([Given::by_flag(at, key, text)])?;
    let value = layers.get(key).map(|resolved| resolved.value.clone());
    let before = file::read(path)?.unwrap_or_default();
    let after = edit::set(&before, setting, &value.unwrap_or_default());
    let after = after.map_err(|reason| ConfigError::Syntax {
        at: path.display().to_string(),
        reason,
    })?;
    replace(path, &after)
}

/// Removes `key` from the file at `path`; `false`: it is not set there.
///
/// # Errors
/// As [`set`].
pub(crate) fn unset(path: &Path, key: &str) -> Result<bool, ConfigError> {
    let setting =
        setting::find(key).ok_or_else(|| ConfigError::unknown_key("config unset".into(), key))?;
    let before = file::read(path)?.unwrap_or_default();
    let after = edit::unset(&before, setting).map_err(|reason| ConfigError::Syntax {
        at: path.display().to_string(),
        reason,
    })?;
    match after {
        Some(after) => replace(path, &after).map(|()| true),
        None => Ok(false),
    }
}

/// Writes a configuration that is right: either the old text is there or the new, whole.
fn replace(path: &Path, text: &str) -> Result<(), ConfigError> {
    file::apply(path, text, &mut Layers::defaults()?)?;
    file::replace(path, text).map_err(|source| ConfigError::Write {
        path: path.into(),
        source,
    })
}

impl Inputs {
    /// Resolves every setting from these inputs and this process's environment.
    ///
    /// # Errors
    /// When the file cannot be read, or at the first unknown key or bad value.
    pub(crate) fn layers(&self) -> Result<Layers, ConfigError> {
        self.layers_with(std::env::vars_os())
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(DEFAULT_PATH))
    }

    fn layers_with(
        &self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Layers, ConfigError> {
        let mut layers = Layers::defaults()?;
        let path = self.path();
        match file::read(path)? {
            Some(text) => file::apply(path, &text, &mut layers)?,
            None if self.file.is_some() => return Err(ConfigError::Missing(path.into())),
            None => {}
        }
        for path in file::drop_ins(path)? {
            // One that has gone meanwhile says nothing.
            if let Some(text) = file::read(&path)? {
                file::apply(&path, &text, &mut layers)?;
            }
        }
        let variables = environment.filter_map(|(name, text)| {
            Some((
                name.into_string().ok()?,
                text.to_string_lossy().into_owned(),
            ))
        });
        layers.put_all(source::from_environment(variables)?)?;
        layers.put_all(self.flags.iter().cloned())?;
        Ok(layers)
    }

    /// The configuration that these inputs and this process's environment give.
    ///
    /// # Errors
    /// As [`Self::layers`].
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        Config::from_layers(&self.layers()?)
    }
}

impl Config {
    /// Where container engines are.
    pub(crate) fn engines(&self) -> Vec<Place> {
        let root = &self.host.fs;
        let docker = self.runtime.docker.iter();
        let docker = docker
            .enumerate()
            .map(|(number, path)| Socket::docker(root, path, number));
        let containerd = (self.runtime.docker.len()..).zip(&self.runtime.containerd);
        let containerd = containerd.map(|(number, path)| Socket::containerd(root, path, number));
        let before = self.runtime.docker.len() + self.runtime.containerd.len();
        let cri = (before..).zip(&self.runtime.cri);
        let cri = cri.map(|(number, path)| Socket::cri(root, path, number));
        let set: Vec<Socket> = docker.chain(containerd).chain(cri).collect();
        let number = set.len();
        let listening = (self.runtime.listening).then(|| Listening::new(root, set.clone(), number));
        let set = set.into_iter().map(Place::At);
        set.chain(listening.map(Place::Listening)).collect()
    }

    /// Where allow-list policies of what happens are written to, in the mode that makes them.
    pub(crate) fn derived(&self) -> Option<PathBuf> {
        (self.mode == setting::DERIVE).then(|| self.state.dir.join("derived"))
    }

    /// Where policies are: the usual directory only if it is there.
    pub(crate) fn policy_paths(&self) -> Vec<PathBuf> {
        let usual = Path::new(USUAL_POLICIES);
        self.policy
            .paths
            .iter()
            .filter(|path| *path != usual || path.exists())
            .cloned()
            .collect()
    }

    /// The typed image of resolved settings.
    ///
    /// # Errors
    /// When values do not go together. A test excludes the other case, that the table and the structs disagree.
    pub(crate) fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let config: Self =
            serde_json::from_value(layers.nested()).map_err(|error| ConfigError::Syntax {
                at: "settings".into(),
                reason: error.to_string(),
            })?;
        config.server().map_err(|error| {
            let key = match error {
                ServerError::Proxy(_) => "uplink.proxy",
                ServerError::Certificate => "uplink.client_certificate",
                _ => "uplink.url",
            };
            let source = layers.get(key).map(|resolved| resolved.source.to_string());
            ConfigError::Value {
                at: source.unwrap_or_default(),
                key,
                reason: error.to_string(),
            }
        })?;
        Ok(config)
    }

    /// The Team Server, if there is to be one.
    ///
    /// # Errors
    /// When what is said of it does not go together; of a configuration that was accepted, none.
    pub(crate) fn server(&self) -> Result<Option<Server>, ServerError> {
        let of = &self.uplink;
        if of.url.is_empty() {
            return Ok(None);
        }
        let stated = Stated {
            url: of.url.clone(),
            insecure: of.insecure,
            proxy: of.proxy.clone(),
            ca: of.ca.clone(),
            client_certificate: of.client_certificate.clone(),
            client_key: of.client_key.clone(),
        };
        Server::new(&stated).map(Some)
    }
}

#[cfg(test)]
mod tests;
