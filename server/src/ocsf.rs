//! Events by the [Open Cybersecurity Schema Framework](https://schema.ocsf.io), version 1.8.0: what rules found is a
//! *Detection Finding*, and everything else an activity of the system, the network or an application.
//!
//! What the schema has no place for is in `unmapped`, under the names of ECS, so that nothing is lost on the way.

use serde_json::{Value, json};

mod class;
#[cfg(test)]
mod facts;
mod object;
mod rest;
mod subject;
#[cfg(test)]
mod tests;

use class::{Activity, BASE, Class, FINDING, OTHER, activity};
use object::Object;
use rest::Rest;

use crate::clock::NANOSECONDS;
use crate::store::events::Found;

/// Version of the schema that is meant.
const VERSION: &str = "1.8.0";
/// What a finding's evidence has places for; the rest of what is known of its subject is data.
const EVIDENCE: [&str; 7] = [
    "actor",
    "process",
    "file",
    "src_endpoint",
    "dst_endpoint",
    "connection_info",
    "query",
];

/// A stored event as an event of OCSF. Whatever is stored, it has what its class requires; what lacks that to be of a
/// class of its own is a *Base Event*.
pub(crate) fn event(found: &Found) -> Value {
    // What is stored was parsed when it came.
    let mut rest = Rest::new(found.event());
    let action = rest.text("/event/action").unwrap_or_default();
    let is_alert = rest.take("/event/kind", |kind| (kind == "alert").then_some(()));
    let mut event = Object::default();
    event.set("device", Some(object::device(&mut rest, &found.host_name)));
    let cloud = object::cloud(&mut rest);
    let profiles = ["host", "container", "linux/linux_users", "security_control"];
    let profiles = profiles.into_iter().chain(cloud.as_ref().map(|_| "cloud"));
    let profiles: Vec<_> = profiles.collect();
    event.set("cloud", cloud);
    event.set("time", Some(found.time / NANOSECONDS));
    event.set(
        "metadata",
        Some(metadata(&mut rest, found, &action, &profiles)),
    );
    severity(&mut event, &mut rest);
    verdict(&mut event, &mut rest);
    let message = rest.text("/message").or_else(|| rest.text("/event/reason"));
    let outcome = rest.take("/event/outcome", |value| match value.as_str()? {
        "success" => Some((1, "Success")),
        "failure" => Some((2, "Failure")),
        _ => None,
    });
    if is_alert.is_some() {
        let subject = subject::subject(&mut rest, &action, &found.host_name);
        finding(
            &mut event,
            &mut rest,
            found,
            &action,
            subject,
            message.as_deref(),
        );
        event.set("status_detail", outcome.map(|(_, caption)| caption));
    } else {
        activity_of(&mut event, &mut rest, &action, &found.host_name);
        event.set("status_id", outcome.map(|(id, _)| id));
        event.set("status", outcome.map(|(_, caption)| caption));
        event.set("attacks", attacks(&mut rest));
    }
    event.set("message", message);
    event.set("unmapped", rest.left());
    Value::Object(event.0)
}

fn metadata(rest: &mut Rest, found: &Found, action: &str, profiles: &[&str]) -> Value {
    let mut metadata = Object::default();
    metadata.set("version", Some(VERSION));
    metadata.set(
        "product",
        Some(json!({"name": "Holdfast", "vendor_name": "Holdfast"})),
    );
    metadata.set("profiles", Some(json!(profiles)));
    metadata.set(
        "uid",
        rest.text("/event/id")
            .or_else(|| Some(found.id.to_string())),
    );
    metadata.set("event_code", (!action.is_empty()).then_some(action));
    metadata.set("sequence", rest.number("/event/sequence"));
    metadata.set("original_time", rest.text("/@timestamp"));
    metadata.set("logged_time", Some(found.received));
    metadata.set(
        "loggers",
        Some(json!([{"name": "holdfast", "uid": found.sensor_id}])),
    );
    Value::Object(metadata.0)
}

fn severity(event: &mut Object, rest: &mut Rest) {
    let of_rule = rest.take("/event/severity", |value| {
        value.as_i64().filter(|of_rule| (1..=4).contains(of_rule))
    });
    let (id, caption) = match of_rule {
        Some(1) => (2, "Low"),
        Some(2) => (3, "Medium"),
        Some(3) => (4, "High"),
        Some(_) => (5, "Critical"),
        None => (1, "Informational"),
    };
    event.set("severity_id", Some(id));
    event.set("severity", Some(caption));
}

/// What was done about it: the profile *Security Control*.
fn verdict(event: &mut Object, rest: &mut Rest) {
    let policy = rest.text("/rule/ruleset");
    event.set("policy", policy.map(|name| json!({"name": name})));
    let Some(outcome) = rest.text("/holdfast/outcome") else {
        return;
    };
    let is_allowed = rest.take("/holdfast/action", |value| (value == "allow").then_some(()));
    let ((action_id, action), (disposition_id, disposition)) = match outcome.as_str() {
        "allowed" if is_allowed.is_some() => ((1, "Allowed"), (1, "Allowed")),
        "allowed" => ((3, "Observed"), (19, "Alert")),
        "would_block" => ((3, "Observed"), (15, "Detected")),
        "blocked" | "killed" => ((2, "Denied"), (2, "Blocked")),
        // The operation took effect, and the process is gone.
        other => ((OTHER, other), (OTHER, other)),
    };
    event.set("action_id", Some(action_id));
    event.set("action", Some(action));
    event.set("disposition_id", Some(disposition_id));
    event.set("disposition", Some(disposition));
}

/// The techniques that a rule names.
fn attacks(rest: &mut Rest) -> Option<Vec<Value>> {
    let techniques = rest.texts("/threat/technique/id")?;
    let attack = |id: String| match id.split_once('.') {
        Some((technique, _)) => {
            json!({"technique": {"uid": technique}, "sub_technique": {"uid": id}})
        }
        None => json!({"technique": {"uid": id}}),
    };
    Some(techniques.into_iter().map(attack).collect())
}

/// What an event is that no rule found.
fn activity_of(event: &mut Object, rest: &mut Rest, action: &str, host_name: &str) {
    let is_answer = rest.has("/dns/response_code");
    if let Some(Activity { class, id, name }) = activity(action, rest.has("/file/path"), is_answer)
    {
        let mut tried = rest.clone();
        let subject = subject::subject(&mut tried, action, host_name);
        if class
            .requires
            .iter()
            .all(|name| subject.0.contains_key(*name))
        {
            *rest = tried;
            let name = if name.is_empty() { action } else { name };
            classify(event, class, id, name);
            event.0.extend(subject.0);
            return;
        }
    }
    classify(event, &BASE, OTHER, action);
}

fn finding(
    event: &mut Object,
    rest: &mut Rest,
    found: &Found,
    action: &str,
    mut subject: Object,
    message: Option<&str>,
) {
    classify(event, &FINDING, 1, "Create");
    event.set("status_id", Some(1));
    event.set("status", Some("New"));
    event.set("is_alert", Some(true));
    let mut info = Object::default();
    let uid = event
        .0
        .get("metadata")
        .and_then(|metadata| metadata.get("uid"))
        .cloned();
    info.set("uid", uid);
    let rule = rest.text("/rule/id");
    let name = rest.text("/rule/name");
    info.set("title", name.as_deref().or(rule.as_deref()).or(message));
    let mut analytic = Object::default();
    analytic.set("uid", rule);
    analytic.set("name", name);
    analytic.set("type_id", Some(1));
    analytic.set("type", Some("Rule"));
    info.set("analytic", analytic.with_one_of(&["uid", "name"]));
    info.set("desc", message);
    info.set("types", (!action.is_empty()).then(|| json!([action])));
    info.set("created_time", Some(found.time / NANOSECONDS));
    info.set("attacks", attacks(rest));
    event.set("finding_info", Some(info.0));
    let mut evidence = Object::default();
    for name in EVIDENCE {
        evidence.set(name, subject.0.remove(name));
    }
    evidence.set("data", (!subject.0.is_empty()).then_some(subject.0));
    let evidence = (!evidence.0.is_empty()).then_some(evidence.0);
    event.set("evidences", evidence.map(|evidence| json!([evidence])));
}

fn classify(event: &mut Object, class: &Class, activity: i64, name: &str) {
    event.set("class_uid", Some(class.uid));
    event.set("class_name", Some(class.name));
    event.set("category_uid", Some(class.category));
    event.set("category_name", Some(class.category_name));
    event.set("activity_id", Some(activity));
    event.set("activity_name", Some(name));
    event.set("type_uid", Some(class.uid * 100 + activity));
    event.set("type_name", Some(format!("{}: {name}", class.name)));
}
