//! What watching costs, in instructions: each operation by itself, the agent's work for it, and a sensor at rest.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Scenario;
use super::ledger::{number, settled};
use crate::bench::Bench;
use crate::cgroup::Cgroup;
use crate::cost::{BURSTS, Operation, Subjects, Worker, programs, record};
use crate::noop::{self, Answer};
use crate::place::Variant;
use crate::sensor::{Options, Sensor};
use crate::usage;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: OPERATIONS,
        about: "what operations cost that are reported or refused, and the agent's work for each: not more than recorded",
        at: |place| place.is_variant(Variant::Counted),
        seconds: 150,
        run: operations,
    },
    Scenario {
        name: AT_REST,
        about: "what the shipped policies cost each operation; a sensor's start, and its work and memory at rest",
        at: |place| place.is_variant(Variant::Counted),
        seconds: 150,
        run: at_rest,
    },
];

/// Operations that are reported or refused.
pub const OPERATIONS: &str = "cost-operations";
/// A sensor with the shipped policies.
pub const AT_REST: &str = "cost-at-rest";

/// Whether this is one of them: where instructions are counted, hardly anything else is tried.
pub fn counts(scenario: &Scenario) -> bool {
    [OPERATIONS, AT_REST].contains(&scenario.name)
}

/// As engines call their containers.
const CONTAINER: &str = "6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f";
/// Until a sensor that has something to do has done it: longer than any of its timers.
const SETTLED: Duration = Duration::from_millis(500);
/// How long a sensor at rest is looked at.
const REST: Duration = Duration::from_secs(20);
/// How long its work at rest is taken, where it is only to be left out.
const BRIEF_REST: Duration = Duration::from_secs(10);

/// What an operation costs where it is watched.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Beyond what it costs without, for who does it.
    in_line: u64,
    /// In the processes of whoever watches.
    agent: u64,
}

/// By operation.
pub type Costs = BTreeMap<&'static str, Cost>;
type Without = BTreeMap<&'static str, u64>;

/// For programs.
pub fn json_of(costs: &Costs) -> Value {
    let each = |cost: &Cost| json!({"in_line": cost.in_line, "agent": cost.agent});
    let all = costs
        .iter()
        .map(|(name, cost)| ((*name).to_owned(), each(cost)));
    Value::Object(all.collect())
}

/// Operations of a process in a container, and what they cost where nobody watches.
pub struct Load {
    subjects: Subjects,
    container: Cgroup,
    without: Without,
}

impl Load {
    /// Measures each where nobody watches.
    pub fn new(bench: &Bench) -> Result<Self> {
        let subjects = Subjects::make(bench)?;
        let container = Cgroup::of_docker(CONTAINER)?;
        let mut without = Without::new();
        for operation in Operation::ALLOWED {
            let cost = Worker::start(bench, &container, operation)?.cost()?;
            without.insert(operation.name(), cost);
        }
        Ok(Self {
            subjects,
            container,
            without,
        })
    }

    /// Measures the open that is refused where nothing but a refusal is done.
    fn refuse(&mut self, bench: &Bench) -> Result<()> {
        let operation = Operation::Refused;
        let mut worker = Worker::start(bench, &self.container, operation)?;
        let link = noop::attach("file_open", Answer::Refuse)?;
        let cost = worker.cost();
        drop(link);
        self.without.insert(operation.name(), cost?);
        Ok(())
    }

    /// What these cost with a sensor, of which no event may be lost.
    fn with(&self, bench: &Bench, sensor: &Sensor<'_>, operations: &[Operation]) -> Result<Costs> {
        let before = settled(bench)?;
        let costs = self.watched(bench, &[sensor.pid()], operations);
        let after = settled(bench)?;
        for (kind, terms) in after.as_object().into_iter().flatten() {
            for term in ["missed", "ring_full", "dropped"] {
                ensure!(
                    number(terms, term) == number(&before[kind], term),
                    "{kind}: {term} while it was measured: {terms}"
                );
            }
        }
        costs
    }

    /// What these cost while these processes watch.
    pub fn watched(&self, bench: &Bench, by: &[u32], operations: &[Operation]) -> Result<Costs> {
        let rest = Rest::of(by, BRIEF_REST)?;
        let cost = |operation: &Operation| {
            let cost = self.cost(bench, by, *operation, &rest)?;
            Ok((operation.name(), cost))
        };
        operations.iter().map(cost).collect()
    }

    /// Which programs run for each of these, and for how long.
    fn programs(&self, bench: &Bench, operations: &[Operation]) -> Result<Value> {
        let mut all = serde_json::Map::new();
        for operation in operations {
            let mut worker = Worker::start(bench, &self.container, *operation)?;
            let count = u64::from(BURSTS * operation.burst());
            let profile = programs::profile(count, || worker.cost().map(drop))?;
            all.insert(operation.name().to_owned(), profile);
        }
        Ok(Value::Object(all))
    }

    fn cost(&self, bench: &Bench, by: &[u32], operation: Operation, rest: &Rest) -> Result<Cost> {
        let mut worker = Worker::start(bench, &self.container, operation)?;
        sleep(SETTLED);
        let (clock, cpu) = (Instant::now(), cpu_time(by)?);
        let cost = worker.cost()?;
        sleep(SETTLED);
        let used = cpu_time(by)?.saturating_sub(cpu);
        let own = used.saturating_sub(clock.elapsed().mul_f64(rest.share()));
        let without = self.without.get(operation.name()).copied().unwrap_or(0);
        Ok(Cost {
            in_line: cost.saturating_sub(without),
            agent: own.as_nanos() as u64 / u64::from(BURSTS * operation.burst()),
        })
    }
}

fn cpu_time(of: &[u32]) -> Result<Duration> {
    of.iter().map(|pid| usage::cpu_time(*pid)).sum()
}

/// Processes that have nothing to do.
struct Rest {
    time: Duration,
    cpu: Duration,
    sleeps: u64,
}

impl Rest {
    fn of(pids: &[u32], time: Duration) -> Result<Self> {
        let sleeps_of = || {
            pids.iter()
                .map(|pid| usage::sleeps(*pid))
                .sum::<Result<u64>>()
        };
        sleep(SETTLED);
        let (cpu, sleeps) = (cpu_time(pids)?, sleeps_of()?);
        sleep(time);
        Ok(Self {
            time,
            cpu: cpu_time(pids)?.saturating_sub(cpu),
            sleeps: sleeps_of()?.saturating_sub(sleeps),
        })
    }

    /// Of one CPU's time.
    fn share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.time.as_secs_f64()
    }

    fn json(&self) -> Value {
        let seconds = self.time.as_secs().max(1);
        json!({"instructions_per_second": self.cpu.as_nanos() as u64 / seconds,
            "wake_ups_per_second": self.sleeps / seconds})
    }
}

/// A sensor that asks for the open of no file but one, and refuses that.
fn refusing<'b>(bench: &'b Bench, load: &Load) -> Result<Options<'b>> {
    let when = format!("file.path == '{}'", load.subjects.refused.display());
    let rule = json!([{"id": "refused", "on": ["file.open"], "when": when, "action": "deny"}]);
    let policy = bench.policy("refusing", &rule)?;
    Ok(bench.sensor().silent().enforce().policy(&policy))
}

fn operations(bench: &Bench) -> Result<()> {
    let mut load = Load::new(bench)?;
    load.refuse(bench)?;
    let sensor = refusing(bench, &load)?.start()?;
    let all = [Operation::ALLOWED.as_slice(), &[Operation::Refused]].concat();
    let default = load.with(bench, &sensor, &all)?;
    let programs = load.programs(bench, &all)?;
    sensor.stop()?;
    let sensor = bench
        .sensor()
        .silent()
        .option("events", "file.open")
        .start()?;
    let opens = load.with(bench, &sensor, &[Operation::Open])?;
    sensor.stop()?;
    let (without, names) = (
        &load.without,
        [Operation::Exec, Operation::Refused, Operation::Connect],
    );
    let note = json!({
        "without": without, "default": json_of(&default), "opens": json_of(&opens), "programs": programs,
    });
    // Also for whom a path has become dearer: the log is shown then.
    eprintln!("{note}");
    bench.note(note.to_string());

    let mut found = BTreeMap::new();
    let mut note = |what: &str, costs: &Costs, operation: Operation| -> Result<()> {
        let cost = costs.get(operation.name()).context("all were measured")?;
        found.insert(format!("{what}, in line"), cost.in_line);
        if is_release(bench)? {
            found.insert(format!("{what}{}", record::AGENT), cost.agent);
        }
        Ok(())
    };
    for operation in names {
        note(
            &format!("reported {}", operation.name()),
            &default,
            operation,
        )?;
    }
    note("reported open", &opens, Operation::Open)?;
    record::compare(&found)
}

/// Whether the sensor is as it is shipped: what is quick to build does more instructions, which are nothing to compare.
fn is_release(bench: &Bench) -> Result<bool> {
    let read = |path| std::fs::read(path).context("read the sensor's binary");
    Ok(read(&bench.setting.holdfast)? != read(&bench.setting.fault)?)
}

/// Hooks that say where processes come from, which whatever is told of a process needs.
const LIFE: [&str; 3] = ["process.exec", "process.fork", "process.exit"];

fn at_rest(bench: &Bench) -> Result<()> {
    let load = Load::new(bench)?;
    let sensor = refusing(bench, &load)?.option("events", "").start()?;
    let quiet = load.with(bench, &sensor, &Operation::ALLOWED)?;
    let status = sensor.status()?;
    sensor.stop()?;
    let hooks = status["hooks"].as_array().map_or(&[][..], Vec::as_slice);
    let attached = hooks.iter().filter(|hook| hook["tier"].is_string());
    let hooks = attached.filter_map(|hook| hook["action"].as_str());
    let unasked: Vec<&str> = hooks
        .filter(|hook| *hook != "file.open" && !LIFE.contains(hook))
        .collect();

    let sensor = bench.sensor().silent().policy(&bench.setting.policies);
    let sensor = sensor.start()?;
    let start = usage::cpu_time(sensor.pid())?;
    let rest = Rest::of(&[sensor.pid()], REST)?;
    let memory = memory(&sensor)?;
    let shipped = load.with(bench, &sensor, &Operation::ALLOWED)?;
    sensor.stop()?;
    let note = json!({
        "unasked": {"hooks": unasked, "costs": json_of(&quiet)}, "shipped": json_of(&shipped),
        "start": start.as_nanos() as u64, "rest": rest.json(), "memory": memory,
    });
    bench.note(note.to_string());
    Ok(())
}

/// What a sensor holds of memory, KiB: all that is resident, what of it is mapped rings, and the kernel's maps.
pub fn memory(sensor: &Sensor<'_>) -> Result<Value> {
    let pid = sensor.pid();
    let maps = usage::maps(pid)?.values().sum::<u64>() >> 10;
    let (resident, mapped) = (usage::memory(pid, "VmRSS")?, usage::mapped_maps(pid)?);
    Ok(
        json!({"resident": resident, "mapped_rings": mapped, "own": resident.saturating_sub(mapped), "maps": maps}),
    )
}
