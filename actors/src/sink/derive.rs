//! Allow-list policies of what happens: one for each image, for each container whose image is not known, and
//! for the rest of the host, written now and then and at the end. An earlier run's are kept beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_policy::derive::{KINDS, Options, Workload};
use holdfast_policy::expression::literal;
use serde_json::Value as Json;

use super::Write;

/// How often policies are written while events come.
const INTERVAL: Duration = Duration::from_secs(5);
/// Images and containers that policies are made of; what others do is not covered. Far more than a node runs,
/// and a bound for one that starts new ones all the time.
const MAX_WORKLOADS: usize = 512;
/// Added to the name of a policy of an earlier run.
const EARLIER: &str = "earlier";

/// Learns from events as they are printed.
#[derive(Debug)]
pub(crate) struct Deriver {
    directory: PathBuf,
    workloads: BTreeMap<Whose, Workload>,
    changed: BTreeSet<Whose>,
    /// Whose policy has which name, once it is written.
    names: BTreeMap<String, Whose>,
    due: Instant,
}

/// Whose policy it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Host,
    /// All containers of the image of this name.
    Image(String),
    /// One container, by its id.
    Container(String),
}

impl Whose {
    fn of(event: &Json) -> Self {
        let text = |pointer: &str| event.pointer(pointer).and_then(Json::as_str);
        match (text("/container/image/name"), text("/container/id")) {
            (Some(image), _) => Self::Image(image.to_owned()),
            (None, Some(id)) if !id.is_empty() => Self::Container(id.to_owned()),
            _ => Self::Host,
        }
    }

    /// The condition under which the policy is in force.
    fn scope(&self) -> String {
        match self {
            Self::Host => "container.id == ''".to_owned(),
            Self::Image(name) => format!("container.image.name == {}", literal(name)),
            Self::Container(id) => format!("container.id == {}", literal(id)),
        }
    }

    /// The policy's name, and its file's, as far as it is free.
    fn name(&self) -> String {
        /// Of an engine's id as much as people use; what people have named keeps its name.
        const ID: usize = 64;
        const SHORT: usize = 12;
        match self {
            Self::Host => "derived-host".to_owned(),
            Self::Container(id)
                if id.len() == ID && id.bytes().all(|it| it.is_ascii_hexdigit()) =>
            {
                format!("derived-{}", &id[..SHORT])
            }
            Self::Image(name) | Self::Container(name) => {
                let letter = |it: char| match it {
                    '/' | ':' => '.',
                    it if it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.') => it,
                    _ => '_',
                };
                let letters: String = name.chars().map(letter).take(ID).collect();
                format!("derived-{letters}")
            }
        }
    }
}

impl Deriver {
    /// Writes into `directory`, which it makes.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            workloads: BTreeMap::new(),
            changed: BTreeSet::new(),
            names: BTreeMap::new(),
            due: Instant::now() + INTERVAL,
        }
    }

    fn learn(&mut self, event: &Json) {
        let whose = Whose::of(event);
        if !self.workloads.contains_key(&whose) && self.workloads.len() > MAX_WORKLOADS {
            return;
        }
        let workload = self.workloads.entry(whose.clone()).or_default();
        let before = workload.covered();
        workload.add(event, KINDS);
        if workload.covered() > before {
            self.changed.insert(whose);
        }
    }

    fn save(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        while let Some(whose) = self.changed.pop_first() {
            let saved = self.save_one(&whose);
            if saved.is_err() {
                self.changed.insert(whose);
            }
            saved?;
        }
        self.due = Instant::now() + INTERVAL;
        Ok(())
    }

    fn save_one(&mut self, whose: &Whose) -> io::Result<()> {
        let (name, is_new) = self.name(whose);
        let scope = whose.scope();
        let options = Options {
            name: &name,
            scope: Some(&scope),
            action: "deny",
        };
        let workload = self.workloads.get(whose);
        let Some(policy) = workload.and_then(|workload| workload.policy(&options)) else {
            return Ok(());
        };
        let path = self.directory.join(format!("{name}.json"));
        if is_new && path.exists() {
            fs::rename(&path, path.with_extension(EARLIER))?;
        }
        replace(&path, &format!("{policy:#}\n"))?;
        self.names.insert(name, whose.clone());
        Ok(())
    }

    /// The name of a policy that nobody else's has, and whether nothing of this run was written under it.
    fn name(&self, whose: &Whose) -> (String, bool) {
        let own = whose.name();
        let numbered = (2..).map(|number| format!("{own}-{number}"));
        for name in std::iter::once(own.clone()).chain(numbered) {
            match self.names.get(&name) {
                None => return (name, true),
                Some(other) if other == whose => return (name, false),
                Some(_) => {}
            }
        }
        (own, true)
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
    fn containers_of_an_image_share_a_policy() {
        let directory = tempfile::tempdir().unwrap();
        let mut deriver = Deriver::new(directory.path().to_owned());
        for (id, image, path) in [
            ("a", "team/web", "/etc/a"),
            ("b", "team/web", "/etc/b"),
            ("c", "team.web", "/etc/c"),
        ] {
            let mut event: Json = serde_json::from_slice(&line(Some(id), path)).unwrap();
            event["container"]["image"] = json!({"name": image});
            deriver
                .write(format!("{event}\n").as_bytes(), true)
                .unwrap();
        }
        deriver.finish().unwrap();
        // Two images whose names look the same in a file's name.
        let (one, other) = ("derived-team.web.json", "derived-team.web-2.json");
        let both = [one, other].map(|name| policy(directory.path(), name));
        let web = both.iter().find(|it| it.contains("'team/web'")).unwrap();
        assert!(web.contains("/etc/a") && web.contains("/etc/b") && !web.contains("/etc/c"));
        deriver.write(&line(None, "/etc/d"), true).unwrap();
        deriver.finish().unwrap();
        assert_eq!(policy(directory.path(), one), both[0]);
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
