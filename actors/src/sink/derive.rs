//! Allow-list policies of what happens: one for each container, and one for the rest of the host, written
//! now and then and at the end. An earlier run's are kept beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_policy::derive::{KINDS, Options, Workload};
use serde_json::Value as Json;

use super::Write;

/// How often policies are written while events come.
const INTERVAL: Duration = Duration::from_secs(5);
/// Containers that policies are made of; what others do is not covered. Far more than a node runs, and a
/// bound for one that starts new ones all the time.
const MAX_CONTAINERS: usize = 512;
/// Added to the name of a policy of an earlier run.
const EARLIER: &str = "earlier";

/// Learns from events as they are printed.
#[derive(Debug)]
pub(crate) struct Deriver {
    directory: PathBuf,
    /// By container; that of the empty name is the host.
    workloads: BTreeMap<String, Workload>,
    changed: BTreeSet<String>,
    /// Whose file is of this run.
    written: BTreeSet<String>,
    due: Instant,
}

impl Deriver {
    /// Writes into `directory`, which it makes.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            workloads: BTreeMap::new(),
            changed: BTreeSet::new(),
            written: BTreeSet::new(),
            due: Instant::now() + INTERVAL,
        }
    }

    fn learn(&mut self, event: &Json) {
        let container = event.pointer("/container/id").and_then(Json::as_str);
        let container = container.unwrap_or_default();
        if !self.workloads.contains_key(container) {
            if self.workloads.len() > MAX_CONTAINERS {
                return;
            }
            let name = container.to_owned();
            self.workloads.insert(name, Workload::default());
        }
        let Some(workload) = self.workloads.get_mut(container) else {
            return;
        };
        let before = workload.covered();
        workload.add(event, KINDS);
        if workload.covered() > before && !self.changed.contains(container) {
            self.changed.insert(container.to_owned());
        }
    }

    fn save(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        while let Some(container) = self.changed.pop_first() {
            let saved = self.save_one(&container);
            if saved.is_err() {
                self.changed.insert(container);
            }
            saved?;
        }
        self.due = Instant::now() + INTERVAL;
        Ok(())
    }

    fn save_one(&mut self, container: &str) -> io::Result<()> {
        let name = name(container);
        let scope = match container {
            "" => "container.id == ''".to_owned(),
            id => format!("container.id == '{id}'"),
        };
        let options = Options {
            name: &name,
            scope: Some(&scope),
            action: "deny",
        };
        let workload = self.workloads.get(container);
        let Some(policy) = workload.and_then(|workload| workload.policy(&options)) else {
            return Ok(());
        };
        let path = self.directory.join(format!("{name}.json"));
        if !self.written.contains(container) && path.exists() {
            fs::rename(&path, path.with_extension(EARLIER))?;
        }
        replace(&path, &format!("{policy:#}\n"))?;
        self.written.insert(container.to_owned());
        Ok(())
    }
}

/// The policy's name, and its file's.
fn name(container: &str) -> String {
    /// Of an engine's id as much as people use; what people have named keeps its name.
    const ID: usize = 64;
    const SHORT: usize = 12;
    match container {
        "" => "derived-host".to_owned(),
        id if id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("derived-{}", &id[..SHORT])
        }
        name => {
            let letter = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
            let letters = name.chars().map(|it| if letter(it) { it } else { '_' });
            format!("derived-{}", letters.take(ID).collect::<String>())
        }
    }
}

/// Either the old content is there or the new, whole.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, content)?;
    fs::rename(&beside, path)
}

impl Write for Deriver {
    fn write(&mut self, bytes: &[u8], _whole: bool) -> io::Result<usize> {
        for line in bytes.split(|byte| *byte == b'\n') {
            // A line is an event that the evaluator has just made.
            if let Ok(event) = serde_json::from_slice(line) {
                self.learn(&event);
            }
        }
        if Instant::now() >= self.due
            && let Err(error) = self.save()
        {
            // What was learned stays learned: the bytes are taken, and the file is tried again.
            self.due = Instant::now() + INTERVAL;
            tracing::warn!(
                "cannot write policies to {}: {error}",
                self.directory.display()
            );
        }
        Ok(bytes.len())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.save()
    }

    fn is_final(&self, _error: &io::Error) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_policy::document::Policy;
    use serde_json::json;

    fn line(container: Option<&str>, path: &str) -> Vec<u8> {
        let mut event = json!({"event": {"action": "file.open"}, "process": {"executable": "/bin/a"},
                               "file": {"path": path}, "holdfast": {"flags": ["O_RDONLY"]}});
        if let Some(id) = container {
            event["container"] = json!({"id": id});
        }
        format!("{event}\n").into_bytes()
    }

    fn policy(directory: &Path, name: &str) -> String {
        let text = fs::read_to_string(directory.join(name)).unwrap();
        Policy::parse(name, text.as_bytes()).unwrap();
        text
    }

    #[test]
    fn each_container_and_the_host_have_a_policy_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("derived");
        let mut deriver = Deriver::new(directory.clone());
        let id = &"0123456789abcdef".repeat(4);
        for bytes in [
            line(None, "/etc/a"),
            line(Some(id), "/etc/b"),
            b"no event\n".to_vec(),
        ] {
            assert_eq!(deriver.write(&bytes, true).unwrap(), bytes.len());
        }
        deriver.finish().unwrap();
        let host = policy(&directory, "derived-host.json");
        assert!(
            host.contains("/etc/a") && host.contains("container.id == ''"),
            "{host}"
        );
        let container = policy(&directory, "derived-0123456789ab.json");
        assert!(
            container.contains("/etc/b") && container.contains(id),
            "{container}"
        );
        // The next run begins anew, and what the last one found is not lost.
        let mut deriver = Deriver::new(directory.clone());
        deriver.write(&line(None, "/etc/c"), true).unwrap();
        deriver.finish().unwrap();
        assert!(!policy(&directory, "derived-host.json").contains("/etc/a"));
        assert!(policy(&directory, "derived-host.earlier").contains("/etc/a"));
    }

    #[test]
    fn a_directory_that_cannot_be_written_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("file");
        fs::write(&place, "").unwrap();
        let mut deriver = Deriver::new(place.clone());
        deriver.write(&line(None, "/etc/a"), true).unwrap();
        assert!(deriver.finish().is_err());
        fs::remove_file(&place).unwrap();
        deriver.finish().unwrap();
        assert!(policy(&place, "derived-host.json").contains("/etc/a"));
    }
}
