//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number, unique while it is mounted.
    pub id: u32,
    /// That of the mount it is on; of the topmost one, a number that is not in the list, or its own.
    pub parent: u32,
    /// `major:minor` of the file system: the same for all mounts of one.
    pub device: (u32, u32),
    /// What of the file system is mounted: a path in it, of a namespace its name, as `net:[4026532008]`.
    pub root: PathBuf,
    /// Where it is, below the reader's root.
    pub point: PathBuf,
    /// Options of the mount itself, as `rw,nosuid`.
    pub options: String,
    /// How it propagates (mount_namespaces(7)), as `shared:1` or `unbindable`; none: it is private.
    pub tags: Vec<String>,
    /// Type of the file system, as `ext4` or `fuse.sshfs`.
    pub kind: String,
    /// What is mounted, as the file system has it.
    pub source: String,
    /// Options of the file system.
    pub super_options: String,
}

/// Reads the lines; what is no mount is left out.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Mount> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line)
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD…] - TYPE SOURCE OPTIONS`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    if point.first() != Some(&b'/') {
        return None;
    }
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let options = text(fields.next()?);
    let tags = fields.by_ref().take_while(|field| *field != b"-");
    let tags = tags.map(text).collect();
    Some(Mount {
        id,
        parent,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: OsString::from_vec(root).into(),
        point: OsString::from_vec(point).into(),
        options,
        tags,
        kind: text(fields.next()?),
        source: fields.next().map(text).unwrap_or_default(),
        super_options: fields.next().map(text).unwrap_or_default(),
    })
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits behind a backslash
/// (`mangle` of `fs/seq_file.c`).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        let digits = behind.first_chunk::<3>().filter(|_| *first == b'\\');
        let value = digits.and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() {
            &behind[3..]
        } else {
            behind
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_with_any_number_of_optional_fields() {
        let text = b"22 1 253:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n\
            30 22 0:26 /sub /mnt/a\\040b\\134 rw - fuse.sshfs host:/x rw\n\
            broken line\n\
            31 22 0:27 / relative rw - tmpfs tmpfs rw\n\
            32 22 0:4 net:[4026532008] /run/netns/a rw - nsfs nsfs rw\n";
        let mounts: Vec<_> = parse(text).collect();
        let known: Vec<_> = mounts
            .iter()
            .map(|it| (it.id, it.parent, it.device, it.root.to_str().unwrap()))
            .collect();
        assert_eq!(
            known,
            [
                (22, 1, (253, 0), "/"),
                (30, 22, (0, 26), "/sub"),
                (32, 22, (0, 4), "net:[4026532008]"),
            ]
        );
        let [root, fuse, net] = &mounts[..] else {
            panic!("{mounts:?}");
        };
        assert_eq!(
            (&*root.options, &root.tags[..]),
            (
                "rw,relatime",
                &["shared:1".to_owned(), "master:2".to_owned()][..]
            )
        );
        assert_eq!(
            (fuse.point.to_str(), &*fuse.kind, &*fuse.source),
            (Some("/mnt/a b\\"), "fuse.sshfs", "host:/x")
        );
        assert!(fuse.tags.is_empty());
        assert_eq!(
            (net.point.to_str(), &*net.kind, &*net.super_options),
            (Some("/run/netns/a"), "nsfs", "rw")
        );
    }

    #[test]
    fn a_backslash_that_escapes_nothing_stays() {
        assert_eq!(unescape(b"a\\8b\\04"), b"a\\8b\\04");
        assert_eq!(unescape(b"\\011\\777"), b"\t\\777");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&text).count();
        }

        #[test]
        fn what_the_kernel_escapes_comes_back(name in "[ \t\n\\\\a-z0-7]{0,20}") {
            let mut escaped = Vec::new();
            for byte in name.bytes() {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
                    _ => escaped.push(byte),
                }
            }
            prop_assert_eq!(unescape(&escaped), name.into_bytes());
        }
    }
}
