//! Why an event is judged as it is: of each rule on its kind, which parts of the condition hold.

use serde::Serialize;
use serde_json::Value as Json;

use crate::expression::{self, Condition};
use crate::field::{Fields, Recorded, Unrecognised};
use crate::replay::Retelling;
use crate::sequence::{History, Moment, Step};
use crate::snapshot::{Rule, Snapshot};

/// Why a recorded event is judged as it is. Its JSON is that of `policy explain --event --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedEvent<'s> {
    /// What happened.
    pub action: &'static str,
    /// What is to be done, the modes considered.
    pub verdict: &'static str,
    /// The rules on this kind of event, in the order in which they are tried.
    pub rules: Vec<TriedRule<'s>>,
}

/// A rule and the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TriedRule<'s> {
    /// Name of its policy.
    pub policy: &'s str,
    /// Its id.
    pub id: &'s str,
    /// What it asks for.
    pub action: &'static str,
    /// Whether it matches.
    pub matches: bool,
    /// Whether it is the one that decides.
    pub decides: bool,
    /// The rule of the same policy that matches before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<&'s str>,
    /// The parts of its condition that must hold all, scope and exceptions among them.
    pub conditions: Vec<Part>,
}

/// A part of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// As CEL; of long lists the beginning.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
}

impl Snapshot {
    /// Explains the verdict on the next event of a retelling, as the sensor printed it. What was redacted, or cut, is judged as it
    /// was printed.
    ///
    /// # Errors
    /// When it is no event that rules can be on.
    pub fn explain_event(
        &self,
        event: &Json,
        retelling: &mut Retelling,
    ) -> Result<ExplainedEvent<'_>, Unrecognised> {
        let fields = Recorded::new(event)?;
        Ok(retelling.tell(&fields, |moment, history| {
            let explained = self.explain_recorded(&fields, moment, history);
            self.remember(fields.kind(), &fields, moment, history);
            explained
        }))
    }

    fn explain_recorded(
        &self,
        fields: &Recorded<'_>,
        moment: &Moment<'_>,
        history: &History,
    ) -> ExplainedEvent<'_> {
        let judgement = self.judge_after(fields.kind(), fields, moment, history);
        let mut first: Option<&Rule> = None;
        let mut rules = Vec::new();
        for number in &self.by_kind[fields.kind().index()] {
            let Some(rule) = self.rule(*number) else {
                continue;
            };
            let mut conditions = parts(&rule.when.condition, fields);
            if let Some(step) = rule.steps().next() {
                conditions.push(Part {
                    text: step.text(),
                    holds: self.has_happened(*number, rule, fields, moment, history),
                });
            }
            let matches = conditions.iter().all(|part| part.holds);
            let before = first.filter(|first| first.policy == rule.policy);
            if matches && before.is_none() {
                first = Some(rule);
            }
            rules.push(TriedRule {
                policy: &rule.ruleset,
                id: &rule.id,
                action: rule.action.name(),
                matches,
                decides: judgement
                    .rule
                    .is_some_and(|(decides, _)| decides == *number),
                behind: before.map(|rule| rule.id.as_str()),
                conditions,
            });
        }
        ExplainedEvent {
            action: fields.kind().action(),
            verdict: judgement.verdict.name(),
            rules,
        }
    }
}

impl Step {
    /// As in `after file.open (file.path == '/x') within 30s by tree`.
    fn text(&self) -> String {
        let on: Vec<&str> = self.on.iter().map(|kind| kind.action()).collect();
        let when = expression::text(&self.when.condition, 0);
        let text = format!(
            "after {} ({when}) within {:?} by {}",
            on.join(" or "),
            self.within,
            self.by.name()
        );
        match &self.after {
            Some(step) => format!("{text}, {}", step.text()),
            None => text,
        }
    }
}

/// The parts of a conjunction, those of conjunctions in it among them.
fn parts(condition: &Condition, fields: &dyn Fields) -> Vec<Part> {
    match condition {
        Condition::All(all) => all.iter().flat_map(|part| parts(part, fields)).collect(),
        part => vec![Part {
            text: expression::text(part, 0),
            holds: expression::holds(part, fields),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Options, compile};
    use crate::document::{Mode, Policy};
    use crate::field::Kinds;
    use serde_json::json;

    #[test]
    fn each_rule_says_which_of_its_parts_hold_and_one_decides() {
        let policy = json!({
            "apiVersion": "holdfast/v1", "kind": "Policy", "name": "p", "mode": "enforce",
            "scope": "process.user.id == '0'",
            "rules": [
                {"id": "other", "on": ["file.open"], "when": "file.path == '/b'", "action": "deny"},
                {"id": "this", "on": ["file.open"], "when": "file.path.startsWith('/a')",
                 "except": ["process.name == 'x'"], "action": "deny"},
                {"id": "late", "on": ["file.open"], "when": "true", "action": "audit"},
                {"id": "else", "on": ["file.delete"], "when": "true", "action": "audit"}]});
        let policy = Policy::parse("p", policy.to_string().as_bytes()).unwrap();
        let options = Options {
            epoch: 1,
            mode: Mode::Enforce,
            reported: Kinds::NONE,
        };
        let snapshot = compile(&[policy], &options).unwrap();
        let event = json!({"event": {"action": "file.open"}, "file": {"path": "/a"},
                           "process": {"name": "y", "user": {"id": "0"}}});
        let explained = snapshot
            .explain_event(&event, &mut Retelling::default())
            .unwrap();
        assert_eq!((explained.action, explained.verdict), ("file.open", "deny"));
        let [other, this, late] = &explained.rules[..] else {
            panic!("three rules are on it: {explained:?}")
        };
        let holds = |rule: &TriedRule<'_>| {
            rule.conditions
                .iter()
                .map(|it| it.holds)
                .collect::<Vec<_>>()
        };
        assert_eq!((other.matches, holds(other)), (false, vec![true, false]));
        assert_eq!((this.matches, this.decides), (true, true));
        let texts: Vec<&str> = this.conditions.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "process.user.id == '0'",
                "file.path.startsWith('/a')",
                "!(process.name == 'x')"
            ]
        );
        assert_eq!(
            (late.matches, late.decides, late.behind),
            (true, false, Some("this"))
        );
    }
}
