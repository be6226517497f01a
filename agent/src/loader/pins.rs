//! What outlives the sensor: its maps and links, pinned in a BPF file system.
//!
//! ```text
//! kernel.pin_dir/
//!   FINGERPRINT-TIME/        a generation: one object with its constants, made at that time
//!     maps/NAME              every map
//!     account                see `account`
//!     tiers/NAME             directories: tiers that a trial has found to work
//!     hooks/ACTION-WAY/N-PROGRAM   the links of a hook, attached in this of its ways (`plan::ways`)
//! ```
//!
//! A directory gets its name once all that belongs there is in it. No name has a dot: a BPF file system takes
//! none (`bpf_lookup` of `kernel/bpf/inode.c`).

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData};
use holdfast_actors::clock;
use holdfast_actors::kernel::Predecessor;
use holdfast_wire::Kind;
use holdfast_wire::control::{Control, ProcessKey, Tier};
use holdfast_wire::kind::KINDS;
use rustix::fs::{FlockOperation, flock};

use super::account::Account;
use super::attach::Link;
use super::maps::Maps;
use super::plan::{self, Way};
use super::pod::Plain;
use super::sys;

/// The name of a directory that is not complete begins with this.
const PARTIAL: &str = "new-";

/// The directory of all pins; locked, so that no other sensor uses it.
pub(crate) struct Pins {
    directory: PathBuf,
    _lock: File,
    /// Whether what this sensor loads is to outlive it.
    keep: bool,
    /// What earlier sensors have left, the latest last.
    generations: Vec<Generation>,
}

/// The maps and links of one object.
#[derive(Clone, Debug)]
pub(crate) struct Generation(PathBuf);

impl Pins {
    /// Opens the directory; makes it if anything is to be kept.
    ///
    /// # Errors
    /// In one line, why nothing can be kept here.
    pub(crate) fn open(directory: &Path, keep: bool) -> Result<Option<Self>, String> {
        if keep {
            let mut builder = fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(directory);
            made.map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        } else if !directory.exists() {
            return Ok(None);
        }
        let fault = |error: io::Error| format!("cannot open {}: {error}", directory.display());
        let lock = File::open(directory).map_err(fault)?;
        if !sys::is_bpffs(&lock) {
            let reason = format!("{} is in no BPF file system", directory.display());
            return if keep { Err(reason) } else { Ok(None) };
        }
        is_own(&lock).map_err(|reason| format!("{} {reason}", directory.display()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => {
                format!("another sensor uses {}", directory.display())
            }
            error => fault(error.into()),
        })?;
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let partial = name(&path).strip_prefix(PARTIAL);
            // Whatever else is there is somebody else's.
            if partial.is_some_and(is_generation) {
                remove(&path).map_err(fault)?;
            } else if is_generation(name(&path)) {
                found.push(Generation(path));
            }
        }
        found.sort_by_key(Generation::time);
        Ok(Some(Self {
            directory: directory.to_owned(),
            _lock: lock,
            keep,
            generations: found,
        }))
    }

    /// Whether what this sensor loads is to outlive it.
    pub(super) const fn keeps(&self) -> bool {
        self.keep
    }

    /// For a sensor that leaves nothing.
    pub(super) fn keeping_nothing(self) -> Self {
        Self {
            keep: false,
            ..self
        }
    }

    /// What earlier sensors have left.
    pub(crate) fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// Who made the latest of them.
    pub(crate) fn predecessor(&self) -> Option<Predecessor> {
        let accounts = self.generations.iter().map(Generation::account);
        let accounts: Vec<_> = accounts.map(Result::ok).collect();
        let policies = accounts
            .iter()
            .map(|it| it.as_ref().map_or((0, 0), Account::policies));
        let (epoch, rules) = policies.max_by_key(|(epoch, _)| *epoch)?;
        let mut unfinished = [0; KINDS];
        for account in accounts.iter().flatten() {
            let counts = unfinished.iter_mut().zip(account.unfinished());
            counts.for_each(|(all, count)| *all += count);
        }
        Some(Predecessor {
            epoch,
            rules,
            adopted: false,
            unread_since: None,
            unfinished,
        })
    }

    /// Takes out the latest generation if it has this fingerprint: this sensor goes on with its programs and maps.
    /// One before that is being replaced by it.
    pub(super) fn take(&mut self, fingerprint: u64) -> Option<Generation> {
        let prefix = format!("{fingerprint:016x}-");
        let is_same = |it: &Generation| name(&it.0).starts_with(&prefix);
        let takes = self.keep && self.generations.last().is_some_and(is_same);
        takes.then(|| self.generations.pop()).flatten()
    }

    /// It turned out that this sensor cannot go on with it.
    pub(super) fn put_back(&mut self, generation: Generation) {
        self.generations.push(generation);
    }

    /// Pins the maps of a new object.
    pub(super) fn make(
        &self,
        fingerprint: u64,
        maps: &Maps,
        account: &Account,
    ) -> Result<Generation, String> {
        let time = clock::boottime();
        let name = format!("{fingerprint:016x}-{time:016x}");
        let partial = self.directory.join(format!("{PARTIAL}{name}"));
        let make = |path: &Path| fs::create_dir(path).map_err(|error| error.to_string());
        let made = || {
            make(&partial)?;
            for below in ["maps", "hooks", "tiers"] {
                make(&partial.join(below))?;
            }
            for (name, map) in maps.all() {
                // `.rodata` belongs to the programs that are loaded, and stays with them.
                if !name.starts_with('.') {
                    sys::pin(map, &partial.join("maps").join(name))
                        .map_err(|error| error.to_string())?;
                }
            }
            account.pin(&partial.join("account"))?;
            let path = self.directory.join(name);
            fs::rename(&partial, &path).map_err(|error| error.to_string())?;
            Ok(Generation(path))
        };
        made().map_err(|error: String| {
            format!("cannot pin below {}: {error}", self.directory.display())
        })
    }

    /// Removes the directory, if nothing is in it.
    pub(super) fn close(&self) {
        // Somebody may have put something else there.
        let _ = fs::remove_dir(&self.directory);
    }

    /// Lets go of what earlier sensors have left: what is attached there is detached.
    ///
    /// # Errors
    /// In one line.
    pub(crate) fn retire(&mut self) -> Result<(), String> {
        let mut result = Ok(());
        // One that cannot be removed does not keep the others.
        for Generation(path) in self.generations.drain(..) {
            let removed = remove(&path);
            let removed =
                removed.map_err(|error| format!("cannot remove {}: {error}", path.display()));
            result = result.and(removed);
        }
        result
    }
}

impl Generation {
    /// Names of its maps, and where they are pinned.
    pub(super) fn maps(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let entries = fs::read_dir(self.0.join("maps"))?;
        entries
            .map(|entry| {
                let path = entry?.path();
                Ok((name(&path).to_owned(), path))
            })
            .collect()
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.0.join("maps").join(name)
    }

    /// Tells its programs that this process is the sensor now: what it does at its start is not judged by them.
    /// Those of another version are left as they are.
    pub(super) fn introduce(&self, sensor: ProcessKey) {
        let told = || -> Option<()> {
            self.account().ok()?;
            let map = MapData::from_pin(self.map("CONTROL")).ok()?;
            let mut control: Array<MapData, Plain<Control>> = Map::Array(map).try_into().ok()?;
            let Plain(before) = control.get(&0, 0).ok()?;
            let now = Control {
                sensor_tgid: sensor.tgid,
                sensor_start: sensor.start,
                ..before
            };
            control.set(0, Plain(now), 0).ok()
        };
        if told().is_none() {
            tracing::info!(
                "the programs of the sensor before judge what this one does at its start"
            );
        }
    }

    /// What was made of its records.
    pub(super) fn account(&self) -> Result<Account, String> {
        Account::pinned(&self.0.join("account"))
    }

    /// When it was made, as its name has it.
    fn time(&self) -> u64 {
        let time = name(&self.0).rsplit('-').next();
        time.and_then(|time| u64::from_str_radix(time, 16).ok())
            .unwrap_or(0)
    }

    /// Notes that a tier works.
    pub(super) fn note(&self, tier: Tier) {
        // What is not noted is tried again.
        let _ = fs::create_dir(self.0.join("tiers").join(tier.name()));
    }

    /// The tiers that work.
    pub(super) fn tiers(&self) -> Vec<Tier> {
        let works = |tier: &&Tier| self.0.join("tiers").join(tier.name()).exists();
        Tier::ALL.iter().filter(works).copied().collect()
    }

    /// Pins the links of a hook.
    ///
    /// # Errors
    /// In one line, why it ends with the sensor.
    pub(super) fn keep(&self, kind: Kind, way: &'static Way, links: &[Link]) -> Result<(), String> {
        let complete = self.hook(kind, way);
        let partial = self
            .0
            .join("hooks")
            .join(format!("{PARTIAL}{}", name(&complete)));
        let keep = || {
            fs::create_dir(&partial).map_err(|error| format!("cannot pin: {error}"))?;
            let links = links.iter().filter(|link| !link.is_of_nothing());
            for (index, link) in links.enumerate() {
                let descriptor = link
                    .descriptor()
                    .ok_or("this kernel has no links for its kprobes, which came with 5.15")?;
                let path = partial.join(format!("{index}-{}", link.program()));
                sys::pin(descriptor, &path).map_err(|error| format!("cannot pin: {error}"))?;
            }
            fs::rename(&partial, &complete).map_err(|error| format!("cannot pin: {error}"))
        };
        keep().inspect_err(|_| {
            // Nothing to remove is fine, too.
            let _ = remove(&partial);
        })
    }

    /// Lets go of hooks that a sensor was killed in the middle of attaching.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn discard_partial(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.0.join("hooks"))? {
            let path = entry?.path();
            if name(&path).starts_with(PARTIAL) {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    /// Lets go of all hooks; maps stay.
    pub(super) fn detach(&self) {
        let hooks = self.0.join("hooks");
        if let Err(error) = fs::remove_dir_all(&hooks)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!("cannot remove {}: {error}", hooks.display());
        }
    }

    /// Lets go of a hook: it is attached no longer than the sensor's own links are there.
    pub(super) fn drop_hook(&self, kind: Kind) {
        for way in plan::ways(kind) {
            let path = self.hook(kind, way);
            if let Err(error) = remove(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }

    /// The links of a hook that are pinned, and the way in which they are attached.
    pub(super) fn links(&self, kind: Kind) -> Option<(&'static Way, Vec<Link>)> {
        plan::ways(kind).iter().find_map(|way| {
            let entries = fs::read_dir(self.hook(kind, way)).ok()?;
            let links = entries.map(|entry| {
                let path = entry.ok()?.path();
                let (_, program) = name(&path).split_once('-')?;
                let part = way.parts.iter().find(|part| part.program == program)?;
                Link::pinned(part.program, &path).ok()
            });
            Some((way, links.collect::<Option<Vec<_>>>()?))
        })
    }

    fn hook(&self, kind: Kind, way: &'static Way) -> PathBuf {
        let ways = plan::ways(kind);
        let index = ways
            .iter()
            .position(|it| std::ptr::eq(it, way))
            .unwrap_or(0);
        let action = kind.action().replace('.', "-");
        self.0.join("hooks").join(format!("{action}-{index}"))
    }
}

/// What has to be the same for programs and maps to be gone on with: the object, what it was told before it was
/// loaded, and how hooks are attached.
pub(super) fn fingerprint(object: &[u8], told: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    object.hash(&mut hasher);
    told.hash(&mut hasher);
    for kind in Kind::hooked() {
        format!("{:?}", plan::ways(kind)).hash(&mut hasher);
    }
    hasher.finish()
}

fn name(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str());
    name.unwrap_or_default()
}

/// That nobody else can change what is pinned there: a BPF file system may be everybody's, as `/tmp` is
/// (`bpf_fill_super` of `kernel/bpf/inode.c` makes its root with mode 1777).
fn is_own(directory: &File) -> Result<(), String> {
    let found = directory
        .metadata()
        .map_err(|error| format!("cannot be looked at: {error}"))?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!(
            "belongs to user {}, not to the sensor's",
            found.uid()
        ));
    }
    if found.mode() & 0o022 != 0 {
        return Err("may be written to by others than its owner".to_owned());
    }
    Ok(())
}

/// Removes a directory, links before maps: as long as a program is attached its maps are there.
fn remove(path: &Path) -> io::Result<()> {
    let hooks = path.join("hooks");
    if hooks.exists() {
        fs::remove_dir_all(hooks)?;
    }
    fs::remove_dir_all(path)
}

/// Takes away what is pinned below `directory`; whether there was anything.
///
/// # Errors
/// In one line, also when a sensor is running that uses it.
pub(crate) fn unload(directory: &Path) -> Result<bool, String> {
    let Some(mut pins) = Pins::open(directory, false)? else {
        return Ok(false);
    };
    let any = !pins.generations.is_empty();
    pins.retire()?;
    pins.close();
    Ok(any)
}

/// Whether an earlier sensor has left programs below `directory`.
pub(crate) fn are_left(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .any(|path| is_generation(name(&path)) && path.join("hooks").exists())
}

/// Whether a directory is called as a generation is: FINGERPRINT-TIME.
fn is_generation(name: &str) -> bool {
    let number = |text: &str| text.len() == 16 && text.bytes().all(|it| it.is_ascii_hexdigit());
    name.split_once('-')
        .is_some_and(|(fingerprint, time)| number(fingerprint) && number(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_called_otherwise_is_no_generation() {
        assert!(is_generation("0123456789abcdef-0000000000000001"));
        for other in [
            "",
            "-",
            "cilium",
            "tc-globals",
            "0123456789abcdef",
            "0123456789abcdef-1",
        ] {
            assert!(!is_generation(other), "{other}");
        }
        assert!(!is_generation("0123456789abcdef-000000000000000g"));
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let with = |mode| {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
            is_own(&File::open(directory.path()).unwrap())
        };
        assert_eq!(with(0o700), Ok(()));
        assert!(with(0o1777).unwrap_err().contains("others"));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(directory.path(), Some(1000), None).unwrap();
            assert!(with(0o700).unwrap_err().contains("user 1000"));
        }
    }
}
