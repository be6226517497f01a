//! One event as one line for people, in the form that `run --output pretty` has.

use serde_json::Value;

/// Most characters shown of a command line; `--json` has all of it.
const MAX_DETAIL: usize = 200;

/// When, what, what became of it, who, with what, and the rule.
pub(in crate::command) fn line(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let time = text("/@timestamp")
        .and_then(|time| time.get(11..23))
        .unwrap_or("?");
    let mut parts = vec![format!(
        "{time} {:<16}",
        text("/event/action").unwrap_or("?")
    )];
    parts.extend(text("/holdfast/outcome").map(str::to_owned));
    if let Some(process) = event.get("process") {
        parts.push(named(process));
        let user = &process["user"];
        parts.extend(
            user["name"]
                .as_str()
                .or(user["id"].as_str())
                .map(str::to_owned),
        );
    }
    parts.extend(detail(event));
    if let Some(rule) = text("/rule/id") {
        parts.push(format!("({}/{rule})", text("/rule/ruleset").unwrap_or("?")));
    }
    parts.extend(text("/message").map(str::to_owned));
    parts.extend(text("/event/reason").map(str::to_owned));
    plain(&parts.join(" "))
}

fn named(process: &Value) -> String {
    format!(
        "{}[{}]",
        process["name"].as_str().unwrap_or("?"),
        process["pid"]
    )
}

/// What it was done with or to.
fn detail(event: &Value) -> Vec<String> {
    let (process, file, peer) = (&event["process"], &event["file"], &event["destination"]);
    let holdfast = &event["holdfast"];
    let mut parts = Vec::new();
    if event["event"]["action"] == "process.exec" {
        let arguments = process["args"].as_array().into_iter().flatten().skip(1);
        let command = std::iter::once(&process["executable"]).chain(arguments);
        let command = command
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ");
        let shown: String = command.chars().take(MAX_DETAIL).collect();
        parts.push(if shown.len() < command.len() {
            format!("{shown}…")
        } else {
            shown
        });
    }
    parts.extend(
        process["exit_code"]
            .as_i64()
            .map(|code| format!("code {code}")),
    );
    parts.extend(holdfast["signal"].as_str().map(str::to_owned));
    parts.extend(
        holdfast
            .get("target")
            .map(|target| format!("→ {}", named(target))),
    );
    parts.extend(file["path"].as_str().map(str::to_owned));
    parts.extend(file["target_path"].as_str().map(|path| format!("→ {path}")));
    parts.extend(holdfast["capability"].as_str().map(str::to_owned));
    let (limit, scheduler) = (&holdfast["rlimit"], &holdfast["scheduler"]);
    let words = [&limit["resource"], &scheduler["call"], &scheduler["policy"]];
    parts.extend(
        words
            .into_iter()
            .filter_map(Value::as_str)
            .map(str::to_owned),
    );
    let limits = [&limit["soft"], &limit["hard"]];
    parts.extend(
        limits
            .into_iter()
            .filter_map(Value::as_i64)
            .map(|it| it.to_string()),
    );
    let memory = &holdfast["memory"];
    let words = ["region", "method", "name"].map(|key| memory[key].as_str());
    parts.extend(words.into_iter().flatten().map(str::to_owned));
    let rights = memory["protection"].as_array().into_iter().flatten();
    parts.extend(rights.filter_map(Value::as_str).map(str::to_owned));
    if let (Some(ip), Some(port)) = (peer["ip"].as_str(), peer["port"].as_u64()) {
        let ip = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        parts.push(format!("→ {ip}:{port}"));
    }
    parts
}

/// Text in which what a process chose (its arguments, a path) cannot move the cursor, turn the
/// direction of writing, or end the line.
pub(in crate::command) fn plain(text: &str) -> String {
    let hostile = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if hostile(character) {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_one_line_without_control_codes() {
        let event = json!({
            "@timestamp": "2026-11-22T19:00:00.123456789Z",
            "event": {"action": "process.exec"},
            "process": {"pid": 7, "executable": "/usr/bin/echo", "name": "echo",
                        "user": {"id": "0", "name": "root"}, "args": ["echo", "a\u{1b}[31m\nb"]},
            "rule": {"id": "r", "ruleset": "p"}, "holdfast": {"outcome": "killed"},
        });
        assert_eq!(
            line(&event),
            "19:00:00.123 process.exec     killed echo[7] root /usr/bin/echo a\\u{1b}[31m\\nb (p/r)"
        );
    }

    #[test]
    fn peers_and_files_are_shown() {
        let event = json!({
            "@timestamp": "2026-11-22T19:00:00.123456789Z",
            "event": {"action": "network.connect"},
            "process": {"pid": 7, "name": "curl"},
            "destination": {"ip": "::1", "port": 443},
        });
        assert_eq!(
            line(&event),
            "19:00:00.123 network.connect  curl[7] → [::1]:443"
        );
        assert_eq!(
            line(&json!({"file": {"path": "/a", "target_path": "/b"}})),
            "? ?                /a → /b"
        );
    }
}
