//! An event as one line for people: when, what, what became of it, who, with what, and the rule.

use std::fmt::{self, Write as _};

use holdfast_wire::event::Event;

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";

/// Most characters shown of a command line; the JSON has all of it.
const MAX_DETAIL: usize = 200;

/// Appends the line, newline included.
pub(crate) fn write_line(event: &Event<'_>, colour: bool, out: &mut Vec<u8>) {
    let mut line = String::with_capacity(256);
    // Writing to a String does not fail.
    let _ = write(event, colour, &mut line);
    line.push('\n');
    out.extend_from_slice(line.as_bytes());
}

fn write(event: &Event<'_>, colour: bool, line: &mut String) -> fmt::Result {
    let paint = |code: &'static str| if colour { code } else { "" };
    let reset = paint(RESET);
    // 2026-11-22T19:00:00.123456789Z: the time of day, to the millisecond.
    let time = event.timestamp.get(11..23).unwrap_or(&event.timestamp);
    let alert = event.event.kind == "alert";
    let action = paint(if alert { RED } else { CYAN });
    write!(
        line,
        "{}{time}{reset} {action}{:<16}{reset}",
        paint(DIM),
        event.event.action
    )?;
    if let Some(outcome) = event.holdfast.outcome {
        let code = if outcome == "allowed" { YELLOW } else { RED };
        write!(line, " {}{outcome}{reset}", paint(code))?;
    }
    if let Some(process) = &event.process {
        let name = process.name.as_deref().unwrap_or("?");
        write!(
            line,
            " {}{}{reset}[{}]",
            paint(BOLD),
            Plain(name),
            process.pid
        )?;
        if let Some(user) = &process.user {
            write!(line, " {}", Plain(user.name.as_deref().unwrap_or(&user.id)))?;
        }
    }
    detail(event, line)?;
    if let Some(rule) = &event.rule {
        write!(
            line,
            " {}({}/{}){reset}",
            paint(YELLOW),
            Plain(rule.ruleset),
            Plain(rule.id)
        )?;
    }
    if let Some(message) = &event.message {
        write!(line, " {}", Plain(message))?;
    }
    if let Some(reason) = &event.event.reason {
        write!(line, " {}{}{reset}", paint(DIM), Plain(reason))?;
    }
    Ok(())
}

/// What it was done with or to.
fn detail(event: &Event<'_>, line: &mut String) -> fmt::Result {
    let process = event.process.as_ref();
    if event.event.action == "process.exec"
        && let Some(process) = process
    {
        let executable = process.executable.as_deref().unwrap_or("?");
        let arguments = process.args.shown().iter().skip(1).map(String::as_str);
        let mut left = MAX_DETAIL;
        for part in std::iter::once(executable).chain(arguments) {
            let shown: String = part.chars().take(left).collect();
            write!(line, " {}", Plain(&shown))?;
            left = left.saturating_sub(shown.chars().count() + 1);
            if left == 0 {
                line.push('…');
                break;
            }
        }
    }
    if let Some(code) = process.and_then(|process| process.exit_code) {
        write!(line, " code {code}")?;
    }
    if let Some(signal) = &event.holdfast.signal {
        write!(line, " {signal}")?;
    }
    if let Some(target) = &event.holdfast.target {
        let name = target.name.as_deref().unwrap_or_default();
        write!(line, " → {}[{}]", Plain(name), target.pid)?;
    }
    if let Some(file) = &event.file {
        write!(line, " {}", Plain(file.path.as_deref().unwrap_or("?")))?;
        if let Some(target) = &file.target_path {
            write!(line, " → {}", Plain(target))?;
        }
    }
    if let Some(source) = event
        .holdfast
        .mount
        .as_ref()
        .and_then(|it| it.source.as_ref())
    {
        write!(line, " ← {}", Plain(source))?;
    }
    if let Some(capability) = &event.holdfast.capability {
        write!(line, " {capability}")?;
    }
    if let Some(limit) = &event.holdfast.rlimit {
        write!(line, " {} {} {}", limit.resource, limit.soft, limit.hard)?;
    }
    if let Some(scheduler) = &event.holdfast.scheduler {
        if let Some(call) = scheduler.call {
            write!(line, " {call}")?;
        }
        if let Some(policy) = &scheduler.policy {
            write!(line, " {policy}")?;
        }
    }
    if let Some(memory) = &event.holdfast.memory {
        for part in memory.region.iter().chain(&memory.method) {
            write!(line, " {part}")?;
        }
        for right in &memory.protection {
            write!(line, " {right}")?;
        }
        if let Some(name) = &memory.name {
            write!(line, " {}", Plain(name))?;
        }
    }
    if let Some(own) = &event.source {
        write!(line, " {}", std::net::SocketAddr::new(own.ip, own.port))?;
    }
    if let Some(socket) = event.holdfast.socket.as_ref()
        && event.source.is_none()
        && event.destination.is_none()
    {
        write!(line, " {}", Plain(&socket.family))?;
        if let Some(name) = socket.path.as_ref().or(socket.socket_type.as_ref()) {
            write!(line, " {}", Plain(name))?;
        }
    }
    if let Some(peer) = &event.destination {
        write!(line, " → {}", std::net::SocketAddr::new(peer.ip, peer.port))?;
    }
    Ok(())
}

/// Text without control characters: a file name must not move the cursor of whoever watches.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(is_hostile) {
            match part.chars().next_back().filter(|last| is_hostile(*last)) {
                Some(last) => {
                    f.write_str(&part[..part.len() - last.len_utf8()])?;
                    write!(f, "{}", last.escape_default())?;
                }
                None => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Control characters, and those that turn the direction of text or end a line.
fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::event::{EventFields, File, Holdfast, Process, Redactable, Rule, User};

    fn line(event: &Event<'_>, colour: bool) -> String {
        let mut out = Vec::new();
        write_line(event, colour, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn event() -> Event<'static> {
        let user = User {
            id: "0".try_into().unwrap(),
            name: Some("root".into()),
            ..Default::default()
        };
        Event {
            timestamp: "2026-11-22T19:00:00.123456789Z".try_into().unwrap(),
            event: EventFields {
                kind: "alert",
                action: "file.open",
                ..Default::default()
            },
            process: Some(Process {
                pid: 7,
                name: Some("cat".into()),
                user: Some(user),
                ..Default::default()
            }),
            file: Some(File {
                path: Some("/etc/shadow".into()),
                ..Default::default()
            }),
            rule: Some(Rule {
                id: "shadow-read",
                ruleset: "credentials",
                ..Default::default()
            }),
            holdfast: Holdfast {
                outcome: Some("blocked"),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    #[test]
    fn one_line_tells_it() {
        let expected = "19:00:00.123 file.open        blocked cat[7] root /etc/shadow \
                        (credentials/shadow-read)\n";
        assert_eq!(line(&event(), false), expected);
        assert!(line(&event(), true).contains("\x1b[1;31mblocked\x1b[0m"));
    }

    #[test]
    fn nothing_hostile_reaches_the_terminal() {
        let mut event = event();
        event.file = Some(File {
            path: Some("/tmp/\x1b[2J\n\u{202e}x\u{9b}ü".into()),
            ..Default::default()
        });
        let line = line(&event, false);
        assert!(
            line.contains("/tmp/\\u{1b}[2J\\n\\u{202e}x\\u{9b}ü"),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn long_command_lines_are_cut() {
        let mut event = event();
        event.event.action = "process.exec";
        let process = event.process.as_mut().unwrap();
        process.executable = Some("/bin/x".into());
        let args = vec!["x".to_owned(), "y".repeat(5000)];
        process.args = Redactable::new(args.into(), None);
        let line = line(&event, false);
        assert!(line.len() < 400 && line.contains("y…"), "{line}");
    }
}
