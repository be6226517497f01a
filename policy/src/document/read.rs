//! The JSON of a policy → the policy. Goes on after a problem, so that all are listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;

use super::list;
use super::{MAX_BYTES, MAX_LISTS_BYTES, MAX_NAME_BYTES, Mode, PRIORITIES, Policy, Rule};
use crate::error::{Mistake, Problems};
use crate::expression::{Condition, Expression, List, Lists};
use crate::field::{Field, Kinds};
use crate::json::{Known, Part, Source, Text};
use crate::message::Template;
use crate::stage;
use crate::throttle::Throttle;

mod after;

const API_VERSION: &str = "holdfast/v1";
const DOCUMENT_KIND: &str = "Policy";
const KEYS: [&str; 10] = [
    "apiVersion",
    "kind",
    "name",
    "description",
    "mode",
    "priority",
    "scope",
    "lists",
    "defaults",
    "rules",
];
const RULE_KEYS: [&str; 14] = [
    "id",
    "name",
    "description",
    "on",
    "when",
    "except",
    "after",
    "action",
    "mode",
    "severity",
    "message",
    "mitre",
    "throttle",
    "falsePositives",
];
const LIST_KEYS: [&str; 1] = ["file"];
const THROTTLE_KEYS: [&str; 3] = ["per", "max", "every"];
const ACTIONS: [&str; 8] = [
    "allow",
    "audit",
    "alert",
    "stop",
    "deny",
    "kill",
    "kill_tree",
    "kill_container",
];
/// By their number in events, from 1.
const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];
/// Of a rule that names none.
const DEFAULT_SEVERITY: u8 = 2;

/// Reads a policy.
pub(super) fn policy(
    file: &str,
    bytes: &[u8],
    list_file: ListFile<'_>,
) -> Result<Policy, Problems> {
    let source = Source::open(file, bytes, MAX_BYTES)?;
    let root = source.root()?;
    let mut reader = Reader {
        source,
        lists: Lists::new(),
        listed_bytes: 0,
        list_file,
    };
    let policy = reader.policy(file, root);
    reader.source.finish()?;
    // Whatever could not be read was noted as a problem.
    policy.ok_or_else(|| Problems(Vec::new()))
}

/// See [`Policy::parse_with`].
type ListFile<'f> = &'f mut dyn FnMut(&str) -> Result<Vec<u8>, String>;

struct Reader<'t, 'f> {
    source: Source<'t>,
    lists: Lists,
    /// In files.
    listed_bytes: usize,
    list_file: ListFile<'f>,
}

impl<'t> Reader<'t, '_> {
    fn policy(&mut self, file: &str, root: Part<'t>) -> Option<Policy> {
        let known = self.source.known(root, "a policy", &KEYS)?;
        self.fixed(&known, "apiVersion", API_VERSION);
        self.fixed(&known, "kind", DOCUMENT_KIND);
        let name = self
            .source
            .required(&known, "name")
            .and_then(|part| self.identifier(part));
        let description = self.source.optional_string(&known, "description");
        let mode = self.mode(&known).unwrap_or_default();
        let priority = known
            .get("priority")
            .and_then(|part| self.source.within(part, &PRIORITIES));
        if let Some(part) = known.get("lists") {
            self.read_lists(part);
        }
        let scope = known.get("scope").and_then(|part| {
            let text = self.source.string(part)?;
            self.expression(&text, Kinds::ALL)
        });
        let mut ids = BTreeSet::new();
        let mut rules = Vec::new();
        let parts = self
            .source
            .required(&known, "rules")
            .and_then(|part| self.source.array(part));
        for part in parts.unwrap_or_default() {
            rules.extend(self.rule(part, scope.as_ref(), &mut ids));
        }
        if let Some(part) = known.get("defaults") {
            self.defaults(part, scope.as_ref(), &mut ids, &mut rules);
        }
        let name = name?;
        Some(Policy {
            file: file.to_owned(),
            name_at: self.source.place(name.at()),
            name: name.value.into_owned(),
            description,
            mode,
            priority: priority.unwrap_or_default(),
            rules,
        })
    }

    fn mode(&mut self, known: &Known<'t>) -> Option<Mode> {
        let names = Mode::ALL.map(Mode::name);
        let index = self.one_of(known.get("mode")?, "mode", &names)?;
        Some(Mode::ALL[index])
    }

    /// A key that has just one valid value.
    fn fixed(&mut self, known: &Known<'t>, key: &str, value: &str) {
        let text = self
            .source
            .required(known, key)
            .and_then(|part| self.source.string(part));
        if let Some(text) = text
            && text.value != value
        {
            let reason = format!("`{key}` must be `{value}`, not `{}`", text.value);
            self.source.mistake(Mistake::new(text.at(), reason));
        }
    }

    /// The index of a string in `names`.
    fn one_of(&mut self, part: Part<'t>, what: &str, names: &[&str]) -> Option<usize> {
        let text = self.source.string(part)?;
        let index = names.iter().position(|name| *name == text.value);
        if index.is_none() {
            let reason = format!(
                "unknown {what} `{}`: it is one of {}",
                text.value,
                names.join(", ")
            );
            let names = names.iter().copied();
            self.source
                .mistake(Mistake::unknown(text.at(), reason, &text.value, names));
        }
        index
    }

    /// A name or an id: it stands in events, file names and commands.
    fn identifier(&mut self, part: Part<'t>) -> Option<Text<'t>> {
        let text = self.source.string(part)?;
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let length = text.value.len();
        if length == 0 || length > MAX_NAME_BYTES || !text.value.bytes().all(valid) {
            let reason = format!(
                "a name is 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` and `.`, not `{}`",
                text.value
                    .chars()
                    .take(MAX_NAME_BYTES)
                    .collect::<String>()
                    .escape_debug()
            );
            return self.source.refuse(text.at(), reason);
        }
        Some(text)
    }

    fn read_lists(&mut self, part: Part<'t>) {
        for (name, part) in self.source.object(part).unwrap_or_default() {
            let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let starts_well = name
                .value
                .bytes()
                .next()
                .is_some_and(|b| !b.is_ascii_digit());
            if !starts_well || !name.value.bytes().all(valid) {
                let reason = "the name of a list is letters, digits and `_`, not first a digit";
                self.source.mistake(Mistake::new(name.at(), reason));
            }
            // A list that cannot be read is there all the same, so that its users are not refused too.
            let list = List::new(self.list(part).unwrap_or_default());
            self.lists.insert(name.value.into_owned(), Arc::new(list));
        }
    }

    /// An array of strings, or an object that names a file with one on each line.
    fn list(&mut self, part: Part<'t>) -> Option<Vec<String>> {
        if !Source::is_object(part) {
            let texts = self.source.strings(part)?.into_iter();
            return Some(texts.map(|text| text.value.into_owned()).collect());
        }
        let known = self.source.known(part, "a list", &LIST_KEYS)?;
        let path = self.source.required(&known, "file")?;
        let path = self.source.string(path)?;
        let bytes = (self.list_file)(&path.value).and_then(|bytes| {
            self.listed_bytes += bytes.len();
            if self.listed_bytes > MAX_LISTS_BYTES {
                let most = MAX_LISTS_BYTES >> 20;
                Err(format!(
                    "with it, the lists of this policy are more than {most} MiB"
                ))
            } else {
                Ok(bytes)
            }
        });
        match bytes.and_then(|bytes| list::parse(&bytes)) {
            Ok(list) => Some(list),
            Err(reason) => {
                let reason = format!("the list in `{}` cannot be read: {reason}", path.value);
                self.source.refuse(path.at(), reason)
            }
        }
    }

    fn expression(&mut self, text: &Text<'t>, kinds: Kinds) -> Option<Condition> {
        match Expression::parse(&text.value, kinds, &self.lists) {
            Ok(expression) => Some(expression.condition),
            Err(mistakes) => {
                for mistake in mistakes {
                    self.source.mistake_in(text, mistake);
                }
                None
            }
        }
    }

    fn rule(
        &mut self,
        part: Part<'t>,
        scope: Option<&Condition>,
        ids: &mut BTreeSet<String>,
    ) -> Option<Rule> {
        let known = self.source.known(part, "a rule", &RULE_KEYS)?;
        let id = self
            .source
            .required(&known, "id")
            .and_then(|part| self.identifier(part));
        let id = id.and_then(|id| self.unique(id.value.into_owned(), id_at(&known), ids));
        let name = self.source.optional_string(&known, "name");
        let description = self.source.optional_string(&known, "description");
        let on = self
            .source
            .required(&known, "on")
            .and_then(|part| self.kinds(part));
        let action = self
            .source
            .required(&known, "action")
            .and_then(|part| self.action(part, on.unwrap_or(Kinds::NONE)));
        let when = self.condition(&known, on);
        let after = match known.get("after") {
            Some(part) => self.after(part, scope, 0).map(Some),
            None => Some(None),
        };
        let exceptions = known
            .get("except")
            .map(|part| self.exceptions(part, on.unwrap_or(Kinds::ALL)));
        // A rule does not act beyond its policy.
        let mode = self.mode(&known).unwrap_or(Mode::Enforce);
        let severity = known.get("severity").and_then(|part| {
            // There are four.
            self.one_of(part, "severity", &SEVERITIES)
                .map(|index| index as u8 + 1)
        });
        let message = known.get("message").and_then(|part| {
            let text = self.source.string(part)?;
            Template::parse(&text.value)
                .map_err(|m| self.source.mistake_in(&text, m))
                .ok()
        });
        let techniques = known.get("mitre").and_then(|part| self.techniques(part));
        let throttle = known.get("throttle").and_then(|part| self.throttle(part));
        let false_positives = self.source.optional_string(&known, "falsePositives");
        let (id, on, action, after) = (id?, on?, action?, after?);
        let when = match exceptions {
            Some(exceptions) => Condition::All(vec![
                when?,
                Condition::Not(Box::new(Condition::Any(exceptions?))),
            ]),
            None => when?,
        };
        let when = scoped(scope, when);
        let at = known.get("action").map_or(known.at, |part| part.at);
        self.refuse_answers(at, action, on, &when)?;
        Some(Rule {
            name: name.unwrap_or_else(|| id.clone()),
            id,
            description,
            on,
            action,
            mode,
            severity: severity.unwrap_or(DEFAULT_SEVERITY),
            message,
            techniques: techniques.unwrap_or_default(),
            throttle,
            false_positives,
            when,
            after,
        })
    }

    /// The condition `when`. With unknown kinds every field will do: one problem is enough.
    fn condition(&mut self, known: &Known<'t>, on: Option<Kinds>) -> Option<Condition> {
        let part = self.source.required(known, "when")?;
        let text = self.source.string(part)?;
        self.expression(&text, on.unwrap_or(Kinds::ALL))
    }

    /// Conditions of which each says that the rule does not match; `None` when one of them is wrong.
    fn exceptions(&mut self, part: Part<'t>, on: Kinds) -> Option<Vec<Condition>> {
        let texts = self.source.strings(part)?;
        let read: Vec<_> = texts.iter().map(|text| self.expression(text, on)).collect();
        read.into_iter().collect()
    }

    fn unique(&mut self, id: String, at: usize, ids: &mut BTreeSet<String>) -> Option<String> {
        if ids.insert(id.clone()) {
            return Some(id);
        }
        self.source
            .refuse(at, format!("there are two rules with the id `{id}`"))
    }

    fn kinds(&mut self, part: Part<'t>) -> Option<Kinds> {
        let texts = self.source.strings(part)?;
        if texts.is_empty() {
            return self
                .source
                .refuse(part.at, "a rule is on at least one kind of event");
        }
        let kinds: Vec<_> = texts.iter().map(|text| self.kind(text)).collect();
        kinds.into_iter().collect()
    }

    fn kind(&mut self, text: &Text<'t>) -> Option<Kind> {
        let kind = Kind::from_action(&text.value);
        if kind.is_none() {
            let reason = format!("unknown kind of event `{}`", text.value);
            let actions = Kind::ALL.iter().map(|kind| kind.action());
            self.source
                .mistake(Mistake::unknown(text.at(), reason, &text.value, actions));
        }
        kind
    }

    fn action(&mut self, part: Part<'t>, on: Kinds) -> Option<Verdict> {
        let text = self.source.string(part)?;
        let index = self.one_of(part, "action", &ACTIONS)?;
        let action = Verdict::from_name(ACTIONS[index])?;
        if action == Verdict::Deny
            && let Some(kind) = on.iter().find(|kind| !kind.can_be_refused())
        {
            let instead = if kind.has_process() {
                "`kill` or `alert`"
            } else {
                "`alert`"
            };
            let reason = format!("{} cannot be refused: use {instead}", kind.action());
            return self.source.refuse(text.at(), reason);
        }
        if action > Verdict::Alert
            && let Some(kind) = on.iter().find(|kind| !kind.has_process())
        {
            let reason = format!("{} has no process to act on: use `alert`", kind.action());
            return self.source.refuse(text.at(), reason);
        }
        Some(action)
    }

    /// `None`, and a problem, where a rule would deny the answer of a name server.
    fn refuse_answers(
        &mut self,
        at: usize,
        action: Verdict,
        on: Kinds,
        when: &Expression,
    ) -> Option<()> {
        let denies = action == Verdict::Deny && on.contains(Kind::NetworkDns);
        if denies && !stage::is_about_questions(when) {
            let reason = "an answer of network.dns cannot be refused: add `dns.type == 'query'` to the \
                          condition, or use `kill` or `alert`";
            return self.source.refuse(at, reason.to_owned());
        }
        Some(())
    }

    fn techniques(&mut self, part: Part<'t>) -> Option<Vec<String>> {
        let texts = self.source.strings(part)?;
        for text in &texts {
            if !is_technique(&text.value) {
                let reason = format!("`{}` is no ATT&CK id such as T1003.008", text.value);
                self.source.mistake(Mistake::new(text.at(), reason));
            }
        }
        Some(
            texts
                .into_iter()
                .map(|text| text.value.into_owned())
                .collect(),
        )
    }

    fn throttle(&mut self, part: Part<'t>) -> Option<Throttle> {
        let known = self.source.known(part, "a throttle", &THROTTLE_KEYS)?;
        let per = known.get("per").and_then(|part| {
            let text = self.source.string(part)?;
            let field = Field::from_name(&text.value);
            if field.is_none() {
                let reason = format!("unknown field `{}`", text.value);
                let names = Field::names();
                let names = names.iter().map(AsRef::as_ref);
                self.source
                    .mistake(Mistake::unknown(text.at(), reason, &text.value, names));
            }
            field
        });
        let max = self
            .source
            .required(&known, "max")
            .and_then(|part| self.source.count(part));
        let every = self
            .source
            .required(&known, "every")
            .and_then(|part| self.duration(part));
        Some(Throttle {
            per,
            max: max?,
            every: every?,
        })
    }

    fn defaults(
        &mut self,
        part: Part<'t>,
        scope: Option<&Condition>,
        ids: &mut BTreeSet<String>,
        rules: &mut Vec<Rule>,
    ) {
        for (name, part) in self.source.object(part).unwrap_or_default() {
            let Some(kind) = self.kind(&name) else {
                continue;
            };
            let Some(action) = self.action(part, Kinds::of(&[kind])) else {
                continue;
            };
            let on = Kinds::of(&[kind]);
            let when = scoped(scope, Condition::Constant(true));
            if self.refuse_answers(part.at, action, on, &when).is_none() {
                continue;
            }
            let id = format!("default.{}", kind.action());
            let Some(id) = self.unique(id, name.at(), ids) else {
                continue;
            };
            rules.push(Rule {
                name: id.clone(),
                id,
                description: None,
                on,
                action,
                mode: Mode::Enforce,
                severity: DEFAULT_SEVERITY,
                message: None,
                techniques: Vec::new(),
                throttle: None,
                false_positives: None,
                when,
                after: None,
            });
        }
    }
}

fn id_at(rule: &Known<'_>) -> usize {
    rule.get("id").map_or(rule.at, |part| part.at)
}

fn scoped(scope: Option<&Condition>, when: Condition) -> Arc<Expression> {
    let condition = match scope {
        Some(scope) => Condition::All(vec![scope.clone(), when]),
        None => when,
    };
    Arc::new(Expression { condition })
}

/// `T` and four digits, and perhaps a dot and three.
fn is_technique(id: &str) -> bool {
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    id.strip_prefix('T')
        .is_some_and(|rest| match rest.split_once('.') {
            Some((technique, part)) => digits(technique, 4) && digits(part, 3),
            None => digits(rest, 4),
        })
}
