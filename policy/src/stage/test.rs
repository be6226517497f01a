//! What a term asks about one dimension, and what a listed key says about it.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use holdfast_wire::{event, text};

use crate::expression::{
    Cidr, Condition, Constant, MAPPED, Operand, Set, TextTest, holds, path_bytes,
};
use crate::field::{Field, Fields, Part, Plain};
use crate::snapshot::PathBytes;
use crate::table::{
    ADDRESS_ENTRIES, CLASS_ENTRIES, Dimension, KEY_PATH_BYTES, KEY_SUFFIX_BYTES, NUMBER_ENTRIES,
    PATH_ENTRIES, memory_access,
};

/// The names that the access mode has in `holdfast.flags`, by `open_flags & O_ACCMODE`.
const ACCESS_NAMES: [&str; 4] = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"];

/// The values of `dns.type`, by `record::network::Socket::direction`.
const DIRECTIONS: [&str; 2] = ["query", "answer"];

/// A condition on one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Key(Key),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
}

/// One of these is the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The kernel's bytes, sorted.
    Paths(Arc<[Vec<u8>]>),
    Prefix(String),
    Addresses(Vec<Cidr>),
    /// Canonical, sorted.
    Hosts(Arc<[IpAddr]>),
    /// Ports, capabilities or users.
    Numbers(Vec<i64>),
    /// Some ancestor's executable meets this test.
    Ancestor(Arc<Test>),
    Suffix(String),
    /// The container meets this condition.
    Container(ContainerCondition),
    /// A bit per access mode, per direction of DNS, or per `memory_access`.
    Access(u8),
}

/// What is known about a value: the most specific entry that lists it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Probe<'p> {
    Path(&'p PathBytes),
    Address(Cidr),
    Number(u32),
    Access(usize),
    Suffix(&'p [u8]),
    /// These are the ancestors' conditions that there are, and a bit for each that holds for any of them.
    Ancestors(&'p [Arc<Test>], u32),
    /// These are the conditions on containers that there are, and a bit for each that holds.
    Container(&'p [ContainerCondition], u32),
    /// No entry lists it, or the event does not have it.
    Unlisted,
}

/// A condition that asks about nothing but the container.
#[derive(Clone, Debug)]
pub struct ContainerCondition {
    condition: Arc<Condition>,
    /// All that it says: those of which this is the same are the same.
    text: Arc<str>,
}

impl PartialEq for ContainerCondition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ContainerCondition {}

impl Hash for ContainerCondition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl ContainerCondition {
    /// `None` where it asks about something else, or about nothing.
    fn new(condition: &Condition) -> Option<Self> {
        let (mut asks, mut only) = (false, true);
        condition.operands(&mut |operand| {
            if let Operand::Field(field) = operand {
                asks = true;
                only &= field.is_of_container();
            }
        });
        (asks && only).then(|| Self {
            condition: Arc::new(condition.clone()),
            text: format!("{condition:?}").into(),
        })
    }

    /// Whether the container that these are the fields of meets it.
    #[must_use]
    pub fn holds(&self, container: &dyn Fields) -> bool {
        holds(&self.condition, container)
    }
}

impl Test {
    /// Adds `other` by `&&` (or `||`).
    pub(crate) fn join(&mut self, other: Self, conjunction: bool) {
        match (&mut *self, conjunction) {
            (Self::All(parts), true) | (Self::Any(parts), false) => parts.push(other),
            (_, true) => *self = Self::All(vec![self.clone(), other]),
            (_, false) => *self = Self::Any(vec![self.clone(), other]),
        }
    }

    /// Calls `visit` with every key. Recursion follows the expression, whose depth is bounded.
    pub(crate) fn keys<'t>(&'t self, visit: &mut dyn FnMut(&'t Key)) {
        match self {
            Self::Key(key) => visit(key),
            Self::Not(inner) => inner.keys(visit),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.keys(visit)),
        }
    }

    /// Its negation.
    pub(crate) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Whether an entry does not say all about it: a path too long for a key is entered by its head.
    pub(crate) fn is_uncertain(&self) -> bool {
        let mut uncertain = false;
        self.keys(&mut |key| uncertain |= key.is_cut());
        uncertain
    }

    /// Whether it holds for the values that `probe` stands for; `None`: for some perhaps.
    pub(crate) fn holds(&self, probe: Probe<'_>) -> Option<bool> {
        match self {
            Self::Key(key) => key.holds(probe),
            Self::Not(inner) => inner.holds(probe).map(|holds| !holds),
            Self::All(parts) => all(parts.iter().map(|part| part.holds(probe)), true),
            Self::Any(parts) => all(parts.iter().map(|part| part.holds(probe)), false),
        }
    }
}

/// The number of a user, where that is how it stands in events.
fn user_id(text: &str) -> Option<u32> {
    let id: u32 = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

/// A condition on the executable of the process that the quantifier's variable is. Recursion follows the
/// expression, whose depth is bounded.
fn of_executable(condition: &Condition) -> Option<Test> {
    let is_executable =
        |operand: &Operand| matches!(operand, Operand::VariablePart(0, Part::Executable));
    let all = |parts: &[Condition]| parts.iter().map(of_executable).collect::<Option<Vec<_>>>();
    let key = match condition {
        Condition::Not(inner) => return of_executable(inner).map(Test::not),
        Condition::All(parts) => return all(parts).map(Test::All),
        Condition::Any(parts) => return all(parts).map(Test::Any),
        Condition::Value(Operand::Condition(inner)) => return of_executable(inner),
        Condition::Equal(operand, Operand::Constant(Constant::String(path)))
        | Condition::Equal(Operand::Constant(Constant::String(path)), operand)
            if is_executable(operand) =>
        {
            Key::path(path)?
        }
        Condition::OneOf(operand, Set::Strings(paths)) if is_executable(operand) => {
            Key::Paths(paths.paths()?)
        }
        Condition::Text(
            TextTest::StartsWith,
            operand,
            Operand::Constant(Constant::String(prefix)),
        ) if is_executable(operand) => Key::prefix(prefix)?,
        _ => return None,
    };
    key.fits(Dimension::Executable).then_some(Test::Key(key))
}

/// Kleene's conjunction with `neutral` true, and disjunction with false.
fn all(parts: impl Iterator<Item = Option<bool>>, neutral: bool) -> Option<bool> {
    let mut result = Some(neutral);
    for part in parts {
        match part {
            Some(value) if value != neutral => return part,
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl Key {
    /// `None` where the text is that of no path.
    pub(crate) fn path(text: &str) -> Option<Self> {
        path_bytes(text).map(|path| Self::Paths([path].into()))
    }

    /// `None` where it is not one of the bytes as well. Nor is the empty one looked up: whatever is there
    /// begins with it, and what is absent does not, which a lookup cannot tell from what no entry lists.
    pub(crate) fn prefix(prefix: &str) -> Option<Self> {
        let plain = text::is_plain_prefix(prefix) && !prefix.contains('\0');
        let fits = plain && !prefix.is_empty();
        fits.then(|| Self::Prefix(prefix.to_owned()))
    }

    /// `None` where it is not one of the bytes as well, or does not fit. Nor is the empty one looked up, as
    /// of prefixes.
    pub(crate) fn suffix(suffix: &str) -> Option<Self> {
        let plain = text::is_plain_suffix(suffix) && !suffix.contains('\0');
        let fits = plain && !suffix.is_empty() && suffix.len() <= KEY_SUFFIX_BYTES;
        fits.then(|| Self::Suffix(suffix.to_owned()))
    }

    /// That an ancestor is there of which `body` holds, or, `negated`, does not. `None` where that asks for
    /// more than executables that can be listed.
    pub(crate) fn of_ancestors(body: &Condition, negated: bool) -> Option<Self> {
        let test = of_executable(body)?;
        let test = if negated { test.not() } else { test };
        (!test.is_uncertain()).then(|| Self::Ancestor(Arc::new(test)))
    }

    /// That the container is one of which `condition` holds. `None` where it asks for more.
    pub(crate) fn of_container(condition: &Condition) -> Option<Self> {
        ContainerCondition::new(condition).map(Self::Container)
    }

    pub(crate) fn access(name: &str) -> Option<Self> {
        let mode = ACCESS_NAMES.iter().position(|access| *access == name)?;
        Some(Self::Access(1 << mode))
    }

    /// Texts of `dns.type`, as what it is looked up by.
    pub(crate) fn as_direction(&self) -> Option<Self> {
        let Self::Paths(texts) = self else {
            return None;
        };
        let is_one = |direction: &&str| texts.iter().any(|text| text == direction.as_bytes());
        let bits = DIRECTIONS.iter().enumerate();
        let bits = bits.filter(|(_, direction)| is_one(direction));
        Some(Self::Access(bits.fold(0, |bits, (bit, _)| bits | 1 << bit)))
    }

    /// By what the field is looked up: capabilities have numbers.
    pub(crate) fn of_field(self, field: Field) -> Self {
        match self {
            Self::Paths(names) if field == Field::Plain(Plain::Capability) => {
                let names = names.iter().filter_map(|name| str::from_utf8(name).ok());
                let numbers = names.filter_map(event::capability_number);
                Self::Numbers(numbers.map(i64::from).collect())
            }
            Self::Paths(ids) if field == Field::USER => {
                let ids = ids.iter().filter_map(|id| str::from_utf8(id).ok());
                Self::Numbers(ids.filter_map(user_id).map(i64::from).collect())
            }
            key => key,
        }
    }

    /// A protection of memory that may be executed.
    pub(crate) fn protection(name: &str) -> Option<Self> {
        match name {
            "PROT_WRITE" => Some(Self::memory(|_, writable| writable)),
            "PROT_EXEC" => Some(Self::memory(|_, _| true)),
            _ => None,
        }
    }

    /// Memory of no file.
    pub(crate) fn anonymous() -> Self {
        Self::memory(|anonymous, _| anonymous)
    }

    /// Executable memory of which this holds.
    fn memory(holds: fn(bool, bool) -> bool) -> Self {
        let all = [(false, false), (true, false), (false, true), (true, true)];
        let held = all
            .into_iter()
            .filter(|(anonymous, writable)| holds(*anonymous, *writable));
        Self::Access(held.fold(0, |modes, (anonymous, writable)| {
            modes | 1 << memory_access(anonymous, writable)
        }))
    }

    /// Whether it is of the sort that `dimension` is looked up by, and alone not more than there is room for.
    pub(crate) fn fits(&self, dimension: Dimension) -> bool {
        let room = match dimension {
            Dimension::Executable | Dimension::Parent | Dimension::TargetExecutable => {
                CLASS_ENTRIES
            }
            _ => PATH_ENTRIES,
        };
        let has_room = match self {
            Self::Paths(paths) => paths.len() <= room,
            Self::Hosts(addresses) => addresses.len() <= ADDRESS_ENTRIES,
            Self::Numbers(numbers) => numbers.len() <= NUMBER_ENTRIES,
            _ => true,
        };
        let is_of_sort = matches!(
            (self, dimension),
            (
                Self::Paths(_) | Self::Prefix(_),
                Dimension::Path
                    | Dimension::TargetPath
                    | Dimension::Executable
                    | Dimension::Parent
                    | Dimension::TargetExecutable
            ) | (Self::Addresses(_) | Self::Hosts(_), Dimension::Address)
                | (Self::Numbers(_), Dimension::Port | Dimension::User)
                | (Self::Access(_), Dimension::Access)
                | (Self::Container(_), Dimension::Container)
        );
        has_room && is_of_sort
    }

    fn is_cut(&self) -> bool {
        match self {
            Self::Paths(paths) => paths.iter().any(|path| path.len() >= KEY_PATH_BYTES),
            Self::Prefix(prefix) => prefix.len() > KEY_PATH_BYTES,
            _ => false,
        }
    }

    /// The entries that list its paths.
    pub(crate) fn path_entries(&self, entries: &mut BTreeSet<PathBytes>) {
        match self {
            Self::Paths(paths) => entries.extend(paths.iter().map(|path| PathBytes::exact(path))),
            Self::Prefix(prefix) => {
                entries.insert(PathBytes::prefix(prefix));
            }
            Self::Ancestor(test) => test.keys(&mut |key| key.path_entries(entries)),
            _ => {}
        }
    }

    /// How the paths end that it lists.
    pub(crate) fn suffix_entries<'k>(&'k self, entries: &mut BTreeSet<&'k [u8]>) {
        if let Self::Suffix(suffix) = self {
            entries.insert(suffix.as_bytes());
        }
    }

    /// The entries that list its networks; that of IPv4 too, where an IPv6 network would seem to
    /// hold it.
    pub(crate) fn address_entries(&self, entries: &mut BTreeSet<Cidr>) {
        match self {
            Self::Addresses(networks) => {
                for network in networks {
                    entries.insert(*network);
                    if network.covers(MAPPED) {
                        entries.insert(MAPPED);
                    }
                }
            }
            Self::Hosts(addresses) => entries.extend(addresses.iter().copied().map(Cidr::host)),
            _ => {}
        }
    }

    /// The entries that list its numbers. No event has one beyond 32 bits.
    pub(crate) fn number_entries(&self, entries: &mut BTreeSet<u32>) {
        if let Self::Numbers(numbers) = self {
            entries.extend(numbers.iter().filter_map(|it| u32::try_from(*it).ok()));
        }
    }

    fn holds(&self, probe: Probe<'_>) -> Option<bool> {
        match (self, probe) {
            (Self::Paths(paths), Probe::Path(entry)) => match entry.as_exact() {
                Some(path) => Some(
                    paths
                        .binary_search_by(|item| item.as_slice().cmp(path))
                        .is_ok(),
                ),
                // A value below a prefix that is one of the paths has an entry of its own, unless
                // that was cut: of those that the prefix is the head of, the first.
                None => {
                    let first = paths.partition_point(|path| path.as_slice() < entry.as_bytes());
                    let path = paths.get(first);
                    let is_cut = path.is_some_and(|path| PathBytes::exact(path) == *entry);
                    (!is_cut).then_some(false)
                }
            },
            (Self::Prefix(prefix), Probe::Path(entry)) => match entry.as_exact() {
                Some(path) => Some(path.starts_with(prefix.as_bytes())),
                None if entry.as_bytes().starts_with(prefix.as_bytes()) => Some(true),
                None if PathBytes::prefix(prefix) == *entry => None,
                None => Some(false),
            },
            (Self::Addresses(networks), Probe::Address(entry)) => {
                Some(networks.iter().any(|network| network.contains(entry)))
            }
            (Self::Hosts(addresses), Probe::Address(entry)) => {
                let host = entry.host_address();
                Some(host.is_some_and(|host| addresses.binary_search(&host).is_ok()))
            }
            (Self::Numbers(numbers), Probe::Number(number)) => {
                Some(numbers.contains(&i64::from(number)))
            }
            // What a value's end is, if it is longer than an entry, has an entry of its own.
            (Self::Suffix(suffix), Probe::Suffix(entry)) => {
                Some(entry.ends_with(suffix.as_bytes()))
            }
            (Self::Ancestor(test), Probe::Ancestors(conditions, held)) => {
                let bit = conditions.iter().position(|condition| condition == test);
                Some(bit.is_some_and(|bit| held >> bit & 1 == 1))
            }
            (Self::Container(condition), Probe::Container(conditions, held)) => {
                let bit = conditions.iter().position(|it| it == condition);
                Some(bit.is_some_and(|bit| held >> bit & 1 == 1))
            }
            (Self::Access(modes), Probe::Access(mode)) => Some(modes >> mode & 1 == 1),
            _ => Some(false),
        }
    }
}
