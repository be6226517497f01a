//! What is in force: the rules of all policies, and the tables that the kernel programs look up.

use std::fmt;
use std::sync::Arc;

use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;
use holdfast_wire::event;

use crate::document::Mode;
use crate::expression::Expression;
use crate::field::Kinds;
use crate::index::Index;
use crate::message::Template;
use crate::plan::Plan;
use crate::sequence::Step;
pub use crate::stage::ContainerCondition;
use crate::table::{
    self, AddressKey, Dimension, HookTable, NumberKey, PathKey, SuffixKey, Tag, Vector,
};
use crate::throttle::Throttle;

/// All policies of one epoch, compiled.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) epoch: u32,
    pub(crate) rules: Vec<Rule>,
    pub(crate) by_kind: [Vec<u16>; table::HOOKS],
    pub(crate) indices: [Index; table::HOOKS],
    /// Rules that come after events of a kind, and after how many others these come.
    pub(crate) steps_by_kind: [Vec<(u16, u8)>; table::HOOKS],
    pub(crate) reported: Kinds,
    pub(crate) plans: Vec<Plan>,
    pub(crate) tables: Tables,
}

/// A rule in force.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its id within the policy.
    pub id: String,
    /// Its name for people; the id where it has none.
    pub name: String,
    /// Name of its policy.
    pub ruleset: String,
    /// Index of its policy.
    pub policy: u16,
    /// The mode in force: the rule's, capped by the policy's and the sensor's.
    pub mode: Mode,
    /// What the rule asks for.
    pub action: Verdict,
    /// What follows from that in this mode.
    pub verdict: Verdict,
    /// 1 low, 2 medium, 3 high, 4 critical.
    pub severity: u8,
    /// The kinds of events it is tried on.
    pub on: Kinds,
    /// ATT&CK ids.
    pub techniques: Vec<String>,
    /// ATT&CK pages of these.
    pub references: Vec<String>,
    /// What the event says.
    pub message: Option<Template>,
    /// How often it may report.
    pub throttle: Option<Throttle>,
    /// What has to have happened before.
    pub(crate) after: Option<Arc<Step>>,
    pub(crate) when: Arc<Expression>,
}

impl Rule {
    /// `rule.*` of an event that this rule matched.
    #[must_use]
    pub fn event(&self) -> event::Rule<'_> {
        event::Rule {
            id: &self.id,
            name: &self.name,
            ruleset: &self.ruleset,
            reference: &self.references,
        }
    }

    /// `threat.*` of such an event, where the rule names techniques.
    #[must_use]
    pub fn threat(&self) -> Option<event::Threat<'_>> {
        let technique = event::Technique {
            id: &self.techniques,
        };
        (!self.techniques.is_empty()).then_some(event::Threat { technique })
    }
}

impl Snapshot {
    /// Policies of which nothing is known but their number: no rule is among them, and nothing is asked for.
    #[must_use]
    pub fn without_rules(epoch: u32) -> Self {
        Self {
            epoch,
            rules: Vec::new(),
            by_kind: std::array::from_fn(|_| Vec::new()),
            indices: std::array::from_fn(|_| Index::default()),
            steps_by_kind: std::array::from_fn(|_| Vec::new()),
            reported: Kinds::NONE,
            plans: Vec::new(),
            tables: Tables::default(),
        }
    }

    /// Increases with every reload; stands in the records that these tables judged.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The rules of all policies; a rule's index is the one in [`table::Term::rule`].
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule with this index, if there is one.
    #[must_use]
    pub fn rule(&self, index: u16) -> Option<&Rule> {
        self.rules.get(usize::from(index))
    }

    /// Whether a rule or a subscription asks for events of `kind`: whether to attach its hook.
    #[must_use]
    pub fn wants(&self, kind: Kind) -> bool {
        let index = kind.index();
        let is_asked = !self.by_kind[index].is_empty() || !self.steps_by_kind[index].is_empty();
        self.reported.contains(kind) || is_asked
    }

    /// Whether a subscription asks for every event of `kind`, whatever the rules say.
    #[must_use]
    pub const fn reports(&self, kind: Kind) -> bool {
        self.reported.contains(kind)
    }

    /// What to write into the kernel's maps.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }
}

/// The contents of the policy maps, for either generation.
#[derive(Clone, Default)]
pub struct Tables {
    /// Of the policies that they were made of; see [`Snapshot::epoch`].
    pub epoch: u32,
    /// Which rules their numbers stand for: where it is the same, so are these.
    pub rules: u64,
    /// `HOOKS`: one for every kind, also for those that nothing asks about.
    pub hooks: Vec<(Kind, Box<HookTable>)>,
    /// `PATHS`
    pub paths: Vec<PathEntry>,
    /// `CLASSES`
    pub classes: Vec<ClassEntry>,
    /// `ANCESTOR_CONDITIONS_BY_CLASS`: a bit per condition, by class; 0 for those beyond.
    pub ancestor_conditions: Vec<u32>,
    /// What user space evaluates of each container; their places are the bits of `CONTAINERS`.
    pub container_conditions: Vec<ContainerCondition>,
    /// Which these are: where it is the same, so are they.
    pub container_digest: u64,
    /// `SUFFIXES`
    pub suffixes: Vec<SuffixEntry>,
    /// `NAMES`
    pub names: Vec<NameEntry>,
    /// `ADDRESSES`
    pub addresses: Vec<AddressEntry>,
    /// `NUMBERS`
    pub numbers: Vec<NumberEntry>,
}

/// Sizes only: what the tables hold is for the kernel.
impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("hooks", &self.hooks.len())
            .field("paths", &self.paths.len())
            .field("classes", &self.classes.len())
            .field("suffixes", &self.suffixes.len())
            .field("names", &self.names.len())
            .field("addresses", &self.addresses.len())
            .field("numbers", &self.numbers.len())
            .finish()
    }
}

/// What a path is listed by: exact, ending in NUL, or a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathBytes(Vec<u8>);

impl PathBytes {
    /// Lists just `path`; the head of it as a prefix, where it is too long.
    pub(crate) fn exact(path: &[u8]) -> Self {
        let mut bytes = path.to_vec();
        bytes.push(0);
        bytes.truncate(table::KEY_PATH_BYTES);
        Self(bytes)
    }

    /// Lists what begins with `prefix`; with the head of it, where it is too long.
    pub(crate) fn prefix(prefix: &str) -> Self {
        let mut bytes = prefix.as_bytes().to_vec();
        bytes.truncate(table::KEY_PATH_BYTES);
        Self(bytes)
    }

    /// The path, where it is exact.
    pub(crate) fn as_exact(&self) -> Option<&[u8]> {
        self.0.strip_suffix(&[0])
    }

    /// The bytes, with the NUL where it is exact; at most [`table::KEY_PATH_BYTES`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn key(&self, tag: Tag) -> PathKey {
        let mut path = [0; table::KEY_PATH_BYTES];
        let length = self.0.len().min(path.len());
        path[..length].copy_from_slice(&self.0[..length]);
        PathKey {
            bits: 32 + 8 * length as u32,
            tag,
            path,
        }
    }
}

/// An entry of `PATHS`.
#[derive(Clone, Debug)]
pub struct PathEntry {
    /// The hook.
    pub kind: Kind,
    /// [`Dimension::Path`] or [`Dimension::TargetPath`].
    pub dimension: Dimension,
    /// What it is listed by.
    pub path: PathBytes,
    /// The terms not ruled out.
    pub vector: Vector,
}

impl PathEntry {
    /// Its key in `generation`.
    #[must_use]
    pub fn key(&self, generation: u32) -> PathKey {
        self.path
            .key(Tag::new(generation, self.kind, self.dimension))
    }
}

/// An entry of `CLASSES`.
#[derive(Clone, Debug)]
pub struct ClassEntry {
    /// What it is listed by.
    pub path: PathBytes,
    /// Its class, below [`table::CLASSES`]; 0 where no rule tells it from what is not listed.
    pub class: u32,
}

impl ClassEntry {
    /// Its key in `generation`.
    #[must_use]
    pub fn key(&self, generation: u32) -> PathKey {
        self.path.key(Tag::executable_class(generation))
    }
}

/// An entry of `SUFFIXES`.
#[derive(Clone, Debug)]
pub struct SuffixEntry {
    /// The hook.
    pub kind: Kind,
    /// How paths end; at most [`table::KEY_SUFFIX_BYTES`].
    pub suffix: Box<[u8]>,
    /// The terms not ruled out.
    pub vector: Vector,
}

impl SuffixEntry {
    /// Its key in `generation`.
    #[must_use]
    pub fn key(&self, generation: u32) -> SuffixKey {
        suffix_key(
            Tag::new(generation, self.kind, Dimension::Suffix),
            &self.suffix,
        )
    }
}

/// The key of what ends in `path`, of which the last [`table::KEY_SUFFIX_BYTES`] count.
pub(crate) fn suffix_key(tag: Tag, path: &[u8]) -> SuffixKey {
    let mut reversed = [0; table::KEY_SUFFIX_BYTES];
    let mut length = 0;
    for (to, from) in reversed.iter_mut().zip(path.iter().rev()) {
        *to = *from;
        length += 1;
    }
    SuffixKey {
        bits: 32 + 8 * length,
        tag,
        reversed,
    }
}

/// An entry of `NAMES`.
#[derive(Clone, Debug)]
pub struct NameEntry {
    /// See [`table::name_bucket`], of generation 0.
    pub bucket: u32,
    /// The terms that ask for a name in it.
    pub vector: Vector,
}

/// An entry of `ADDRESSES`.
#[derive(Clone, Debug)]
pub struct AddressEntry {
    /// The hook.
    pub kind: Kind,
    /// Network order; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// Significant bits, up to 128.
    pub prefix: u32,
    /// The terms not ruled out.
    pub vector: Vector,
}

impl AddressEntry {
    /// Its key in `generation`.
    #[must_use]
    pub const fn key(&self, generation: u32) -> AddressKey {
        AddressKey {
            bits: 32 + self.prefix,
            tag: Tag::new(generation, self.kind, Dimension::Address),
            address: self.address,
        }
    }
}

/// An entry of `NUMBERS`.
#[derive(Clone, Debug)]
pub struct NumberEntry {
    /// The hook.
    pub kind: Kind,
    /// What it is a number of.
    pub dimension: Dimension,
    /// See [`NumberKey::number`].
    pub number: u32,
    /// The terms not ruled out.
    pub vector: Vector,
}

impl NumberEntry {
    /// Its key in `generation`.
    #[must_use]
    pub const fn key(&self, generation: u32) -> NumberKey {
        NumberKey {
            tag: Tag::new(generation, self.kind, self.dimension),
            number: self.number,
        }
    }
}
