//! The lookups behind [`crate::decision`] in user space, by the same keys as the kernel's maps: for a
//! tier without kernel programs, and for tests of what the compiler makes of policies.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use holdfast_wire::Kind;

use crate::decision::{Candidates, Decision, decide};
use crate::field::Fields;
use crate::snapshot::{Tables, suffix_key};
use crate::stage::ContainerCondition;
use crate::table::{
    ANCESTORS, Dimension, HOOKS, HookTable, KEY_PATH_BYTES, NumberKey, Tag, Vector, WORDS,
    class_index, name_bucket, name_of,
};

/// Tables in user space are replaced as a whole: there is one generation.
const GENERATION: u32 = 0;

/// Bits of a key before its value: the tag.
const TAG_BITS: u32 = 32;

static NOTHING_ASKED: HookTable = HookTable::EMPTY;

/// What is known of an operation; `None` is not known. Each is asked for once at most, and only where a
/// term that may still match has a condition on it: in this order, from the cheapest to the dearest.
pub trait Known {
    /// Whether the operation is known not to have a value of this dimension.
    fn lacks(&self, _dimension: Dimension) -> bool {
        false
    }
    /// See [`Dimension::Path`]; without NUL.
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// See [`Dimension::TargetPath`]; without NUL.
    fn target_path(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// Network order; IPv4 as `::ffff:a.b.c.d`.
    fn address(&self) -> Option<[u8; 16]> {
        None
    }
    /// Host order.
    fn port(&self) -> Option<u16> {
        None
    }
    /// `O_*` of an open, of which the access mode counts.
    fn open_flags(&self) -> Option<u32> {
        None
    }
    /// Real user of the acting process.
    fn user(&self) -> Option<u32> {
        None
    }
    /// Path of the acting process's executable; without NUL.
    fn executable(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The same of its parent.
    fn parent(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The same of the process acted upon.
    fn target_executable(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The same of the ancestors of who acts, the parent's parent first.
    fn ancestors(&self) -> Option<Cow<'_, [Vec<u8>]>> {
        None
    }
    /// Which of these the container meets: [`held_by`].
    fn container(&self, _conditions: &[ContainerCondition]) -> Option<u32> {
        None
    }
}

/// Policy tables, to be looked up.
pub struct Lookup {
    hooks: [Option<Box<HookTable>>; HOOKS],
    paths: LongestPrefix<Vector>,
    classes: LongestPrefix<u32>,
    ancestor_conditions: Vec<u32>,
    container_conditions: Vec<ContainerCondition>,
    suffixes: LongestPrefix<Vector>,
    names: HashMap<u32, Vector>,
    addresses: LongestPrefix<Vector>,
    numbers: HashMap<NumberKey, Vector>,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

impl Lookup {
    /// Enters `tables`.
    #[must_use]
    pub fn new(tables: &Tables) -> Self {
        let mut hooks = [const { None }; HOOKS];
        for (kind, hook) in &tables.hooks {
            hooks[kind.index()] = Some(hook.clone());
        }
        let mut paths = LongestPrefix::default();
        for entry in &tables.paths {
            let key = entry.key(GENERATION);
            paths.insert(key.tag, key.bits - TAG_BITS, &key.path, entry.vector);
        }
        let mut classes = LongestPrefix::default();
        for entry in &tables.classes {
            let key = entry.key(GENERATION);
            classes.insert(key.tag, key.bits - TAG_BITS, &key.path, entry.class);
        }
        let mut addresses = LongestPrefix::default();
        for entry in &tables.addresses {
            let key = entry.key(GENERATION);
            addresses.insert(key.tag, key.bits - TAG_BITS, &key.address, entry.vector);
        }
        let mut suffixes = LongestPrefix::default();
        for entry in &tables.suffixes {
            let key = entry.key(GENERATION);
            suffixes.insert(key.tag, key.bits - TAG_BITS, &key.reversed, entry.vector);
        }
        let names = tables.names.iter();
        let numbers = tables.numbers.iter();
        Self {
            hooks,
            paths,
            classes,
            ancestor_conditions: tables.ancestor_conditions.clone(),
            container_conditions: tables.container_conditions.clone(),
            suffixes,
            names: names.map(|entry| (entry.bucket, entry.vector)).collect(),
            addresses,
            numbers: numbers
                .map(|entry| (entry.key(GENERATION), entry.vector))
                .collect(),
        }
    }

    /// What is asked of a hook.
    #[must_use]
    pub fn hook(&self, kind: Kind) -> &HookTable {
        self.hooks[kind.index()]
            .as_deref()
            .unwrap_or(&NOTHING_ASKED)
    }

    /// Decides by what is known.
    pub fn decide(&self, kind: Kind, known: &impl Known) -> Decision {
        decide(self.hook(kind), &self.candidates(kind, known))
    }

    /// The terms that may match, and those that do.
    pub fn candidates(&self, kind: Kind, known: &impl Known) -> Candidates {
        let hook = self.hook(kind);
        let mut candidates = Candidates::all(hook);
        // The value: `None` is not known. The lookup of it: `None` is not listed.
        let mut narrow = |dimension: Dimension, find: &dyn Fn(Tag) -> Option<Option<Vector>>| {
            if candidates.none() || hook.dimensions >> dimension as u32 & 1 == 0 {
                return;
            }
            match find(Tag::new(GENERATION, kind, dimension)) {
                _ if known.lacks(dimension.is_about()) => candidates.unlisted(hook, dimension),
                None => candidates.unknown(hook, dimension),
                Some(None) => candidates.unlisted(hook, dimension),
                Some(Some(vector)) => candidates.keep(&vector),
            }
        };
        // As the kernel does, though a path costs nothing more than its name here: see `decide::by_name` there.
        narrow(Dimension::Name, &|_| {
            let bucket = name_bucket(GENERATION, name_of(&known.path()?));
            let unlisted = &hook.unlisted[Dimension::Name as usize];
            let mut vector = self.names.get(&bucket).copied().unwrap_or_default();
            (0..WORDS).for_each(|word| vector[word] |= unlisted[word]);
            Some(Some(vector))
        });
        narrow(Dimension::Path, &|tag| {
            let path = known.path()?;
            Some(self.paths.of_path(tag, &path).copied())
        });
        narrow(Dimension::TargetPath, &|tag| {
            let path = known.target_path()?;
            Some(self.paths.of_path(tag, &path).copied())
        });
        narrow(Dimension::Suffix, &|tag| {
            let path = known.path()?;
            let key = suffix_key(tag, &path);
            let length = (key.bits - TAG_BITS) as usize / 8;
            Some(self.suffixes.get(tag, &key.reversed[..length]).copied())
        });
        narrow(Dimension::Address, &|tag| {
            let address = known.address()?;
            Some(self.addresses.get(tag, &address).copied())
        });
        narrow(Dimension::Port, &|tag| {
            Some(self.by_number(tag, known.port()?.into()))
        });
        narrow(Dimension::Access, &|_| {
            let mode = known.open_flags()? as usize & 3;
            Some(Some(hook.access[mode]))
        });
        narrow(Dimension::User, &|tag| {
            Some(self.by_number(tag, known.user()?))
        });
        narrow(Dimension::Executable, &|tag| {
            let class = self.class(&known.executable()?);
            Some(self.by_number(tag, class))
        });
        narrow(Dimension::TargetExecutable, &|tag| {
            let class = self.class(&known.target_executable()?);
            Some(self.by_number(tag, class))
        });
        narrow(Dimension::Parent, &|tag| {
            let class = self.class(&known.parent()?);
            Some(self.by_number(tag, class))
        });
        narrow(Dimension::Ancestors, &|tag| {
            let known = known.ancestors()?;
            let classes = known.iter().take(ANCESTORS).map(|path| self.class(path));
            let held = classes.map(|class| self.held_by(class));
            let held = held.fold(0, |all, held| all | held);
            Some(self.by_number(tag, held & hook.ancestor_conditions))
        });
        narrow(Dimension::Container, &|tag| {
            let held = known.container(&self.container_conditions)?;
            Some(self.by_number(tag, held & hook.container_conditions))
        });
        candidates
    }

    fn by_number(&self, tag: Tag, number: u32) -> Option<Vector> {
        self.numbers.get(&NumberKey { tag, number }).copied()
    }

    /// The class of an executable.
    fn class(&self, path: &[u8]) -> u32 {
        let tag = Tag::executable_class(GENERATION);
        self.classes.of_path(tag, path).copied().unwrap_or(0)
    }

    /// Which conditions on ancestors an executable of this class meets.
    fn held_by(&self, class: u32) -> u32 {
        let index = class_index(GENERATION, class) as usize;
        self.ancestor_conditions.get(index).copied().unwrap_or(0)
    }
}

/// Which of the conditions a container meets, a bit each.
#[must_use]
pub fn held_by(conditions: &[ContainerCondition], container: &dyn Fields) -> u32 {
    let conditions = conditions.iter().enumerate();
    let held = conditions.filter(|(_, condition)| condition.holds(container));
    held.fold(0, |held, (bit, _)| held | 1 << bit)
}

/// Values by prefix, of which the longest that a key begins with counts: as a trie of the kernel's
/// (`BPF_MAP_TYPE_LPM_TRIE`).
struct LongestPrefix<V>(HashMap<Tag, Vec<Level<V>>>);

/// The prefixes of one length.
struct Level<V> {
    bits: u32,
    values: HashMap<Box<[u8]>, V>,
}

impl<V> Default for LongestPrefix<V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<V> LongestPrefix<V> {
    fn insert(&mut self, tag: Tag, bits: u32, key: &[u8], value: V) {
        let levels = self.0.entry(tag).or_default();
        // Longest first.
        let at = match levels.binary_search_by(|level| bits.cmp(&level.bits)) {
            Ok(at) => at,
            Err(at) => {
                let values = HashMap::new();
                levels.insert(at, Level { bits, values });
                at
            }
        };
        let mut cut = [0; KEY_PATH_BYTES];
        let prefix: Box<[u8]> = prefix(key, bits, &mut cut).into();
        levels[at].values.insert(prefix, value);
    }

    fn get(&self, tag: Tag, key: &[u8]) -> Option<&V> {
        let mut cut = [0; KEY_PATH_BYTES];
        self.0
            .get(&tag)?
            .iter()
            .filter(|level| level.bits as usize <= key.len() * 8)
            .find_map(|level| level.values.get(prefix(key, level.bits, &mut cut)))
    }

    /// The value of a path, which is entered with its NUL.
    fn of_path(&self, tag: Tag, path: &[u8]) -> Option<&V> {
        let mut key = [0; KEY_PATH_BYTES];
        let length = path.len().min(key.len());
        key[..length].copy_from_slice(&path[..length]);
        self.get(tag, &key[..(length + 1).min(KEY_PATH_BYTES)])
    }
}

/// The first `bits` of `key`, which is no longer than a path key. Bits of the last byte that are
/// beyond them are cleared, in `cut`.
fn prefix<'a>(key: &'a [u8], bits: u32, cut: &'a mut [u8; KEY_PATH_BYTES]) -> &'a [u8] {
    let (whole, rest) = (bits as usize / 8, bits % 8);
    if rest == 0 {
        return &key[..whole];
    }
    cut[..=whole].copy_from_slice(&key[..=whole]);
    cut[whole] &= !(0xff >> rest);
    &cut[..=whole]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts_to_the_bit() {
        let tag = Tag::executable_class(0);
        let mut prefixes = LongestPrefix::default();
        for (bits, key) in [
            (0, [0, 0]),
            (5, [0b1010_1000, 0]),
            (12, [0xaa, 0b1100_0000]),
        ] {
            prefixes.insert(tag, bits, &key, bits);
        }
        let get = |key: [u8; 2]| prefixes.get(tag, &key).copied();
        assert_eq!(get([0xaa, 0b1100_1111]), Some(12));
        assert_eq!(get([0xaa, 0b1101_0000]), Some(5));
        assert_eq!(get([0b1010_0111, 0]), Some(0));
        assert_eq!(prefixes.get(tag, &[0xaa]).copied(), Some(5));
        assert_eq!(prefixes.get(Tag::default(), &[0xaa]), None);
    }

    #[test]
    fn without_tables_nothing_is_asked() {
        let lookup = Lookup::new(&Tables::default());
        struct Nothing;
        impl Known for Nothing {}
        let decision = lookup.decide(Kind::FileOpen, &Nothing);
        assert!(!decision.undecided);
        assert_eq!(lookup.hook(Kind::FileOpen).terms, 0);
    }
}
