//! What the host runs, as it says itself (os-release(5)).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use holdfast_wire::event::Os;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

/// Where it is written; the first that is there says all.
const PLACES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// What is read of it: distributions write some hundred bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// Families by a distribution's own name, or by those that it says it is like.
const FAMILIES: [(&str, &[&str]); 4] = [
    ("debian", &["debian", "ubuntu"]),
    ("redhat", &["rhel", "fedora", "centos"]),
    ("suse", &["suse", "opensuse", "sles"]),
    ("arch", &["arch"]),
];

/// Reads it below the host's root directory.
pub(super) fn read(root: &Path) -> Os {
    let text = PLACES.iter().find_map(|place| inside(root, place).ok());
    let mut os = parse(&text.unwrap_or_default());
    os.kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    os
}

/// A file as the host sees it: a link does not lead out of its root directory.
pub(super) fn inside(root: &Path, place: &str) -> io::Result<String> {
    let root = open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat2(root, place, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let mut text = String::new();
    File::from(file).take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: &str) -> Os {
    let value = |key: &str| {
        let mut values = text.lines().filter_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            (name == key).then(|| plain(value))
        });
        // Of several the last one counts.
        values.next_back().filter(|value| !value.is_empty())
    };
    let platform = value("ID");
    let like = value("ID_LIKE").unwrap_or_default();
    let family = platform.as_ref().map(|platform| {
        let names: Vec<&str> = std::iter::once(&**platform)
            .chain(like.split_ascii_whitespace())
            .collect();
        let is_of = |(_, members): &&(&str, &[&str])| members.iter().any(|it| names.contains(it));
        let family = FAMILIES.iter().find(is_of).map(|(family, _)| *family);
        family.unwrap_or(platform).to_owned()
    });
    Os {
        name: value("NAME"),
        version: value("VERSION_ID"),
        full: value("PRETTY_NAME"),
        family,
        platform,
        kernel: String::new(),
    }
}

/// A value without what keeps a shell from reading it otherwise.
fn plain(value: &str) -> String {
    let value = value.trim();
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let inside = value.strip_prefix(quote)?.strip_suffix(quote)?;
        Some((inside, quote == '"'))
    });
    match quoted {
        Some((inside, false)) => inside.to_owned(),
        Some((inside, true)) => {
            let mut plain = String::with_capacity(inside.len());
            let mut characters = inside.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => plain.extend(characters.next()),
                    other => plain.push(other),
                }
            }
            plain
        }
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn distributions_are_understood() {
        let os = parse(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME='Debian GNU/Linux'\n\
             VERSION_ID=\"12\"\nID=debian\n# ID=other\n",
        );
        assert_eq!(os.name.as_deref(), Some("Debian GNU/Linux"));
        assert_eq!(os.full.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(
            (
                os.version.as_deref(),
                os.platform.as_deref(),
                os.family.as_deref()
            ),
            (Some("12"), Some("debian"), Some("debian"))
        );
        let family = |text: &str| parse(text).family.unwrap();
        assert_eq!(family("ID=rocky\nID_LIKE=\"rhel centos fedora\""), "redhat");
        assert_eq!(
            family("ID=opensuse-leap\nID_LIKE=\"suse opensuse\""),
            "suse"
        );
        assert_eq!(family("ID=alpine"), "alpine");
        assert_eq!(plain(r#""a \"b\" \\c""#), r#"a "b" \c"#);
        assert_eq!(parse("").name, None);
    }

    #[test]
    fn a_link_stays_on_the_host() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::create_dir_all(root.path().join("static")).unwrap();
        fs::write(root.path().join("static/os-release"), "ID=nixos\n").unwrap();
        symlink("/static/os-release", root.path().join("etc/os-release")).unwrap();
        let os = read(root.path());
        assert_eq!(os.platform.as_deref(), Some("nixos"));
        assert!(!os.kernel.is_empty());
    }
}
