//! Sigma rules (<https://sigmahq.io/sigma-specification/>) → a policy that means the same.
//!
//! A rule is taken over whole or not at all: with a part of its detection left out it would be another rule.
//! Why one was left out is said. Where Sigma takes upper and lower case for the same, so does the policy, but for
//! paths: Linux does not.

use std::collections::BTreeSet;
use std::fmt;

use rsigma_parser::ast::{
    ConditionExpr, Detection, Detections, Level, Quantifier, SelectorPattern, SigmaCollection,
    SigmaRule,
};
use serde_json::{Value as Json, json};

use crate::document::{MAX_NAME_BYTES, Policy};

mod fields;
mod item;

use fields::Source;

/// Largest file with Sigma rules, in bytes. Whoever reads one reads at most one byte more.
pub const MAX_BYTES: usize = 4 << 20;

/// What became of Sigma rules.
#[derive(Debug, Default)]
pub struct Import {
    rules: Vec<Json>,
    ids: BTreeSet<String>,
    left_out: Vec<LeftOut>,
}

/// A Sigma rule that is not in the policy, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file that it stands in, as it was named to [`Import::add`].
    pub file: String,
    /// Its title; empty where the file could not be read as far as that.
    pub title: String,
    /// What cannot be expressed, or is wrong.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            title,
            reason,
        } = self;
        match title.as_str() {
            "" => write!(f, "{file}: {reason}"),
            title => write!(f, "{file}: \"{title}\": {reason}"),
        }
    }
}

impl Import {
    /// Takes the rules over that stand in a file: one or more YAML documents.
    pub fn add(&mut self, file: &str, yaml: &[u8]) {
        let collection = match collection(yaml) {
            Ok(collection) => collection,
            Err(reason) => return self.leave_out(file, "", reason),
        };
        for error in collection.errors {
            self.leave_out(file, "", error);
        }
        for rule in &collection.rules {
            let taken = converted(rule).and_then(|it| self.insert(it));
            if let Err(reason) = taken {
                self.leave_out(file, &rule.title, reason);
            }
        }
        for correlation in &collection.correlations {
            let reason = "correlations cannot be expressed; see `after` and `throttle`".to_owned();
            self.leave_out(file, &correlation.title, reason);
        }
        for filter in &collection.filters {
            let reason = "filters are not applied: use `except` of the rules that it is about";
            self.leave_out(file, &filter.title, reason.to_owned());
        }
    }

    fn leave_out(&mut self, file: &str, title: &str, reason: String) {
        self.left_out.push(LeftOut {
            file: file.to_owned(),
            title: title.to_owned(),
            reason,
        });
    }

    /// A rule is in the policy once it is known to be one.
    fn insert(&mut self, rule: Json) -> Result<(), String> {
        let id = rule["id"].as_str().unwrap_or_default();
        if self.ids.contains(id) {
            return Err(format!("there is a rule with the id {id} already"));
        }
        let alone = policy("sigma", "", std::slice::from_ref(&rule)).to_string();
        Policy::parse("rule", alone.as_bytes()).map_err(|problems| {
            let reasons: Vec<&str> = problems.0.iter().map(|it| it.reason.as_str()).collect();
            reasons.join("; ")
        })?;
        self.ids.insert(id.to_owned());
        self.rules.push(rule);
        Ok(())
    }

    /// How many rules were taken over.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// What was not.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The policy, in mode `observe`; `None` where no rule was taken over.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<Json> {
        let description = format!("{} rules, imported from Sigma.", self.rules.len());
        (!self.rules.is_empty()).then(|| policy(name, &description, &self.rules))
    }
}

fn policy(name: &str, description: &str, rules: &[Json]) -> Json {
    json!({
        "apiVersion": "holdfast/v1",
        "kind": "Policy",
        "name": name,
        "description": description,
        "mode": "observe",
        "rules": rules,
    })
}

fn collection(yaml: &[u8]) -> Result<SigmaCollection, String> {
    if yaml.len() > MAX_BYTES {
        return Err(format!("the file is larger than {MAX_BYTES} bytes"));
    }
    let text = std::str::from_utf8(yaml).map_err(|error| format!("not UTF-8: {error}"))?;
    rsigma_parser::parse_sigma_yaml(text).map_err(|error| error.to_string())
}

/// A Sigma rule as a rule of a policy.
fn converted(rule: &SigmaRule) -> Result<Json, String> {
    let source = Source::of(&rule.logsource)?;
    let detection = &rule.detection;
    if let Some(timeframe) = &detection.timeframe {
        return Err(format!(
            "`timeframe: {timeframe}` counts events: see `throttle`"
        ));
    }
    // Each of several conditions is a rule of its own in Sigma.
    let conditions = detection.conditions.iter();
    let conditions: Result<Vec<String>, String> = conditions
        .map(|it| condition(it, detection, source))
        .collect();
    let mut when = any_of(conditions?)?;
    if let Some(always) = source.always() {
        when = all_of(vec![always.to_owned(), when])?;
    }
    let mut converted = json!({
        "id": id(rule),
        "name": rule.title,
        "on": [source.kind().action()],
        "when": without_parentheses(&when),
        "action": "alert",
        "severity": severity(rule.level),
        "message": rule.title,
    });
    let mut insert = |key: &str, value: Json| converted[key] = value;
    if let Some(description) = &rule.description {
        insert("description", json!(description.trim()));
    }
    if !rule.falsepositives.is_empty() {
        insert("falsePositives", json!(rule.falsepositives.join("; ")));
    }
    let techniques = techniques(&rule.tags);
    if !techniques.is_empty() {
        insert("mitre", json!(techniques));
    }
    Ok(converted)
}

/// The rule's own id, or its title in the letters that ids have.
fn id(rule: &SigmaRule) -> String {
    if let Some(id) = rule.id.as_ref().filter(|id| !id.is_empty()) {
        return id.clone();
    }
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    };
    let mut id: String = rule.title.chars().map(letter).collect();
    id.truncate(MAX_NAME_BYTES);
    id
}

const fn severity(level: Option<Level>) -> &'static str {
    match level {
        Some(Level::Informational | Level::Low) => "low",
        Some(Level::Medium) | None => "medium",
        Some(Level::High) => "high",
        Some(Level::Critical) => "critical",
    }
}

/// `attack.t1003.008` → `T1003.008`; tactics and groups have no place.
fn techniques(tags: &[String]) -> Vec<String> {
    let technique = |tag: &String| {
        let id = tag.to_ascii_lowercase();
        let id = id.strip_prefix("attack.")?.to_ascii_uppercase();
        let digits = id.strip_prefix('T')?;
        let is_id = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_id.then_some(id)
    };
    let found: BTreeSet<String> = tags.iter().filter_map(technique).collect();
    found.into_iter().collect()
}

/// Recursion follows the condition, whose depth the parser bounds.
fn condition(
    part: &ConditionExpr,
    detections: &Detections,
    source: Source,
) -> Result<String, String> {
    let of = |part| condition(part, detections, source);
    match part {
        ConditionExpr::And(parts) => all_of(parts.iter().map(of).collect::<Result<_, _>>()?),
        ConditionExpr::Or(parts) => any_of(parts.iter().map(of).collect::<Result<_, _>>()?),
        ConditionExpr::Not(inner) => Ok(format!("!{}", of(inner)?)),
        ConditionExpr::Identifier(name) => named(name, detections, source),
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => selected(quantifier, pattern, detections, source),
    }
}

fn named(name: &str, detections: &Detections, source: Source) -> Result<String, String> {
    let found = detections.named.get(name);
    let found = found.ok_or_else(|| format!("the condition names `{name}`, which there is not"))?;
    detection(found, source)
}

/// `1 of selection_*`, `all of them`
fn selected(
    quantifier: &Quantifier,
    pattern: &SelectorPattern,
    detections: &Detections,
    source: Source,
) -> Result<String, String> {
    let names = detections.named.keys().map(String::as_str);
    // In order, so that the same rule gives the same policy.
    let names: BTreeSet<&str> = names
        .filter(|it| pattern.matches_detection_name(it))
        .collect();
    let count = names.len() as u64;
    let parts = names.into_iter().map(|it| named(it, detections, source));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    match quantifier {
        Quantifier::Any | Quantifier::Count(1) => any_of(parts),
        Quantifier::All => all_of(parts),
        Quantifier::Count(number) if *number == count => all_of(parts),
        Quantifier::Count(number) => Err(format!("`{number} of {pattern}` counts what matches")),
    }
}

fn detection(part: &Detection, source: Source) -> Result<String, String> {
    let of = |part| detection(part, source);
    match part {
        Detection::AllOf(items) => {
            let items = items.iter().map(|it| item::condition(it, source));
            all_of(items.collect::<Result<_, _>>()?)
        }
        Detection::AnyOf(parts) => any_of(parts.iter().map(of).collect::<Result<_, _>>()?),
        Detection::And(parts) => all_of(parts.iter().map(of).collect::<Result<_, _>>()?),
        Detection::Keywords(_) => {
            Err("keywords search a log line, and there is none: name a field".to_owned())
        }
        Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {
            Err("conditions on the elements of a list are not supported".to_owned())
        }
    }
}

fn all_of(mut parts: Vec<String>) -> Result<String, String> {
    if parts.len() > 1 {
        parts.retain(|part| part != "true");
    }
    joined(parts, " && ")
}

fn any_of(parts: Vec<String>) -> Result<String, String> {
    joined(parts, " || ")
}

/// In parentheses, so that it may stand anywhere.
fn joined(parts: Vec<String>, operator: &str) -> Result<String, String> {
    match parts.as_slice() {
        [] => Err("a detection with nothing in it".to_owned()),
        [part] => Ok(part.clone()),
        parts => Ok(format!("({})", parts.join(operator))),
    }
}

/// Without the outermost parentheses, where they are about all of it.
fn without_parentheses(condition: &str) -> &str {
    let inner = condition
        .strip_prefix('(')
        .and_then(|it| it.strip_suffix(')'));
    let Some(inner) = inner else { return condition };
    let (mut depth, mut in_text) = (0usize, false);
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' => in_text = !in_text,
            // Whatever it is that it escapes.
            b'\\' => drop(bytes.next()),
            b'(' if !in_text => depth += 1,
            b')' if !in_text && depth == 0 => return condition,
            b')' if !in_text => depth -= 1,
            _ => {}
        }
    }
    inner
}

#[cfg(test)]
mod tests;
