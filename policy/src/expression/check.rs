//! Syntax → typed condition: resolves names, checks types, compiles patterns.
//!
//! Goes on after a mistake where it can, so that all of an expression's are listed.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::Offset;

use super::functions;
use super::parse::{Node, Syntax};
use super::pattern::Pattern;
use super::time::{self, TimePart};
use super::typed::{Condition, Constant, Operand, Order, Set, TextTest};
use super::{Cidr, List, Lists};
use crate::error::Mistake;
use crate::field::{Kinds, Type};

/// Checks an expression that must be a bool.
pub(super) fn check(
    syntax: &Syntax,
    kinds: Kinds,
    lists: &Lists,
) -> Result<Condition, Vec<Mistake>> {
    let mut checker = Checker {
        kinds,
        lists,
        variables: Vec::new(),
        mistakes: Vec::new(),
    };
    match checker.condition(syntax) {
        Some(condition) if checker.mistakes.is_empty() => Ok(condition),
        _ => Err(checker.mistakes),
    }
}

/// What a variable of a quantifier is.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    Value(Type),
    Process,
}

pub(super) struct Checker<'c> {
    pub(super) kinds: Kinds,
    pub(super) lists: &'c Lists,
    /// Innermost last.
    pub(super) variables: Vec<(String, Bound)>,
    pub(super) mistakes: Vec<Mistake>,
}

/// `None` means that a mistake was noted.
impl Checker<'_> {
    pub(super) fn refuse<T>(&mut self, at: usize, reason: impl Into<String>) -> Option<T> {
        self.mistakes.push(Mistake::new(at, reason));
        None
    }

    fn condition(&mut self, syntax: &Syntax) -> Option<Condition> {
        match &syntax.node {
            Node::Bool(value) => Some(Condition::Constant(*value)),
            Node::Not(inner) => self
                .condition(inner)
                .map(|inner| Condition::Not(Box::new(inner))),
            Node::All(parts) => self.conditions(parts).map(Condition::All),
            Node::Any(parts) => self.conditions(parts).map(Condition::Any),
            Node::If(parts) => {
                let checked = self.conditions(&**parts)?;
                let parts = <[Condition; 3]>::try_from(checked).ok()?;
                Some(Condition::If(Box::new(parts)))
            }
            Node::Binary("in", sides) => self.membership(sides),
            Node::Binary(operator @ ("==" | "!=" | "<" | "<=" | ">" | ">="), sides) => {
                self.comparison(operator, sides)
            }
            Node::Call {
                receiver: Some(receiver),
                name,
                name_at,
                arguments,
            } if name != "size" && TimePart::from_method(name).is_none() => {
                self.method(receiver, name, *name_at, arguments)
            }
            Node::Call {
                receiver: None,
                name,
                name_at,
                arguments,
            } if name == "has" => {
                let [argument] = self.arguments(name, *name_at, arguments)?;
                let Node::Path(path) = &argument.node else {
                    return self.refuse(argument.at, "has() takes a field");
                };
                self.path(path, argument.at).map(Condition::Has)
            }
            _ => {
                let operand = self.operand(syntax)?;
                match operand.value_type() {
                    Type::Bool => Some(Condition::Value(operand)),
                    other => self.refuse(
                        syntax.at,
                        format!("a condition is needed here, and this is {}", other.name()),
                    ),
                }
            }
        }
    }

    fn conditions(&mut self, parts: &[Syntax]) -> Option<Vec<Condition>> {
        // Each is checked, so that the mistakes of all are listed.
        let checked: Vec<_> = parts.iter().map(|part| self.condition(part)).collect();
        checked.into_iter().collect()
    }

    fn operand(&mut self, syntax: &Syntax) -> Option<Operand> {
        let at = syntax.at;
        match &syntax.node {
            Node::Int(number) => Some(Operand::Constant(Constant::Int(*number))),
            Node::String(text) => Some(Operand::Constant(Constant::String(text.clone()))),
            Node::List(items) => self.list(items).map(Operand::Constant),
            Node::Path(path) => self.path(path, at),
            Node::Entry(path, key) => self.entry(path, key, at),
            Node::Binary(operator @ ("+" | "-"), sides) => self.arithmetic(operator, sides),
            Node::Binary(operator @ ("*" | "/" | "%"), _) => {
                self.refuse(at, format!("the operator `{operator}` is not supported"))
            }
            Node::If(parts) => {
                let [condition, yes, no] = &**parts;
                let condition = self.condition(condition);
                let (yes, no) = (self.operand(yes), self.operand(no));
                let parts = (condition?, yes?, no?);
                let (yes, no) = (parts.1.value_type(), parts.2.value_type());
                if yes != no {
                    let reason = format!("`?:` gives {} or {}", yes.name(), no.name());
                    return self.refuse(at, reason);
                }
                Some(Operand::If(Box::new(parts)))
            }
            Node::Call {
                receiver,
                name,
                name_at,
                arguments,
            } => match (&**name, receiver) {
                ("size", Some(receiver)) => {
                    let [] = self.arguments(name, *name_at, arguments)?;
                    self.size(receiver)
                }
                ("size", None) => {
                    let [argument] = self.arguments(name, *name_at, arguments)?;
                    self.size(argument)
                }
                ("duration" | "timestamp", None) => self.time_literal(name, *name_at, arguments),
                (_, Some(receiver)) if let Some(part) = TimePart::from_method(name) => {
                    self.time_part(receiver, part, *name_at, arguments)
                }
                ("cidr", None) => self.refuse(
                    at,
                    "cidr() is used as `cidr('10.0.0.0/8').containsIP(…)` only",
                ),
                ("has", None) | (_, Some(_)) => self.as_operand(syntax),
                (_, None) => {
                    self.mistakes
                        .push(functions::missing(name, *name_at, false));
                    None
                }
            },
            Node::Bool(_) | Node::Not(_) | Node::All(_) | Node::Any(_) | Node::Binary(..) => {
                self.as_operand(syntax)
            }
        }
    }

    /// `container.labels['app']`
    fn entry(&mut self, path: &str, key: &str, at: usize) -> Option<Operand> {
        match self.path(path, at)? {
            map if map.value_type() == Type::Map => {
                Some(Operand::Entry(Box::new(map), key.to_owned()))
            }
            other => {
                let reason = format!("`{path}` is a {}, and no map", other.value_type().name());
                self.refuse(at, reason)
            }
        }
    }

    fn as_operand(&mut self, syntax: &Syntax) -> Option<Operand> {
        self.condition(syntax)
            .map(|condition| Operand::Condition(Box::new(condition)))
    }

    fn size(&mut self, syntax: &Syntax) -> Option<Operand> {
        let operand = self.operand(syntax)?;
        match operand.value_type() {
            Type::String | Type::Strings | Type::Ints | Type::Processes => {
                Some(Operand::Size(Box::new(operand)))
            }
            other => self.refuse(syntax.at, format!("size() of {}", other.name())),
        }
    }

    fn arithmetic(&mut self, operator: &str, sides: &[Syntax; 2]) -> Option<Operand> {
        let (left, right) = (self.operand(&sides[0]), self.operand(&sides[1]));
        let operands = Box::new([left?, right?]);
        match (operator, operands[0].value_type(), operands[1].value_type()) {
            ("+", Type::Int, Type::Int) | ("+", Type::String, Type::String) => {
                Some(Operand::Sum(operands))
            }
            ("+", Type::Timestamp, Type::Duration)
            | ("+", Type::Duration, Type::Timestamp | Type::Duration) => {
                Some(Operand::Sum(operands))
            }
            ("-", Type::Int, Type::Int)
            | ("-", Type::Timestamp, Type::Timestamp | Type::Duration)
            | ("-", Type::Duration, Type::Duration) => Some(Operand::Difference(operands)),
            (_, left, right) => {
                let reason = format!("`{}` {operator} `{}`", left.name(), right.name());
                self.refuse(sides[0].at, format!("{reason} is not defined"))
            }
        }
    }

    /// `duration('90s')`, `timestamp('2026-11-22T19:00:00Z')`
    fn time_literal(&mut self, name: &str, at: usize, arguments: &[Syntax]) -> Option<Operand> {
        let [argument] = self.arguments(name, at, arguments)?;
        let Node::String(text) = &argument.node else {
            return self.refuse(argument.at, format!("{name}() takes a string literal"));
        };
        let constant = match name {
            "duration" => time::duration(text).map(Constant::Duration),
            _ => time::instant(text).map(Constant::Timestamp),
        };
        let form = match name {
            "duration" => "duration such as 500ms, 90s or 1h30m",
            _ => "time such as 2026-11-22T19:00:00Z (RFC 3339)",
        };
        match constant {
            Some(constant) => Some(Operand::Constant(constant)),
            None => self.refuse(argument.at, format!("`{text}` is no {form}")),
        }
    }

    /// `time.getHours()`, `time.getHours('+02:00')`, `duration.getHours()`
    fn time_part(
        &mut self,
        receiver: &Syntax,
        part: TimePart,
        name_at: usize,
        arguments: &[Syntax],
    ) -> Option<Operand> {
        let name = part.method();
        let operand = self.operand(receiver)?;
        match operand.value_type() {
            Type::Timestamp => {}
            Type::Duration if part.is_of_durations() && arguments.is_empty() => {}
            other => return self.refuse(name_at, format!("{name}() of {}", other.name())),
        }
        let offset = match arguments {
            [] => Offset::UTC,
            [
                Syntax {
                    node: Node::String(text),
                    at,
                },
            ] => match time::offset(text) {
                Some(offset) => offset,
                None => {
                    let reason = format!(
                        "`{text}` is no offset such as '+02:00', or 'UTC': names of zones are not \
                         known on every machine"
                    );
                    return self.refuse(*at, reason);
                }
            },
            _ => return self.refuse(name_at, format!("{name}() takes an offset, '+02:00'")),
        };
        Some(Operand::TimePart(Box::new(operand), part, offset))
    }

    /// A list literal: strings or numbers, constants all.
    fn list(&mut self, items: &[Syntax]) -> Option<Constant> {
        if let Some(Syntax {
            node: Node::Int(_), ..
        }) = items.first()
        {
            let mut numbers = Vec::with_capacity(items.len());
            for item in items {
                let Node::Int(number) = item.node else {
                    return self.refuse(item.at, "this list is one of numbers");
                };
                numbers.push(number);
            }
            numbers.sort_unstable();
            return Some(Constant::Ints(numbers));
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            let Node::String(text) = &item.node else {
                return self.refuse(item.at, "the elements of a list are strings, or numbers");
            };
            texts.push(text.clone());
        }
        texts.sort_unstable();
        Some(Constant::Strings(Arc::new(List::new(texts))))
    }

    fn comparison(&mut self, operator: &str, sides: &[Syntax; 2]) -> Option<Condition> {
        let (left, right) = (self.operand(&sides[0]), self.operand(&sides[1]));
        let (mut left, mut right) = (left?, right?);
        self.address_literal(&mut left, &right, sides[0].at)?;
        self.address_literal(&mut right, &left, sides[1].at)?;
        let (a, b) = (left.value_type(), right.value_type());
        let ordered = matches!(
            a,
            Type::Int | Type::String | Type::Timestamp | Type::Duration
        );
        let equal = ordered || matches!(a, Type::Bool | Type::Ip);
        if a != b || !equal || !ordered && !matches!(operator, "==" | "!=") {
            let reason = format!("{} {operator} {} is not defined", a.name(), b.name());
            return self.refuse(sides[0].at, reason);
        }
        let order = match operator {
            "==" => return Some(Condition::Equal(left, right)),
            "!=" => return Some(Condition::Not(Box::new(Condition::Equal(left, right)))),
            "<" => Order::Less,
            "<=" => Order::LessOrEqual,
            ">" => Order::Greater,
            _ => Order::GreaterOrEqual,
        };
        Some(Condition::Order(order, left, right))
    }

    /// Turns a string literal that is compared with an address into an address.
    fn address_literal(&mut self, literal: &mut Operand, other: &Operand, at: usize) -> Option<()> {
        if let (Operand::Constant(Constant::String(text)), Type::Ip) =
            (&*literal, other.value_type())
        {
            let address = self.address(text, at)?;
            *literal = Operand::Constant(Constant::Ip(address));
        }
        Some(())
    }

    fn address(&mut self, text: &str, at: usize) -> Option<IpAddr> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(address.to_canonical());
        }
        if Cidr::parse(text).is_some() {
            let reason = format!("`{text}` is a network: use cidr('{text}').containsIP(…)");
            return self.refuse(at, reason);
        }
        self.refuse(at, format!("`{text}` is no address"))
    }

    fn membership(&mut self, sides: &[Syntax; 2]) -> Option<Condition> {
        let (left, right) = (self.operand(&sides[0]), self.operand(&sides[1]));
        let (left, right) = (left?, right?);
        let set = match (left.value_type(), &right) {
            // Nothing is in an empty list, of whatever type.
            (_, Operand::Constant(Constant::Strings(list))) if list.is_empty() => {
                return Some(Condition::Constant(false));
            }
            (Type::String, Operand::Constant(Constant::Strings(list))) => {
                Set::Strings(list.clone())
            }
            (Type::Int, Operand::Constant(Constant::Ints(list))) => Set::Ints(list.clone()),
            (Type::Ip, Operand::Constant(Constant::Strings(list))) => {
                let Some(addresses) = list.addresses() else {
                    // Says which one is none.
                    for text in list.iter() {
                        self.address(text, sides[1].at)?;
                    }
                    return None;
                };
                Set::Ips(addresses)
            }
            (Type::String, list) if matches!(list.value_type(), Type::Strings | Type::Map) => {
                return Some(Condition::In(left, right));
            }
            (element, list) => {
                let reason = format!(
                    "{} in {} is not defined",
                    element.name(),
                    list.value_type().name()
                );
                return self.refuse(sides[0].at, reason);
            }
        };
        Some(Condition::OneOf(left, set))
    }

    fn method(
        &mut self,
        receiver: &Syntax,
        name: &str,
        name_at: usize,
        arguments: &[Syntax],
    ) -> Option<Condition> {
        let test = match name {
            "startsWith" => TextTest::StartsWith,
            "endsWith" => TextTest::EndsWith,
            "contains" => TextTest::Contains,
            "matches" | "glob" => {
                let text = self.text(receiver);
                let [argument] = self.arguments(name, name_at, arguments)?;
                let Node::String(pattern) = &argument.node else {
                    return self.refuse(argument.at, format!("{name}() takes a string literal"));
                };
                let compile = if name == "glob" {
                    Pattern::glob
                } else {
                    Pattern::regex
                };
                return match compile(pattern) {
                    Ok(pattern) => Some(Condition::Matches(text?, pattern)),
                    Err(reason) => self.refuse(argument.at, reason),
                };
            }
            "containsIP" => return self.within(receiver, name_at, arguments),
            "exists" | "all" => return self.quantified(receiver, name, name_at, arguments),
            _ => {
                self.mistakes.push(functions::missing(name, name_at, true));
                return None;
            }
        };
        let text = self.text(receiver);
        let [argument] = self.arguments(name, name_at, arguments)?;
        let by = self.text(argument);
        Some(Condition::Text(test, text?, by?))
    }

    fn text(&mut self, syntax: &Syntax) -> Option<Operand> {
        let operand = self.operand(syntax)?;
        match operand.value_type() {
            Type::String => Some(operand),
            other => self.refuse(
                syntax.at,
                format!("a string is needed here, and this is {}", other.name()),
            ),
        }
    }

    /// `cidr('…').containsIP(address)`
    fn within(
        &mut self,
        receiver: &Syntax,
        name_at: usize,
        arguments: &[Syntax],
    ) -> Option<Condition> {
        let Node::Call {
            receiver: None,
            name,
            name_at: cidr_at,
            arguments: networks,
        } = &receiver.node
        else {
            return self.refuse(
                name_at,
                "containsIP() is used as `cidr('…').containsIP(…)` only",
            );
        };
        if name != "cidr" {
            return self.refuse(
                name_at,
                "containsIP() is used as `cidr('…').containsIP(…)` only",
            );
        }
        let [network] = self.arguments("cidr", *cidr_at, networks)?;
        let Node::String(text) = &network.node else {
            return self.refuse(network.at, "cidr() takes a string literal");
        };
        let Some(cidr) = Cidr::parse(text) else {
            let reason = format!("`{text}` is no network (address/bits, with zero host bits)");
            return self.refuse(network.at, reason);
        };
        let [argument] = self.arguments("containsIP", name_at, arguments)?;
        let address = self.operand(argument)?;
        if address.value_type() != Type::Ip {
            let reason = format!("containsIP() of {}", address.value_type().name());
            return self.refuse(argument.at, reason);
        }
        Some(Condition::Within(cidr, address))
    }

    /// `list.exists(variable, condition)`, or `all`.
    fn quantified(
        &mut self,
        receiver: &Syntax,
        name: &str,
        name_at: usize,
        arguments: &[Syntax],
    ) -> Option<Condition> {
        let list = self.operand(receiver)?;
        let bound = match list.value_type() {
            Type::Strings => Bound::Value(Type::String),
            Type::Ints => Bound::Value(Type::Int),
            Type::Processes => Bound::Process,
            other => return self.refuse(receiver.at, format!("{name}() on {}", other.name())),
        };
        let [variable, body] = self.arguments(name, name_at, arguments)?;
        let Node::Path(variable) = &variable.node else {
            return self.refuse(
                variable.at,
                format!("{name}() takes a name and a condition"),
            );
        };
        if variable.contains('.') {
            return self.refuse(name_at, format!("{name}() takes a name and a condition"));
        }
        self.variables.push((variable.clone(), bound));
        let body = self.condition(body);
        self.variables.pop();
        Some(Condition::Quantified {
            all: name == "all",
            list,
            body: Box::new(body?),
        })
    }

    fn arguments<'s, const N: usize>(
        &mut self,
        name: &str,
        at: usize,
        arguments: &'s [Syntax],
    ) -> Option<&'s [Syntax; N]> {
        match arguments.try_into() {
            Ok(arguments) => Some(arguments),
            Err(_) => self.refuse(
                at,
                format!(
                    "{name}() takes {N} argument{}",
                    if N == 1 { "" } else { "s" }
                ),
            ),
        }
    }
}
