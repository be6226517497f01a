//! Message templates: text with `{{field}}` in it, parsed at load and filled in on demand.

use std::fmt::Write as _;

use crate::error::Mistake;
use crate::field::{Field, Fields};

/// A rule's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            let at = text.len() - rest.len() + open;
            let close = rest[open..]
                .find("}}")
                .ok_or_else(|| Mistake::new(at, "`{{` without `}}` in the message"))?;
            let name = rest[open + 2..open + close].trim();
            let field = Field::from_name(name).ok_or_else(|| {
                let reason = format!("the message names the unknown field `{name}`");
                Mistake::unknown(at, reason, name, Field::names().iter().map(AsRef::as_ref))
            })?;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            pieces.push(Piece::Field(field));
            rest = &rest[open + close + 2..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The message for an event. A field that the event does not have is shown as `?`.
    #[must_use]
    pub fn render(&self, fields: &dyn Fields) -> String {
        let mut message = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => message.push_str(text),
                Piece::Field(field) => {
                    let value = fields.get(*field);
                    if value.is_present() {
                        // Writing to a String does not fail.
                        let _ = write!(message, "{value}");
                    } else {
                        message.push('?');
                    }
                }
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in() {
        let event =
            serde_json::json!({"process": {"executable": "/bin/cat", "args": ["cat", "x"]}});
        let template = Template::parse("{{process.executable}} ({{ process.args }}) {{file.path}}");
        assert_eq!(template.unwrap().render(&event), "/bin/cat (cat x) ?");
    }

    #[test]
    fn mistakes_have_a_place() {
        let mistake = Template::parse("a {{file.pth}}").unwrap_err();
        assert_eq!(
            (mistake.at, mistake.nearest.as_deref()),
            (2, Some("file.path"))
        );
        assert_eq!(Template::parse("{{x").unwrap_err().at, 0);
    }
}
