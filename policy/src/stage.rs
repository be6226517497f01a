//! Splits a condition by what the kernel can look up: condition → terms in disjunctive form.
//!
//! For one kind of event, what is the same for all of its events is evaluated here. What asks about
//! one [`Dimension`] becomes a [`Test`] of the keys listed for it; all else is *uncertain* for the
//! kernel. A part that asks about one dimension only stays whole, however it is built: a long list of
//! alternatives for a path is one term.

use std::borrow::Cow;

use holdfast_wire::Kind;

use crate::expression::{Condition, Constant, Expression, Operand, Set, TextTest};
use crate::field::{Field, Fields, Plain, ProcessList, Strings, Type, Value};
use crate::table::Dimension;

mod test;

pub use test::ContainerCondition;
pub(crate) use test::{Key, Probe, Test};

/// Most terms one rule may have at one hook; with more, user space decides on it. A quarter of the
/// room, so that one rule cannot crowd out the others.
pub(crate) const MAX_TERMS_OF_RULE: usize = crate::table::TERMS / 4;

/// A conjunction: at most one test per dimension, and whether there is more that only user space can
/// evaluate.
#[derive(Clone, Debug, Default)]
pub(crate) struct StagedTerm {
    pub(crate) tests: Vec<(Dimension, Test)>,
    pub(crate) uncertain: bool,
}

impl StagedTerm {
    /// A term of which the kernel knows nothing.
    pub(crate) const UNKNOWN: Self = Self {
        tests: Vec::new(),
        uncertain: true,
    };

    fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.uncertain |= other.uncertain;
        for (dimension, test) in &other.tests {
            match both.tests.iter_mut().find(|(d, _)| d == dimension) {
                Some((_, existing)) => *existing = Test::All(vec![existing.clone(), test.clone()]),
                None => both.tests.push((*dimension, test.clone())),
            }
        }
        both
    }
}

/// The dimensions that conditions may be put to; a bit each, as in `HookTable::dimensions`.
pub(crate) type Allowed = u32;

/// The terms of a condition on events of `kind`: none if it never holds; `None` if they are too many.
pub(crate) fn terms(
    expression: &Expression,
    kind: Kind,
    allowed: Allowed,
) -> Option<Vec<StagedTerm>> {
    disjunction(&Splitter { kind, allowed }.split(&expression.condition, false))
}

/// Whether a condition that is tried on `network.dns` can hold only for questions.
pub(crate) fn is_about_questions(expression: &Expression) -> bool {
    // What else it asks about may be so or not.
    let terms = terms(expression, Kind::NetworkDns, 1 << Dimension::Access as u32);
    let holds_for_none = |term: &StagedTerm| {
        let mut tests = term.tests.iter();
        tests.any(|(_, test)| test.holds(Probe::Access(ANSWER)) == Some(false))
    };
    terms.is_some_and(|terms| terms.iter().all(holds_for_none))
}

/// [`Probe::Access`] of an answer.
const ANSWER: usize = holdfast_wire::record::network::ANSWER as usize;

/// What a condition is for all events of `kind`; `None` where that depends on the event.
pub(crate) fn constant(condition: &Condition, kind: Kind) -> Option<bool> {
    let mut constant = true;
    condition.operands(&mut |operand| {
        if let Operand::Field(field) = operand {
            constant &= *field == Field::Plain(Plain::EventAction) || !field.kinds().contains(kind);
        }
    });
    constant.then(|| crate::expression::holds(condition, &OnlyKind(kind)))
}

/// A condition as the kernel sees it.
enum Logic {
    Constant(bool),
    Uncertain,
    Test(Dimension, Test),
    All(Vec<Logic>),
    Any(Vec<Logic>),
}

struct Splitter {
    kind: Kind,
    allowed: Allowed,
}

impl Splitter {
    /// Recursion follows the expression, whose depth is bounded.
    fn split(&self, condition: &Condition, negated: bool) -> Logic {
        if let Some(value) = constant(condition, self.kind) {
            return Logic::Constant(value != negated);
        }
        // As much as asks about the container alone is one condition on it.
        if let Some(key) = Key::of_container(condition) {
            return self.test(Dimension::Container, key, negated);
        }
        match condition {
            Condition::Not(inner) => self.split(inner, !negated),
            // What holds for all is what none does not meet.
            Condition::Quantified { all: true, .. } => self.leaf(condition, !negated),
            Condition::All(parts) => self.join(parts, negated, !negated),
            Condition::Any(parts) => self.join(parts, negated, negated),
            Condition::Value(Operand::Condition(inner)) => self.split(inner, negated),
            leaf => self.leaf(leaf, negated),
        }
    }

    fn leaf(&self, condition: &Condition, negated: bool) -> Logic {
        match self.classify(condition) {
            Some((dimension, key)) => self.test(dimension, key, negated),
            None => Logic::Uncertain,
        }
    }

    fn test(&self, dimension: Dimension, key: Key, negated: bool) -> Logic {
        if self.allowed >> dimension as u32 & 1 == 0 {
            return Logic::Uncertain;
        }
        let test = Test::Key(key);
        Logic::Test(dimension, if negated { test.not() } else { test })
    }

    /// The conjunction (or the disjunction) of `parts`: tests of one dimension become one test.
    fn join(&self, parts: &[Condition], negated: bool, conjunction: bool) -> Logic {
        let mut joined: Vec<Logic> = Vec::new();
        for part in parts {
            match self.split(part, negated) {
                Logic::Constant(value) if value == conjunction => {}
                Logic::Constant(value) => return Logic::Constant(value),
                Logic::Uncertain if joined.iter().any(|l| matches!(l, Logic::Uncertain)) => {}
                Logic::Test(dimension, test) => {
                    let same = joined.iter_mut().find_map(|logic| match logic {
                        Logic::Test(d, test) if *d == dimension => Some(test),
                        _ => None,
                    });
                    match same {
                        Some(existing) => existing.join(test, conjunction),
                        None => joined.push(Logic::Test(dimension, test)),
                    }
                }
                other => joined.push(other),
            }
        }
        match (joined.len(), conjunction) {
            (0, _) => Logic::Constant(conjunction),
            (1, _) => joined.swap_remove(0),
            (_, true) => Logic::All(joined),
            (_, false) => Logic::Any(joined),
        }
    }

    /// The dimension that a simple condition asks about, and the keys it asks for.
    fn classify(&self, condition: &Condition) -> Option<(Dimension, Key)> {
        let (field, key) = match condition {
            Condition::Equal(Operand::Field(field), Operand::Constant(constant))
            | Condition::Equal(Operand::Constant(constant), Operand::Field(field)) => {
                (field, Key::equal(constant)?)
            }
            Condition::OneOf(Operand::Field(field), set) => (field, Key::one_of(set)?),
            Condition::Text(
                TextTest::StartsWith,
                Operand::Field(field),
                Operand::Constant(Constant::String(prefix)),
            ) => (field, Key::prefix(prefix)?),
            Condition::Text(
                TextTest::EndsWith,
                Operand::Field(field),
                Operand::Constant(Constant::String(suffix)),
            ) => {
                let is_of_path = field.dimension(self.kind) == Some(Dimension::Path);
                let key = Key::suffix(suffix).filter(|_| is_of_path)?;
                return Some((Dimension::Suffix, key));
            }
            Condition::Quantified { all, list, body } => {
                let Operand::Field(field) = list else {
                    return None;
                };
                let dimension = field.dimension(self.kind)?;
                return Some((dimension, Key::of_ancestors(body, *all)?));
            }
            Condition::Within(network, Operand::Field(field)) => {
                (field, Key::Addresses(vec![*network]))
            }
            Condition::In(Operand::Constant(Constant::String(name)), Operand::Field(field)) => {
                let key = match field {
                    Field::Plain(Plain::MemoryProtection) => Key::protection(name),
                    _ => Key::access(name),
                };
                (field, key?)
            }
            Condition::Value(Operand::Field(field))
                if *field == Field::Plain(Plain::MemoryAnonymous) =>
            {
                (field, Key::anonymous())
            }
            _ => return None,
        };
        let key = key.of_field(*field);
        let dimension = field.dimension(self.kind)?;
        let key = if *field == Field::Plain(Plain::DnsType) {
            key.as_direction()?
        } else {
            key
        };
        key.fits(dimension).then_some((dimension, key))
    }
}

/// Terms whose disjunction `logic` is; `None` beyond [`MAX_TERMS_OF_RULE`]. Recursion as in `split`.
fn disjunction(logic: &Logic) -> Option<Vec<StagedTerm>> {
    match logic {
        Logic::Constant(false) => Some(Vec::new()),
        Logic::Constant(true) => Some(vec![StagedTerm::default()]),
        Logic::Uncertain => Some(vec![StagedTerm::UNKNOWN]),
        Logic::Test(dimension, test) => Some(vec![StagedTerm {
            tests: vec![(*dimension, test.clone())],
            uncertain: test.is_uncertain(),
        }]),
        Logic::Any(parts) => {
            let mut terms = Vec::new();
            for part in parts {
                terms.extend(disjunction(part)?);
                if terms.len() > MAX_TERMS_OF_RULE {
                    return None;
                }
            }
            Some(terms)
        }
        Logic::All(parts) => {
            let mut terms = vec![StagedTerm::default()];
            for part in parts {
                let factors = disjunction(part)?;
                if terms.len() * factors.len() > MAX_TERMS_OF_RULE {
                    return None;
                }
                terms = terms
                    .iter()
                    .flat_map(|term| factors.iter().map(|factor| term.and(factor)))
                    .collect();
            }
            Some(terms)
        }
    }
}

/// An event of which nothing but the kind is known.
struct OnlyKind(Kind);

impl Fields for OnlyKind {
    fn get(&self, field: Field) -> Value<'_> {
        match field.value_type() {
            _ if field == Field::Plain(Plain::EventAction) => {
                Value::String(Cow::Borrowed(self.0.action()))
            }
            Type::Strings => Value::Strings(Strings::EMPTY),
            Type::Processes => Value::Processes(&NoProcesses),
            _ => Value::Absent,
        }
    }
}

#[derive(Debug)]
struct NoProcesses;

impl ProcessList for NoProcesses {
    fn count(&self) -> usize {
        0
    }

    fn part(&self, _index: usize, _part: crate::field::Part) -> Value<'_> {
        Value::Absent
    }
}

impl Key {
    fn equal(constant: &Constant) -> Option<Self> {
        match constant {
            Constant::String(path) => Self::path(path),
            Constant::Ip(address) => Some(Self::Hosts([address.to_canonical()].into())),
            Constant::Int(number) => Some(Self::Numbers(vec![*number])),
            Constant::Strings(_)
            | Constant::Ints(_)
            | Constant::Timestamp(_)
            | Constant::Duration(_) => None,
        }
    }

    fn one_of(set: &Set) -> Option<Self> {
        match set {
            Set::Strings(list) => list.paths().map(Self::Paths),
            Set::Ints(numbers) => Some(Self::Numbers(numbers.clone())),
            Set::Ips(addresses) => Some(Self::Hosts(addresses.clone())),
        }
    }
}
