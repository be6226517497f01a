//! The mounts of one namespace, as `/proc/PID/mountinfo` lists them (proc_pid_mountinfo(5)). Pure.

use std::collections::HashMap;

/// Mounts above a mount, at most: as deep as any sensible tree.
const MAX_DEPTH: usize = 64;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u32,
    parent: u32,
    /// `MKDEV`: major << 20 | minor.
    pub(crate) device: u32,
    /// What of the file system is mounted.
    root: Vec<u8>,
    /// Where.
    point: Vec<u8>,
}

impl Mount {
    /// The place in the file system of what is `below` the mount's root.
    pub(crate) fn inside(&self, below: &[u8]) -> Vec<u8> {
        joined(&self.root, below)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_id: HashMap<u32, Mount>,
    by_device: HashMap<u32, Vec<u32>>,
    children: HashMap<u32, Vec<u32>>,
}

impl Table {
    /// Lines that are none are left out.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut table = Self::default();
        let lines = bytes.split(|byte| *byte == b'\n');
        for mount in lines.filter_map(parse_line) {
            table
                .by_device
                .entry(mount.device)
                .or_default()
                .push(mount.id);
            table
                .children
                .entry(mount.parent)
                .or_default()
                .push(mount.id);
            table.by_id.insert(mount.id, mount);
        }
        table
    }

    /// The mount with this id.
    pub(crate) fn get(&self, id: u32) -> Option<&Mount> {
        self.by_id.get(&id)
    }

    /// The path of what is `inside` a file system; of several, the one of the mount that shows most of
    /// it.
    pub(crate) fn find(&self, device: u32, inside: &[u8]) -> Option<Vec<u8>> {
        let mounts = self.by_device.get(&device)?.iter();
        let seen = mounts.filter_map(|id| {
            let mount = self.get(*id)?;
            let path = joined(&mount.point, below(inside, &mount.root)?);
            self.is_visible(mount, &path)
                .then_some((mount.root.len(), mount.id, path))
        });
        seen.min().map(|(_, _, path)| path)
    }

    /// Whether nothing is mounted over `path`, which is on `mount`, nor over the mount's own way.
    fn is_visible<'t>(&'t self, mut mount: &'t Mount, path: &'t [u8]) -> bool {
        let (mut path, mut from) = (path, None);
        for _ in 0..MAX_DEPTH {
            let children = self.children.get(&mount.id).map_or(&[][..], Vec::as_slice);
            let covers = |child: &u32| {
                Some(*child) != from
                    && *child != mount.id
                    && self
                        .get(*child)
                        .is_some_and(|child| below(path, &child.point).is_some())
            };
            if children.iter().any(covers) {
                return false;
            }
            match self.get(mount.parent) {
                Some(parent) if parent.id != mount.id => {
                    (path, from) = (&mount.point, Some(mount.id));
                    mount = parent;
                }
                _ => return true,
            }
        }
        false
    }

    #[cfg(test)]
    pub(crate) fn at(&self, point: &[u8]) -> Option<&Mount> {
        self.by_id.values().find(|mount| mount.point == point)
    }
}

/// What of `path` is below `directory`: nothing for itself, and with its slash else.
fn below<'p>(path: &'p [u8], directory: &[u8]) -> Option<&'p [u8]> {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let rest = path.strip_prefix(directory)?;
    (rest.is_empty() || rest[0] == b'/').then_some(rest)
}

/// A directory and what is below it.
fn joined(directory: &[u8], below: &[u8]) -> Vec<u8> {
    // The root itself, of whatever.
    let below = if below == b"/" { &[] } else { below };
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    match [directory, below].concat() {
        path if path.is_empty() => b"/".to_vec(),
        path => path,
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u32>().ok();
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let device = fields.next()?;
    let colon = device.iter().position(|byte| *byte == b':')?;
    let (major, minor) = (number(&device[..colon])?, number(&device[colon + 1..])?);
    let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
    // The root of a bind-mounted namespace is no path.
    root.starts_with(b"/").then_some(Mount {
        id,
        parent,
        device: major << 20 | minor & 0xf_ffff,
        root,
        point,
    })
}

/// Space, tab, newline and backslash stand there as three octal digits behind a backslash.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.first_chunk::<3>().filter(|_| *first == b'\\');
        let octal = digits.filter(|digits| digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        match octal {
            Some(digits) => {
                let value = |byte: u8, digit: &u8| byte.wrapping_mul(8).wrapping_add(digit - b'0');
                bytes.push(digits.iter().fold(0, value));
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A host with a container's root, a volume, a directory that is covered, and one that is bound.
    const HOST: &[u8] = b"1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
20 1 0:50 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw
21 1 8:1 /srv/data /mnt/data rw - ext4 /dev/sda1 rw
22 1 0:60 / /tmp rw - tmpfs tmpfs rw
23 1 8:2 / /home rw - ext4 /dev/sdb rw
24 23 8:3 / /home/a\\040b rw - ext4 /dev/sdc rw
25 1 0:4 net:[4026531840] /run/netns/x rw - nsfs nsfs rw
nonsense
";

    #[test]
    fn the_host_finds_what_others_have_mounted() {
        let table = Table::parse(HOST);
        let find = |major: u32, minor: u32, inside: &[u8]| {
            let found = table.find(major << 20 | minor, inside)?;
            Some(String::from_utf8(found).unwrap())
        };
        let merged = "/var/lib/docker/overlay2/abc/merged";
        assert_eq!(find(0, 50, b"/etc/x"), Some(format!("{merged}/etc/x")));
        assert_eq!(find(0, 50, b"/"), Some(merged.to_owned()));
        // The whole file system rather than the part of it that is bound elsewhere.
        assert_eq!(find(8, 1, b"/srv/data/f"), Some("/srv/data/f".to_owned()));
        assert_eq!(find(8, 3, b"/f"), Some("/home/a b/f".to_owned()));
        // Covered by the file system mounted there; not covered by its neighbour.
        assert_eq!(find(8, 1, b"/tmp/f"), None);
        assert_eq!(find(8, 1, b"/tmpfile"), Some("/tmpfile".to_owned()));
        assert_eq!(find(8, 2, b"/a b/f"), None);
        assert_eq!(find(9, 9, b"/f"), None);
        assert!(table.get(25).is_none());
    }

    #[test]
    fn what_is_covered_on_its_way_is_not_seen() {
        let table = Table::parse(
            b"1 1 8:1 / / rw - ext4 a rw\n2 1 8:2 / /a/b rw - ext4 b rw\n3 1 8:3 / /a rw - ext4 c rw\n",
        );
        assert_eq!(table.find(8 << 20 | 2, b"/f"), None);
        assert_eq!(table.find(8 << 20 | 3, b"/f").unwrap(), b"/a/f");
    }

    #[test]
    fn a_bind_mounts_root_is_part_of_the_way() {
        let table = Table::parse(b"5 1 8:1 /srv/data /data rw - ext4 a rw\n");
        let mount = table.get(5).unwrap();
        assert_eq!(mount.inside(b"/f"), b"/srv/data/f");
        assert_eq!(mount.inside(b""), b"/srv/data");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut lines = bytes.clone();
            lines.extend(b"\n1 2 8:1 ");
            lines.extend(&bytes);
            let table = Table::parse(&lines);
            let _ = table.find(8 << 20 | 1, &bytes);
        }
    }
}
