//! Policies on what is stored: what they would have said, by the decision function that sensors have, and what the stored
//! events cannot answer.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use holdfast_policy::document::Policy;
use holdfast_policy::field::{Field, Fields, Recorded, Value as FieldValue};
use holdfast_policy::sequence::{History, Moment};
use holdfast_policy::snapshot::Snapshot;
use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;
use serde_json::{Value, json};

use crate::bundle::Checked;
use crate::clock::{NANOSECONDS, rfc3339};
use crate::store::events::{self, Found};
use crate::store::{self, Connection};

/// Events that are looked at, the latest: some tens of megabytes of JSON.
const MAX_EVENTS: usize = 50_000;
/// How long it may take: somebody waits for it, and a connection of the store is taken meanwhile.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Events that are shown of each rule, the first.
const EXAMPLES: usize = 5;

/// Why not all events of the time were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// There are more: the earliest were left out.
    Number,
    /// It took too long: the latest were left out.
    Time,
}

impl Cut {
    const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Time => "time",
        }
    }
}

/// What came of a rule.
#[derive(Default)]
struct OfRule {
    count: u64,
    examples: Vec<Value>,
}

/// What there was of a kind of event.
#[derive(Clone, Copy, Default)]
struct OfKind {
    events: u64,
    /// Those that a rule had matched when they happened.
    alerts: u64,
}

/// A recorded event that remembers what it was asked for.
struct Asked<'a> {
    event: Recorded<'a>,
    known: &'a RefCell<Known>,
}

/// Fields that rules asked for, and those of them that an event had.
#[derive(Default)]
struct Known {
    asked: HashSet<Field>,
    found: HashSet<Field>,
}

impl Fields for Asked<'_> {
    fn get(&self, field: Field) -> FieldValue<'_> {
        let value = self.event.get(field);
        // Where an event cannot have it, its being absent says nothing about what is stored.
        if field.kinds().contains(self.event.kind()) {
            let mut known = self.known.borrow_mut();
            known.asked.insert(field);
            if !matches!(value, FieldValue::Absent) {
                known.found.insert(field);
            }
        }
        value
    }
}

/// Everything that is found out while events are told.
struct Run<'s> {
    snapshot: &'s Snapshot,
    /// Names of the policies.
    names: HashSet<&'s str>,
    /// What happened on each host.
    histories: HashMap<String, History>,
    known: RefCell<Known>,
    kinds: BTreeMap<&'static str, OfKind>,
    rules: Vec<OfRule>,
    events: u64,
    matched: u64,
    new: u64,
    gone: u64,
    /// Nanoseconds since 1970.
    first: Option<i64>,
    last: Option<i64>,
}

impl<'s> Run<'s> {
    fn new(snapshot: &'s Snapshot, policies: &'s [Policy]) -> Self {
        let wanted = Kind::ALL.iter().filter(|kind| snapshot.wants(**kind));
        Self {
            snapshot,
            names: policies.iter().map(|policy| policy.name.as_str()).collect(),
            histories: HashMap::new(),
            known: RefCell::default(),
            kinds: wanted
                .map(|kind| (kind.action(), OfKind::default()))
                .collect(),
            rules: snapshot.rules().iter().map(|_| OfRule::default()).collect(),
            events: 0,
            matched: 0,
            new: 0,
            gone: 0,
            first: None,
            last: None,
        }
    }

    /// Judges the next event by those of its host before it.
    fn tell(&mut self, found: &Found) {
        // What is stored was parsed when it came.
        let Ok(event) = serde_json::from_str::<Value>(&found.body) else {
            return;
        };
        let Ok(recorded) = Recorded::new(&event) else {
            return;
        };
        let kind = recorded.kind();
        let identities = recorded.identities();
        let moment = Moment {
            time: recorded.time().unwrap_or_default(),
            processes: &identities,
        };
        let fields = Asked {
            event: recorded,
            known: &self.known,
        };
        let history = self.histories.entry(found.sensor_id.clone()).or_default();
        let judgement = self.snapshot.judge_after(kind, &fields, &moment, history);
        self.snapshot.remember(kind, &fields, &moment, history);

        let was_alert = event["event"]["kind"] == "alert";
        let of_kind = self.kinds.entry(kind.action()).or_default();
        of_kind.events += 1;
        of_kind.alerts += u64::from(was_alert);
        self.events += 1;
        self.first = self.first.or(Some(found.time));
        self.last = Some(found.time);
        // Rules that allow are silent.
        let speaking = judgement
            .rule
            .filter(|(_, rule)| rule.action > Verdict::Allow);
        let Some((index, rule)) = speaking else {
            let by = event["rule"]["ruleset"].as_str();
            self.gone += u64::from(was_alert && by.is_some_and(|by| self.names.contains(by)));
            return;
        };
        self.matched += 1;
        self.new += u64::from(!was_alert);
        let Some(of_rule) = self.rules.get_mut(usize::from(index)) else {
            return;
        };
        of_rule.count += 1;
        if of_rule.examples.len() < EXAMPLES {
            let message = rule.message.as_ref();
            let message = message.map(|message| message.render(&fields.event));
            of_rule.examples.push(json!({
                "id": found.id,
                "time": rfc3339(found.time / NANOSECONDS),
                "sensor": {"id": found.sensor_id, "host": found.host_name},
                "action": kind.action(),
                "process": event["process"]["executable"],
                "message": message,
            }));
        }
    }

    fn shown(self, cut: Option<Cut>) -> Value {
        let rules = self.snapshot.rules().iter().zip(self.rules);
        let rules: Vec<_> = rules
            .map(|(rule, found)| {
                json!({
                    "policy": rule.ruleset, "id": rule.id, "action": rule.action.name(),
                    "verdict": rule.verdict.name(), "mode": rule.mode.name(),
                    "throttled": rule.throttle.is_some(),
                    "count": found.count, "examples": found.examples,
                })
            })
            .collect();
        let kinds: Vec<_> = self
            .kinds
            .iter()
            .map(|(action, of)| json!({"action": action, "events": of.events, "alerts": of.alerts}))
            .collect();
        let known = self.known.into_inner();
        let mut missing: Vec<_> = known.asked.difference(&known.found).collect();
        missing.sort_by_key(|field| field.name());
        let missing: Vec<_> = missing.iter().map(|field| field.name()).collect();
        let forgotten: u64 = self.histories.values().map(History::forgotten).sum();
        let time = |time: Option<i64>| time.map(|time| rfc3339(time / NANOSECONDS));
        json!({
            "ok": true, "errors": [],
            "events": self.events, "matched": self.matched, "new": self.new, "gone": self.gone,
            "first": time(self.first), "last": time(self.last),
            "cut": cut.map(Cut::name), "most": MAX_EVENTS,
            "rules": rules, "kinds": kinds, "missing": missing, "forgotten": forgotten,
        })
    }
}

/// What `checked` would have said of the events since `from` (nanoseconds since 1970), as JSON. In it `verdict` follows from
/// a rule's mode and its policy's, of a sensor that enforces.
///
/// # Errors
/// What the database says.
pub(crate) fn run(connection: &Connection, checked: &Checked, from: i64) -> store::Result<Value> {
    let Checked { policies, snapshot } = checked;
    let mut run = Run::new(snapshot, policies);
    let actions: Vec<_> = run.kinds.keys().copied().collect();
    let end = Instant::now() + MAX_TIME;
    let mut cut = None;
    let told = events::retell(connection, &actions, from, MAX_EVENTS, |found| {
        if Instant::now() > end {
            cut = Some(Cut::Time);
            return ControlFlow::Break(());
        }
        run.tell(&found);
        ControlFlow::Continue(())
    })?;
    if cut.is_none() && told == MAX_EVENTS {
        cut = Some(Cut::Number);
    }
    Ok(run.shown(cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Draft, check};

    fn checked(rules: Value) -> Checked {
        let policy = json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "p", "mode": "enforce", "rules": rules});
        let draft = Draft {
            file: "p.json".into(),
            text: policy.to_string(),
        };
        check(&[draft]).unwrap_or_else(|wrong| panic!("{wrong:?}"))
    }

    fn found(sensor: &str, second: i64, event: Value) -> Found {
        let mut event = event;
        event["@timestamp"] = rfc3339(second * 1000).into();
        Found {
            id: second,
            time: second * 1_000_000_000,
            received: 0,
            sensor_id: sensor.into(),
            host_name: sensor.into(),
            body: event.to_string(),
        }
    }

    fn open(path: &str) -> Value {
        json!({"event": {"action": "file.open", "kind": "event"}, "file": {"path": path},
               "process": {"pid": 7, "executable": "/usr/bin/cat", "start": "2026-11-22T19:00:00Z"}})
    }

    #[test]
    fn events_are_judged_by_what_happened_on_their_own_host() {
        let checked = checked(
            json!([{"id": "then", "on": ["file.open"], "when": "file.path == '/b'", "action": "alert",
            "after": {"on": ["file.open"], "when": "file.path == '/a'", "within": "1m"}}]),
        );
        let mut run = Run::new(&checked.snapshot, &checked.policies);
        for (sensor, second, path) in [("one", 1, "/a"), ("other", 2, "/b"), ("one", 3, "/b")] {
            run.tell(&found(sensor, second, open(path)));
        }
        let shown = run.shown(None);
        assert_eq!(
            (&shown["events"], &shown["matched"]),
            (&json!(3), &json!(1))
        );
        assert_eq!(shown["rules"][0]["examples"][0]["sensor"]["id"], "one");
    }

    #[test]
    fn what_no_event_can_answer_is_said() {
        let checked = checked(json!([
            {"id": "deny", "on": ["file.open"], "when": "file.path == '/etc/shadow' && process.user.name == 'root'",
             "action": "deny"},
            {"id": "exec", "on": ["process.exec"], "when": "process.name == 'nc'", "action": "alert"}]));
        let mut run = Run::new(&checked.snapshot, &checked.policies);
        let mut alert = open("/etc/shadow");
        alert["event"]["kind"] = "alert".into();
        alert["rule"] = json!({"ruleset": "p", "id": "old"});
        run.tell(&found("one", 1, alert));
        let shown = run.shown(Some(Cut::Number));
        assert_eq!(shown["missing"], json!(["process.user.name"]));
        assert_eq!(
            shown["kinds"],
            json!([{"action": "file.open", "events": 1, "alerts": 1}, {"action": "process.exec", "events": 0, "alerts": 0}])
        );
        // It was an alert of this policy, and would be none now.
        assert_eq!(
            (&shown["gone"], &shown["cut"]),
            (&json!(1), &json!("number"))
        );
    }

    #[test]
    fn a_verdict_follows_from_the_mode() {
        let mut rules = json!([{"id": "r", "on": ["file.open"], "when": "file.path == '/a'", "action": "deny"}]);
        for (mode, verdict) in [("enforce", "deny"), ("observe", "alert")] {
            rules[0]["mode"] = mode.into();
            let checked = checked(rules.clone());
            let mut run = Run::new(&checked.snapshot, &checked.policies);
            run.tell(&found("one", 1, open("/a")));
            let shown = run.shown(None);
            let rule = &shown["rules"][0];
            assert_eq!(
                (&rule["action"], &rule["verdict"]),
                (&json!("deny"), &json!(verdict))
            );
            assert_eq!((&rule["count"], &shown["new"]), (&json!(1), &json!(1)));
        }
    }
}
