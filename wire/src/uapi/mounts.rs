//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the file system: the same for all mounts of one.
    pub device: (u32, u32),
    /// What of the file system is mounted: a path in it, of a namespace its name, as `net:[4026532008]`.
    pub root: PathBuf,
    /// Where it is, below the reader's root.
    pub point: PathBuf,
    /// Type of the file system, as `ext4` or `fuse.sshfs`.
    pub kind: String,
}

/// Reads the lines; what is no mount is left out.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Mount> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line)
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD…] - TYPE SOURCE OPTIONS`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    if point.first() != Some(&b'/') {
        return None;
    }
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: OsString::from_vec(root).into(),
        point: OsString::from_vec(point).into(),
        kind: String::from_utf8_lossy(&unescape(kind)).into_owned(),
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
        let mount = |device, root: &str, point: &str, kind: &str| Mount {
            device,
            root: root.into(),
            point: point.into(),
            kind: kind.into(),
        };
        assert_eq!(
            mounts,
            [
                mount((253, 0), "/", "/", "ext4"),
                mount((0, 26), "/sub", "/mnt/a b\\", "fuse.sshfs"),
                mount((0, 4), "net:[4026532008]", "/run/netns/a", "nsfs")
            ]
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
