//! Which hosts enforce which rules, and which techniques of ATT&CK these cover: by what sensors said last, and the bundles
//! that they have in force. Pure; what it is made of is read by [`crate::api`].

use std::collections::BTreeMap;

use holdfast_policy::document::Policy;
use holdfast_policy::snapshot::Rule;
use holdfast_wire::uplink::{Bundle, BundlePolicy};
use serde::Serialize;
use serde_json::Value;

use crate::bundle::enforced;
use crate::fleet::State;
use crate::store::sensors::Sensor;

mod attack;

use attack::Tactic;

/// How a rule stands on a host, the weaker first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// The host was not heard for minutes, or has policies of its own, which its server does not know.
    Unknown,
    /// It is in no policy of the bundle in force.
    Absent,
    /// What it is about is reported, and happens.
    Observed,
    /// What it is about is prevented, or ended at once.
    Enforced,
}

impl Standing {
    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Absent => "absent",
            Self::Observed => "observed",
            Self::Enforced => "enforced",
        }
    }
}

/// Hosts by standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Hosts {
    enforced: usize,
    observed: usize,
    absent: usize,
    unknown: usize,
}

impl Hosts {
    fn add(&mut self, standing: Standing) {
        *match standing {
            Standing::Enforced => &mut self.enforced,
            Standing::Observed => &mut self.observed,
            Standing::Absent => &mut self.absent,
            Standing::Unknown => &mut self.unknown,
        } += 1;
    }
}

/// A rule of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Control {
    policy: String,
    rule: String,
    name: String,
    action: &'static str,
    severity: u8,
    techniques: Vec<String>,
    /// Whether a sensor that enforces acts upon it.
    #[serde(skip)]
    acts: bool,
}

/// The rules of a bundle, by policy and id.
pub(crate) type Controls = BTreeMap<(String, String), Control>;

/// What a bundle asks for; `None`: it is none that this server can read.
pub(crate) fn controls(payload: &[u8]) -> Option<Controls> {
    let bundle: Bundle = serde_json::from_slice(payload).ok()?;
    let parse =
        |policy: &BundlePolicy| Policy::parse(&policy.file, policy.document.get().as_bytes()).ok();
    let policies = bundle
        .policies
        .iter()
        .map(parse)
        .collect::<Option<Vec<_>>>()?;
    let snapshot = enforced(&policies).ok()?;
    let control = |rule: &Rule| {
        let control = Control {
            policy: rule.ruleset.clone(),
            rule: rule.id.clone(),
            name: rule.name.clone(),
            action: rule.action.name(),
            severity: rule.severity,
            techniques: rule.techniques.clone(),
            acts: rule.verdict.acts(),
        };
        ((rule.ruleset.clone(), rule.id.clone()), control)
    };
    Some(snapshot.rules().iter().map(control).collect())
}

/// A host, as its sensor said last.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    sensor: String,
    host: String,
    tags: Vec<String>,
    state: State,
    tier: Option<String>,
    mode: Option<String>,
    /// In force; `None`: its policies are its own.
    pub(crate) bundle: Option<i64>,
    /// Things that do not work there as they should.
    degraded: usize,
}

impl Host {
    pub(crate) fn of(sensor: &Sensor, state: State) -> Self {
        // What is stored was parsed when it came.
        let said: Value = sensor
            .heartbeat
            .as_ref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            sensor: sensor.sensor_id.clone(),
            host: sensor.host_name.clone(),
            tags: sensor.tags.clone(),
            state,
            tier: text(&said["tier"]),
            mode: text(&said["mode"]),
            bundle: said["policy"]["bundle"].as_i64(),
            degraded: said["degraded"].as_array().map_or(0, Vec::len),
        }
    }

    fn standing(&self, controls: Option<&Controls>, of: &(String, String)) -> Standing {
        let Some(controls) = controls.filter(|_| self.state != State::Gone) else {
            return Standing::Unknown;
        };
        match controls.get(of) {
            None => Standing::Absent,
            Some(control) if control.acts && self.mode.as_deref() == Some("enforce") => {
                Standing::Enforced
            }
            Some(_) => Standing::Observed,
        }
    }
}

/// A rule, and on how many hosts it stands how.
#[derive(Clone, Debug, Serialize)]
struct OfControl {
    #[serde(flatten)]
    control: Control,
    hosts: Hosts,
}

/// A technique, the rules that are about it, and the hosts by the best standing of these.
#[derive(Clone, Debug, Default, Serialize)]
struct OfTechnique {
    /// That of the whole, for a part; `None`: ATT&CK has none that is known here.
    name: Option<&'static str>,
    rules: usize,
    hosts: Hosts,
}

/// A tactic, and the techniques that serve it, as far as there are rules about them.
#[derive(Clone, Debug, Serialize)]
struct OfTactic<'r> {
    id: &'static str,
    name: &'static str,
    techniques: Vec<&'r str>,
}

/// A host, and how many rules stand there how.
#[derive(Clone, Debug, Serialize)]
struct OfHost<'r> {
    #[serde(flatten)]
    host: &'r Host,
    enforced: usize,
    observed: usize,
}

/// What can be said of a fleet.
#[derive(Debug)]
pub(crate) struct Report {
    hosts: Vec<Host>,
    /// By bundle.
    bundles: BTreeMap<i64, Controls>,
    /// All of them, as the newest bundle has each.
    controls: Controls,
}

impl Report {
    pub(crate) fn new(hosts: Vec<Host>, bundles: BTreeMap<i64, Controls>) -> Self {
        let each = bundles.values().flatten();
        let controls = each
            .map(|(key, control)| (key.clone(), control.clone()))
            .collect();
        Self {
            hosts,
            bundles,
            controls,
        }
    }

    fn standing(&self, host: &Host, of: &(String, String)) -> Standing {
        let controls = host.bundle.and_then(|version| self.bundles.get(&version));
        host.standing(controls, of)
    }

    /// The whole, counted; of the hosts the first `most`.
    pub(crate) fn json(&self, most: usize) -> Value {
        let mut controls = Vec::new();
        let mut techniques: BTreeMap<&str, (OfTechnique, Vec<Standing>)> = BTreeMap::new();
        let mut by_host = vec![(0, 0); self.hosts.len()];
        for (key, control) in &self.controls {
            let mut hosts = Hosts::default();
            let standings = self.hosts.iter().map(|host| self.standing(host, key));
            let standings: Vec<Standing> = standings.collect();
            for (standing, (enforced, observed)) in standings.iter().zip(&mut by_host) {
                hosts.add(*standing);
                *enforced += usize::from(*standing == Standing::Enforced);
                *observed += usize::from(*standing == Standing::Observed);
            }
            for id in &control.techniques {
                let unknown = || {
                    let technique = OfTechnique {
                        name: attack::technique(id).map(|(name, _)| name),
                        ..OfTechnique::default()
                    };
                    (technique, vec![Standing::Unknown; self.hosts.len()])
                };
                let (technique, best) = techniques.entry(id).or_insert_with(unknown);
                technique.rules += 1;
                for (best, standing) in best.iter_mut().zip(&standings) {
                    *best = (*best).max(*standing);
                }
            }
            controls.push(OfControl {
                control: control.clone(),
                hosts,
            });
        }
        let techniques: BTreeMap<&str, OfTechnique> = techniques
            .into_iter()
            .map(|(id, (mut technique, best))| {
                best.into_iter()
                    .for_each(|standing| technique.hosts.add(standing));
                (id, technique)
            })
            .collect();
        let tactics = Tactic::ALL.map(|tactic| {
            let serves = |id: &&str| {
                attack::technique(id).is_some_and(|(_, tactics)| tactics.contains(&tactic))
            };
            let (id, name) = tactic.shown();
            OfTactic {
                id,
                name,
                techniques: techniques.keys().copied().filter(serves).collect(),
            }
        });
        let hosts: Vec<_> = self
            .hosts
            .iter()
            .zip(by_host)
            .map(|(host, (enforced, observed))| OfHost {
                host,
                enforced,
                observed,
            })
            .take(most)
            .collect();
        serde_json::json!({
            "total": self.hosts.len(), "hosts": hosts, "controls": controls, "techniques": techniques, "tactics": tactics,
        })
    }

    /// A line for each rule on each host (RFC 4180).
    pub(crate) fn csv(&self) -> String {
        let titles = [
            "host",
            "sensor",
            "tags",
            "state",
            "tier",
            "mode",
            "bundle",
            "policy",
            "rule",
            "action",
            "severity",
            "techniques",
            "standing",
        ];
        let mut text = line(&titles.map(str::to_owned));
        for host in &self.hosts {
            for (key, control) in &self.controls {
                let own = host.bundle.and_then(|version| self.bundles.get(&version));
                // As it is there, where it is another one there.
                let control = own.and_then(|own| own.get(key)).unwrap_or(control);
                text += &line(&[
                    host.host.clone(),
                    host.sensor.clone(),
                    host.tags.join(" "),
                    host.state.name().to_owned(),
                    host.tier.clone().unwrap_or_default(),
                    host.mode.clone().unwrap_or_default(),
                    host.bundle.map(|it| it.to_string()).unwrap_or_default(),
                    control.policy.clone(),
                    control.rule.clone(),
                    control.action.to_owned(),
                    control.severity.to_string(),
                    control.techniques.join(" "),
                    self.standing(host, key).name().to_owned(),
                ]);
            }
        }
        text
    }
}

/// A line of CSV. What a spreadsheet would take for a formula (a host may have any name) has a `'` before it.
fn line(cells: &[String]) -> String {
    let cell = |cell: &String| {
        let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let guard = if is_formula { "'" } else { "" };
        format!("\"{guard}{}\"", cell.replace('"', "\"\""))
    };
    let cells: Vec<String> = cells.iter().map(cell).collect();
    cells.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bundle(version: u64, rules: &Value, mode: &str) -> Controls {
        let bundle = json!({
            "version": version, "name": "b", "created": "2026-11-22T19:00:00Z",
            "policies": [{"file": "a.json", "document": {
                "apiVersion": "holdfast/v1", "kind": "Policy", "name": "p", "mode": mode, "rules": rules}}],
        });
        controls(bundle.to_string().as_bytes()).unwrap()
    }

    fn rule(id: &str, action: &str, technique: &str) -> Value {
        json!({"id": id, "on": ["file.open"], "when": "file.path == '/x'", "action": action, "mitre": [technique]})
    }

    fn host(name: &str, mode: &str, bundle: Option<i64>, state: State) -> Host {
        Host {
            sensor: format!("{name}-id"),
            host: name.to_owned(),
            tags: vec!["web".to_owned()],
            state,
            tier: Some("lsm".to_owned()),
            mode: Some(mode.to_owned()),
            bundle,
            degraded: 0,
        }
    }

    fn report() -> Report {
        let first = bundle(1, &json!([rule("seen", "alert", "T1003.008")]), "enforce");
        let second = [
            rule("seen", "alert", "T1003.008"),
            rule("refused", "deny", "T1003.008"),
        ];
        let second = bundle(2, &json!(second), "enforce");
        let hosts = vec![
            host("a", "enforce", Some(2), State::Online),
            host("b", "observe", Some(2), State::Late),
            host("c", "enforce", Some(1), State::Online),
            host("d", "enforce", None, State::Online),
            host("=e\"", "enforce", Some(2), State::Gone),
        ];
        Report::new(hosts, BTreeMap::from([(1, first), (2, second)]))
    }

    #[test]
    fn a_technique_is_covered_as_well_as_by_its_best_rule() {
        let json = report().json(2);
        let of = |rule: &str| {
            let controls = json["controls"].as_array().unwrap();
            let control = controls.iter().find(|control| control["rule"] == rule);
            control.unwrap()["hosts"].clone()
        };
        let refused = json!({"enforced": 1, "observed": 1, "absent": 1, "unknown": 2});
        assert_eq!(of("refused"), refused);
        let seen = json!({"enforced": 0, "observed": 3, "absent": 0, "unknown": 2});
        assert_eq!(of("seen"), seen);
        let technique = json!({"name": "OS Credential Dumping", "rules": 2, "hosts": {"enforced": 1, "observed": 2, "absent": 0, "unknown": 2}});
        assert_eq!(json["techniques"], json!({"T1003.008": technique}));
        let tactics = json["tactics"].as_array().unwrap();
        for tactic in tactics {
            let serves = tactic["id"] == "TA0006";
            let techniques = if serves { vec!["T1003.008"] } else { vec![] };
            assert_eq!(tactic["techniques"], json!(techniques), "{tactic}");
        }
        assert_eq!(tactics.len(), 12);
        assert_eq!(
            (&json["total"], json["hosts"].as_array().unwrap().len()),
            (&json!(5), 2)
        );
        assert_eq!(json["hosts"][0]["enforced"], 1);
        assert_eq!(json["hosts"][0]["observed"], 1);
    }

    #[test]
    fn a_policy_that_observes_enforces_nothing() {
        let observing = bundle(1, &json!([rule("r", "deny", "T1003.008")]), "observe");
        let hosts = vec![host("a", "enforce", Some(1), State::Online)];
        let json = Report::new(hosts, BTreeMap::from([(1, observing)])).json(1);
        assert_eq!(json["controls"][0]["hosts"]["observed"], 1);
    }

    #[test]
    fn a_table_has_each_rule_on_each_host_and_no_formula() {
        let text = report().csv();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 5 * 2);
        assert_eq!(
            lines[1],
            r#""a","a-id","web","online","lsm","enforce","2","p","refused","deny","2","T1003.008","enforced""#
        );
        assert!(lines[9].starts_with(r#""'=e""","#));
        assert!(lines[9].ends_with(r#""unknown""#));
    }
}
