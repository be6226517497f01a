//! The matrix: which guests are booted, two at a time, and the table of what came of it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::initramfs::Content;
use super::machine::Machine;
use crate::place::{Place, Variant};
use crate::report::{Failures, Outcome, Totals, Verdict};
use crate::scenario::{self, Scenario};

/// The guests of a full run: each kernel as shipped, and the variants that change what a tier can do.
const GUESTS: [&str; 12] = [
    "5.10",
    "5.10+lsm",
    "6.1",
    "6.1+nobtf",
    "6.1+preempt",
    "6.12",
    "6.12+icount",
    "6.12+system",
    "6.12+podman",
    "7",
    "6.1+arm64",
    "6.12+arm64",
];
/// What `make test` runs of it, by guest, as for [`scenario::matching`]: what depends on the kernel, where
/// it can differ. What the sensor does in user space alone is tried natively and in one guest; no guest is another
/// machine, which takes a second build, nor has Podman, where what matters is tried with Docker.
const BRIEF: [(&str, &str); 9] = [
    (
        "5.10",
        "hooks,verifier,kill-on-exec,deny-best-tier,predicates-fmod-ret,refuse-fmod-ret,capability,\
         exec-in-full,exec-chains,path-names,path-long,ledger-execs,fanotify-instead,outlive-kill,evade-best-tier,\
         privilege-lost,privilege-dropped,protect",
    ),
    ("5.10+lsm", "predicates-lsm,path-names,deny-best-tier"),
    (
        "6.1",
        "hooks,deny-kprobe,predicates-kprobe,exec-in-full,perf-deny,perf-ledger-opens,ring-overload,path-overlay,\
         evade-kprobe,ring-kprobe",
    ),
    ("6.1+nobtf", "no-btf,no-root"),
    ("6.1+preempt", "missed,kill-on-exec"),
    (
        "6.12",
        "hooks,verifier,deny-best-tier,deny-fentry,container,lineage,outlive-containers,outlive-ancestors,reload,derive,\
         run-mode-derive,sequence,interrupt,engine-predicates,engine-escapes,package-image,evade-best-tier,\
         protect,clock-jumps,memory-limited",
    ),
    ("6.12+icount", "instructions"),
    ("6.12+system", "package-deb"),
    (
        "7",
        "hooks,coverage,predicates-lsm,predicates-tracepoint,exec-in-full,deny-tracepoint,evade-identity,ring-best-tier",
    ),
];
/// Guests at once; each has two virtual CPUs.
const AT_ONCE: usize = 2;

/// What is to be run where.
#[derive(Clone, Debug)]
pub struct Request {
    /// Kernels (`6.1` means all its variants) or single guests; empty for all.
    pub kernels: Vec<String>,
    /// Which scenarios, as for [`scenario::matching`].
    pub tests: String,
    /// Of these, only what `make test` has time for.
    pub brief: bool,
    /// What goes into the guests.
    pub content: Content,
    /// Where consoles and results are kept.
    pub dir: PathBuf,
    /// Where to write what scenarios noted as JSON.
    pub notes: Option<PathBuf>,
}

/// What came of it: the last outcome of each scenario in each place, and what failed at first.
#[derive(Debug)]
pub struct Results {
    places: Vec<Place>,
    outcomes: Outcomes,
    /// What failed when it was run for the first time.
    pub failures: Failures,
}

/// By the place's number and the scenario's name.
type Outcomes = BTreeMap<(usize, &'static str), Outcome>;

/// The guests that these words name.
fn places(words: &[String]) -> Result<Vec<Place>> {
    if words.is_empty() {
        return GUESTS.iter().map(|name| name.parse()).collect();
    }
    let mut chosen = Vec::new();
    for word in words {
        let variants: Vec<&str> = GUESTS
            .into_iter()
            .filter(|name| name.split('+').next() == Some(word.as_str()) && !is_arm64(name))
            .collect();
        // A kernel outside the matrix is booted as it is shipped.
        let names = if variants.is_empty() {
            vec![word.as_str()]
        } else {
            variants
        };
        for name in names {
            let place: Place = name.parse()?;
            ensure!(place.is_guest(), "'{name}' is no guest kernel");
            if !chosen.contains(&place) {
                chosen.push(place);
            }
        }
    }
    Ok(chosen)
}

/// Another machine is named in full, since there must be a build for it.
fn is_arm64(name: &str) -> bool {
    name.ends_with("+arm64")
}

/// What a brief run does at a place.
fn brief(place: &Place) -> Vec<&'static str> {
    BRIEF
        .iter()
        .filter(|(guest, _)| *guest == place.to_string())
        .flat_map(|(_, tests)| scenario::matching(tests, place))
        .map(|scenario| scenario.name)
        .collect()
}

/// Fetches what is missing, boots the guests and tells of each outcome as it comes.
pub fn run(request: &Request) -> Result<Results> {
    let places = places(&request.kernels)?;
    let mut jobs = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let mut scenarios = scenario::matching(&request.tests, place);
        if request.brief {
            let brief = brief(place);
            scenarios.retain(|scenario| brief.contains(&scenario.name));
        }
        if !scenarios.is_empty() {
            let content = &request.content;
            let machine = Machine {
                kernel: kernel(place)?,
                content: if place.is_variant(Variant::Arm64) {
                    content.arm64()
                } else {
                    content.clone()
                },
                dir: request.dir.join(place.to_string()),
                place: place.clone(),
            };
            jobs.push((index, machine, scenarios));
        }
    }
    if jobs.is_empty() {
        bail!("no scenario for these guests matches '{}'", request.tests);
    }
    let archives = Archives::new(request, &jobs)?;
    let mut outcomes = all(jobs.clone(), AT_ONCE, &archives)?;
    let mut failures = Failures::default();
    for ((index, _), outcome) in &outcomes {
        failures.note(&places[*index], outcome);
    }
    let again: Vec<Job> = jobs
        .into_iter()
        .filter_map(|(index, mut machine, mut scenarios)| {
            let names = failures.again(&machine.place);
            scenarios.retain(|scenario| names.contains(&scenario.name));
            machine.dir.push("again");
            (!scenarios.is_empty()).then_some((index, machine, scenarios))
        })
        .collect();
    // One at a time: what failed because the machine was full is told from what fails always.
    let second = all(again, 1, &archives)?;
    outcomes.extend(second.into_iter().map(|(key, it)| (key, it.again())));
    Ok(Results {
        places,
        outcomes,
        failures,
    })
}

type Job = (usize, Machine, Vec<&'static Scenario>);

/// The roots of the guests, as cpio archives.
struct Archives {
    plain: Vec<u8>,
    /// Where a guest needs them.
    system: Option<Vec<u8>>,
    podman: Option<Vec<u8>>,
    peers: Option<Vec<u8>>,
    arm64: Option<Vec<u8>>,
}

impl Archives {
    fn new(request: &Request, jobs: &[Job]) -> Result<Self> {
        let any = |variant| {
            jobs.iter()
                .any(|(_, machine, _)| machine.place.is_variant(variant))
        };
        let content = &request.content;
        let system = |variant, with: &[&str]| {
            let packed = any(variant).then(|| {
                let root = made_by("tools/system-root", with)?;
                content
                    .system(&root, variant == Variant::Podman)
                    .context("pack a system")
            });
            packed.transpose()
        };
        let arm64 = any(Variant::Arm64).then(|| {
            let packed = content.arm64().archive();
            packed.context("pack the arm64 guests' file system: make build harness ARCH=aarch64")
        });
        let peers = any(Variant::Peers).then(|| {
            let root = made_by("tools/system-root", &["peers"])?;
            content.beside(&root).context("pack a system")
        });
        Ok(Self {
            plain: content.archive().context("pack the guests' file system")?,
            system: system(Variant::System, &[])?,
            podman: system(Variant::Podman, &["podman"])?,
            peers: peers.transpose()?,
            arm64: arm64.transpose()?,
        })
    }

    fn of(&self, place: &Place) -> &[u8] {
        let own = match place.variant() {
            Variant::System => &self.system,
            Variant::Podman => &self.podman,
            Variant::Peers => &self.peers,
            Variant::Arm64 => &self.arm64,
            _ => &None,
        };
        own.as_ref().unwrap_or(&self.plain)
    }
}

/// Runs all these, some at once.
fn all(jobs: Vec<Job>, at_once: usize, archives: &Archives) -> Result<Outcomes> {
    let queue = Mutex::new(VecDeque::from(jobs));
    let outcomes = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|_| scope.spawn(|| work(&queue, archives, &outcomes)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })?;
    Ok(outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

fn work(
    queue: &Mutex<VecDeque<Job>>,
    archives: &Archives,
    outcomes: &Mutex<Outcomes>,
) -> Result<()> {
    loop {
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some((index, machine, scenarios)) = next else {
            return Ok(());
        };
        machine.run(archives.of(&machine.place), &scenarios, |outcome| {
            tell(&machine.place, &outcome);
            let name = scenarios
                .iter()
                .find(|scenario| scenario.name == outcome.scenario);
            if let Some(scenario) = name {
                let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                outcomes.insert((index, scenario.name), outcome);
            }
        })?;
    }
}

fn tell(place: &Place, outcome: &Outcome) {
    let Outcome {
        scenario,
        verdict,
        took,
        reason,
        log,
    } = outcome;
    let seconds = took.as_secs_f64();
    let place = place.to_string();
    // One call, so that two guests' lines don't mix.
    let log: String = log.iter().map(|line| format!("    | {line}\n")).collect();
    print!(
        "{place:<12} {scenario:<28} {:<8} {seconds:>6.1} s  {reason}\n{log}",
        verdict.word()
    );
}

/// The kernel's image, from the cache or fetched into it.
fn kernel(place: &Place) -> Result<PathBuf> {
    let Place::Guest { kernel, variant } = place else {
        bail!("{place} has no kernel to boot")
    };
    let architecture = match variant {
        Variant::Arm64 => "arm64",
        _ => "amd64",
    };
    Ok(made_by("tools/fetch-kernel", &[kernel, architecture])?.join("vmlinuz"))
}

/// What a tool has made or fetched, or has had in the cache.
fn made_by(tool: &str, args: &[&str]) -> Result<PathBuf> {
    let output = Command::new(tool)
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {tool} (run from the repository's root)"))?;
    ensure!(output.status.success(), "{tool} {args:?} failed");
    let path =
        String::from_utf8(output.stdout).with_context(|| format!("read what {tool} said"))?;
    Ok(PathBuf::from(path.trim_end()))
}

impl Results {
    /// What a scenario noted in each guest of the full matrix that is to run it; `None` when one did
    /// not: a table says something about all, or nothing.
    pub fn columns(&self, scenario: &str) -> Option<Vec<(String, Value)>> {
        let Self {
            places, outcomes, ..
        } = self;
        let scenario = scenario::find(scenario).ok()?;
        let all = GUESTS.iter().filter_map(|name| name.parse::<Place>().ok());
        all.filter(|place| scenario.applies(place))
            .map(|place| {
                let index = places.iter().position(|it| *it == place)?;
                let outcome = outcomes.get(&(index, scenario.name))?;
                let note = serde_json::from_str(&outcome.reason).ok()?;
                Some((place.to_string(), note))
            })
            .collect()
    }

    /// What scenarios noted that is JSON, by place and scenario.
    pub fn notes(&self) -> Value {
        let mut notes = BTreeMap::<String, BTreeMap<&str, Value>>::new();
        for ((index, scenario), outcome) in &self.outcomes {
            if let Ok(note @ Value::Object(_)) = serde_json::from_str(&outcome.reason) {
                let place = self.places[*index].to_string();
                notes.entry(place).or_default().insert(scenario, note);
            }
        }
        json!(notes)
    }

    /// How many ended how.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.outcomes
            .values()
            .for_each(|outcome| totals.add(outcome.verdict));
        totals
    }
}

/// The table: a row for each scenario, a column for each guest.
impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            places, outcomes, ..
        } = self;
        write!(f, "{:<28}", "")?;
        for place in places {
            write!(f, " {:>11}", place.to_string())?;
        }
        for scenario in scenario::all() {
            let row: Vec<Option<Verdict>> = (0..places.len())
                .map(|index| Some(outcomes.get(&(index, scenario.name))?.verdict))
                .collect();
            if row.iter().all(Option::is_none) {
                continue;
            }
            write!(f, "\n{:<28}", scenario.name)?;
            for verdict in row {
                write!(f, " {:>11}", verdict.map_or("-", Verdict::word))?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        places(&words)
            .unwrap()
            .iter()
            .map(Place::to_string)
            .collect()
    }

    #[test]
    fn a_kernel_means_its_variants_and_a_guest_only_itself() {
        assert_eq!(names(&["5.10"]), ["5.10", "5.10+lsm"]);
        assert_eq!(
            names(&["6.1+nobtf", "6.1"]),
            ["6.1+nobtf", "6.1", "6.1+preempt"]
        );
        assert_eq!(names(&["6.16"]), ["6.16"]);
        assert_eq!(names(&["6.12+arm64"]), ["6.12+arm64"]);
        assert_eq!(names(&[]).len(), GUESTS.len());
        assert!(places(&["native".to_owned()]).is_err());
    }

    #[test]
    fn a_brief_run_goes_to_every_guest_but_those_that_take_long_and_each_of_its_words_means_something()
     {
        let here = GUESTS
            .into_iter()
            .filter(|name| !is_arm64(name) && !name.ends_with("+podman"));
        assert!(BRIEF.iter().map(|(guest, _)| *guest).eq(here));
        for (guest, tests) in BRIEF {
            let place: Place = guest.parse().unwrap();
            for test in tests.split(',') {
                let found = scenario::matching(test, &place);
                assert!(!found.is_empty(), "'{test}' is nothing at {guest}");
            }
        }
    }
}
