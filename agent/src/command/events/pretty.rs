//! One event as one line for people.

use serde_json::Value;

/// Time, action, who, what it was done to, and what the rules say about it.
pub(super) fn line(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let time = text("/@timestamp")
        .and_then(|time| time.get(11..23))
        .unwrap_or("");
    let action = text("/event/action").unwrap_or("unknown");
    let mut parts = vec![format!("{time} {action:<16}")];
    if let Some(process) = event.get("process") {
        parts.push(who(process));
    }
    parts.extend(object(event));
    if let Some(rule) = text("/rule/id") {
        let outcome = text("/holdfast/outcome").unwrap_or("matched");
        parts.push(format!("[{outcome}: {rule}]"));
    }
    parts.extend(text("/message").map(|message| format!("— {message}")));
    parts.extend(text("/event/reason").map(|reason| format!("({reason})")));
    // What a process chose (its arguments, a path) must not reach the terminal as control codes.
    parts
        .join(" ")
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn who(process: &Value) -> String {
    let name = process["executable"]
        .as_str()
        .or(process["name"].as_str())
        .unwrap_or("?");
    let user = process["user"]["name"]
        .as_str()
        .or(process["user"]["id"].as_str());
    let user = user.map(|user| format!(" {user}")).unwrap_or_default();
    format!("{}{user} {name}", process["pid"])
}

/// What it was done to, by the action's domain.
fn object(event: &Value) -> Option<String> {
    let process = &event["process"];
    match event["event"]["action"].as_str()? {
        "process.exec" => {
            let args = process["args"].as_array()?.iter().filter_map(Value::as_str);
            Some(format!("`{}`", args.collect::<Vec<_>>().join(" ")))
        }
        "process.exit" => match event["holdfast"]["signal"].as_str() {
            Some(signal) => Some(signal.to_owned()),
            None => Some(format!("code {}", process.get("exit_code")?)),
        },
        "process.signal" => {
            let target = &event["holdfast"]["target"];
            Some(format!(
                "{} → {}",
                event["holdfast"]["signal"].as_str()?,
                target.get("pid")?
            ))
        }
        "file.rename" => {
            let file = &event["file"];
            Some(format!(
                "{} → {}",
                file["path"].as_str()?,
                file["target_path"].as_str()?
            ))
        }
        action if action.starts_with("file.") => Some(event["file"]["path"].as_str()?.to_owned()),
        action if action.starts_with("network.") => {
            let peer = &event["destination"];
            Some(format!(
                "→ {} port {}",
                peer["ip"].as_str()?,
                peer.get("port")?
            ))
        }
        _ => None,
    }
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
            "process": {"pid": 7, "executable": "/usr/bin/echo", "user": {"id": "0", "name": "root"},
                        "args": ["echo", "a\u{1b}[31m\nb"]},
            "rule": {"id": "r"}, "holdfast": {"outcome": "killed"},
        });
        assert_eq!(
            line(&event),
            "19:00:00.123 process.exec     7 root /usr/bin/echo `echo a\u{fffd}[31m\u{fffd}b` [killed: r]"
        );
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        assert_eq!(line(&json!({})), " unknown         ");
    }
}
