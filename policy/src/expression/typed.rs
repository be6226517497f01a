//! Checked expressions: every type is right, every name is resolved.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::List;
use super::address::Cidr;
use super::pattern::Pattern;
use super::time::TimePart;
use crate::field::{Field, Part, Type};

/// Something that is true or false.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Constant(bool),
    /// A value of type bool; absent is false.
    Value(Operand),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    If(Box<[Condition; 3]>),
    Equal(Operand, Operand),
    Order(Order, Operand, Operand),
    /// The value is one of constants.
    OneOf(Operand, Set),
    /// The value is in a list of the event.
    In(Operand, Operand),
    Text(TextTest, Operand, Operand),
    Matches(Operand, Pattern),
    Has(Operand),
    Within(Cidr, Operand),
    /// `list.all(x, body)`, or `exists`.
    Quantified {
        all: bool,
        list: Operand,
        body: Box<Condition>,
    },
}

/// `<`, `<=`, `>`, `>=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Tests of one string by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// Something that has a value.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Constant(Constant),
    Field(Field),
    /// What a map has under this key.
    Entry(Box<Operand>, String),
    /// The variable bound so many quantifiers further out.
    Variable(usize, Type),
    /// A field of the process that such a variable is.
    VariablePart(usize, Part),
    Size(Box<Operand>),
    Sum(Box<[Operand; 2]>),
    Difference(Box<[Operand; 2]>),
    /// Of a time at that offset from UTC, or of a duration.
    TimePart(Box<Operand>, TimePart, Offset),
    If(Box<(Condition, Operand, Operand)>),
    Condition(Box<Condition>),
}

/// A value that stands in the expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    Int(i64),
    String(String),
    Ip(IpAddr),
    Strings(Arc<List>),
    Ints(Vec<i64>),
    Timestamp(Timestamp),
    Duration(SignedDuration),
}

/// Constants to look a value up in; sorted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Set {
    Strings(Arc<List>),
    Ints(Vec<i64>),
    /// Canonical: IPv4-mapped addresses are IPv4.
    Ips(Arc<[IpAddr]>),
}

impl Condition {
    /// Calls `visit` with every operand in it, those in operands too.
    pub(crate) fn operands<'c>(&'c self, visit: &mut dyn FnMut(&'c Operand)) {
        match self {
            Self::Constant(_) => {}
            Self::Not(inner) => inner.operands(visit),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.operands(visit));
            }
            Self::If(parts) => parts.iter().for_each(|part| part.operands(visit)),
            Self::Equal(a, b) | Self::Order(_, a, b) | Self::In(a, b) | Self::Text(_, a, b) => {
                a.operands(visit);
                b.operands(visit);
            }
            Self::Value(a)
            | Self::OneOf(a, _)
            | Self::Matches(a, _)
            | Self::Has(a)
            | Self::Within(_, a) => a.operands(visit),
            Self::Quantified { list, body, .. } => {
                list.operands(visit);
                body.operands(visit);
            }
        }
    }
}

impl Operand {
    fn operands<'c>(&'c self, visit: &mut dyn FnMut(&'c Self)) {
        visit(self);
        match self {
            Self::Constant(_) | Self::Field(_) | Self::Variable(..) | Self::VariablePart(..) => {}
            Self::Size(inner) | Self::Entry(inner, _) | Self::TimePart(inner, ..) => {
                inner.operands(visit)
            }
            Self::Sum(sides) | Self::Difference(sides) => {
                sides.iter().for_each(|side| side.operands(visit));
            }
            Self::If(parts) => {
                parts.0.operands(visit);
                parts.1.operands(visit);
                parts.2.operands(visit);
            }
            Self::Condition(inner) => inner.operands(visit),
        }
    }

    /// Its type.
    pub(crate) fn value_type(&self) -> Type {
        match self {
            Self::Constant(constant) => constant.value_type(),
            Self::Field(field) => field.value_type(),
            Self::Entry(..) => Type::String,
            Self::Variable(_, value_type) => *value_type,
            Self::VariablePart(_, part) => part.value_type(),
            Self::Size(_) | Self::TimePart(..) => Type::Int,
            Self::Sum(sides) => match sides.each_ref().map(|side| side.value_type()) {
                [_, Type::Timestamp] => Type::Timestamp,
                [left, _] => left,
            },
            Self::Difference(sides) => match sides.each_ref().map(|side| side.value_type()) {
                [Type::Timestamp, Type::Timestamp] => Type::Duration,
                [left, _] => left,
            },
            Self::If(parts) => parts.1.value_type(),
            Self::Condition(_) => Type::Bool,
        }
    }
}

impl Constant {
    const fn value_type(&self) -> Type {
        match self {
            Self::Int(_) => Type::Int,
            Self::String(_) => Type::String,
            Self::Ip(_) => Type::Ip,
            Self::Strings(_) => Type::Strings,
            Self::Ints(_) => Type::Ints,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
        }
    }
}
