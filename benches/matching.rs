//! What user space needs to judge one event: with few rules and with a thousand, and with the thousand by
//! trying each. The ratios are what counts; the times are this machine's.
#![allow(clippy::unwrap_used)] // A benchmark that cannot go on stops.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use holdfast_policy::compile::{Options, compile};
use holdfast_policy::document::{Mode, Policy};
use holdfast_policy::field::{Field, Fields, Kinds, Plain, Value};
use holdfast_policy::snapshot::Snapshot;
use holdfast_wire::Kind;
use serde_json::json;

/// An open: what most events are.
struct Open {
    path: &'static str,
    executable: &'static str,
}

impl Fields for Open {
    fn get(&self, field: Field) -> Value<'_> {
        match field {
            Field::Plain(Plain::FilePath) => Value::string(Some(self.path)),
            Field::EXECUTABLE => Value::string(Some(self.executable)),
            _ => Value::Absent,
        }
    }
}

/// So many rules, of the sorts that people write: exact paths, directories, and executables with an
/// exception.
fn snapshot(rules: usize) -> Snapshot {
    let rule = |number: usize| {
        let when = match number % 3 {
            0 => format!("file.path == '/etc/service-{number}/secret.conf'"),
            1 => {
                format!("file.path.startsWith('/srv/data-{number}/') && file.path.endsWith('.key')")
            }
            _ => format!(
                "process.executable == '/usr/bin/tool-{number}' && !file.path.startsWith('/usr/')"
            ),
        };
        json!({"id": format!("r{number}"), "on": ["file.open"], "when": when, "action": "alert"})
    };
    let rules: Vec<_> = (0..rules).map(rule).collect();
    let policy =
        json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "p", "rules": rules});
    let policy = Policy::parse("p", policy.to_string().as_bytes()).unwrap();
    let options = Options {
        epoch: 1,
        mode: Mode::Enforce,
        reported: Kinds::NONE,
    };
    compile(&[policy], &options).unwrap()
}

/// Two that nothing is said about, as nearly all are, and two that a rule matches.
const OPENS: [Open; 4] = [
    Open {
        path: "/usr/lib/x86_64-linux-gnu/libc.so.6",
        executable: "/usr/bin/cat",
    },
    Open {
        path: "/home/ann/src/project/target/debug/deps/a.rlib",
        executable: "/usr/bin/cc",
    },
    Open {
        path: "/etc/service-9/secret.conf",
        executable: "/usr/bin/cat",
    },
    Open {
        path: "/srv/data-7/tls/server.key",
        executable: "/usr/sbin/nginx",
    },
];

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("judge");
    group.throughput(criterion::Throughput::Elements(OPENS.len() as u64));
    for rules in [10, 100, 1000] {
        let snapshot = snapshot(rules);
        group.bench_function(format!("{rules} rules"), |bencher| {
            bencher.iter(|| {
                for open in &OPENS {
                    black_box(snapshot.judge(Kind::FileOpen, black_box(open)));
                }
            });
        });
    }
    let snapshot = snapshot(1000);
    group.bench_function("1000 rules, each tried", |bencher| {
        bencher.iter(|| {
            for open in &OPENS {
                black_box(snapshot.judge_by_all(Kind::FileOpen, black_box(open)));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, matching);
criterion_main!(benches);
