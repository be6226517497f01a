//! What a name in an expression stands for.

use super::check::{Bound, Checker};
use super::typed::{Constant, Operand};
use crate::error::Mistake;
use crate::field::{Field, Kinds, Part};

impl Checker<'_> {
    /// A variable, a part of one, a named list, or a field.
    pub(super) fn path(&mut self, path: &str, at: usize) -> Option<Operand> {
        let (root, rest) = path
            .split_once('.')
            .map_or((path, None), |(r, rest)| (r, Some(rest)));
        let outwards = self
            .variables
            .iter()
            .rev()
            .position(|(name, _)| name == root);
        if let Some(outwards) = outwards {
            let bound = self.variables[self.variables.len() - 1 - outwards].1;
            return self.variable(bound, outwards, root, rest, at);
        }
        if root == "lists" {
            return self.named_list(rest.unwrap_or_default(), at);
        }
        let Some(field) = Field::from_name(path) else {
            let names = Field::names();
            let below = format!("{path}.");
            let mut parts = names.iter().filter(|name| name.starts_with(&below));
            let mistake = match parts.next() {
                Some(part) => Mistake::new(
                    at,
                    format!("`{path}` is an object: name one of its fields, such as `{part}`"),
                ),
                None => Mistake::unknown(
                    at,
                    format!("unknown field `{path}`"),
                    path,
                    names.iter().map(AsRef::as_ref),
                ),
            };
            self.mistakes.push(mistake);
            return None;
        };
        if field.kinds().and(self.kinds).is_empty() {
            let actions = |kinds: Kinds| {
                kinds
                    .iter()
                    .map(|kind| kind.action())
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let reason = format!(
                "`{path}` is never present on {}; it is on {}",
                actions(self.kinds),
                actions(field.kinds())
            );
            return self.refuse(at, reason);
        }
        Some(Operand::Field(field))
    }

    fn variable(
        &mut self,
        bound: Bound,
        outwards: usize,
        name: &str,
        rest: Option<&str>,
        at: usize,
    ) -> Option<Operand> {
        match (bound, rest) {
            (Bound::Value(value_type), None) => Some(Operand::Variable(outwards, value_type)),
            (Bound::Value(value_type), Some(_)) => self.refuse(
                at,
                format!("`{name}` is a {} and has no fields", value_type.name()),
            ),
            (Bound::Process, None) => self.refuse(
                at,
                format!(
                    "`{name}` is a process: name one of its fields, such as `{name}.executable`"
                ),
            ),
            (Bound::Process, Some(part)) => match Part::from_name(part) {
                Some(part) => Some(Operand::VariablePart(outwards, part)),
                None => {
                    let names = Part::ALL.iter().map(|part| part.name());
                    let reason = format!("a process in a list has no field `{part}`");
                    self.mistakes
                        .push(Mistake::unknown(at, reason, part, names));
                    None
                }
            },
        }
    }

    fn named_list(&mut self, name: &str, at: usize) -> Option<Operand> {
        match self.lists.get(name) {
            Some(list) => Some(Operand::Constant(Constant::Strings(list.clone()))),
            None => {
                let names = self.lists.keys().map(String::as_str);
                let reason = format!("the policy has no list `{name}`");
                self.mistakes
                    .push(Mistake::unknown(at, reason, name, names));
                None
            }
        }
    }
}
