//! Recorded events → an allow-list policy that covers them, small enough to be read.
//!
//! What is covered is what a program did to what: per kind of event the programs that did the same are one
//! rule. Names that are different every time (numbers of processes, temporary files) and directories of
//! which many files were used become prefixes ([`paths`]); peers that are many become a port. Everything
//! else of these kinds is denied by the policy's defaults.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_wire::Kind;
use serde_json::{Map, Value as Json, json};

use crate::expression::literal;
use crate::field::Kinds;

mod paths;

/// The kinds that a workload is described by, where nothing else is asked for.
pub const KINDS: Kinds = Kinds::of(&[
    Kind::ProcessExec,
    Kind::FileOpen,
    Kind::FileCreate,
    Kind::FileDelete,
    Kind::FileRename,
    Kind::NetworkConnect,
    Kind::NetworkBind,
]);
/// Of how many addresses a port was used by a program before the address does not matter.
const MANY_PEERS: usize = 8;
/// The first port that the kernel gives by itself (`ip_local_port_range`, 32768 by default).
const EPHEMERAL: i64 = 32_768;
/// Entries of a list that still stand in the condition itself.
const INLINE: usize = 4;
/// Paths and peers that a workload may have: what a build of something large touches, and a bound for one that
/// makes new names without end. Events about more are left out.
const MAX_OBJECTS: usize = 200_000;
/// Largest port.
const LAST_PORT: i64 = 65_535;

/// A workload, as far as events told of it.
#[derive(Debug, Default)]
pub struct Workload {
    deeds: BTreeMap<Deed, Objects>,
    objects: usize,
    covered: u64,
    left_out: u64,
}

/// Who did what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deed {
    kind: Kind,
    /// Of an open: for reading only.
    only_reads: bool,
    /// Empty for an exec, which is told of the new program.
    executable: String,
}

/// To what it was done.
#[derive(Debug, Default)]
struct Objects {
    paths: BTreeSet<String>,
    targets: BTreeSet<String>,
    /// Addresses and ports.
    peers: BTreeSet<(String, i64)>,
    /// Sockets that have neither.
    others: bool,
}

/// What a policy is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options<'o> {
    /// Its name.
    pub name: &'o str,
    /// The condition under which it is in force.
    pub scope: Option<&'o str>,
    /// What becomes of what is not covered: `deny` or `alert`.
    pub action: &'o str,
}

impl Workload {
    /// Takes an event into account, if it is of one of these kinds.
    pub fn add(&mut self, event: &Json, kinds: Kinds) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Json::as_str);
        let kind = text("/event/action").and_then(Kind::from_action);
        let Some(kind) = kind.filter(|kind| kinds.contains(*kind) && KINDS.contains(*kind)) else {
            return;
        };
        // What was cut, or is not known, is a guess.
        let is_whole = event.pointer("/holdfast/truncated").is_none();
        match text("/process/executable").filter(|_| is_whole) {
            Some(executable) if self.objects < MAX_OBJECTS => {
                self.covered += 1;
                self.cover(kind, executable, event);
            }
            _ => self.left_out += 1,
        }
    }

    fn cover(&mut self, kind: Kind, executable: &str, event: &Json) {
        let flags = event.pointer("/holdfast/flags").and_then(Json::as_array);
        let only_reads = flags.is_some_and(|flags| flags.iter().any(|it| it == "O_RDONLY"));
        let deed = Deed {
            kind,
            only_reads: kind == Kind::FileOpen && only_reads,
            executable: if kind == Kind::ProcessExec {
                String::new()
            } else {
                executable.to_owned()
            },
        };
        let objects = self.deeds.entry(deed).or_default();
        let before = objects.count();
        objects.insert(kind, executable, event);
        self.objects += objects.count() - before;
    }

    /// Events that are covered.
    #[must_use]
    pub const fn covered(&self) -> u64 {
        self.covered
    }

    /// Events that cannot be: their program is not known, a path of theirs is cut, or there are too many names.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The policy, in mode `observe`; `None` when nothing is covered.
    #[must_use]
    pub fn policy(&self, options: &Options<'_>) -> Option<Json> {
        if self.deeds.is_empty() {
            return None;
        }
        // Programs that did the same, by what they did.
        let mut lists = Lists::default();
        let mut rules: BTreeMap<(Kind, bool, String), Vec<&str>> = BTreeMap::new();
        for (deed, objects) in &self.deeds {
            let when = objects.condition(deed.kind, &mut lists);
            let programs = rules.entry((deed.kind, deed.only_reads, when)).or_default();
            programs.push(&deed.executable);
        }
        let mut numbers: BTreeMap<Kind, usize> = BTreeMap::new();
        let rules: Vec<Json> = rules
            .into_iter()
            .map(|((kind, only_reads, when), programs)| {
                let number = numbers.entry(kind).or_default();
                *number += 1;
                rule((kind, only_reads), &when, &programs, *number, &mut lists)
            })
            .collect();
        let kinds = self.deeds.keys().map(|deed| deed.kind);
        let defaults: Map<String, Json> = kinds
            .map(|kind| (kind.action().to_owned(), json!(options.action)))
            .collect();
        let mut policy = json!({
            "apiVersion": "holdfast/v1",
            "kind": "Policy",
            "name": options.name,
            "description": format!("What {} recorded events did, and nothing else.", self.covered),
            "mode": "observe",
            "rules": rules,
            "defaults": defaults,
        });
        if !lists.0.is_empty() {
            policy["lists"] = lists.json();
        }
        if let Some(scope) = options.scope {
            policy["scope"] = json!(scope);
        }
        Some(policy)
    }
}

fn rule(
    (kind, only_reads): (Kind, bool),
    when: &str,
    programs: &[&str],
    number: usize,
    lists: &mut Lists,
) -> Json {
    let mut parts = Vec::new();
    if kind != Kind::ProcessExec {
        parts.push(lists.one_of("process.executable", programs));
    }
    if kind == Kind::FileOpen {
        let not = if only_reads { "" } else { "!" };
        parts.push(format!("{not}('O_RDONLY' in holdfast.flags)"));
    }
    parts.push(format!("({when})"));
    json!({
        "id": format!("{}-{number}", kind.action()),
        "on": [kind.action()],
        "when": parts.join(" && "),
        "action": "allow",
    })
}

impl Objects {
    fn count(&self) -> usize {
        self.paths.len() + self.targets.len() + self.peers.len()
    }

    fn insert(&mut self, kind: Kind, executable: &str, event: &Json) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Json::as_str);
        if kind == Kind::ProcessExec {
            self.paths.insert(executable.to_owned());
            // The kernel asks for the script as well.
            let script = text("/holdfast/executable/script").map(str::to_owned);
            self.paths.extend(script);
            return;
        }
        self.paths.extend(text("/file/path").map(str::to_owned));
        let target = text("/file/target_path").map(str::to_owned);
        self.targets.extend(target);
        let (ip, port) = if kind == Kind::NetworkConnect {
            ("/destination/ip", "/destination/port")
        } else {
            ("/source/ip", "/source/port")
        };
        let is_network = matches!(kind, Kind::NetworkConnect | Kind::NetworkBind);
        match text(ip).zip(event.pointer(port).and_then(Json::as_i64)) {
            Some((ip, port)) if is_network => {
                self.peers.insert((ip.to_owned(), port));
            }
            None if is_network => match text("/holdfast/socket/path") {
                Some(path) => {
                    self.paths.insert(path.to_owned());
                }
                None => self.others = true,
            },
            _ => {}
        }
    }

    fn condition(&self, kind: Kind, lists: &mut Lists) -> String {
        if kind == Kind::FileRename {
            let both = [
                paths::condition("file.path", &self.paths, lists),
                paths::condition("file.target_path", &self.targets, lists),
            ];
            return both.map(|part| format!("({part})")).join(" && ");
        }
        let mut parts = Vec::new();
        if kind == Kind::ProcessExec {
            // Which programs may run is said by name: a directory would let in what is put there.
            let paths: Vec<&str> = self.paths.iter().map(String::as_str).collect();
            return lists.one_of("process.executable", &paths);
        }
        let field = if matches!(kind, Kind::NetworkConnect | Kind::NetworkBind) {
            "holdfast.socket.path"
        } else {
            "file.path"
        };
        if !self.paths.is_empty() {
            parts.push(paths::condition(field, &self.paths, lists));
        }
        parts.extend(self.ports(kind, lists));
        if self.others {
            parts
                .push("!(holdfast.socket.family in ['AF_INET', 'AF_INET6', 'AF_UNIX'])".to_owned());
        }
        if parts.is_empty() {
            // Sockets that have no name yet.
            parts.push("!has(holdfast.socket.path)".to_owned());
        }
        parts.join(" || ")
    }

    /// A condition for each set of addresses, with the ports that were used of it.
    fn ports(&self, kind: Kind, lists: &mut Lists) -> Vec<String> {
        let (ip, port) = if kind == Kind::NetworkConnect {
            ("destination.ip", "destination.port")
        } else {
            ("source.ip", "source.port")
        };
        let mut addresses: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
        for (address, number) in &self.peers {
            let number = if *number >= EPHEMERAL {
                EPHEMERAL
            } else {
                *number
            };
            addresses.entry(number).or_default().insert(address);
        }
        let mut by_addresses: BTreeMap<Vec<&str>, Vec<i64>> = BTreeMap::new();
        for (number, of_port) in addresses {
            let of_port: Vec<&str> = if of_port.len() > MANY_PEERS {
                Vec::new()
            } else {
                of_port.into_iter().collect()
            };
            by_addresses.entry(of_port).or_default().push(number);
        }
        let condition = |(of_ports, numbers): (Vec<&str>, Vec<i64>)| {
            let (ephemeral, fixed): (Vec<i64>, Vec<i64>) =
                numbers.into_iter().partition(|number| *number == EPHEMERAL);
            let mut ports = Vec::new();
            if !fixed.is_empty() {
                let list: Vec<String> = fixed.iter().map(i64::to_string).collect();
                ports.push(format!("{port} in [{}]", list.join(", ")));
            }
            if !ephemeral.is_empty() {
                ports.push(format!("{port} >= {EPHEMERAL} && {port} <= {LAST_PORT}"));
            }
            let ports = ports.join(" || ");
            if of_ports.is_empty() {
                format!("({ports})")
            } else {
                format!("{} && ({ports})", lists.one_of(ip, &of_ports))
            }
        };
        by_addresses.into_iter().map(condition).collect()
    }
}

/// Lists that are too long to stand in a condition, by what is in them.
#[derive(Debug, Default)]
struct Lists(BTreeMap<Vec<String>, String>);

impl Lists {
    /// `field == 'x'`, `field in ['x', 'y']`, or `field in lists.NAME`.
    fn one_of(&mut self, field: &str, values: &[&str]) -> String {
        match values {
            [value] => format!("{field} == {}", literal(value)),
            values if values.len() <= INLINE => {
                let list: Vec<String> = values.iter().map(|value| literal(value)).collect();
                format!("{field} in [{}]", list.join(", "))
            }
            values => {
                let what = match field {
                    "process.executable" => "programs",
                    "destination.ip" | "source.ip" => "addresses",
                    _ => "paths",
                };
                let number = self.0.len() + 1;
                let list = values.iter().map(|value| (*value).to_owned()).collect();
                let name = self.0.entry(list);
                let name = name.or_insert_with(|| format!("{what}_{number}"));
                format!("{field} in lists.{name}")
            }
        }
    }

    fn json(self) -> Json {
        self.0
            .into_iter()
            .map(|(list, name)| (name, json!(list)))
            .collect::<Map<String, Json>>()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{self, compile};
    use crate::document::{Mode, Policy};
    use crate::field::Recorded;
    use crate::snapshot::Snapshot;
    use holdfast_wire::control::Verdict;
    use proptest::prelude::*;

    fn snapshot(workload: &Workload) -> Snapshot {
        let options = Options {
            name: "derived",
            scope: None,
            action: "deny",
        };
        let mut policy = workload.policy(&options).unwrap();
        policy["mode"] = json!("enforce");
        let policy = Policy::parse("p", policy.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{error}: {policy:#}"));
        let options = compile::Options {
            epoch: 1,
            mode: Mode::Enforce,
            reported: Kinds::NONE,
        };
        compile(&[policy], &options).unwrap()
    }

    fn verdict(snapshot: &Snapshot, event: &Json) -> Verdict {
        let event = Recorded::new(event).unwrap();
        snapshot.judge(event.kind(), &event).verdict
    }

    fn open(executable: &str, path: &str, mode: &str) -> Json {
        json!({"event": {"action": "file.open"}, "process": {"executable": executable},
               "file": {"path": path}, "holdfast": {"flags": [mode]}})
    }

    fn connect(executable: &str, ip: &str, port: i64) -> Json {
        json!({"event": {"action": "network.connect"}, "process": {"executable": executable},
               "destination": {"ip": ip, "port": port}})
    }

    #[test]
    fn what_was_recorded_is_allowed_and_nothing_else() {
        let recorded = [
            json!({"event": {"action": "process.exec"},
                   "process": {"executable": "/usr/bin/python3"},
                   "holdfast": {"executable": {"script": "/srv/app/it's.py"}}}),
            open("/usr/bin/python3", "/srv/app/data.json", "O_RDONLY"),
            open(
                "/usr/bin/python3",
                "/var/log/app/2026-11-25.log",
                "O_WRONLY",
            ),
            open("/usr/bin/python3", "/proc/4711/status", "O_RDONLY"),
            connect("/usr/bin/python3", "10.0.0.5", 5432),
            json!({"event": {"action": "network.connect"}, "process": {"executable": "/usr/bin/python3"},
                   "holdfast": {"socket": {"family": "AF_UNIX", "path": "/run/app.sock"}}}),
        ];
        let mut workload = Workload::default();
        recorded.iter().for_each(|event| workload.add(event, KINDS));
        assert_eq!((workload.covered(), workload.left_out()), (6, 0));
        let snapshot = snapshot(&workload);
        for event in &recorded {
            assert_eq!(verdict(&snapshot, event), Verdict::Allow, "{event}");
        }
        for allowed in [
            open("/usr/bin/python3", "/proc/815/status", "O_RDONLY"),
            open(
                "/usr/bin/python3",
                "/var/log/app/2026-11-26.log",
                "O_WRONLY",
            ),
        ] {
            assert_eq!(verdict(&snapshot, &allowed), Verdict::Allow, "{allowed}");
        }
        for denied in [
            json!({"event": {"action": "process.exec"}, "process": {"executable": "/bin/sh"}}),
            open("/usr/bin/python3", "/srv/app/data.json", "O_WRONLY"),
            open("/bin/sh", "/srv/app/data.json", "O_RDONLY"),
            connect("/usr/bin/python3", "10.0.0.6", 5432),
            connect("/usr/bin/python3", "10.0.0.5", 22),
        ] {
            assert_eq!(verdict(&snapshot, &denied), Verdict::Deny, "{denied}");
        }
    }

    #[test]
    fn many_peers_are_a_port_and_what_is_unknown_is_left_out() {
        let mut workload = Workload::default();
        for last in 0..20 {
            workload.add(
                &connect("/usr/bin/curl", &format!("192.0.2.{last}"), 443),
                KINDS,
            );
        }
        workload.add(
            &json!({"event": {"action": "process.exec"}, "process": {"pid": 1}}),
            KINDS,
        );
        workload.add(&json!({"event": {"action": "sensor.start"}}), KINDS);
        assert_eq!((workload.covered(), workload.left_out()), (20, 1));
        let snapshot = snapshot(&workload);
        let other = connect("/usr/bin/curl", "198.51.100.9", 443);
        assert_eq!(verdict(&snapshot, &other), Verdict::Allow);
        let other = connect("/usr/bin/curl", "198.51.100.9", 80);
        assert_eq!(verdict(&snapshot, &other), Verdict::Deny);
    }

    proptest! {
        /// Whatever was recorded, it goes on undisturbed.
        #[test]
        fn every_recorded_event_is_allowed(
            opens in proptest::collection::vec(
                ("(/[a-c']{1,2}[0-9\\\\]{0,4}){1,5}", "/bin/[ab]", prop::bool::ANY), 1..60),
            peers in proptest::collection::vec(
                (0u8..30, prop_oneof![Just(80i64), Just(443), 30_000i64..40_000], "/bin/[ab]"), 0..40),
        ) {
            let opens = opens.iter().map(|(path, executable, reads)| {
                open(executable, path, if *reads { "O_RDONLY" } else { "O_RDWR" })
            });
            let peers = peers.iter().map(|(last, port, executable)| {
                connect(executable, &format!("10.0.0.{last}"), *port)
            });
            let recorded: Vec<Json> = opens.chain(peers).collect();
            let mut workload = Workload::default();
            recorded.iter().for_each(|event| workload.add(event, KINDS));
            let snapshot = snapshot(&workload);
            for event in &recorded {
                prop_assert_eq!(verdict(&snapshot, event), Verdict::Allow, "{}", event);
            }
        }
    }
}
