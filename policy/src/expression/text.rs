//! Conditions as text, for who wants to know which part of one holds: CEL, as far as what was written is
//! still known. Long lists are told by their size, globs by the expression that was made of them.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use super::address::Cidr;
use super::time;
use super::typed::{Condition, Constant, Operand, Order, Set, TextTest};

/// Entries of a list that are told.
const ENTRIES: usize = 4;

/// A condition; `depth` quantifiers are around it. Recursion follows the tree, whose depth is bounded.
pub(crate) fn condition(part: &Condition, depth: usize) -> String {
    let of = |part: &Condition| condition(part, depth);
    let value = |it: &Operand| operand(it, depth);
    match part {
        Condition::Constant(constant) => constant.to_string(),
        Condition::Value(it) => value(it),
        Condition::Not(inner) => match &**inner {
            Condition::Value(_) | Condition::Has(_) | Condition::Text(..) => {
                format!("!{}", of(inner))
            }
            inner => format!("!({})", of(inner)),
        },
        Condition::All(parts) => joined(parts, " && ", depth),
        Condition::Any(parts) => joined(parts, " || ", depth),
        Condition::If(parts) => {
            let [condition, yes, no] = &**parts;
            format!("({} ? {} : {})", of(condition), of(yes), of(no))
        }
        Condition::Equal(a, b) => format!("{} == {}", value(a), value(b)),
        Condition::Order(order, a, b) => {
            let sign = match order {
                Order::Less => "<",
                Order::LessOrEqual => "<=",
                Order::Greater => ">",
                Order::GreaterOrEqual => ">=",
            };
            format!("{} {sign} {}", value(a), value(b))
        }
        Condition::OneOf(it, set) => format!("{} in {}", value(it), of_set(set)),
        Condition::In(it, list) => format!("{} in {}", value(it), value(list)),
        Condition::Text(test, text, by) => {
            let name = match test {
                TextTest::StartsWith => "startsWith",
                TextTest::EndsWith => "endsWith",
                TextTest::Contains => "contains",
            };
            format!("{}.{name}({})", value(text), value(by))
        }
        Condition::Matches(it, pattern) => format!("{}.matches(r'{}')", value(it), pattern.text()),
        Condition::Has(it) => format!("has({})", value(it)),
        Condition::Within(network, it) => {
            format!("cidr('{}').containsIP({})", of_network(network), value(it))
        }
        Condition::Quantified { all, list, body } => format!(
            "{}.{}({}, {})",
            value(list),
            if *all { "all" } else { "exists" },
            variable(depth),
            condition(body, depth + 1)
        ),
    }
}

fn joined(parts: &[Condition], operator: &str, depth: usize) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Condition::All(_) | Condition::Any(_) => format!("({})", condition(part, depth)),
            part => condition(part, depth),
        })
        .collect();
    parts.join(operator)
}

fn operand(part: &Operand, depth: usize) -> String {
    let of = |part: &Operand| operand(part, depth);
    match part {
        Operand::Constant(constant) => match constant {
            Constant::Int(number) => number.to_string(),
            Constant::String(text) => literal(text),
            Constant::Ip(address) => format!("'{address}'"),
            Constant::Strings(list) => listed(list.iter().map(|text| literal(text))),
            Constant::Ints(list) => listed(list.iter().map(i64::to_string)),
            Constant::Timestamp(time) => format!("timestamp('{time}')"),
            Constant::Duration(it) => format!("duration('{}')", time::shown(*it)),
        },
        Operand::Field(field) => field.name().into_owned(),
        Operand::Entry(map, key) => format!("{}[{}]", of(map), literal(key)),
        Operand::Variable(outwards, _) => variable(depth.saturating_sub(1 + outwards)),
        Operand::VariablePart(outwards, part) => {
            let of = variable(depth.saturating_sub(1 + outwards));
            format!("{of}.{}", part.name())
        }
        Operand::Size(inner) => format!("size({})", of(inner)),
        Operand::Sum(sides) => format!("({} + {})", of(&sides[0]), of(&sides[1])),
        Operand::Difference(sides) => format!("({} - {})", of(&sides[0]), of(&sides[1])),
        Operand::TimePart(inner, part, offset) => match offset.seconds() {
            0 => format!("{}.{}()", of(inner), part.method()),
            _ => format!(
                "{}.{}('{}')",
                of(inner),
                part.method(),
                time::shown_offset(*offset)
            ),
        },
        Operand::If(parts) => format!(
            "({} ? {} : {})",
            condition(&parts.0, depth),
            of(&parts.1),
            of(&parts.2)
        ),
        Operand::Condition(inner) => format!("({})", condition(inner, depth)),
    }
}

/// A name for the variable of the quantifier that so many are around: what it was called is not known.
fn variable(depth: usize) -> String {
    format!("v{depth}")
}

fn of_set(set: &Set) -> String {
    match set {
        Set::Strings(texts) => listed(texts.iter().map(|text| literal(text))),
        Set::Ints(numbers) => listed(numbers.iter().map(i64::to_string)),
        Set::Ips(addresses) => listed(addresses.iter().map(|address| format!("'{address}'"))),
    }
}

fn listed(entries: impl ExactSizeIterator<Item = String>) -> String {
    let count = entries.len();
    let told: Vec<String> = entries.take(ENTRIES).collect();
    let mut text = told.join(", ");
    if count > ENTRIES {
        // Writing to a String does not fail.
        let _ = write!(text, ", … {} more", count - ENTRIES);
    }
    format!("[{text}]")
}

/// A string as a literal of CEL.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\\' | '\'' => {
                literal.push('\\');
                literal.push(character);
            }
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

fn of_network(network: &Cidr) -> String {
    let address = Ipv6Addr::from(network.network);
    match IpAddr::V6(address).to_canonical() {
        // IPv4 is what is mapped into the last 32 bits.
        IpAddr::V4(address) if network.bits >= 96 => format!("{address}/{}", network.bits - 96),
        _ => format!("{address}/{}", network.bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::{Expression, Lists};
    use crate::field::Kinds;

    fn text(expression: &str) -> String {
        let expression = Expression::parse(expression, Kinds::ALL, &Lists::new()).unwrap();
        condition(&expression.condition, 0)
    }

    #[test]
    fn what_is_told_is_what_was_written() {
        for same in [
            "file.path == '/etc/it\\'s' && !(process.pid < 5)",
            "file.path.startsWith('/a') || (file.path.endsWith('b') && !has(file.mode))",
            "process.ancestors.exists(v0, v0.args.exists(v1, v1 == 'x') || v0.pid == 1)",
            "cidr('10.0.0.0/8').containsIP(destination.ip) || destination.ip == '::1'",
            "destination.port in [1, 2, 3, 4] && 'O_RDONLY' in holdfast.flags",
            "container.labels['a.b/c'] == 'x' && !('d' in container.labels)",
            "(@timestamp - process.start) < duration('1.5s') && process.start.getHours('+02:00') > 18",
            "size(process.args) > 2 && process.name.matches(r'^(a|b)$')",
        ] {
            assert_eq!(text(same), same);
        }
    }

    #[test]
    fn long_lists_are_told_by_their_size() {
        assert_eq!(
            text("destination.port in [1, 2, 3, 4, 5, 6]"),
            "destination.port in [1, 2, 3, 4, … 2 more]"
        );
    }

    #[test]
    fn what_is_told_means_the_same() {
        let told =
            text("cidr('2001:db8::/32').containsIP(source.ip) ? true : file.path.glob('/a*')");
        assert_eq!(text(&told), told);
    }
}
