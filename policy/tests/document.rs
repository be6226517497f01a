//! What is wrong with a policy is said with its place; what the documentation shows is right.
#![allow(clippy::unwrap_used)] // Also in helpers: a test that cannot go on fails.

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{self, Mode, Policy};
use holdfast_policy::expression::Filter;
use holdfast_policy::field::{Kinds, Recorded};
use holdfast_policy::test::Suite;
use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;
use serde_json::{Value as Json, json};

/// A policy whose rules are these, from line 2.
fn policy(rules: &str) -> String {
    format!(
        r#"{{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","lists":{{"l":["/a"]}},"rules":[
{rules}]}}"#
    )
}

fn rule(when: &str) -> String {
    policy(&format!(
        r#"{{"id":"r","on":["file.open"],"action":"deny","when":"{when}"}}"#
    ))
}

fn problems(text: &str) -> Vec<String> {
    let problems = Policy::parse("p", text.as_bytes()).unwrap_err();
    problems.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn each_defect_is_one_line_with_its_place() {
    let cases = [
        (String::new(), "p:1:1: the file is empty"),
        ("{\n\"a\" 1}".into(), "p:2:5: not valid JSON: expected `:`"),
        ("[]".into(), "p:1:1: expected an object, found an array"),
        (
            policy(r#"{"id":"r","on":["file.open"],"action":"deny","wen":"true","when":"true"}"#),
            "p:2:46: unknown key `wen` in a rule (did you mean `when`?)",
        ),
        (
            policy(r#"{"id":"r","on":["file.opn"],"action":"deny","when":"true"}"#),
            "p:2:17: unknown kind of event `file.opn` (did you mean `file.open`?)",
        ),
        (
            policy(r#"{"id":"r","on":["file.open"],"action":"dney","when":"true"}"#),
            "p:2:39: unknown action `dney`: it is one of allow, audit, alert, stop, deny, kill, kill_tree, kill_container",
        ),
        (
            policy(r#"{"id":"r","on":["process.exit"],"action":"deny","when":"true"}"#),
            "p:2:42: process.exit cannot be refused: use `kill` or `alert`",
        ),
        (
            policy(
                r#"{"id":"r","on":["network.dns"],"action":"deny","when":"dns.question.name == 'x'"}"#,
            ),
            "p:2:41: an answer of network.dns cannot be refused: add `dns.type == 'query'` to the \
             condition, or use `kill` or `alert`",
        ),
        (
            policy(
                r#"{"id":"r","on":["network.dns"],"action":"deny","when":"dns.type != 'query'"}"#,
            ),
            "p:2:41: an answer of network.dns",
        ),
        (
            policy(r#"{"id":"r","on":["file.open"],"action":"deny"}"#),
            "p:2:1: a rule needs the key `when`",
        ),
        (
            policy(
                r#"{"id":"r","on":["file.open"],"action":"deny","when":"true","except":["true","fle.path == 'x'"]}"#,
            ),
            "p:2:78: unknown field `fle.path` (did you mean `file.path`?)",
        ),
        (
            r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","priority":5000,"rules":[]}"#
                .into(),
            "p:1:67: expected a whole number from -1000 to 1000, found 5000",
        ),
        (
            policy(r#"{"id":"r","on":[],"action":"deny","when":"true"}"#),
            "p:2:16: a rule is on at least one kind of event",
        ),
        (
            policy(r#"{"id":7,"on":["file.open"],"action":"deny","when":"true"}"#),
            "p:2:7: expected a string, found 7",
        ),
        (
            policy(r#"{"id":"r","id":"s","on":["file.open"],"action":"deny","when":"true"}"#),
            "p:2:11: the key `id` is there twice",
        ),
        (
            rule("file.pth == 'x'"),
            "unknown field `file.pth` (did you mean `file.path`?)",
        ),
        (rule("file.path == 7"), "string == int is not defined"),
        (
            rule("file.path"),
            "a condition is needed here, and this is string",
        ),
        (
            rule("file.path.startWith('x')"),
            "(did you mean `startsWith`?)",
        ),
        (
            rule("startsWith(file.path, 'x')"),
            "`startsWith` is called as `x.startsWith(…)`",
        ),
        (rule("file.path in lists.k"), "the policy has no list `k`"),
        (
            rule("file == 'x'"),
            "`file` is an object: name one of its fields, such as `file.path`",
        ),
        (
            rule("destination.port == 1"),
            "`destination.port` is never present on file.open",
        ),
        (
            rule("process.args.map(a, a)"),
            "`map()` is not supported: use exists() or all()",
        ),
        (
            rule("process.ancestors.exists(a, a.exe == 'x')"),
            "a process in a list has no field `exe`",
        ),
        (rule("file.path.matches('(')"), "bad regular expression"),
        (
            rule("@timestamp > '2026-11-22T19:00:00Z'"),
            "timestamp > string is not defined",
        ),
        (
            rule("@timestamp - process.start < duration('1d')"),
            "`1d` is no duration such as 500ms, 90s or 1h30m",
        ),
        (
            rule("@timestamp > timestamp('2026-11-22')"),
            "`2026-11-22` is no time such as",
        ),
        (
            rule("@timestamp.getHours('Europe/Berlin') > 18"),
            "names of zones are not known on every machine",
        ),
        (
            rule("duration('1h').getDate() == 1"),
            "getDate() of duration",
        ),
        (rule("process.name.getHours() == 1"), "getHours() of string"),
        (
            rule("true true"),
            "expected an operator or the end, found `true`",
        ),
    ];
    for (text, expected) in cases {
        let problems = problems(&text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains(expected),
            "{} is not {expected}",
            problems[0]
        );
    }
    let large = vec![b' '; document::MAX_BYTES + 1];
    let problem = Policy::parse("p", &large).unwrap_err().to_string();
    assert_eq!(problem, "p:1:1: the file is larger than 1048576 bytes");
}

#[test]
fn a_place_in_an_expression_is_a_place_in_the_file() {
    let text = rule(r"file.path == \u0027\\u00e9\u0027 && file.pth == 'x'");
    let column = text.lines().nth(1).unwrap().find("file.pth").unwrap() + 1;
    assert!(problems(&text)[0].starts_with(&format!("p:2:{column}: unknown field")));
}

#[test]
fn all_defects_are_listed() {
    let rules = r#"{"id":"a","on":["file.open"],"action":"deny","when":"file.pth == 'x' || x.y"},
        {"id":"a","on":["file.opn"],"action":"den","severity":"worst","when":"1 +","mitre":["X"]}"#;
    let problems = problems(&policy(rules));
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[test]
fn absence_is_false_and_its_negation_true() {
    let event = json!({"event": {"action": "file.open"}, "process": {"args": []}});
    let holds = |text: &str| Filter::parse(text).unwrap().matches(&event);
    let falsehoods = [
        "file.path == 'x'",
        "file.path < 'x'",
        "file.path >= 'x'",
        "file.path.startsWith('')",
        "file.path in ['x']",
        "file.path == file.path",
        "has(file.path)",
        "has(process.args)",
        "holdfast.executable.memfd",
        "size(file.path) == 0",
        "process.pid + 1 == 1",
        "destination.ip == '1.2.3.4'",
        "cidr('0.0.0.0/0').containsIP(destination.ip)",
        "process.args.exists(a, true)",
        "'x' in process.args",
        "9223372036854775807 + 1 > 0",
    ];
    for text in falsehoods {
        assert!(!holds(text) && holds(&format!("!({text})")), "{text}");
    }
    assert!(holds(
        "file.path != 'x' && process.args.all(a, false) && size(process.args) == 0"
    ));
    assert!(holds("(has(file.path) ? file.path : 'none') == 'none'"));
}

#[test]
fn expressions_mean_what_cel_says() {
    let event = json!({
        "@timestamp": "2026-11-22T19:00:00.5Z",
        "event": {"action": "process.exec"},
        "process": {"pid": 7, "start": "2026-11-22T18:59:00Z", "executable": "/usr/bin/bash", "args": ["bash", "-i"],
            "parent": {"executable": "/usr/sbin/sshd"},
            "ancestors": [{"executable": "/sbin/init", "args": ["init"], "start": "2026-11-20T08:00:00Z"}, {"pid": 0}]},
        "container": {"id": "c", "labels": {"app": "shop"}, "image": {"tag": ["1.0"]}},
        "destination": {"ip": "::ffff:10.1.2.3", "port": 443}});
    let truths = [
        "container.labels['app'] == 'shop' && 'app' in container.labels && !('x' in container.labels)",
        "container.labels['x'] != 'y' && container.image.tag.exists(t, t == '1.0')",
        "process.pid == 7 && process.pid != 8 && process.pid >= 7 && process.pid - 8 == -1",
        "process.executable.endsWith('/bash') && process.executable.contains('bin')",
        "process.executable.matches('^/usr/(s)?bin/[a-z]+$') && !process.executable.matches('^bin')",
        "process.executable.glob('/usr/*/bash') && !process.executable.glob('/usr/*')",
        "'-i' in process.args && size(process.args) == 2 && process.args.size() == 2",
        "process.args.exists(a, a.startsWith('-')) && !process.args.all(a, a.startsWith('-'))",
        "process.ancestors.exists(a, a.executable == '/sbin/init' && a.args.exists(b, b == 'init'))",
        "process.args.exists(a, process.ancestors.exists(p, p.executable.endsWith('init') && a == '-i'))",
        "destination.ip == '10.1.2.3' && destination.ip in ['10.1.2.3', '::1']",
        "cidr('10.0.0.0/8').containsIP(destination.ip) && !cidr('::/0').containsIP(destination.ip)",
        "destination.port in [80, 443] && [80, 443].exists(p, p == destination.port)",
        "process.parent.executable + 'x' == '/usr/sbin/sshdx' && 'a' < 'b'",
        "(process.pid > 5 ? 'big' : 'small') == 'big' && (process.pid == 7) == true",
        "false || true && !false // the end",
        "@timestamp - process.start < duration('90s') && @timestamp > process.start",
        "@timestamp.getHours() == 19 && @timestamp.getHours('+02:00') == 21 && @timestamp.getDayOfWeek() == 0",
        "process.ancestors.exists(a, @timestamp - a.start > duration('1h30m')) && !has(process.parent.start)",
        "size('é') == 1 && 'é' == '\\u00e9' && r'\\d' == '\\\\d'",
    ];
    for text in truths {
        assert!(
            Filter::parse(text)
                .unwrap_or_else(|e| panic!("{e}"))
                .matches(&event),
            "{text}"
        );
    }
}

fn parse(text: &Json) -> Policy {
    Policy::parse("p.json", text.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}"))
}

fn named(name: &str, mode: &str, action: &str) -> Policy {
    parse(
        &json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": name, "mode": mode,
        "rules": [{"id": "first", "on": ["file.open"], "when": "file.path == '/a'", "action": action},
                  {"id": "second", "on": ["file.open"], "when": "true", "action": "audit",
                   "mitre": ["T1003.008"]}]}),
    )
}

/// What becomes of an open of `/a`: the verdict, whether only the mode is in its way, and whose it is.
fn judge(policies: &[Policy], mode: Mode) -> (Verdict, bool, String) {
    let event = json!({"event": {"action": "file.open"}, "file": {"path": "/a"}});
    let event = Recorded::new(&event).unwrap();
    let options = Options {
        epoch: 3,
        mode,
        reported: Kinds::NONE,
    };
    let snapshot = compile(policies, &options).unwrap();
    let judgement = snapshot.judge(Kind::FileOpen, &event);
    let rule = judgement
        .rule
        .map(|(_, rule)| format!("{}/{}", rule.ruleset, rule.id));
    (judgement.verdict, judgement.would(), rule.unwrap())
}

/// What is asked for in part only of what an event has is asked for all the same.
#[test]
fn rules_on_parts_of_fields_are_tried() {
    for when in [
        "container.labels['app'] == 'shop'",
        "'app' in container.labels",
        "@timestamp.getHours() == 19",
        "@timestamp - process.start > duration('1s')",
    ] {
        let policy = parse(
            &json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "p",
            "rules": [{"id": "r", "on": ["file.open"], "when": when, "action": "alert"}]}),
        );
        let options = Options {
            epoch: 1,
            mode: Mode::Enforce,
            reported: Kinds::NONE,
        };
        let snapshot = compile(&[policy], &options).unwrap();
        let event = json!({"@timestamp": "2026-11-22T19:00:00Z", "event": {"action": "file.open"},
            "process": {"start": "2026-11-22T18:00:00Z"}, "container": {"labels": {"app": "shop"}}});
        let recorded = Recorded::new(&event).unwrap();
        let judgement = snapshot.judge(Kind::FileOpen, &recorded);
        assert_eq!(judgement.verdict, Verdict::Alert, "{when}");
    }
}

#[test]
fn the_first_rule_of_a_policy_and_the_strongest_of_all_decide() {
    let policies = [
        named("a", "enforce", "allow"),
        named("b", "enforce", "deny"),
    ];
    assert_eq!(
        judge(&policies, Mode::Enforce),
        (Verdict::Deny, false, "b/first".into())
    );
    assert_eq!(
        judge(&policies, Mode::Observe),
        (Verdict::Alert, true, "b/first".into())
    );
    assert_eq!(
        judge(&policies[..1], Mode::Enforce),
        (Verdict::Allow, false, "a/first".into())
    );
    let observing = [named("a", "observe", "kill")];
    assert_eq!(
        judge(&observing, Mode::Enforce),
        (Verdict::Alert, true, "a/first".into())
    );
}

#[test]
fn among_equal_verdicts_the_policy_of_the_highest_priority_is_named() {
    let with = |name: &str, priority: i32| {
        parse(&json!({
            "apiVersion": "holdfast/v1", "kind": "Policy", "name": name, "mode": "enforce",
            "priority": priority,
            "rules": [{"id": "r", "on": ["file.open"], "when": "true", "action": "deny"}]}))
    };
    let policies = [with("low", -1), with("high", 7), with("also-high", 7)];
    assert_eq!(
        judge(&policies, Mode::Enforce),
        (Verdict::Deny, false, "high/r".into())
    );
    // A weaker verdict of a policy with a higher priority changes nothing.
    let stronger = [named("a", "enforce", "kill"), with("high", 7)];
    assert_eq!(judge(&stronger, Mode::Enforce).2, "a/first");
}

#[test]
fn a_rule_may_only_observe_and_has_exceptions() {
    let rules = |mode: &str, exceptions: &[&str]| {
        [parse(&json!({
            "apiVersion": "holdfast/v1", "kind": "Policy", "name": "p", "mode": "enforce",
            "rules": [
                {"id": "one", "on": ["file.open"], "when": "file.path.startsWith('/')",
                 "except": exceptions, "action": "kill", "mode": mode},
                {"id": "two", "on": ["file.open"], "when": "true", "action": "audit"}]}))]
    };
    let none: [&str; 0] = [];
    assert_eq!(
        judge(&rules("observe", &none), Mode::Enforce),
        (Verdict::Alert, true, "p/one".into())
    );
    assert_eq!(
        judge(&rules("enforce", &none), Mode::Enforce).0,
        Verdict::Kill
    );
    assert_eq!(
        judge(&rules("enforce", &none), Mode::Observe).0,
        Verdict::Alert
    );
    let others = ["file.path == '/b'", "process.executable == '/c'"];
    assert_eq!(judge(&rules("enforce", &others), Mode::Enforce).2, "p/one");
    let this = ["file.path == '/b'", "file.path == '/a'"];
    assert_eq!(judge(&rules("enforce", &this), Mode::Enforce).2, "p/two");
}

#[test]
fn lists_may_be_in_files_and_long() {
    let text = json!({
        "apiVersion": "holdfast/v1", "kind": "Policy", "name": "p", "mode": "enforce",
        "lists": {"bad": {"file": "bad.txt"}},
        "rules": [{"id": "r", "on": ["network.connect"], "action": "alert",
                   "when": "destination.ip in lists.bad"}]})
    .to_string();
    let address = |number: u32| std::net::Ipv4Addr::from(0x0a00_0000 + number);
    let list: String = (0..100_000)
        .map(|n| format!("{}\n", address(2 * n)))
        .collect();
    let mut asked = Vec::new();
    let policy = Policy::parse_with("p", text.as_bytes(), &mut |name| {
        asked.push(name.to_owned());
        Ok(list.clone().into_bytes())
    })
    .unwrap();
    assert_eq!(asked, ["bad.txt"]);
    let options = Options {
        epoch: 1,
        mode: Mode::Enforce,
        reported: Kinds::NONE,
    };
    let snapshot = compile(&[policy], &options).unwrap();
    for (number, expected) in [(84_000, Verdict::Alert), (84_001, Verdict::None)] {
        let event = json!({"event": {"action": "network.connect"},
                           "destination": {"ip": address(number).to_string()}});
        let event = Recorded::new(&event).unwrap();
        assert_eq!(
            snapshot.judge(Kind::NetworkConnect, &event).verdict,
            expected
        );
    }
    let missing = Policy::parse("p", text.as_bytes()).unwrap_err().to_string();
    assert!(
        missing.contains("the list in `bad.txt` cannot be read: there are no files here"),
        "{missing}"
    );
}

#[test]
fn two_policies_of_one_name_are_refused() {
    let options = Options {
        epoch: 1,
        mode: Mode::Enforce,
        reported: Kinds::NONE,
    };
    let twice = [named("a", "enforce", "deny"), named("a", "observe", "deny")];
    let problems = compile(&twice, &options).unwrap_err().to_string();
    assert!(
        problems.ends_with("the policy `a` is in p.json already"),
        "{problems}"
    );
}

#[test]
fn only_what_is_asked_for_is_wanted() {
    let reported = Kinds::of(&[Kind::ProcessFork]);
    let options = Options {
        epoch: 1,
        mode: Mode::Enforce,
        reported,
    };
    let snapshot = compile(&[named("a", "enforce", "deny")], &options).unwrap();
    let wanted: Vec<_> = Kind::ALL
        .iter()
        .filter(|kind| snapshot.wants(**kind))
        .collect();
    assert_eq!(wanted, [&Kind::ProcessFork, &Kind::FileOpen]);
    let reference = &snapshot.rules()[1].references[0];
    assert_eq!(reference, "https://attack.mitre.org/techniques/T1003/008/");
}

/// The code blocks of the documentation that say what they are.
fn blocks(what: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.md");
    let text = std::fs::read_to_string(path).unwrap();
    let opening = format!("```json {what}\n");
    let blocks = text.split(&opening).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_documentation_is_right() {
    let policies: Vec<_> = blocks("policy")
        .iter()
        .map(|text| Policy::parse("docs", text.as_bytes()).unwrap_or_else(|e| panic!("{e}")))
        .collect();
    assert_eq!(policies.len(), 3);
    let suite = Suite::parse("docs", blocks("test")[0].as_bytes()).unwrap();
    for outcome in suite.run(&policies[0]).unwrap() {
        assert_eq!(outcome.failure, None, "{}", outcome.name);
    }
}

/// What can only be about questions may be denied.
#[test]
fn questions_of_dns_can_be_denied() {
    for when in [
        "dns.type == 'query'",
        "dns.type == 'query' && (dns.question.name == 'x' || destination.ip == '192.0.2.1')",
        "(dns.type == 'query' && destination.port == 53) || (dns.type in ['query'] && process.pid == 1)",
        "dns.type != 'answer' && has(dns.type)",
        "!(dns.type == 'answer' || dns.question.name == 'x')",
    ] {
        let rule = json!({"id": "r", "on": ["network.dns"], "action": "deny", "when": when});
        let text = policy(&rule.to_string());
        Policy::parse("p", text.as_bytes()).unwrap_or_else(|e| panic!("{when}: {e}"));
    }
    let default = r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","rules":[],
        "scope":"dns.type == 'query'","defaults":{"network.dns":"deny"}}"#;
    Policy::parse("p", default.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
}
