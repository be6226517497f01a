//! Who made the processes that ran before the kernel programs: these note it of all later ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, MapData};
use holdfast_wire::control::{Lineage, ProcessKey};
use holdfast_wire::text;
use holdfast_wire::uapi::process::{Stat, parse_stat};

use super::inherited;
use super::pod::Plain;

/// The map `LINEAGE`, and where processes are read from.
pub(crate) struct Lineages {
    map: HashMap<MapData, Plain<ProcessKey>, Plain<Lineage>>,
    proc: PathBuf,
}

impl Lineages {
    pub(crate) fn new(
        map: HashMap<MapData, Plain<ProcessKey>, Plain<Lineage>>,
        proc: PathBuf,
    ) -> Self {
        Self { map, proc }
    }

    /// Enters the processes that there are. One that cannot be read, or whose parent is gone already, is
    /// left out: the programs then say that they do not know.
    pub(crate) fn enter_running(&mut self) -> Result<(), String> {
        let names = |error: io::Error| format!("cannot list {}: {error}", self.proc.display());
        for entry in fs::read_dir(&self.proc).map_err(names)? {
            let Some(pid) = entry
                .ok()
                .and_then(|it| it.file_name().to_str()?.parse().ok())
            else {
                continue;
            };
            let Some(stat) = stat(&self.proc, pid) else {
                continue;
            };
            let parent = match stat.ppid {
                0 => Some(ProcessKey::default()),
                parent => stat_key(&self.proc, parent),
            };
            let Some(parent) = parent else { continue };
            let key = Plain(ProcessKey::new(pid, stat.start));
            let entry = Plain(Lineage { parent, class: 0 });
            // A program may have noted it meanwhile.
            inherited::enter(&mut self.map, key, entry)?;
        }
        Ok(())
    }
}

/// This process, as the programs know it; only its number where they do not know when processes started.
pub(super) fn own_key(with_start: bool) -> ProcessKey {
    let pid = std::process::id();
    let stat = with_start.then(|| stat(Path::new("/proc"), pid)).flatten();
    ProcessKey {
        tgid: pid,
        start: stat.map_or(0, |stat| ProcessKey::new(pid, stat.start).start),
    }
}

fn stat_key(proc: &Path, pid: u32) -> Option<ProcessKey> {
    Some(ProcessKey::new(pid, stat(proc, pid)?.start))
}

fn stat(proc: &Path, pid: u32) -> Option<Stat> {
    let bytes = fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
    parse_stat(
        &text::lossy(&bytes),
        rustix::param::clock_ticks_per_second(),
    )
}
