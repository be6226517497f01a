//! `after`: what has to have happened before a rule's event.

use std::sync::Arc;

use super::{Condition, Known, Part, Reader, scoped};
use crate::error::Mistake;
use crate::sequence::{By, MAX_STEPS, Step};
use crate::throttle;

const AFTER_KEYS: [&str; 5] = ["on", "when", "within", "by", "after"];

impl<'t> Reader<'t, '_> {
    /// What a rule, or a step of one, has to come after; `depth`: of how many steps it is one already.
    pub(super) fn after(
        &mut self,
        part: Part<'t>,
        scope: Option<&Condition>,
        depth: usize,
    ) -> Option<Arc<Step>> {
        if depth >= MAX_STEPS {
            let reason = format!("a rule comes after at most {MAX_STEPS} events");
            return self.source.refuse(part.at, reason);
        }
        let known = self.source.known(part, "`after`", &AFTER_KEYS)?;
        let on = self
            .source
            .required(&known, "on")
            .and_then(|part| self.kinds(part));
        let when = self.condition(&known, on);
        let within = self
            .source
            .required(&known, "within")
            .and_then(|part| self.duration(part));
        let by = self.by(&known);
        let after = match known.get("after") {
            Some(part) => Some(self.after(part, scope, depth + 1)?),
            None => None,
        };
        Some(Arc::new(Step {
            on: on?,
            within: within?,
            by: by?,
            after,
            when: scoped(scope, when?),
        }))
    }

    fn by(&mut self, known: &Known<'t>) -> Option<By> {
        let Some(part) = known.get("by") else {
            return Some(By::default());
        };
        let index = self.one_of(part, "`by`", &By::ALL.map(By::name))?;
        Some(By::ALL[index])
    }

    /// A duration as text.
    pub(super) fn duration(&mut self, part: Part<'t>) -> Option<std::time::Duration> {
        let text = self.source.string(part)?;
        let duration = throttle::parse_duration(&text.value);
        if duration.is_none() {
            let reason = format!(
                "`{}` is no duration such as 500ms, 30s, 5m, 1h, at most 24h",
                text.value
            );
            self.source.mistake(Mistake::new(text.at(), reason));
        }
        duration
    }
}
