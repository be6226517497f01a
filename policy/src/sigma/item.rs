//! One line of a detection: a field, what is done with it, and values.

use std::net::IpAddr;

use rsigma_parser::ast::{DetectionItem, Modifier};
use rsigma_parser::value::{SigmaString, SigmaValue, SpecialChar, StringPart};

use super::fields::{Mapped, Source};
use super::{all_of, any_of};
use crate::expression::{Cidr, literal};
use crate::field::Type;

/// What a value is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Contains,
    StartsWith,
    EndsWith,
    Regex,
    Cidr,
    /// `<` and so on; the operator.
    Order(&'static str),
}

/// What the modifiers of a field ask for.
#[derive(Clone, Copy, Debug)]
struct Modified {
    test: Test,
    /// All values, and not one of them.
    all: bool,
    /// Upper and lower case are not the same.
    cased: bool,
    negated: bool,
    exists: bool,
    /// The value is the name of another field.
    by_field: bool,
    /// `(?i)` and the others, of regular expressions.
    flags: [Option<char>; 3],
}

/// The condition that a line is.
pub(super) fn condition(item: &DetectionItem, source: Source) -> Result<String, String> {
    let Some(name) = &item.field.name else {
        return Err("a value without a field".to_owned());
    };
    let modified = modified(&item.field.modifiers).map_err(|it| format!("`{name}|{it}`"))?;
    let (field, kind, is_path) = match source.field(name)? {
        Mapped::Constant(value) => return constant(value, &item.values),
        Mapped::Field {
            name,
            kind,
            is_path,
        } => (name, kind, is_path),
    };
    if modified.exists {
        return match item.values.as_slice() {
            [SigmaValue::Bool(true)] => Ok(format!("has({field})")),
            [SigmaValue::Bool(false)] => Ok(format!("!has({field})")),
            _ => Err(format!("`{name}|exists` takes true or false")),
        };
    }
    let of_list = kind == Type::Strings;
    let compared = Compared {
        field: if of_list { "v" } else { &field },
        kind: if of_list { Type::String } else { kind },
        cased: modified.cased || is_path,
        modified,
        source,
    };
    let tested = compared.tested(&item.values);
    let mut condition = tested.map_err(|reason| format!("`{name}`: {reason}"))?;
    if of_list {
        condition = format!("{field}.exists(v, {condition})");
    }
    Ok(if modified.negated {
        format!("!({condition})")
    } else {
        condition
    })
}

/// What a line says about a field that is the same in each event.
fn constant(value: &str, values: &[SigmaValue]) -> Result<String, String> {
    let is_said = values.iter().any(|it| match it {
        SigmaValue::Bool(it) => it.to_string() == value,
        SigmaValue::String(it) => it.original.eq_ignore_ascii_case(value),
        _ => false,
    });
    Ok(is_said.to_string())
}

fn modified(modifiers: &[Modifier]) -> Result<Modified, &'static str> {
    let mut modified = Modified {
        test: Test::Equal,
        all: false,
        cased: false,
        negated: false,
        exists: false,
        by_field: false,
        flags: [None; 3],
    };
    for modifier in modifiers {
        match modifier {
            Modifier::Contains => modified.test = Test::Contains,
            Modifier::StartsWith => modified.test = Test::StartsWith,
            Modifier::EndsWith => modified.test = Test::EndsWith,
            Modifier::Re => modified.test = Test::Regex,
            Modifier::Cidr => modified.test = Test::Cidr,
            Modifier::Gt => modified.test = Test::Order(">"),
            Modifier::Gte => modified.test = Test::Order(">="),
            Modifier::Lt => modified.test = Test::Order("<"),
            Modifier::Lte => modified.test = Test::Order("<="),
            Modifier::Neq => modified.negated = true,
            Modifier::All => modified.all = true,
            Modifier::Cased => modified.cased = true,
            Modifier::Exists => modified.exists = true,
            Modifier::FieldRef => modified.by_field = true,
            Modifier::IgnoreCase => modified.flags[0] = Some('i'),
            Modifier::Multiline => modified.flags[1] = Some('m'),
            Modifier::DotAll => modified.flags[2] = Some('s'),
            Modifier::Base64 | Modifier::Base64Offset => return Err("base64` is not supported"),
            Modifier::Wide | Modifier::Utf16 | Modifier::Utf16be => {
                return Err("utf16` is not supported");
            }
            Modifier::WindAsh => return Err("windash` is about Windows"),
            Modifier::Expand => return Err("expand` needs values that are not in the rule"),
            Modifier::Minute
            | Modifier::Hour
            | Modifier::Day
            | Modifier::Week
            | Modifier::Month
            | Modifier::Year => return Err("…` on parts of a time is not supported"),
        }
    }
    Ok(modified)
}

/// A field, and how it is compared.
struct Compared<'i> {
    field: &'i str,
    kind: Type,
    cased: bool,
    modified: Modified,
    source: Source,
}

/// What one value asks for.
enum Tested {
    /// Strings that the field may equal: several are one list.
    Equals(String),
    /// A regular expression: several are one.
    Matches(String),
    Condition(String),
}

impl Compared<'_> {
    fn tested(&self, values: &[SigmaValue]) -> Result<String, String> {
        let tested = values.iter().map(|value| self.value(value));
        let tested = tested.collect::<Result<Vec<Tested>, String>>()?;
        if self.modified.all {
            return all_of(tested.into_iter().map(|it| self.alone(it)).collect());
        }
        let (mut equals, mut matches, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for it in tested {
            match it {
                Tested::Equals(text) => equals.push(text),
                Tested::Matches(pattern) => matches.push(pattern),
                Tested::Condition(condition) => parts.push(condition),
            }
        }
        if equals.len() > 1 {
            parts.insert(0, format!("{} in [{}]", self.field, equals.join(", ")));
        } else {
            let alone = equals.into_iter().map(Tested::Equals);
            parts.extend(alone.map(|it| self.alone(it)));
        }
        if !matches.is_empty() {
            parts.push(self.alone(Tested::Matches(matches.join("|"))));
        }
        any_of(parts)
    }

    fn alone(&self, tested: Tested) -> String {
        let field = self.field;
        match tested {
            Tested::Equals(value) => format!("{field} == {value}"),
            Tested::Matches(pattern) => {
                let flags = match self.modified.test {
                    Test::Regex => self.modified.flags.iter().flatten().collect(),
                    _ if self.cased => "s".to_owned(),
                    _ => "is".to_owned(),
                };
                let flags = match flags.as_str() {
                    "" => String::new(),
                    flags => format!("(?{flags})"),
                };
                format!("{field}.matches({})", literal(&format!("{flags}{pattern}")))
            }
            Tested::Condition(condition) => condition,
        }
    }

    fn value(&self, value: &SigmaValue) -> Result<Tested, String> {
        let absent = || Tested::Condition(format!("!has({})", self.field));
        match (value, self.kind) {
            (SigmaValue::Null, _) => Ok(absent()),
            (SigmaValue::String(text), _) if self.modified.by_field => self.by_field(text),
            (SigmaValue::String(text), Type::String) => {
                // `has()` of an empty string is false.
                if text.original.is_empty() && self.modified.test == Test::Equal {
                    return Ok(absent());
                }
                self.text(text)
            }
            (SigmaValue::Integer(number), Type::String) => {
                self.text(&SigmaString::from_raw(&number.to_string()))
            }
            (SigmaValue::Integer(number), Type::Int) => self.number(*number),
            (SigmaValue::String(text), Type::Int) => match text.original.parse() {
                Ok(number) => self.number(number),
                Err(_) => Err(format!("`{text}` is no number")),
            },
            (SigmaValue::String(text), Type::Ip) => self.address(&text.original),
            (SigmaValue::Bool(value), Type::Bool) => {
                Ok(Tested::Condition(format!("{} == {value}", self.field)))
            }
            (value, kind) => Err(format!("{} is compared with {value:?}", kind.name())),
        }
    }

    fn by_field(&self, text: &SigmaString) -> Result<Tested, String> {
        match (self.modified.test, self.source.field(&text.original)?) {
            (Test::Equal, Mapped::Field { name, .. }) => {
                Ok(Tested::Condition(format!("{} == {name}", self.field)))
            }
            _ => Err("`fieldref` is supported for equality".to_owned()),
        }
    }

    fn number(&self, number: i64) -> Result<Tested, String> {
        match self.modified.test {
            Test::Equal => Ok(Tested::Equals(number.to_string())),
            Test::Order(operator) => Ok(Tested::Condition(format!(
                "{} {operator} {number}",
                self.field
            ))),
            _ => Err("a number is compared as a text".to_owned()),
        }
    }

    fn address(&self, text: &str) -> Result<Tested, String> {
        let within = |network: &str| {
            Tested::Condition(format!(
                "cidr({}).containsIP({})",
                literal(network),
                self.field
            ))
        };
        match self.modified.test {
            Test::Cidr if Cidr::parse(text).is_some() => Ok(within(text)),
            Test::Cidr => Err(format!("`{text}` is no network")),
            Test::Equal if text.parse::<IpAddr>().is_ok() => Ok(Tested::Equals(literal(text))),
            Test::Equal | Test::StartsWith => {
                let network = octets(text, self.modified.test == Test::Equal);
                let network =
                    network.ok_or_else(|| format!("`{text}` is no address or network"))?;
                Ok(within(&network))
            }
            _ => Err("an address is compared as a text: use `cidr`".to_owned()),
        }
    }

    fn text(&self, text: &SigmaString) -> Result<Tested, String> {
        let field = self.field;
        let test = self.modified.test;
        if test == Test::Regex {
            // Of several expressions one is made.
            return Ok(Tested::Matches(format!("(?:{})", text.original)));
        }
        let plain = text.as_plain().filter(|plain| {
            // Where there are no letters, case does not matter.
            self.cased || !plain.chars().any(char::is_alphabetic)
        });
        if let Some(plain) = plain {
            let plain = literal(&plain);
            return match test {
                Test::Equal => Ok(Tested::Equals(plain)),
                Test::Contains => Ok(Tested::Condition(format!("{field}.contains({plain})"))),
                Test::StartsWith => Ok(Tested::Condition(format!("{field}.startsWith({plain})"))),
                Test::EndsWith => Ok(Tested::Condition(format!("{field}.endsWith({plain})"))),
                Test::Order(_) | Test::Cidr | Test::Regex => Err("a text has no order".to_owned()),
            };
        }
        let pattern = pattern(text);
        let (before, behind) = match test {
            Test::Equal => ("^", "$"),
            Test::Contains => ("", ""),
            Test::StartsWith => ("^", ""),
            Test::EndsWith => ("", "$"),
            Test::Order(_) | Test::Cidr | Test::Regex => {
                return Err("a text has no order".to_owned());
            }
        };
        // What may stand in front of anything need not be said.
        let (before, pattern) = match (before, pattern.strip_prefix(".*")) {
            ("^", Some(rest)) => ("", rest),
            _ => (before, pattern.as_str()),
        };
        let (behind, pattern) = match (behind, pattern.strip_suffix(".*")) {
            ("$", Some(rest)) => ("", rest),
            _ => (behind, pattern),
        };
        Ok(Tested::Matches(format!("{before}{pattern}{behind}")))
    }
}

/// A text with wildcards as a regular expression, without anchors.
fn pattern(text: &SigmaString) -> String {
    let part = |part: &StringPart| match part {
        StringPart::Plain(plain) => regex::escape(plain),
        StringPart::Special(SpecialChar::WildcardMulti) => ".*".to_owned(),
        StringPart::Special(SpecialChar::WildcardSingle) => ".".to_owned(),
    };
    text.parts.iter().map(part).collect()
}

/// The network of the addresses that begin with whole octets: `10.1.` or, where a `*` has to stand for the
/// rest, `10.1.*`.
fn octets(text: &str, with_star: bool) -> Option<String> {
    let text = if with_star {
        text.strip_suffix('*')?
    } else {
        text
    };
    let octets = text.strip_suffix('.')?.split('.');
    let octets = octets
        .map(str::parse::<u8>)
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    let bits = octets.len() * 8;
    let mut address = octets;
    (address.len() < 4).then(|| address.resize(4, 0))?;
    let address: Vec<String> = address.iter().map(u8::to_string).collect();
    Some(format!("{}/{bits}", address.join(".")))
}
