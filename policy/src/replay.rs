//! Recorded events through other policies than those they were recorded under.

use holdfast_wire::control::Verdict;
use serde_json::{Value as Json, json};

use crate::field::{Recorded, Unrecognised};
use crate::matcher::Judgement;
use crate::sequence::{History, Moment};
use crate::snapshot::Snapshot;

/// A rule that matched, and what it asks for. Rules that allow are silent and count as none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Name of the policy.
    pub ruleset: String,
    /// Id of the rule in it.
    pub id: String,
    /// `alert`, `deny`, …: what the rule asks for, whatever the mode.
    pub action: String,
}

/// One recorded event, judged again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The rule that it was recorded with.
    pub recorded: Option<Matched>,
    /// The rule that matches now.
    pub now: Option<Matched>,
    /// What that rule says.
    pub message: Option<String>,
}

impl Replayed {
    /// Whether another rule decides, or asks for something else.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.recorded != self.now
    }
}

impl Matched {
    /// As JSON: `{"ruleset", "id", "action"}`.
    #[must_use]
    pub fn json(&self) -> Json {
        json!({"ruleset": self.ruleset, "id": self.id, "action": self.action})
    }

    /// The one in a recorded event.
    fn of(event: &Json) -> Option<Self> {
        let text = |pointer: &str| Some(event.pointer(pointer)?.as_str()?.to_owned());
        Some(Self {
            ruleset: text("/rule/ruleset")?,
            id: text("/rule/id")?,
            action: text("/holdfast/action")?,
        })
    }
}

/// Recorded events, told one after the other.
#[derive(Clone, Debug, Default)]
pub struct Retelling {
    history: History,
    /// When the last one happened: an event that does not say when happened then, too.
    time: u64,
}

impl Retelling {
    /// Judges the next event by those before it.
    pub fn judge<'s>(&mut self, snapshot: &'s Snapshot, event: &Recorded<'_>) -> Judgement<'s> {
        self.tell(event, |moment, history| {
            let judgement = snapshot.judge_after(event.kind(), event, moment, history);
            snapshot.remember(event.kind(), event, moment, history);
            judgement
        })
    }

    pub(crate) fn tell<T>(
        &mut self,
        event: &Recorded<'_>,
        look: impl FnOnce(&Moment<'_>, &mut History) -> T,
    ) -> T {
        self.time = event.time().unwrap_or(self.time);
        let moment = Moment {
            time: self.time,
            processes: &event.identities(),
        };
        look(&moment, &mut self.history)
    }
}

impl Snapshot {
    /// Judges the next event of a retelling, as the sensor printed it. What was redacted, or cut, is judged as
    /// it was printed.
    ///
    /// # Errors
    /// When it is no event that rules can be on, as those of the sensor about itself.
    pub fn replay(
        &self,
        event: &Json,
        retelling: &mut Retelling,
    ) -> Result<Replayed, Unrecognised> {
        let fields = Recorded::new(event)?;
        let judgement = retelling.judge(self, &fields);
        let speaking = judgement
            .rule
            .filter(|(_, rule)| rule.action > Verdict::Allow);
        Ok(Replayed {
            recorded: Matched::of(event),
            now: speaking.map(|(_, rule)| Matched {
                ruleset: rule.ruleset.clone(),
                id: rule.id.clone(),
                action: rule.action.name().to_owned(),
            }),
            message: speaking.and_then(|(_, rule)| Some(rule.message.as_ref()?.render(&fields))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Options, compile};
    use crate::document::{Mode, Policy};
    use crate::field::Kinds;

    fn snapshot(action: &str) -> Snapshot {
        let policy = json!({
            "apiVersion": "holdfast/v1", "kind": "Policy", "name": "p",
            "rules": [
                {"id": "quiet", "on": ["file.open"], "when": "file.path == '/b'", "action": "allow"},
                {"id": "r", "on": ["file.open"], "when": "file.path.startsWith('/')",
                 "action": action, "message": "{{file.path}}"}]});
        let policy = Policy::parse("p", policy.to_string().as_bytes()).unwrap();
        let options = Options {
            epoch: 1,
            mode: Mode::Observe,
            reported: Kinds::NONE,
        };
        compile(&[policy], &options).unwrap()
    }

    #[test]
    fn a_verdict_is_compared_with_the_recorded_one_whatever_the_mode() {
        let event = json!({
            "event": {"action": "file.open"}, "file": {"path": "/a"},
            "rule": {"ruleset": "p", "id": "r"}, "holdfast": {"action": "deny"}});
        let same = snapshot("deny")
            .replay(&event, &mut Retelling::default())
            .unwrap();
        assert!(!same.changed(), "{same:?}");
        assert_eq!(same.message.as_deref(), Some("/a"));
        let other = snapshot("alert")
            .replay(&event, &mut Retelling::default())
            .unwrap();
        assert!(other.changed(), "{other:?}");
        assert_eq!(other.now.unwrap().action, "alert");
    }

    #[test]
    fn what_is_allowed_has_no_rule_and_what_is_no_event_of_a_hook_is_said() {
        let event = json!({"event": {"action": "file.open"}, "file": {"path": "/b"}});
        let replayed = snapshot("deny")
            .replay(&event, &mut Retelling::default())
            .unwrap();
        assert_eq!((replayed.changed(), replayed.now), (false, None));
        let start = json!({"event": {"action": "sensor.start"}});
        assert!(
            snapshot("deny")
                .replay(&start, &mut Retelling::default())
                .is_err()
        );
    }
}
