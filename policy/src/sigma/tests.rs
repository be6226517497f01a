use serde_json::{Value as Json, json};

use super::{Import, MAX_BYTES};
use crate::compile::{self, compile};
use crate::document::{Mode, Policy};
use crate::field::{Kinds, Recorded};

fn import(yaml: &str) -> Import {
    let mut import = Import::default();
    import.add("rule.yml", yaml.as_bytes());
    import
}

/// A rule of a category with a detection, which is indented by four.
fn rule(category: &str, detection: &str) -> String {
    format!(
        "title: A Rule\nlogsource:\n    product: linux\n    category: {category}\ndetection:\n{detection}"
    )
}

fn when(category: &str, detection: &str) -> String {
    let import = import(&rule(category, detection));
    assert_eq!(import.left_out(), [], "{detection}");
    import.rules[0]["when"].as_str().unwrap().to_owned()
}

fn reason(yaml: &str) -> String {
    let import = import(yaml);
    assert_eq!(import.count(), 0, "{:?}", import.rules);
    import.left_out()[0].to_string()
}

#[test]
fn a_rule_is_taken_over_with_what_it_says_of_itself() {
    let yaml = "title: Reads the Hashes\nid: 11111111-2222-3333-4444-555555555555\ndescription: |\n    Somebody reads.\n\
                falsepositives:\n    - Backups\n    - Tools\nlevel: high\ntags:\n    - attack.credential-access\n    - attack.t1003.008\n\
                logsource:\n    product: linux\n    category: process_creation\ndetection:\n    selection:\n        Image|endswith:\n\
                \x20           - '/cat'\n            - '/head'\n        CommandLine|contains: '/etc/Shadow'\n    condition: selection\n";
    let import = import(yaml);
    assert_eq!(import.left_out(), []);
    let policy = import.policy("sigma").unwrap();
    assert_eq!(
        policy["rules"][0],
        json!({
            "id": "11111111-2222-3333-4444-555555555555", "name": "Reads the Hashes",
            "description": "Somebody reads.", "falsePositives": "Backups; Tools",
            "on": ["process.exec"], "action": "alert", "severity": "high", "message": "Reads the Hashes",
            "mitre": ["T1003.008"],
            "when": "(process.executable.endsWith('/cat') || process.executable.endsWith('/head')) && \
                     process.command_line.matches('(?is)/etc/Shadow')",
        })
    );
    let policy = Policy::parse("p", policy.to_string().as_bytes()).unwrap();
    let options = compile::Options {
        epoch: 1,
        mode: Mode::Observe,
        reported: Kinds::NONE,
    };
    let snapshot = compile(&[policy], &options).unwrap();
    let alerts = |executable: &str, args: Json| {
        let event = json!({"event": {"action": "process.exec"},
                           "process": {"executable": executable, "args": args}});
        let event = Recorded::new(&event).unwrap();
        snapshot.judge(event.kind(), &event).rule.is_some()
    };
    assert!(alerts("/usr/bin/cat", json!(["cat", "/ETC/shadow"])));
    assert!(!alerts("/usr/bin/cat", json!(["cat", "/etc/passwd"])));
    assert!(!alerts("/usr/bin/CAT", json!(["cat", "/etc/shadow"])));
}

#[test]
fn conditions_and_modifiers() {
    for (category, detection, expected) in [
        (
            "process_creation",
            "    a:\n        Image: ['/bin/a', '/bin/b']\n    b:\n        User: root\n    condition: a and not b",
            "process.executable in ['/bin/a', '/bin/b'] && !process.user.name.matches('(?is)^root$')",
        ),
        (
            "process_creation",
            "    sel_1:\n        ProcessId: 7\n    sel_2:\n        ParentProcessId|gt: 1\n    condition: 1 of sel_*",
            "process.pid == 7 || process.parent.pid > 1",
        ),
        (
            "process_creation",
            "    s:\n        CommandLine|contains|all: ['-x', ' 1 ']\n    condition: s",
            "process.command_line.matches('(?is)\\\\-x') && process.command_line.contains(' 1 ')",
        ),
        (
            "process_creation",
            "    s:\n        CommandLine|re: '^a|b$'\n    condition: s",
            "process.command_line.matches('(?:^a|b$)')",
        ),
        (
            "process_creation",
            "    s:\n        CommandLine|re|i: 'a'\n    condition: s",
            "process.command_line.matches('(?i)(?:a)')",
        ),
        (
            "process_creation",
            "    s:\n        CommandLine: '*a?b*'\n    condition: s",
            "process.command_line.matches('(?is)a.b')",
        ),
        (
            "process_creation",
            "    s:\n        CurrentDirectory: ''\n    condition: s",
            "!has(process.working_directory)",
        ),
        (
            "process_creation",
            "    s:\n        - Image: '/a'\n        - ParentImage|startswith: '/b/'\n    condition: s",
            "process.executable == '/a' || process.parent.executable.startsWith('/b/')",
        ),
        (
            "process_creation",
            "    s:\n        Image|fieldref: ParentImage\n    condition: s",
            "process.executable == process.parent.executable",
        ),
        (
            "file_event",
            "    s:\n        TargetFilename|startswith: '/etc/cron.d/'\n    condition: s",
            "!('O_RDONLY' in holdfast.flags) && file.path.startsWith('/etc/cron.d/')",
        ),
        (
            "file_rename",
            "    s:\n        TargetFilename: '/a'\n    condition: s",
            "file.target_path == '/a'",
        ),
        (
            "network_connection",
            "    s:\n        Initiated: 'true'\n        DestinationIp|cidr: ['10.0.0.0/8', '::1/128']\n    condition: s",
            "cidr('10.0.0.0/8').containsIP(destination.ip) || cidr('::1/128').containsIP(destination.ip)",
        ),
        (
            "network_connection",
            "    s:\n        DestinationIp|startswith: '10.1.'\n        DestinationPort: [80, '443']\n    condition: s",
            "cidr('10.1.0.0/16').containsIP(destination.ip) && destination.port in [80, 443]",
        ),
        (
            "dns_query",
            "    s:\n        QueryName|endswith: '.onion'\n    condition: s",
            "dns.type == 'query' && dns.question.name.matches('(?is)\\\\.onion$')",
        ),
        (
            "process_creation",
            "    s:\n        process.args: 'x'\n    condition: s",
            "process.args.exists(v, v.matches('(?is)^x$'))",
        ),
        (
            "process_creation",
            "    s:\n        Image|exists: true\n    condition: s",
            "has(process.executable)",
        ),
    ] {
        assert_eq!(when(category, detection), expected, "{detection}");
    }
}

#[test]
fn what_cannot_be_expressed_is_left_out_and_said() {
    let exec = |detection: &str| rule("process_creation", detection);
    for (yaml, expected) in [
        ("title: W\nlogsource:\n    product: windows\n    category: process_creation\ndetection:\n    s:\n        Image: a\n    condition: s".to_owned(), "it is about the product `windows`"),
        ("title: W\nlogsource:\n    product: linux\n    service: auditd\ndetection:\n    s:\n        type: a\n    condition: s".to_owned(), "the log of the service `auditd`"),
        (rule("registry_event", "    s:\n        Image: a\n    condition: s"), "its log source is the category `registry_event`; known are process_creation"),
        (exec("    s:\n        OriginalFileName: a\n    condition: s"), "no event has a field like `OriginalFileName`"),
        (exec("    s:\n        DestinationPort: 1\n    condition: s"), "no event has a field like `DestinationPort`"),
        (exec("    s:\n        CommandLine|base64: a\n    condition: s"), "`CommandLine|base64` is not supported"),
        (exec("    s:\n        CommandLine|re: '(?=a)'\n    condition: s"), "bad regular expression"),
        (exec("    s: ['a', 'b']\n    condition: s"), "keywords search a log line"),
        (exec("    s:\n        Image: a\n    condition: t"), "the condition names `t`"),
        (exec("    s:\n        Image: a\n    condition: s and"), "rule.yml: "),
        (exec("    a1:\n        Image: a\n    a2:\n        Image: b\n    a3:\n        Image: c\n    condition: 2 of a*"), "counts what matches"),
        ("[".to_owned(), "YAML"),
        (" ".repeat(MAX_BYTES + 1), "the file is larger than"),
    ] {
        let reason = reason(&yaml);
        assert!(reason.contains(expected), "{reason} is not {expected}");
    }
}

#[test]
fn a_rule_that_cannot_be_does_not_keep_the_others_out() {
    let good = rule(
        "process_creation",
        "    s:\n        Image: '/a'\n    condition: s\n",
    );
    let bad = rule(
        "process_creation",
        "    s:\n        Hashes: 'x'\n    condition: s\n",
    );
    let import = import(&format!("{good}---\n{bad}---\n{good}"));
    assert_eq!(import.count(), 1);
    let reasons: Vec<&str> = import
        .left_out()
        .iter()
        .map(|it| it.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "no event has a field like `Hashes`",
            "there is a rule with the id a-rule already"
        ]
    );
}
