//! The kernel's tables, the decision function and plain evaluation agree, for random policies and
//! random events: must ⊆ truth ⊆ may, and what is decided in the kernel is what evaluation says.
#![allow(clippy::unwrap_used)] // Also in helpers: a test that cannot go on fails.

use std::borrow::Cow;
use std::net::IpAddr;

use holdfast_policy::compile::{Options, compile};
use holdfast_policy::decision::decide;
use holdfast_policy::document::{Mode, Policy};
use holdfast_policy::field::{Kinds, Recorded};
use holdfast_policy::lookup::{self, Lookup, held_by};
use holdfast_policy::snapshot::{ContainerCondition, Snapshot, Tables};
use holdfast_policy::table::{Dimension, KEY_PATH_BYTES, TERMS, memory_access};
use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;
use holdfast_wire::event::capability_name;
use holdfast_wire::record::NO_RULE;
use holdfast_wire::text;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value as Json, json};

/// What the kernel programs know of an operation; `None` is not known.
#[derive(Clone, Debug, Default)]
struct Known {
    path: Option<Vec<u8>>,
    target_path: Option<Vec<u8>>,
    executable: Option<Vec<u8>>,
    user: Option<u32>,
    parent: Option<Vec<u8>>,
    target_executable: Option<Vec<u8>>,
    ancestors: Option<Vec<Vec<u8>>>,
    address: Option<IpAddr>,
    port: Option<u16>,
    access: Option<u32>,
    /// An event that has nothing but the container.
    container: Option<Json>,
    /// What the operation is known not to have.
    absent: Vec<Dimension>,
}

impl lookup::Known for Known {
    fn lacks(&self, dimension: Dimension) -> bool {
        self.absent.contains(&dimension)
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.path.as_deref().map(Cow::Borrowed)
    }
    fn target_path(&self) -> Option<Cow<'_, [u8]>> {
        self.target_path.as_deref().map(Cow::Borrowed)
    }
    fn address(&self) -> Option<[u8; 16]> {
        self.address.map(|address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        })
    }
    fn port(&self) -> Option<u16> {
        self.port
    }
    fn open_flags(&self) -> Option<u32> {
        self.access
    }
    fn executable(&self) -> Option<Cow<'_, [u8]>> {
        self.executable.as_deref().map(Cow::Borrowed)
    }
    fn user(&self) -> Option<u32> {
        self.user
    }
    fn parent(&self) -> Option<Cow<'_, [u8]>> {
        self.parent.as_deref().map(Cow::Borrowed)
    }
    fn target_executable(&self) -> Option<Cow<'_, [u8]>> {
        self.target_executable.as_deref().map(Cow::Borrowed)
    }
    fn ancestors(&self) -> Option<Cow<'_, [Vec<u8>]>> {
        self.ancestors.as_deref().map(Cow::Borrowed)
    }
    fn container(&self, conditions: &[ContainerCondition]) -> Option<u32> {
        let event = self.container.as_ref()?;
        Some(held_by(conditions, &Recorded::new(event).unwrap()))
    }
}

/// Kinds that together have every dimension.
const KINDS: [Kind; 10] = [
    Kind::FileOpen,
    Kind::FileRename,
    Kind::ProcessExec,
    Kind::NetworkConnect,
    Kind::NetworkAccept,
    Kind::NetworkDns,
    Kind::MemoryMap,
    Kind::CapabilityUse,
    Kind::ProcessExit,
    Kind::ProcessSignal,
];
const ADDRESSES: [&str; 7] = [
    "10.0.0.1",
    "10.1.0.1",
    "::ffff:10.0.0.1",
    "1.2.3.4",
    "::1",
    "fe80::1",
    "::ffff:0:0",
];
const NETWORKS: [&str; 8] = [
    "10.0.0.0/8",
    "10.0.0.0/16",
    "10.0.0.1/32",
    "0.0.0.0/0",
    "::/0",
    "::/64",
    "fe80::/10",
    "::1/128",
];
const FLAGS: [&str; 4] = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"];

/// Paths that are prefixes of each other; those that are not UTF-8, and their like; some about as
/// long as a key.
fn paths() -> [Vec<Vec<u8>>; 3] {
    let short = ["/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/c", "/ab", "/b", ""];
    let odd = [
        &b"/a"[..],
        b"/\xff",
        b"/\xff/a",
        b"/\\",
        br"/\xff",
        br"/\xff/a",
        br"/\x5cxff",
        b"/\xc3",
        "/é".as_bytes(),
        br"/\x2d",
        "/\u{fffd}".as_bytes(),
    ];
    let long = (250..=255).flat_map(|length| {
        let path = "/".repeat(length).into_bytes();
        [path.clone(), [path.as_slice(), b"tail"].concat()]
    });
    [
        short.map(|path| path.as_bytes().to_vec()).to_vec(),
        odd.map(<[u8]>::to_vec).to_vec(),
        long.collect(),
    ]
}

/// Those of a sort meet each other more often than the others.
fn path_bytes() -> impl Strategy<Value = Vec<u8>> {
    (any::<Index>(), 0..8u8).prop_map(|(index, which)| {
        let [short, odd, long] = paths();
        let sort = match which {
            0..4 => short,
            4..6 => odd,
            _ => long,
        };
        index.get(&sort).clone()
    })
}

/// As a rule has it: some of them the text of no path.
fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => path_bytes().prop_map(|bytes| text::path(&bytes).into_owned()),
        1 => path_bytes().prop_map(|bytes| text::lossy(&bytes).into_owned()),
    ]
}

fn atom() -> impl Strategy<Value = String> {
    let path_field = select(vec![
        "file.path",
        "file.target_path",
        "process.executable",
        "process.parent.executable",
        "holdfast.target.executable",
        "holdfast.socket.path",
    ]);
    let by_path = (path_field, 0..8u8, path(), path()).prop_map(|(field, form, a, b)| match form {
        0 => format!("{field} == r'{a}'"),
        1 => format!("r'{a}' == {field}"),
        2 => format!("{field} != r'{a}'"),
        3 => format!("{field} in [r'{a}', r'{b}']"),
        4 => format!("{field} in lists.some"),
        5 | 6 => format!("{field}.startsWith(r'{a}')"),
        _ => format!("{field}.endsWith(r'{a}')"),
    });
    let by_address = (
        0..3u8,
        select(vec!["source", "destination"]),
        select(&ADDRESSES[..]),
        select(&NETWORKS[..]),
    )
        .prop_map(|(form, end, address, network)| match form {
            0 => format!("{end}.ip == '{address}'"),
            1 => format!("{end}.ip in ['{address}', '1.2.3.4']"),
            _ => format!("cidr('{network}').containsIP({end}.ip)"),
        });
    let by_port = (0..3u8, 78..82u32).prop_map(|(form, port)| match form {
        0 => format!("destination.port == {port}"),
        1 => format!("destination.port in [{port}, 443, 70000]"),
        _ => format!("destination.port < {port}"),
    });
    let by_access = select(vec!["O_RDONLY", "O_WRONLY", "O_RDWR", "O_CREAT"])
        .prop_map(|flag| format!("'{flag}' in holdfast.flags"));
    let by_direction = select(vec![
        "dns.type == 'query'",
        "dns.type != 'query'",
        "dns.type in ['answer', 'neither']",
        "'neither' == dns.type",
        "dns.type.startsWith('q')",
    ])
    .prop_map(str::to_owned);
    let by_capability = select(vec![
        "holdfast.capability == 'CAP_SYS_ADMIN'",
        "holdfast.capability != 'CAP_SYS_ADMIN'",
        "holdfast.capability in ['CAP_CHOWN', 'CAP_NONE']",
        "holdfast.capability.startsWith('CAP_SYS')",
    ])
    .prop_map(str::to_owned);
    let by_memory = select(vec![
        "holdfast.memory.anonymous",
        "'PROT_WRITE' in holdfast.memory.protection",
        "'PROT_EXEC' in holdfast.memory.protection",
        "'PROT_READ' in holdfast.memory.protection",
    ])
    .prop_map(str::to_owned);
    let tails = [
        "/", "/a", "a", "b", "/b", "/b/c", "/bc", ".c", "tail", "/tail", "x5cxff", "ff", "xff",
        "/xff", "é", "g", "", "2d",
    ];
    let by_end = (
        select(vec![
            "file.path",
            "process.executable",
            "holdfast.socket.path",
        ]),
        prop_oneof![select(tails.to_vec()).prop_map(str::to_owned), path()],
    )
        .prop_map(|(field, tail)| format!("{field}.endsWith(r'{tail}')"));
    let by_user = select(vec![
        "process.user.id == '0'",
        "process.user.id != '0'",
        "process.user.id in ['1', '01', 'root']",
        "'+1' == process.user.id",
        "process.user.id.startsWith('1')",
    ])
    .prop_map(str::to_owned);
    let by_ancestors = (0..7u8, path(), path()).prop_map(|(form, a, b)| {
        let condition = match form {
            0 => format!("exists(a, a.executable == r'{a}')"),
            1 => format!("exists(a, a.executable != r'{a}')"),
            2 => format!("exists(a, a.executable.startsWith(r'{a}') && a.executable != r'{b}')"),
            3 => "exists(a, a.executable in lists.some)".to_owned(),
            4 => format!("all(a, a.executable == r'{a}' || r'{b}' == a.executable)"),
            5 => format!("all(a, !(a.executable in [r'{a}', r'{b}']))"),
            _ => format!("exists(a, a.executable == r'{a}' && a.pid == 1)"),
        };
        format!("process.ancestors.{condition}")
    });
    let by_container = select(vec![
        "container.id == ''",
        "container.image.name == 'web'",
        "container.image.name in ['web', 'db']",
        "container.labels['app'] == 'shop'",
        "'app' in container.labels",
        "container.privileged",
        "container.image.tag.exists(t, t == 'latest')",
        "has(orchestrator.namespace)",
        "container.image.name == file.path",
    ])
    .prop_map(str::to_owned);
    let others = select(vec![
        "true",
        "false",
        "event.action == 'file.open'",
        "event.action in ['process.exec', 'file.rename']",
        "event.action.startsWith('file')",
        "has(file.path)",
        "holdfast.executable.memfd",
        "holdfast.flags.all(f, f == 'O_RDONLY')",
    ])
    .prop_map(str::to_owned);
    prop_oneof![6 => by_path, 2 => by_end, 2 => by_user, 2 => by_ancestors, 2 => by_address, 2 => by_port, 2 => by_access, 1 => by_direction, 2 => by_memory, 2 => by_capability, 3 => by_container, 1 => others]
}

fn expression() -> impl Strategy<Value = String> {
    atom().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| join(&parts, "&&")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| join(&parts, "||")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
        ]
    })
}

fn join(parts: &[String], operator: &str) -> String {
    let parts: Vec<_> = parts.iter().map(|part| format!("({part})")).collect();
    parts.join(&format!(" {operator} "))
}

fn policy(rules: std::ops::Range<usize>) -> impl Strategy<Value = Json> {
    let action = select(vec![
        "allow",
        "audit",
        "alert",
        "stop",
        "kill",
        "kill_container",
    ]);
    let rule = (
        expression(),
        action,
        prop::option::weighted(0.1, expression()),
    );
    let mode = select(vec!["observe", "enforce"]);
    let scope = prop::option::weighted(0.2, atom());
    let default = prop::option::weighted(0.2, select(vec!["deny", "alert"]));
    let rules = prop::collection::vec(rule, rules);
    (rules, mode, scope, default).prop_map(|(rules, mode, scope, default)| {
        let on: Vec<_> = KINDS.iter().map(|kind| kind.action()).collect();
        let rules: Vec<_> = rules
            .into_iter()
            .enumerate()
            .map(|(id, (when, action, after))| {
                let mut rule =
                    json!({"id": id.to_string(), "on": on, "when": when, "action": action});
                if let Some(when) = after {
                    rule["after"] = json!({"on": on, "when": when, "within": "1s"});
                }
                rule
            })
            .collect();
        let mut policy = json!({
            "apiVersion": "holdfast/v1", "kind": "Policy", "name": "p", "mode": mode,
            "lists": {"some": ["/a", "/ab", "/a/b/c"]}, "rules": rules});
        if let Some(scope) = scope {
            policy["scope"] = scope.into();
        }
        if let Some(default) = default {
            policy["defaults"] = json!({"file.open": default});
        }
        policy
    })
}

/// What an event has of its container.
fn container() -> impl Strategy<Value = Json> {
    let image = select(vec!["web", "db", "/a"]);
    let label = select(vec![json!({}), json!({"app": "shop"}), json!({"app": "x"})]);
    let namespace = prop::option::of(Just("prod"));
    (image, label, any::<bool>(), namespace).prop_map(|(image, labels, privileged, namespace)| {
        let image = json!({"name": image, "tag": ["latest"]});
        let mut of_event = json!({"container": {"id": "c", "image": image, "labels": labels, "privileged": privileged}});
        if let Some(namespace) = namespace {
            of_event["orchestrator"] = json!({"namespace": namespace});
        }
        of_event
    })
}

/// An event, and what the kernel knows of it: all, or with gaps.
fn event() -> impl Strategy<Value = (Json, Known)> {
    let what = (select(&KINDS[..]), path_bytes(), path_bytes(), path_bytes());
    let peer = (select(&ADDRESSES[..]), 78..82u16, 0..4usize);
    let gaps = prop_oneof![Just([false; 9]), any::<[bool; 9]>()];
    let container = prop::option::of(container());
    let lineage = prop::collection::vec(path_bytes(), 0..4);
    (what, peer, gaps, any::<[bool; 2]>(), (lineage, container)).prop_map(
        |(
            (kind, path, target, executable),
            (ip, port, mode),
            gaps,
            [root, memfd],
            (lineage, container),
        )| {
            let texts = lineage.iter().skip(1);
            let ancestors: Vec<_> = texts
                .map(|path| json!({"executable": text::path(path)}))
                .collect();
            let mut event = json!({
                "event": {"action": kind.action()},
                "process": {"user": {"id": if root { "0" } else { "1" }}, "ancestors": ancestors}});
            let known = |gap: usize, value: &[u8]| (!gaps[gap]).then(|| value.to_vec());
            let mut kernel = Known::default();
            event["process"]["executable"] = text::path(&executable).into();
            kernel.user = (!gaps[5]).then_some(if root { 0 } else { 1 });
            kernel.ancestors = (!gaps[7]).then(|| lineage.iter().skip(1).cloned().collect());
            let mut of_container = json!({"event": {"action": kind.action()}});
            for (name, value) in container.iter().flat_map(Json::as_object).flatten() {
                event[name] = value.clone();
                of_container[name] = value.clone();
            }
            kernel.container = (!gaps[8]).then_some(of_container);
            let mut absent = Vec::new();
            match lineage.first() {
                Some(parent) => {
                    event["process"]["parent"]["executable"] = text::path(parent).into();
                    kernel.parent = known(6, parent);
                }
                None => absent.push(Dimension::Parent),
            }
            kernel.executable = known(0, &executable);
            match kind {
                Kind::FileOpen | Kind::FileRename => {
                    event["file"]["path"] = text::path(&path).into();
                    kernel.path = known(1, &path);
                    if kind == Kind::FileRename {
                        event["file"]["target_path"] = text::path(&target).into();
                        kernel.target_path = known(2, &target);
                    } else {
                        event["holdfast"]["flags"] = json!([FLAGS[mode], "O_CLOEXEC"]);
                        kernel.access = Some(mode as u32);
                    }
                }
                Kind::CapabilityUse => {
                    let number = [0, 16, 21, 63][mode];
                    event["holdfast"]["capability"] = capability_name(number).into();
                    kernel.port = (!gaps[3]).then_some(number as u16);
                }
                Kind::MemoryMap => {
                    let (anonymous, writable) = (mode & 1 == 1, mode & 2 == 2);
                    if anonymous {
                        absent.push(Dimension::Path);
                    } else {
                        event["file"]["path"] = text::path(&path).into();
                        kernel.path = known(1, &path);
                    }
                    let right = if writable { "PROT_WRITE" } else { "PROT_READ" };
                    event["holdfast"]["memory"] =
                        json!({"protection": [right, "PROT_EXEC"], "anonymous": anonymous});
                    kernel.access = (!gaps[3]).then(|| memory_access(anonymous, writable));
                }
                Kind::ProcessSignal => {
                    event["holdfast"]["target"]["executable"] = text::path(&target).into();
                    kernel.target_executable = known(2, &target);
                }
                Kind::ProcessExec => {
                    kernel.path = kernel.executable.take();
                    event["holdfast"]["executable"] = json!({"memfd": memfd, "deleted": memfd});
                }
                Kind::NetworkConnect | Kind::NetworkAccept if memfd => {
                    event["holdfast"]["socket"]["path"] = text::path(&path).into();
                    kernel.path = known(1, &path);
                    absent.extend([Dimension::Address, Dimension::Port]);
                }
                Kind::NetworkConnect => {
                    event["destination"] = json!({"ip": ip, "port": port});
                    kernel.address = (!gaps[3]).then(|| ip.parse().unwrap());
                    kernel.port = (!gaps[4]).then_some(port);
                    absent.push(Dimension::Path);
                }
                Kind::NetworkDns => {
                    let direction = mode % 2;
                    event["dns"]["type"] = ["query", "answer"][direction].into();
                    event["destination"] = json!({"ip": ip, "port": 53});
                    kernel.address = (!gaps[3]).then(|| ip.parse().unwrap());
                    kernel.port = Some(53);
                    kernel.access = Some(direction as u32);
                }
                Kind::NetworkAccept => {
                    event["source"] = json!({"ip": ip, "port": 1234});
                    event["destination"] = json!({"ip": "10.0.0.1", "port": port});
                    kernel.address = (!gaps[3]).then(|| ip.parse().unwrap());
                    kernel.port = (!gaps[4]).then_some(port);
                    absent.push(Dimension::Path);
                }
                _ => {}
            }
            kernel.absent = absent;
            (event, kernel)
        },
    )
}

fn parse(policies: &[Json]) -> Vec<Policy> {
    let parse = |(number, policy): (usize, &Json)| {
        let mut policy = policy.clone();
        policy["name"] = format!("p{number}").into();
        Policy::parse("p.json", policy.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}"))
    };
    policies.iter().enumerate().map(parse).collect()
}

fn snapshot(policies: &[Policy]) -> Snapshot {
    let options = Options {
        epoch: 7,
        mode: Mode::Enforce,
        reported: Kinds::NONE,
    };
    compile(policies, &options).unwrap()
}

/// Each rule by itself, in the order of the snapshot's numbers.
fn alone(policies: &[Policy]) -> Vec<Snapshot> {
    let rules = policies
        .iter()
        .flat_map(|policy| policy.rules.iter().map(move |r| (policy, r)));
    rules
        .map(|(policy, rule)| {
            let mut only = policy.clone();
            only.rules = vec![rule.clone()];
            snapshot(&[only])
        })
        .collect()
}

/// Entries are no longer than keys.
fn all_fit(tables: &Tables) -> bool {
    let paths = tables.paths.iter().map(|entry| &entry.path);
    let mut paths = paths.chain(tables.classes.iter().map(|entry| &entry.path));
    paths.all(|path| path.as_bytes().len() <= KEY_PATH_BYTES)
}

/// Policies that are compiled together at most; what stands for steps of sequences has greater numbers.
const MOST_POLICIES: usize = 8;

fn check(
    whole: &Snapshot,
    lookup: &Lookup,
    rules: &[Snapshot],
    event: &Json,
    known: &Known,
) -> Result<(), TestCaseError> {
    let event = Recorded::new(event).unwrap();
    let kind = event.kind();
    let hook = lookup.hook(kind);
    let candidates = lookup.candidates(kind, known);
    let has = |vector: &[u64], term: usize| vector[term / 64] >> (term % 64) & 1 == 1;
    let truth: Vec<bool> = rules
        .iter()
        .map(|rule| rule.judge(kind, &event).verdict != Verdict::None)
        .collect();
    let mut possible = vec![false; truth.len()];
    for term in 0..hook.terms as usize {
        let rule = hook.term[term].rule;
        if rule == NO_RULE {
            prop_assert!(!has(&candidates.must, term));
            let is_rest = usize::from(hook.term[term].policy) < MOST_POLICIES;
            prop_assert!(!is_rest || has(&candidates.may, term));
            continue;
        }
        prop_assert!(
            !has(&candidates.must, term) || truth[usize::from(rule)],
            "must is true"
        );
        prop_assert!(
            !has(&candidates.must, term) || has(&candidates.may, term),
            "must may"
        );
        possible[usize::from(rule)] |= has(&candidates.may, term);
    }
    let overflown = hook.term[..hook.terms as usize]
        .iter()
        .any(|term| term.rule == NO_RULE && usize::from(term.policy) < MOST_POLICIES);
    for (rule, holds) in truth.iter().enumerate() {
        prop_assert!(
            !holds || possible[rule] || overflown,
            "rule {rule} holds and may not"
        );
    }
    let decision = decide(hook, &candidates);
    let judgement = whole.judge(kind, &event);
    let plain = whole.judge_by_all(kind, &event);
    prop_assert_eq!(judgement.verdict, plain.verdict, "the index loses no rule");
    prop_assert_eq!(
        judgement.rule.map(|(index, _)| index),
        plain.rule.map(|(index, _)| index),
        "and none is found before its turn"
    );
    if !decision.undecided {
        prop_assert_eq!(decision.verdict, judgement.verdict);
        prop_assert_eq!(
            decision.rule,
            judgement.rule.map_or(NO_RULE, |(index, _)| index),
            "the same rule"
        );
    } else {
        prop_assert!(
            decision.verdict <= judgement.verdict,
            "what is certain is done at least"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn kernel_and_user_space_agree(
        policies in prop::collection::vec(policy(0..6), 1..4),
        events in prop::collection::vec(event(), 16),
    ) {
        let policies = parse(&policies);
        let (whole, rules) = (snapshot(&policies), alone(&policies));
        prop_assert!(all_fit(whole.tables()));
        let lookup = Lookup::new(whole.tables());
        for (event, known) in &events {
            check(&whole, &lookup, &rules, event, known)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn they_agree_when_there_is_no_room(
        policies in prop::collection::vec(policy(60..160), 1..5),
        events in prop::collection::vec(event(), 64),
    ) {
        let policies = parse(&policies);
        let (whole, rules) = (snapshot(&policies), alone(&policies));
        let lookup = Lookup::new(whole.tables());
        for (event, known) in &events {
            check(&whole, &lookup, &rules, event, known)?;
        }
    }
}

/// A product of sums that has 2^20 terms is left to user space, quickly.
#[test]
fn an_explosion_is_one_uncertain_term() {
    let pair = |n: usize| format!("(file.path == '/{n}' || process.executable == '/{n}')");
    let when = (0..20).map(pair).collect::<Vec<_>>().join(" && ");
    let policy = json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "p", "mode": "enforce",
        "rules": [{"id": "a", "on": ["file.open"], "when": when, "action": "deny"}]});
    let snapshot = snapshot(&parse(&[policy]));
    let lookup = Lookup::new(snapshot.tables());
    let hook = lookup.hook(Kind::FileOpen);
    assert_eq!((hook.terms, hook.all[0], hook.uncertain[0]), (1, 1, 1));
}

/// More rules than terms: the kernel decides nothing behind, and says so.
#[test]
fn rules_without_room_are_undecided() {
    let rule = |id: usize, policy: usize| {
        json!({"id": id.to_string(), "on": ["file.open"],
            "when": format!("file.path == '/{policy}/{id}'"), "action": "deny"})
    };
    let policies = [200, 200, 10].iter().enumerate().map(|(number, count)| {
        let rules: Vec<_> = (0..*count).map(|id| rule(id, number)).collect();
        json!({"apiVersion": "holdfast/v1", "kind": "Policy", "mode": "enforce", "rules": rules})
    });
    let snapshot = snapshot(&parse(&policies.collect::<Vec<_>>()));
    let lookup = Lookup::new(snapshot.tables());
    let hook = lookup.hook(Kind::FileOpen);
    assert_eq!(hook.terms as usize, TERMS);
    let decision = |path: &str| {
        let known = Known {
            path: Some(path.as_bytes().to_vec()),
            ..Known::default()
        };
        lookup.decide(Kind::FileOpen, &known)
    };
    assert_eq!(
        (decision("/0/7").rule, decision("/0/7").undecided),
        (7, true)
    );
    assert_eq!(decision("/0/7").verdict, Verdict::Deny);
    assert!(decision("/2/3").undecided && decision("/nothing").undecided);
}

/// A hook of one policy whose rules deny these conditions.
fn denying(on: &str, conditions: impl Iterator<Item = String>) -> Vec<Json> {
    let rule = |(id, when): (usize, String)| json!({"id": format!("{on}.{id}"), "on": [on], "when": when, "action": "deny"});
    conditions.enumerate().map(rule).collect()
}

fn document(lists: &Json, rules: &[Json]) -> Json {
    json!({"apiVersion": "holdfast/v1", "kind": "Policy", "mode": "enforce", "lists": lists,
        "rules": rules})
}

/// More executables to tell apart than there are classes: user space does.
#[test]
fn executables_without_room_are_uncertain() {
    let executable = |id: usize| format!("process.executable == '/{id}'");
    let mut rules = denying("file.open", (0..200).map(executable));
    rules.extend(denying("file.create", (200..400).map(executable)));
    let snapshot = snapshot(&parse(&[document(&json!({}), &rules)]));
    let lookup = Lookup::new(snapshot.tables());
    let hook = lookup.hook(Kind::FileOpen);
    assert_eq!(
        (hook.terms, hook.dimensions, hook.uncertain),
        (200, 0, hook.all)
    );
    assert!(snapshot.tables().classes.is_empty());
}

/// More paths than the map has room for in all, likewise; what is about executables stays in the kernel.
#[test]
fn paths_without_room_are_uncertain() {
    let paths = |first: usize| -> Vec<_> {
        let ids = first..first + 8_500;
        ids.map(|id| format!("/{id}")).collect()
    };
    let lists = json!({"some": paths(0), "more": paths(8_500)});
    let rules = [
        "file.path in lists.some && process.executable == '/x'",
        "file.path in lists.more",
    ];
    let rules = denying("file.open", rules.iter().map(|rule| (*rule).to_owned()));
    let snapshot = snapshot(&parse(&[document(&lists, &rules)]));
    let lookup = Lookup::new(snapshot.tables());
    let hook = lookup.hook(Kind::FileOpen);
    assert_eq!(
        (hook.terms, hook.uncertain[0], hook.conditioned[2][0]),
        (2, 3, 1)
    );
    assert!(snapshot.tables().paths.is_empty());
}
