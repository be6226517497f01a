//! Which rules can match an event, found by the values they ask for: what user space does for an event
//! does not grow with the number of rules, as long as they ask for something.
//!
//! A condition has *anchors*: values of fields of which the event must have one, or the condition does not
//! hold. A rule stands in the index under each of its anchors, and under none where it has none; those are
//! tried on every event. That is all the index knows: what it finds is evaluated as ever.

use std::collections::BTreeMap;
use std::net::IpAddr;

use foldhash::HashMap;
use holdfast_wire::Kind;

use crate::expression::{Condition, Constant, Operand, Set, TextTest};
use crate::field::{Field, Fields, Value};
use crate::snapshot::Rule;
use crate::stage;

/// Most anchors of one rule. One with more is tried on every event, which a long list does not make dear:
/// a value is looked up in it.
const MAX_ANCHORS: usize = 1024;
/// Most places of the index that an event is found at; where there are more, all rules are tried.
const MAX_FOUND: usize = 16;

/// The rules of one kind of event, by number, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Index {
    always: Vec<u16>,
    fields: Vec<FieldIndex>,
}

/// The rules that ask for a value of one field.
#[derive(Debug)]
struct FieldIndex {
    field: Field,
    texts: HashMap<Box<str>, Vec<u16>>,
    prefixes: Prefixes,
    numbers: HashMap<i64, Vec<u16>>,
    /// Canonical: IPv4-mapped addresses are IPv4.
    addresses: HashMap<IpAddr, Vec<u16>>,
}

/// A value that an event must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Anchor {
    Text(String),
    Prefix(String),
    Number(i64),
    Address(IpAddr),
}

type Anchors = Vec<(Field, Anchor)>;

impl Index {
    /// Enters the rules with these numbers, which ascend.
    pub(crate) fn new(kind: Kind, rules: &[Rule], numbers: &[u16]) -> Self {
        let mut index = Self::default();
        let mut fields: HashMap<Field, BTreeMap<Anchor, Vec<u16>>> = HashMap::default();
        for number in numbers {
            let Some(rule) = rules.get(usize::from(*number)) else {
                continue;
            };
            match anchors(kind, &rule.when.condition) {
                Some(anchors) => {
                    for (field, anchor) in anchors {
                        let places = fields.entry(field).or_default();
                        let place = places.entry(anchor).or_default();
                        if place.last() != Some(number) {
                            place.push(*number);
                        }
                    }
                }
                None => index.always.push(*number),
            }
        }
        index.fields = fields
            .into_iter()
            .map(|(field, places)| FieldIndex::new(field, places))
            .collect();
        index
    }

    /// The rules that can match; `None` where trying all is as well.
    pub(crate) fn find<'i>(&'i self, fields: &dyn Fields) -> Option<Found<'i>> {
        let mut found = Found::default();
        found.add(&self.always)?;
        for index in &self.fields {
            index.find(&fields.get(index.field), &mut found)?;
        }
        Some(found)
    }
}

impl FieldIndex {
    fn new(field: Field, places: BTreeMap<Anchor, Vec<u16>>) -> Self {
        let mut index = Self {
            field,
            texts: HashMap::default(),
            prefixes: Prefixes::default(),
            numbers: HashMap::default(),
            addresses: HashMap::default(),
        };
        for (anchor, rules) in places {
            match anchor {
                Anchor::Text(text) => {
                    index.texts.insert(text.into(), rules);
                }
                // In order, since the map is.
                Anchor::Prefix(prefix) => index.prefixes.push(prefix, rules),
                Anchor::Number(number) => {
                    index.numbers.insert(number, rules);
                }
                Anchor::Address(address) => {
                    index.addresses.insert(address, rules);
                }
            }
        }
        index
    }

    fn find<'i>(&'i self, value: &Value<'_>, found: &mut Found<'i>) -> Option<()> {
        let place = match value {
            Value::String(text) => {
                self.prefixes.find(text, found)?;
                self.texts.get(&**text)
            }
            Value::Int(number) => self.numbers.get(number),
            Value::Ip(address) => self.addresses.get(&address.to_canonical()),
            _ => None,
        };
        place.map_or(Some(()), |rules| found.add(rules))
    }
}

/// Prefixes in order, each with the longest of the others that it begins with.
#[derive(Debug, Default)]
struct Prefixes(Vec<Prefix>);

#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    shorter: Option<usize>,
    rules: Vec<u16>,
}

impl Prefixes {
    /// Adds one behind all others in order.
    fn push(&mut self, text: String, rules: Vec<u16>) {
        let mut shorter = self.0.len().checked_sub(1);
        while let Some(at) = shorter.filter(|at| !text.starts_with(&*self.0[*at].text)) {
            shorter = self.0[at].shorter;
        }
        self.0.push(Prefix {
            text: text.into(),
            shorter,
            rules,
        });
    }

    /// Adds the rules of all prefixes of `text`. They all are prefixes of the last one that does not stand
    /// behind it in order, or that one itself.
    fn find<'i>(&'i self, text: &str, found: &mut Found<'i>) -> Option<()> {
        let behind = self.0.partition_point(|prefix| *prefix.text <= *text);
        let mut next = behind.checked_sub(1);
        while let Some(prefix) = next.and_then(|at| self.0.get(at)) {
            if text.starts_with(&*prefix.text) {
                found.add(&prefix.rules)?;
            }
            next = prefix.shorter;
        }
        Some(())
    }
}

/// Lists of rules, of which each is in order; as an iterator their rules in order, each once.
#[derive(Debug, Default)]
pub(crate) struct Found<'i> {
    lists: [&'i [u16]; MAX_FOUND],
    count: usize,
}

impl<'i> Found<'i> {
    /// `None` when there is no room.
    fn add(&mut self, rules: &'i [u16]) -> Option<()> {
        if !rules.is_empty() {
            *self.lists.get_mut(self.count)? = rules;
            self.count += 1;
        }
        Some(())
    }
}

impl Iterator for Found<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let lists = self.lists.iter_mut().take(self.count);
        let least = *lists.filter_map(|list| list.first()).min()?;
        for list in self.lists.iter_mut().take(self.count) {
            if let Some((first, rest)) = list.split_first()
                && *first == least
            {
                *list = rest;
            }
        }
        Some(least)
    }
}

/// Values of which an event of `kind` must have one for the condition to hold; `None` when it may hold
/// whatever the values are, or they are too many. Recursion follows the expression, whose depth is bounded.
fn anchors(kind: Kind, condition: &Condition) -> Option<Anchors> {
    if let Some(value) = stage::constant(condition, kind) {
        return (!value).then(Vec::new);
    }
    match condition {
        Condition::Value(Operand::Condition(inner)) => anchors(kind, inner),
        // One of them is enough: the one that is met least often, as far as can be told.
        Condition::All(parts) => parts
            .iter()
            .filter_map(|part| anchors(kind, part))
            .min_by_key(|anchors| {
                let is_prefix = |(_, anchor): &(Field, Anchor)| matches!(anchor, Anchor::Prefix(_));
                (anchors.iter().any(is_prefix), anchors.len())
            }),
        Condition::Any(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(anchors(kind, part)?);
                if all.len() > MAX_ANCHORS {
                    return None;
                }
            }
            Some(all)
        }
        Condition::Equal(Operand::Field(field), Operand::Constant(constant))
        | Condition::Equal(Operand::Constant(constant), Operand::Field(field)) => {
            let anchor = match constant {
                Constant::String(text) => Anchor::Text(text.clone()),
                Constant::Int(number) => Anchor::Number(*number),
                Constant::Ip(address) => Anchor::Address(address.to_canonical()),
                Constant::Strings(_)
                | Constant::Ints(_)
                | Constant::Timestamp(_)
                | Constant::Duration(_) => return None,
            };
            Some(vec![(*field, anchor)])
        }
        Condition::OneOf(Operand::Field(field), set) => one_of(*field, set),
        Condition::Text(
            TextTest::StartsWith,
            Operand::Field(field),
            Operand::Constant(Constant::String(prefix)),
        ) => Some(vec![(*field, Anchor::Prefix(prefix.clone()))]),
        _ => None,
    }
}

fn one_of(field: Field, set: &Set) -> Option<Anchors> {
    let (count, anchors): (usize, Box<dyn Iterator<Item = Anchor>>) = match set {
        Set::Strings(texts) => (
            texts.len(),
            Box::new(texts.iter().cloned().map(Anchor::Text)),
        ),
        Set::Ints(numbers) => (
            numbers.len(),
            Box::new(numbers.iter().copied().map(Anchor::Number)),
        ),
        Set::Ips(addresses) => (
            addresses.len(),
            Box::new(
                addresses
                    .iter()
                    .map(IpAddr::to_canonical)
                    .map(Anchor::Address),
            ),
        ),
    };
    (count <= MAX_ANCHORS).then(|| anchors.map(|anchor| (field, anchor)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Prefixes {
        let mut prefixes = Prefixes::default();
        for (number, text) in (0u16..).zip(texts) {
            prefixes.push((*text).to_owned(), vec![number]);
        }
        prefixes
    }

    fn found(prefixes: &Prefixes, text: &str) -> Vec<u16> {
        let mut found = Found::default();
        prefixes.find(text, &mut found).unwrap();
        found.collect()
    }

    #[test]
    fn all_prefixes_of_a_text_are_found_and_no_others() {
        let prefixes = prefixes(&["", "/", "/a", "/a/b", "/a/c", "/ab", "/b"]);
        assert_eq!(found(&prefixes, "/a/bz"), [0, 1, 2, 3]);
        assert_eq!(found(&prefixes, "/a/bz/"), [0, 1, 2, 3]);
        assert_eq!(found(&prefixes, "/a/d"), [0, 1, 2]);
        assert_eq!(found(&prefixes, "/abc"), [0, 1, 2, 5]);
        assert_eq!(found(&prefixes, "/z"), [0, 1]);
        assert_eq!(found(&prefixes, "x"), [0]);
    }

    #[test]
    fn rules_come_in_order_and_once() {
        let mut found = Found::default();
        for list in [&[1, 4, 9][..], &[], &[0, 4], &[9]] {
            found.add(list).unwrap();
        }
        assert_eq!(found.collect::<Vec<_>>(), [0, 1, 4, 9]);
    }

    #[test]
    fn where_there_is_no_room_it_is_said() {
        let mut found = Found::default();
        for _ in 0..MAX_FOUND {
            assert!(found.add(&[1]).is_some());
        }
        assert!(found.add(&[1]).is_none());
    }
}
