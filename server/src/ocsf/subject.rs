//! What an action is done by and to: the attributes that the classes have of their own.

use serde_json::{Value, json};

use super::object::{
    FOLDER, LINK, Object, REGULAR, UNKNOWN, actor, brief, connection, container, endpoint, file,
    file_at, process,
};
use super::rest::Rest;

/// Numbers of names ([RFC 6895](https://www.rfc-editor.org/rfc/rfc6895), sections 2.2 and 2.3).
const RESPONSES: [&str; 6] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
];
const OPERATIONS: [&str; 6] = ["QUERY", "IQUERY", "STATUS", "", "NOTIFY", "UPDATE"];

/// The attributes of `action`.
pub(super) fn subject(rest: &mut Rest, action: &str, host_name: &str) -> Object {
    let mut subject = Object::default();
    let room = action.split_once('.').map_or(action, |(room, _)| room);
    if room == "container" {
        subject.set("app", application(rest));
        return subject;
    }
    if room == "sensor" {
        subject.set(
            "app",
            Some(json!({"name": "Holdfast", "vendor_name": "Holdfast"})),
        );
    }
    let mut own = process(rest, "/process");
    if let Some(Value::Object(own)) = &mut own {
        let login = rest.number("/holdfast/login_uid");
        own.extend(login.map(|id| ("auid".to_owned(), id.into())));
        own.extend(container(rest).map(|value| ("container".to_owned(), value)));
    }
    match room {
        "process" | "capability" | "memory" => processes(&mut subject, rest, action, own),
        _ => subject.set("actor", actor(own)),
    }
    match room {
        "file" => files(&mut subject, rest, action),
        "network" => ends(&mut subject, rest, action, host_name),
        "kernel" | "ipc" => kernel(&mut subject, rest, action),
        "memory" => {
            subject.set("base_address", rest.text("/holdfast/memory/address"));
            subject.set("size", rest.number("/holdfast/memory/size"));
        }
        _ => {}
    }
    subject
}

fn processes(subject: &mut Object, rest: &mut Rest, action: &str, own: Option<Value>) {
    let target = process(rest, "/holdfast/target");
    match (own, target) {
        // It is the process as it is now, which its parent is said to have launched.
        (Some(own), None) if action == "process.exec" => {
            let parent = own.get("parent_process").cloned();
            subject.set("actor", actor(Some(parent.unwrap_or_else(|| brief(&own)))));
            subject.set("process", Some(own));
        }
        (Some(own), None) => {
            subject.set("actor", actor(Some(brief(&own))));
            subject.set("process", Some(own));
        }
        (own, target) => {
            subject.set("actor", actor(own));
            subject.set("process", target);
        }
    }
    if action == "process.exit" {
        subject.set("exit_code", rest.number("/process/exit_code"));
    }
}

fn files(subject: &mut Object, rest: &mut Rest, action: &str) {
    let kind = match action {
        "file.mkdir" | "file.rmdir" | "file.mount" | "file.umount" | "file.pivot_root" => FOLDER,
        "file.symlink" => LINK,
        "file.create" | "file.truncate" => REGULAR,
        _ => UNKNOWN,
    };
    subject.set("file", file(rest, kind));
    // What a symbolic link says is the path of no file.
    if matches!(action, "file.rename" | "file.link") {
        let target = rest.text("/file/target_path");
        subject.set("file_result", target.map(|path| file_at(path, kind)));
    }
}

fn ends(subject: &mut Object, rest: &mut Rest, action: &str, host_name: &str) {
    let (mut source, mut destination) = (endpoint(rest, "/source"), endpoint(rest, "/destination"));
    if source.is_none() && destination.is_none() {
        let socket = rest.text("/holdfast/socket/path");
        let is_peer = matches!(action, "network.connect" | "network.send");
        match socket.map(|path| json!({"name": path})) {
            Some(socket) if is_peer => destination = Some(socket),
            Some(socket) => source = Some(socket),
            None if host_name.is_empty() => source = Some(json!({"name": "unknown"})),
            None => source = Some(json!({"hostname": host_name})),
        }
    }
    subject.set("src_endpoint", source);
    subject.set("dst_endpoint", destination);
    subject.set("connection_info", Some(connection(rest)));
    if action == "network.dns" {
        names(subject, rest);
    }
}

fn names(subject: &mut Object, rest: &mut Rest) {
    if let Some(name) = rest.text("/dns/question/name") {
        let mut query = Object::default();
        query.set("hostname", Some(name));
        query.set("type", rest.text("/dns/question/type"));
        query.set("class", rest.text("/dns/question/class"));
        query.set("packet_uid", rest.id("/dns/id"));
        let operation = rest.text("/dns/op_code");
        query.set(
            "opcode_id",
            operation.as_deref().map(|name| number(&OPERATIONS, name)),
        );
        query.set("opcode", operation);
        subject.set("query", Some(query.0));
    }
    let response = rest.text("/dns/response_code");
    subject.set(
        "rcode_id",
        response.as_deref().map(|name| number(&RESPONSES, name)),
    );
    subject.set("rcode", response);
    let answer = |answer: &mut Rest| {
        let mut told = Object::default();
        told.set("rdata", Some(answer.text("/data")?));
        told.set("type", answer.text("/type"));
        told.set("ttl", answer.number("/ttl"));
        Some(Value::Object(told.0))
    };
    subject.set("answers", rest.each("/dns/answers", answer));
}

fn number(names: &[&str], name: &str) -> usize {
    let found = names.iter().position(|known| *known == name);
    found.unwrap_or(99)
}

fn kernel(subject: &mut Object, rest: &mut Rest, action: &str) {
    let name = match action {
        "kernel.module" => {
            if let Some(file) = file(rest, REGULAR) {
                subject.set("driver", Some(json!({"file": file})));
                return;
            }
            "init_module".to_owned()
        }
        "kernel.kexec" => "kexec_load".to_owned(),
        "kernel.bpf" => "bpf".to_owned(),
        "kernel.perf" => "perf_event_open".to_owned(),
        _ => match rest.text("/holdfast/ipc/operation") {
            Some(operation) => operation,
            None => return,
        },
    };
    let mut kernel = Object::default();
    kernel.set("name", Some(name));
    kernel.set("type_id", Some(2));
    kernel.set("type", Some("System Call"));
    kernel.set("path", rest.text("/file/path"));
    subject.set("kernel", Some(kernel.0));
}

/// What runs in a container, or what it is made of.
fn application(rest: &mut Rest) -> Option<Value> {
    let mut application = Object::default();
    application.set("uid", rest.text("/container/id"));
    let name = rest.text("/container/name");
    application.set("name", name.or_else(|| rest.text("/container/image/name")));
    application.with_one_of(&["name", "uid"])
}
