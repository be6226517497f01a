//! Names of users, from the host's `/etc/passwd`.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io::Read};

use foldhash::HashMap;

/// How often the file is looked at for changes.
const REFRESH: Duration = Duration::from_secs(10);
/// What is read of it: some ten thousand users.
const MAX_BYTES: u64 = 1 << 20;

/// The names, as of the last look.
#[derive(Debug)]
pub(crate) struct Users {
    path: PathBuf,
    names: HashMap<u32, String>,
    looked: Option<Instant>,
    changed: Option<SystemTime>,
}

impl Users {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            names: HashMap::default(),
            looked: None,
            changed: None,
        }
    }

    /// Reads the file again if it is time to and it changed; whether names may have changed.
    pub(crate) fn refresh(&mut self) -> bool {
        if self.looked.is_some_and(|then| then.elapsed() < REFRESH) {
            return false;
        }
        self.looked = Some(Instant::now());
        let changed = fs::metadata(&self.path)
            .and_then(|file| file.modified())
            .ok();
        if changed == self.changed && changed.is_some() {
            return false;
        }
        let mut bytes = Vec::new();
        let read = fs::File::open(&self.path)
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        // A host without the file, as a container image without users: numbers have to do.
        if read.is_ok() {
            self.names = parse(&String::from_utf8_lossy(&bytes));
            self.changed = changed;
        }
        read.is_ok()
    }

    /// The name of a user.
    pub(crate) fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(String::as_str)
    }
}

/// Reads passwd(5). The first name of a number counts, as in getpwuid(3).
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::default();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_is_read() {
        let names = parse("root:x:0:0::/root:/bin/sh\nbad line\ntoor:x:0:0\nü:x:1000:1\n:x:\n");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&1000).map(String::as_str), Some("ü"));
        assert_eq!(names.len(), 2);
    }
}
