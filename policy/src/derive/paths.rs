//! Many paths → a few that cover them.

use std::collections::{BTreeMap, BTreeSet};

use super::Lists;
use crate::expression::literal;

/// So many entries of a directory stay by name; more of them become the directory.
const NAMES: usize = 8;
/// So many prefixes and names a condition may have; beyond that ever fewer names make a directory.
const MOST: usize = 100;
/// Digits, or hexadecimal digits with some among them, that make a name one of many.
const VOLATILE_DIGITS: usize = 3;
const VOLATILE_HEX: usize = 8;

/// A condition on `field` that holds for all of these paths.
pub(super) fn condition(field: &str, paths: &BTreeSet<String>, lists: &mut Lists) -> String {
    let (mut names, mut prefixes) = generalised(paths, NAMES);
    for at_most in (1..NAMES).rev() {
        if names.len() + prefixes.len() <= MOST {
            break;
        }
        (names, prefixes) = generalised(paths, at_most);
    }
    let mut parts = Vec::new();
    if !names.is_empty() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        parts.push(lists.one_of(field, &names));
    }
    let starts = |prefix: &String| format!("{field}.startsWith({})", literal(prefix));
    parts.extend(prefixes.iter().map(starts));
    if parts.is_empty() {
        return format!("!has({field})");
    }
    parts.join(" || ")
}

/// Names and prefixes that cover the paths, with at most so many names in a directory.
fn generalised(paths: &BTreeSet<String>, at_most: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut names = BTreeSet::new();
    let mut prefixes = BTreeSet::new();
    for path in paths {
        match stable(path) {
            Some(prefix) => prefixes.insert(prefix.to_owned()),
            None => names.insert(path.clone()),
        };
    }
    // Each round makes at least one directory of what is in it, so there is an end.
    loop {
        let mut entries: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in names.iter().chain(&prefixes) {
            if let Some(directory) = directory(entry) {
                *entries.entry(directory).or_default() += 1;
            }
        }
        let full = entries.into_iter().find(|(_, count)| *count > at_most);
        let Some(full) = full.map(|(directory, _)| directory.to_owned()) else {
            break;
        };
        names.retain(|name| !name.starts_with(&full));
        prefixes.retain(|prefix| !prefix.starts_with(&full));
        prefixes.insert(full);
    }
    let covered = |text: &String| {
        let mut shorter = prefixes.iter().filter(|prefix| *prefix != text);
        shorter.any(|prefix| text.starts_with(prefix))
    };
    names.retain(|name| !covered(name));
    let prefixes = prefixes.iter().filter(|it| !covered(it)).cloned().collect();
    (names, prefixes)
}

/// The directory that an entry is in, with the slash at its end; `None` for what is right below the
/// root, or is one of the root's directories: neither is to become one prefix.
fn directory(entry: &str) -> Option<&str> {
    let inner = entry.strip_suffix('/').unwrap_or(entry);
    let end = inner.rfind('/')? + 1;
    let directory = &entry[..end];
    // `/usr/` has two slashes, `/usr/lib/` three.
    (directory.bytes().filter(|byte| *byte == b'/').count() > 2).then_some(directory)
}

/// What stays of a path in which a name is different each time; `None` where it is all of it. At least a
/// directory of the root stays.
fn stable(path: &str) -> Option<&str> {
    let first = path.strip_prefix('/').map(|rest| rest.find('/'))?? + 2;
    let mut begins = first;
    for name in path.get(first..)?.split('/') {
        if let Some(at) = volatile(name) {
            return path.get(..begins + at);
        }
        begins += name.len() + 1;
    }
    None
}

/// Where what is different each time begins in a name.
fn volatile(name: &str) -> Option<usize> {
    let mut begins = 0;
    let mut digits = 0;
    let mut hex = 0;
    let mut hex_digits = 0;
    for (at, character) in name.char_indices() {
        digits = if character.is_ascii_digit() {
            digits + 1
        } else {
            0
        };
        if character.is_ascii_hexdigit() {
            if hex == 0 {
                begins = at;
                hex_digits = 0;
            }
            hex += 1;
            hex_digits += usize::from(character.is_ascii_digit());
        } else {
            hex = 0;
        }
        if digits >= VOLATILE_DIGITS {
            return Some(at + 1 - digits);
        }
        if hex >= VOLATILE_HEX && hex_digits > 0 {
            return Some(begins);
        }
    }
    // As mktemp(1) names what it makes.
    name.starts_with("tmp.").then_some("tmp.".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> String {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        condition("f", &paths, &mut Lists::default())
    }

    #[test]
    fn what_is_different_each_time_is_cut_off() {
        for (path, stays) in [
            ("/proc/4711/maps", Some("/proc/")),
            ("/proc/self/maps", None),
            ("/var/log/app-2026.log", Some("/var/log/app-")),
            ("/tmp/tmp.Ab3dE6fG", Some("/tmp/tmp.")),
            (
                "/var/lib/docker/containers/3f2a9bc01d4e/config.json",
                Some("/var/lib/docker/containers/"),
            ),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", None),
            ("/2026", None),
        ] {
            assert_eq!(stable(path), stays, "{path}");
        }
    }

    #[test]
    fn many_files_of_a_directory_are_the_directory() {
        assert_eq!(of(&["/etc/a"]), "f == '/etc/a'");
        let some: Vec<String> = (b'a'..=b'z')
            .map(|c| format!("/usr/lib/{}", c as char))
            .collect();
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        assert_eq!(of(&some), "f.startsWith('/usr/lib/')");
        // Not so of what is right below the root's directories: `/etc/` is too much to allow.
        let many: Vec<String> = (b'a'..=b'z')
            .map(|c| format!("/etc/{}", c as char))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&many), "f in lists.paths_1");
    }
}
