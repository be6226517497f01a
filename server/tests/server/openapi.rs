//! The description of the API: what is served, what the documentation has, and what the routes are and answer.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::harness::{Server, both, frame, printed};
use super::{POLICY, heartbeat};

const DESCRIPTION: &str = include_str!("../../../docs/openapi.json");
const ROLES: [&str; 3] = ["read-only", "analyst", "admin"];

/// Method, path, and the least role, if one is asked for.
type Operation = (String, String, Option<String>);

fn described(description: &Value) -> BTreeSet<Operation> {
    let mut all = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let role = operation["x-role"].as_str().map(str::to_owned);
            all.insert((method.clone(), path.clone(), role));
        }
    }
    all
}

/// What `routes` in the sources says, which nothing else can be asked for.
fn routed() -> BTreeSet<Operation> {
    let source = include_str!("../../src/api.rs");
    let (_, source) = source.split_once("let anybody = ").unwrap();
    let mut all = BTreeSet::new();
    let mut role = None;
    for line in source.lines() {
        for (name, of_name) in [
            ("read_only", "read-only"),
            ("analyst", "analyst"),
            ("admin", "admin"),
        ] {
            if line.contains(&format!("let {name} = ")) {
                role = Some(of_name.to_owned());
            }
        }
        let Some((_, route)) = line.split_once(".route(\"") else {
            continue;
        };
        let (path, handlers) = route.split_once('"').unwrap();
        for method in ["get", "post", "put", "delete"] {
            if handlers.contains(&format!("{method}(")) {
                all.insert((method.to_owned(), path.to_owned(), role.clone()));
            }
        }
    }
    all
}

#[test]
fn every_route_is_described_with_its_role_and_no_other() {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    assert_eq!(described(&description), routed());
}

/// Where `value` is not what `schema` says.
fn differs(description: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = description.pointer(reference.strip_prefix('#')?)?;
        return differs(description, schema, value, at);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut joined = Map::new();
        for part in parts {
            let reference = part["$ref"].as_str();
            let part = reference.map_or(part, |it| description.pointer(&it[1..]).unwrap());
            joined.extend(part["properties"].as_object().unwrap().clone());
        }
        return differs(
            description,
            &json!({"type": "object", "properties": joined}),
            value,
            at,
        );
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds: Vec<_> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let fits = |it: &&str| *it == kind || (*it == "number" && kind == "integer");
    if !kinds.is_empty() && !kinds.iter().any(fits) {
        return Some(format!("{at} is {value}, not {kinds:?}"));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Some(format!("{at} is {value}, not one of {values:?}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        let wrong = differs(
            description,
            &schema["items"],
            item,
            &format!("{at}[{index}]"),
        );
        if wrong.is_some() {
            return wrong;
        }
    }
    let object = value.as_object()?;
    for required in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(required.as_str()?) {
            return Some(format!("{at} has no {required}"));
        }
    }
    let known = schema["properties"].as_object();
    for (key, value) in object {
        let of_key = known.and_then(|known| known.get(key));
        let others = &schema["additionalProperties"];
        match of_key {
            Some(schema) => {
                if let Some(wrong) = differs(description, schema, value, &format!("{at}.{key}")) {
                    return Some(wrong);
                }
            }
            None if others.is_object() => {
                if let Some(wrong) = differs(description, others, value, &format!("{at}.{key}")) {
                    return Some(wrong);
                }
            }
            None if known.is_some() => return Some(format!("{at}.{key} is not described")),
            None => {}
        }
    }
    None
}

/// A server with something of everything.
fn lived_in(data: &std::path::Path) -> (Server, [String; 3]) {
    let server = Server::start(data);
    let tokens = ROLES.map(|role| printed(data, &["token", "create", role, "--role", role]));
    let admin = &tokens[2];
    let key = printed(data, &["key", "create", "--tag", "web", "--uses", "9"]);
    let sensor = server.sensor(&key, "h");
    let drafts = json!({"name": "b", "policies": [{"file": "a.json", "text": POLICY}]});
    for path in ["/bundles", "/bundles"] {
        let made = server.send("POST", &format!("/api/v1{path}"), admin, &drafts);
        assert_eq!(made.status, 200);
    }
    let assigned = json!({"target": "all", "version": 1});
    assert_eq!(
        server
            .send("PUT", "/api/v1/assignments", admin, &assigned)
            .status,
        200
    );
    let plan = json!({"target": "tag:web", "version": 2, "stages": [{"percent": 100, "wait_seconds": 900}]});
    assert_eq!(
        server.send("POST", "/api/v1/rollouts", admin, &plan).status,
        200
    );
    server.send(
        "POST",
        "/uplink/v1/heartbeat",
        &sensor.token,
        &heartbeat(Some(1)),
    );
    assert_eq!(
        server
            .frame(&sensor.token, &frame(&sensor.id, 1..=3))
            .status,
        200
    );
    (server, tokens)
}

#[test]
fn what_is_answered_is_what_is_described() {
    both(|data| {
        let (server, tokens) = lived_in(data);
        let served = server.request("GET", "/api/v1/openapi.json", &[], b"");
        assert_eq!(
            (served.status, served.body),
            (200, DESCRIPTION.as_bytes().to_vec())
        );
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let id = server.get("/api/v1/sensors", &tokens[0]).json()["sensors"][0]["id"].clone();
        for (method, path, role) in described(&description) {
            // It does not end.
            if path == "/alerts/stream" {
                continue;
            }
            let mut known = format!("/api/v1{path}");
            if method == "get" {
                known = known.replace(
                    "/sensors/{id}",
                    &format!("/sensors/{}", id.as_str().unwrap()),
                );
                known = known.replace("{id}", "1").replace("{version}", "1");
            }
            // Nothing that is there is changed by what is tried here.
            for name in ["{id}", "{version}", "{name}"] {
                known = known.replace(name, "999999");
            }
            let known = known.replace("{target}", "tag:none");
            let documented = &description["paths"][&path][&method]["responses"];
            for (of_token, token) in ROLES.iter().zip(&tokens) {
                let answer = server.send(&method.to_uppercase(), &known, token, &json!({}));
                let what = format!("{method} {known} as {of_token}: {answer:?}");
                let least = role
                    .as_deref()
                    .and_then(|role| ROLES.iter().position(|it| *it == role));
                let may = ROLES.iter().position(|it| it == of_token) >= least;
                assert_eq!(answer.status == 403, !may, "{what}");
                let status = answer.status.to_string();
                let described = &documented[&status];
                assert!(described.is_object(), "{what}");
                let body = String::from_utf8_lossy(&answer.body);
                assert!(!body.contains("there is nothing at this path"), "{what}");
                let described = match described["$ref"].as_str() {
                    Some(reference) => description.pointer(&reference[1..]).unwrap(),
                    None => described,
                };
                let schema = &described["content"]["application/json"]["schema"];
                if schema.is_object() {
                    let wrong = differs(&description, schema, &answer.json(), "it");
                    assert_eq!(wrong, None, "{what}");
                }
            }
        }
    });
}
