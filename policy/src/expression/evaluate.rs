//! Plain evaluation of a checked expression. Allocates only to join strings.
//!
//! Its recursion follows the tree, whose depth the parser bounded.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::address::Cidr;
use super::time;
use super::typed::{Condition, Constant, Operand, Order, Set, TextTest};
use crate::field::{Fields, Part, ProcessList, Strings, Value};

/// Whether `condition` holds for an event.
pub(crate) fn holds(condition: &Condition, fields: &dyn Fields) -> bool {
    Environment {
        fields,
        innermost: None,
    }
    .holds(condition)
}

/// What names stand for: the event's fields, and the variables of quantifiers.
#[derive(Clone, Copy)]
struct Environment<'e> {
    fields: &'e dyn Fields,
    innermost: Option<&'e Binding<'e>>,
}

/// A bound variable; a list of them lives on the stack.
struct Binding<'e> {
    element: Element<'e>,
    outer: Option<&'e Binding<'e>>,
}

enum Element<'e> {
    String(&'e str),
    Int(i64),
    Process(&'e dyn ProcessList, usize),
}

impl<'e> Environment<'e> {
    fn holds(self, condition: &'e Condition) -> bool {
        match condition {
            Condition::Constant(value) => *value,
            Condition::Value(operand) => matches!(self.value(operand), Value::Bool(true)),
            Condition::Not(inner) => !self.holds(inner),
            Condition::All(parts) => parts.iter().all(|part| self.holds(part)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(part)),
            Condition::If(parts) => {
                let [condition, yes, no] = &**parts;
                self.holds(if self.holds(condition) { yes } else { no })
            }
            Condition::Equal(a, b) => {
                compare(&self.value(a), &self.value(b)) == Some(Ordering::Equal)
            }
            Condition::Order(order, a, b) => {
                compare(&self.value(a), &self.value(b)).is_some_and(|found| match order {
                    Order::Less => found.is_lt(),
                    Order::LessOrEqual => found.is_le(),
                    Order::Greater => found.is_gt(),
                    Order::GreaterOrEqual => found.is_ge(),
                })
            }
            Condition::OneOf(operand, set) => set.contains(&self.value(operand)),
            Condition::In(operand, list) => match (self.value(operand), self.value(list)) {
                (Value::String(text), Value::Strings(list)) => list.iter().any(|item| item == text),
                (Value::String(key), Value::Map(map)) => map.get(&key).is_some(),
                _ => false,
            },
            Condition::Text(test, text, by) => match (self.value(text), self.value(by)) {
                (Value::String(text), Value::String(by)) => match test {
                    TextTest::StartsWith => text.starts_with(&*by),
                    TextTest::EndsWith => text.ends_with(&*by),
                    TextTest::Contains => text.contains(&*by),
                },
                _ => false,
            },
            Condition::Matches(operand, pattern) => match self.value(operand) {
                Value::String(text) => pattern.matches(&text),
                _ => false,
            },
            Condition::Has(operand) => self.value(operand).is_present(),
            Condition::Within(network, operand) => match self.value(operand) {
                Value::Ip(address) => network.contains(Cidr::host(address)),
                _ => false,
            },
            Condition::Quantified { all, list, body } => {
                let holds = |element| {
                    let binding = Binding {
                        element,
                        outer: self.innermost,
                    };
                    let inner = Environment {
                        fields: self.fields,
                        innermost: Some(&binding),
                    };
                    inner.holds(body)
                };
                // `exists` looks for an element that holds, `all` for one that does not.
                let found = match self.value(list) {
                    Value::Strings(list) => {
                        list.iter().any(|item| holds(Element::String(item)) != *all)
                    }
                    Value::Ints(list) => list.iter().any(|item| holds(Element::Int(*item)) != *all),
                    Value::Processes(list) => {
                        (0..list.count()).any(|index| holds(Element::Process(list, index)) != *all)
                    }
                    _ => false,
                };
                found != *all
            }
        }
    }

    fn value(self, operand: &'e Operand) -> Value<'e> {
        match operand {
            Operand::Constant(constant) => match constant {
                Constant::Int(value) => Value::Int(*value),
                Constant::String(value) => Value::string(Some(value)),
                Constant::Ip(value) => Value::Ip(*value),
                Constant::Strings(list) => Value::Strings(Strings::Owned(list)),
                Constant::Ints(list) => Value::Ints(list),
                Constant::Timestamp(time) => Value::Timestamp(*time),
                Constant::Duration(duration) => Value::Duration(*duration),
            },
            Operand::Field(field) => self.fields.get(*field),
            Operand::Entry(map, key) => self.entry(map, key),
            Operand::Variable(outwards, _) => match self.element(*outwards) {
                Some(Element::String(text)) => Value::string(Some(text)),
                Some(Element::Int(number)) => Value::Int(*number),
                _ => Value::Absent,
            },
            Operand::VariablePart(outwards, part) => self.part(*outwards, *part),
            Operand::Size(inner) => match self.value(inner) {
                Value::String(text) => Value::int(Some(text.chars().count())),
                Value::Strings(list) => Value::int(Some(list.len())),
                Value::Ints(list) => Value::int(Some(list.len())),
                Value::Processes(list) => Value::int(Some(list.count())),
                _ => Value::Absent,
            },
            Operand::Sum(sides) => sum(self.value(&sides[0]), self.value(&sides[1])),
            Operand::Difference(sides) => {
                difference(&self.value(&sides[0]), &self.value(&sides[1]))
            }
            Operand::TimePart(inner, part, offset) => part.of(&self.value(inner), *offset),
            Operand::If(parts) => self.value(if self.holds(&parts.0) {
                &parts.1
            } else {
                &parts.2
            }),
            Operand::Condition(inner) => Value::Bool(self.holds(inner)),
        }
    }

    fn entry(self, map: &'e Operand, key: &str) -> Value<'e> {
        match self.value(map) {
            Value::Map(map) => Value::string(map.get(key)),
            _ => Value::Absent,
        }
    }

    fn element(self, outwards: usize) -> Option<&'e Element<'e>> {
        let mut binding = self.innermost?;
        for _ in 0..outwards {
            binding = binding.outer?;
        }
        Some(&binding.element)
    }

    fn part(self, outwards: usize, part: Part) -> Value<'e> {
        match self.element(outwards) {
            Some(Element::Process(list, index)) => list.part(*index, part),
            _ => Value::Absent,
        }
    }
}

/// Not in line: the recursion of [`Environment::value`] pays for what it holds.
fn sum<'v>(a: Value<'_>, b: Value<'_>) -> Value<'v> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::int(a.checked_add(b)),
        (Value::String(a), Value::String(b)) => Value::String((a + &*b).into_owned().into()),
        (a, b) => time::sum(&a, &b),
    }
}

fn difference<'v>(a: &Value<'_>, b: &Value<'_>) -> Value<'v> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::int(a.checked_sub(*b)),
        (a, b) => time::difference(a, b),
    }
}

/// `None` when one is absent.
fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Ip(a), Value::Ip(b)) => Some(a.to_canonical().cmp(&b.to_canonical())),
        _ => None,
    }
}

impl Set {
    pub(crate) fn contains(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Strings(set), Value::String(text)) => {
                set.binary_search_by(|item| item.as_str().cmp(text)).is_ok()
            }
            (Self::Ints(set), Value::Int(number)) => set.binary_search(number).is_ok(),
            (Self::Ips(set), Value::Ip(address)) => {
                set.binary_search(&IpAddr::to_canonical(address)).is_ok()
            }
            _ => false,
        }
    }
}
