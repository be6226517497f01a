//! The guest's file system: a cpio archive (newc) with busybox, the sensor and the scenarios.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{DIST, MODULES, PLAN};
use crate::engine::Docker;
use crate::scenario::{engine, package, storm};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const SECRET: u32 = 0o100_640;
const CONSOLE: u32 = 0o020_600;
const LINK: u32 = 0o120_777;

/// Users as a small server has them, so that names appear in events.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nadm:x:4:\nnogroup:x:65534:\n";
const BUSYBOX: &str = "/bin/busybox";
/// Where a whole system has the scenarios.
const RUNNER: &str = "/usr/lib/holdfast-tests/scenario";
/// What it runs them by, once it is up.
const UNIT: &str = "[Unit]\nDescription=Scenarios of Holdfast\nAfter=multi-user.target\n\n\
    [Service]\nExecStart=/usr/lib/holdfast-tests/scenario guest\nStandardError=tty\nTTYPath=/dev/ttyS0\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\n";

/// What goes into every guest.
#[derive(Clone, Debug)]
pub struct Content {
    /// The static busybox, where there is none beside the kernel's image.
    pub busybox: PathBuf,
    /// The sensor.
    pub holdfast: PathBuf,
    /// The sensor with `fault-injection`.
    pub fault: PathBuf,
    /// The scenarios, which are `/init` too.
    pub scenario: PathBuf,
    /// The shipped policies.
    pub policies: PathBuf,
    /// The source of the kernel programs.
    pub hooks: PathBuf,
    /// Where `make package` leaves what it makes.
    pub dist: PathBuf,
}

impl Content {
    /// The same for guests that are another machine, as `make build harness ARCH=aarch64` leaves it.
    pub fn arm64(&self) -> Self {
        Self {
            holdfast: PathBuf::from("dist/holdfast-aarch64"),
            fault: PathBuf::from("target/holdfast-fault-aarch64"),
            scenario: PathBuf::from("target/aarch64-unknown-linux-gnu/fast/scenario"),
            ..self.clone()
        }
    }

    /// The archive without a plan; an archive with the plan is appended for each boot.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        // The kernel opens it for init before anything is mounted.
        archive.device("/dev/console", CONSOLE, (5, 1));
        archive.copy("/init", PROGRAM, &self.scenario)?;
        archive.copy(BUSYBOX, PROGRAM, &self.busybox)?;
        archive.copy("/usr/bin/holdfast", PROGRAM, &self.holdfast)?;
        if self.fault.exists() {
            archive.copy("/usr/bin/holdfast-fault", PROGRAM, &self.fault)?;
        }
        archive.tree("/usr/share/holdfast/policies", &self.policies)?;
        archive.tree("/usr/share/holdfast/hooks", &self.hooks)?;
        archive.file("/etc/passwd", FILE, PASSWD.as_bytes());
        archive.file("/etc/group", FILE, GROUP.as_bytes());
        archive.file("/etc/shadow", SECRET, SHADOW.as_bytes());
        Ok(archive.finish())
    }

    /// The archive of a whole system, `root`, with the scenarios beside it, likewise. Where it `has_sensor`, no package
    /// is to bring that.
    pub fn system(&self, root: &Path, has_sensor: bool) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        if has_sensor {
            archive.copy("/usr/bin/holdfast", PROGRAM, &self.holdfast)?;
        }
        archive.copy(RUNNER, PROGRAM, &self.scenario)?;
        let unit = "/etc/systemd/system/holdfast-tests.service";
        archive.file(unit, FILE, UNIT.as_bytes());
        let wanted = "/etc/systemd/system/multi-user.target.wants/holdfast-tests.service";
        archive.file(wanted, LINK, unit.as_bytes());
        let mut system = fs::read(root).with_context(|| format!("read {}", root.display()))?;
        system.extend(archive.finish());
        Ok(system)
    }

    /// The archive of a whole system, `root`, with everything that other guests have over it.
    pub fn beside(&self, root: &Path) -> Result<Vec<u8>> {
        let mut system = fs::read(root).with_context(|| format!("read {}", root.display()))?;
        // Each archive begins at a multiple of four.
        system.resize(system.len().next_multiple_of(4), 0);
        system.extend(self.archive()?);
        Ok(system)
    }

    /// What was packaged, as a scenario of packages wants it.
    fn packages(&self, archive: &mut Archive) -> Result<()> {
        let listed = fs::read_dir(&self.dist);
        let listed = listed.with_context(|| format!("list {}", self.dist.display()))?;
        for entry in listed {
            let path = entry.context("list what was packaged")?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let foreign = ["aarch64", "arm64"].iter().any(|it| name.contains(it));
            if path.is_file() && name.starts_with("holdfast") && name != "holdfast" && !foreign {
                archive.copy(&format!("{DIST}/{name}"), FILE, &path)?;
            }
        }
        Ok(())
    }
}

/// Programs of this machine that some scenarios need.
fn programs<'p>(scenarios: &[&str]) -> impl Iterator<Item = &'p str> {
    let storms = scenarios.contains(&storm::STORMS).then_some(storm::STRESS);
    let docker = needs_docker(scenarios).then_some(Docker::PROGRAMS);
    storms.into_iter().chain(docker.into_iter().flatten())
}

/// Whether one of these runs containers.
pub fn needs_docker(scenarios: &[&str]) -> bool {
    let mut all = engine::IN_GUESTS.iter().chain(&package::IN_DOCKER);
    all.any(|name| scenarios.contains(name))
}

/// An archive of what is one boot's own: the plan, what is beside the kernel's image, and what only some scenarios
/// need.
pub fn plan(content: &Content, place: &str, scenarios: &[&str], kernel: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    if package::need_packages(scenarios) {
        content.packages(&mut archive)?;
    }
    for program in programs(scenarios) {
        archive.program(program)?;
    }
    let lines: Vec<&str> = std::iter::once(place)
        .chain(scenarios.iter().copied())
        .collect();
    archive.file(PLAN, FILE, (lines.join("\n") + "\n").as_bytes());
    let beside = kernel.parent().unwrap_or(Path::new("."));
    for entry in fs::read_dir(beside).with_context(|| format!("list {}", beside.display()))? {
        let path = entry
            .with_context(|| format!("list {}", beside.display()))?
            .path();
        match path.file_name().and_then(|name| name.to_str()) {
            // In the place of this machine's.
            Some("busybox") => archive.copy(BUSYBOX, PROGRAM, &path)?,
            Some(name) if name.ends_with(".ko") => {
                archive.copy(&format!("{MODULES}/{name}"), FILE, &path)?;
            }
            _ => {}
        }
    }
    Ok(archive.finish())
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    fn copy(&mut self, path: &str, mode: u32, from: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.file(path, mode, &content);
        Ok(())
    }

    /// A program of this machine, with the libraries that it is linked to.
    fn program(&mut self, name: &str) -> Result<()> {
        let directories = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&directories).map(|directory| directory.join(name));
        let found = places.find(|path| path.is_file());
        let path =
            found.with_context(|| format!("there is no {name}: `tools/setup test` installs it"))?;
        self.copy(&format!("/usr/bin/{name}"), PROGRAM, &path)?;
        let listed = Command::new("ldd").arg(&path).output();
        let listed = listed.with_context(|| format!("list the libraries of {name}"))?;
        // `name => /path (address)`, and of the loader `/path (address)`.
        for word in String::from_utf8_lossy(&listed.stdout).split_ascii_whitespace() {
            if word.starts_with('/') {
                self.copy(word, PROGRAM, Path::new(word))?;
            }
        }
        Ok(())
    }

    /// All files of a directory and those below it.
    fn tree(&mut self, path: &str, from: &Path) -> Result<()> {
        self.parents(path);
        self.directory(path);
        for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
            let entry = entry.with_context(|| format!("list {}", from.display()))?;
            let target = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.tree(&target, &entry.path())?;
            } else {
                self.copy(&target, FILE, &entry.path())?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parents(path);
        self.entry(path, mode, (0, 0), content);
    }

    fn device(&mut self, path: &str, mode: u32, number: (u32, u32)) {
        self.parents(path);
        self.entry(path, mode, number, &[]);
    }

    fn directory(&mut self, path: &str) {
        self.parents(path);
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, (0, 0), &[]);
        }
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path
            .rsplit_once('/')
            .filter(|(parent, _)| !parent.is_empty())
        {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let name = path.trim_start_matches('/');
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, uid, gid, links, mtime, size, device of the file system, device, name, checksum
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_aligned_and_names_each_directory_once() {
        let mut archive = Archive::default();
        archive.file("/a/b/one", FILE, b"1");
        archive.file("/a/b/two", FILE, b"22222");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(
            text.matches("070701").count(),
            5,
            "a, a/b, one, two, trailer"
        );
        assert!(text.contains("a/b/two\0") && text.contains("TRAILER!!!\0"));
    }
}
