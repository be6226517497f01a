//! Objects of OCSF, taken from an event. An attribute that is not known is left out, and an object that would lack what it
//! has to have is none.

use serde_json::{Map, Value, json};

use super::rest::Rest;

/// Of a regular file, a folder and a symbolic link (`file.type_id`).
pub(super) const REGULAR: u8 = 1;
pub(super) const FOLDER: u8 = 2;
pub(super) const LINK: u8 = 7;
pub(super) const UNKNOWN: u8 = 0;

/// An object in the making.
#[derive(Default)]
pub(super) struct Object(pub(super) Map<String, Value>);

impl Object {
    pub(super) fn set(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// The object, if it has one of these.
    pub(super) fn with_one_of(self, names: &[&str]) -> Option<Value> {
        let has = names.iter().any(|name| self.0.contains_key(*name));
        has.then_some(Value::Object(self.0))
    }
}

/// `host` and its part of `cloud`.
pub(super) fn device(rest: &mut Rest, host_name: &str) -> Value {
    let mut device = Object::default();
    let name = rest.text("/host/name");
    let name = name.or_else(|| (!host_name.is_empty()).then(|| host_name.to_owned()));
    device.set("hostname", name);
    device.set("uid", rest.text("/host/id"));
    device.set("instance_uid", rest.text("/cloud/instance/id"));
    device.set("model", rest.text("/cloud/machine/type"));
    device.set("type_id", Some(UNKNOWN));
    device.set("type", Some("Unknown"));
    let mut os = Object::default();
    os.set(
        "name",
        rest.text("/host/os/name")
            .or_else(|| Some("Linux".to_owned())),
    );
    os.set("type_id", Some(200));
    os.set("type", Some("Linux"));
    os.set("version", rest.text("/host/os/version"));
    os.set("kernel_release", rest.text("/host/os/kernel"));
    device.set("os", Some(os.0));
    // One of which a device has to have at least one.
    if !["hostname", "uid"]
        .iter()
        .any(|name| device.0.contains_key(*name))
    {
        device.set("name", Some("unknown"));
    }
    Value::Object(device.0)
}

/// `cloud`, of which the provider is known.
pub(super) fn cloud(rest: &mut Rest) -> Option<Value> {
    let mut cloud = Object::default();
    cloud.set("provider", Some(rest.text("/cloud/provider")?));
    cloud.set("region", rest.text("/cloud/region"));
    cloud.set("zone", rest.text("/cloud/availability_zone"));
    let account = rest.text("/cloud/account/id");
    cloud.set("account", account.map(|id| json!({"uid": id})));
    Some(Value::Object(cloud.0))
}

/// The process at `place`, with its parent and their ancestors, but without its container.
pub(super) fn process(rest: &mut Rest, place: &str) -> Option<Value> {
    let mut process = one_process(rest, place);
    let parent = one_process(rest, &format!("{place}/parent"));
    process.set("parent_process", of_process(parent));
    let entity = |ancestor: &mut Rest| {
        let mut entity = Object::default();
        about(&mut entity, ancestor, "");
        entity.set("path", ancestor.text("/executable"));
        of_process(entity)
    };
    process.set("ancestry", rest.each(&format!("{place}/ancestors"), entity));
    of_process(process)
}

fn of_process(process: Object) -> Option<Value> {
    process.with_one_of(&["pid", "uid"])
}

fn one_process(rest: &mut Rest, place: &str) -> Object {
    let at = |name: &str| format!("{place}/{name}");
    let mut process = Object::default();
    // Else it would be taken from what cannot be told as a process.
    if !rest.has(&at("pid")) && !rest.has(&at("entity_id")) {
        return process;
    }
    about(&mut process, rest, place);
    let executable = rest.text(&at("executable"));
    process.set("file", executable.map(|path| file_at(path, REGULAR)));
    process.set("working_directory", rest.text(&at("working_directory")));
    process.set("tid", rest.number(&at("thread/id")));
    process.set("user", user(rest, &at("user")));
    process.set("euid", rest.id(&at("user/effective/id")));
    let group = rest.text(&at("group/id"));
    process.set("group", group.map(|id| json!({"uid": id})));
    let terminal = rest.text(&at("tty/name"));
    process.set("session", terminal.map(|name| json!({"terminal": name})));
    process.set("environment_variables", environment(rest, &at("env_vars")));
    process
}

/// What processes and their ancestors have in common.
fn about(process: &mut Object, rest: &mut Rest, place: &str) {
    let at = |name: &str| format!("{place}/{name}");
    process.set("pid", rest.number(&at("pid")));
    process.set("uid", rest.text(&at("entity_id")));
    process.set("name", rest.text(&at("name")));
    process.set("cmd_line", rest.texts(&at("args")).map(|all| all.join(" ")));
    process.set("created_time", rest.time(&at("start")));
}

fn environment(rest: &mut Rest, place: &str) -> Option<Vec<Value>> {
    rest.take(place, |value| {
        let pair = |text: &Value| {
            let (name, value) = text.as_str()?.split_once('=')?;
            Some(json!({"name": name, "value": value}))
        };
        value.as_array()?.iter().map(pair).collect()
    })
}

fn user(rest: &mut Rest, place: &str) -> Option<Value> {
    let mut user = Object::default();
    user.set("uid", rest.text(&format!("{place}/id")));
    user.set("name", rest.text(&format!("{place}/name")));
    user.with_one_of(&["uid", "name"])
}

/// Who acts: a process, and its user.
pub(super) fn actor(process: Option<Value>) -> Option<Value> {
    let process = process?;
    let mut actor = Object::default();
    actor.set("user", process.get("user").cloned());
    actor.set("process", Some(process));
    Some(Value::Object(actor.0))
}

/// As much of a process as to know it by.
pub(super) fn brief(process: &Value) -> Value {
    let mut brief = Object::default();
    for name in ["pid", "uid", "name", "user"] {
        brief.set(name, process.get(name).cloned());
    }
    Value::Object(brief.0)
}

/// The file at `place`, whose owner is the one that it has or is to have.
pub(super) fn file(rest: &mut Rest, kind: u8) -> Option<Value> {
    let mut file = file_at(rest.text("/file/path")?, kind);
    let owner = rest.text("/file/uid");
    if let (Some(file), Some(owner)) = (file.as_object_mut(), owner) {
        file.insert("owner".to_owned(), json!({"uid": owner}));
    }
    Some(file)
}

/// A file of which the path is known.
pub(super) fn file_at(path: String, kind: u8) -> Value {
    let name = path.rsplit('/').find(|part| !part.is_empty());
    let name = name.unwrap_or(&path).to_owned();
    json!({"name": name, "path": path, "type_id": kind})
}

/// The end of a connection at `place`.
pub(super) fn endpoint(rest: &mut Rest, place: &str) -> Option<Value> {
    let mut endpoint = Object::default();
    let is_address = |value: &Value| {
        let text = value.as_str()?;
        text.parse::<std::net::IpAddr>().ok()?;
        Some(text.to_owned())
    };
    endpoint.set("ip", rest.take(&format!("{place}/ip"), is_address));
    let port = |value: &Value| value.as_u64().filter(|port| u16::try_from(*port).is_ok());
    if !endpoint.0.is_empty() {
        endpoint.set("port", rest.take(&format!("{place}/port"), port));
    }
    endpoint.with_one_of(&["ip"])
}

/// `network`
pub(super) fn connection(rest: &mut Rest) -> Value {
    let mut connection = Object::default();
    let one_of =
        |names: [&'static str; 2]| move |value: &Value| names.iter().position(|name| value == name);
    let direction = rest.take("/network/direction", one_of(["ingress", "egress"]));
    let (id, caption) = match direction {
        Some(0) => (1, "Inbound"),
        Some(_) => (2, "Outbound"),
        None => (0, "Unknown"),
    };
    connection.set("direction_id", Some(id));
    connection.set("direction", Some(caption));
    connection.set("protocol_name", rest.text("/network/transport"));
    let version = rest.take("/network/type", one_of(["ipv4", "ipv6"]));
    connection.set("protocol_ver_id", version.map(|version| [4, 6][version]));
    Value::Object(connection.0)
}

/// `container`, and of `orchestrator` what belongs to it.
pub(super) fn container(rest: &mut Rest) -> Option<Value> {
    if !rest.has("/container/id") && !rest.has("/container/name") {
        return None;
    }
    let mut container = Object::default();
    container.set("uid", rest.text("/container/id"));
    container.set("name", rest.text("/container/name"));
    container.set("runtime", rest.text("/container/runtime"));
    container.set("orchestrator", rest.text("/orchestrator/type"));
    let pod = rest.take("/orchestrator/resource/id", |value| uuid(value.as_str()?));
    container.set("pod_uuid", pod);
    let labels = rest.take("/container/labels", |value| {
        let label = |(name, value): (&String, &Value)| Some(format!("{name}={}", value.as_str()?));
        value
            .as_object()?
            .iter()
            .map(label)
            .collect::<Option<Vec<_>>>()
    });
    container.set("labels", labels);
    container.set("image", image(rest));
    container.with_one_of(&["uid", "name"])
}

fn image(rest: &mut Rest) -> Option<Value> {
    let only = |value: &Value| match value.as_array()?.as_slice() {
        [Value::String(text)] => Some(text.clone()),
        _ => None,
    };
    let name = rest.text("/container/image/name")?;
    let mut image = Object::default();
    let hash = rest.take("/container/image/hash/all", only);
    image.set("uid", Some(hash.unwrap_or_else(|| name.clone())));
    image.set("name", Some(name));
    image.set("tag", rest.take("/container/image/tag", only));
    Some(Value::Object(image.0))
}

/// `text`, if it is a UUID: the pods of a node's own files have other ids.
fn uuid(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    (lengths == [8, 4, 4, 4, 12] && parts.iter().all(is_hex)).then(|| text.to_owned())
}
