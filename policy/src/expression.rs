//! CEL expressions: text → checked condition → truth on an event.
//!
//! The supported part of the Common Expression Language (<https://github.com/google/cel-spec>) is
//! described in `docs/policy.md`; the rest is refused by name. Absence is not an error here: a test on
//! a field that the event does not have is false, and its negation true.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Mistake, Problem};
use crate::field::{Fields, Kinds};

mod address;
mod check;
mod evaluate;
mod functions;
mod lex;
mod list;
mod names;
mod parse;
pub(crate) mod pattern;
mod text;
pub(crate) mod time;
mod typed;

pub(crate) use address::{Cidr, MAPPED};
pub(crate) use evaluate::holds;
pub(crate) use list::{List, path_bytes};
pub(crate) use text::condition as text;
pub use text::literal;
pub(crate) use typed::{Condition, Constant, Operand, Set, TextTest};

/// Longest expression, in bytes: several screens of text. Long lists belong into `lists`.
pub const MAX_BYTES: usize = 16 * 1024;
/// Deepest nesting of an expression; bounds every recursion over it.
pub const MAX_DEPTH: usize = 32;

/// The named lists of a policy.
pub(crate) type Lists = BTreeMap<String, Arc<List>>;

/// A checked expression of type bool.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) condition: Condition,
}

impl Expression {
    /// Reads and checks `text` for rules on `kinds`.
    pub(crate) fn parse(text: &str, kinds: Kinds, lists: &Lists) -> Result<Self, Vec<Mistake>> {
        let syntax = parse::parse(text).map_err(|mistake| vec![mistake])?;
        check::check(&syntax, kinds, lists).map(|condition| Self { condition })
    }

    /// Whether it holds for an event.
    pub(crate) fn holds(&self, fields: &dyn Fields) -> bool {
        holds(&self.condition, fields)
    }
}

/// An expression of its own, not part of a policy: `events --filter`.
#[derive(Clone, Debug)]
pub struct Filter(Expression);

impl Filter {
    /// Reads and checks `text`; every field of every kind of event can be named.
    ///
    /// # Errors
    /// The first thing that is wrong; its column counts in `text`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        Expression::parse(text, Kinds::ALL, &Lists::new())
            .map(Self)
            .map_err(|mistakes| {
                let first = mistakes
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| Mistake::new(0, "invalid"));
                first.at_offset("expression", text, |offset| offset)
            })
    }

    /// Whether an event passes.
    #[must_use]
    pub fn matches(&self, fields: &dyn Fields) -> bool {
        self.0.holds(fields)
    }
}
