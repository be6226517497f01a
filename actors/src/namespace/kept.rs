//! The namespaces as a running sensor has them: what it has seen is held as long as somebody asks now and then, and events
//! say whom to look at again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use holdfast_wire::Domain;
use tokio::time::{Instant, sleep};

use super::held::{Events, Held};
use super::told::{KINDS, Told};
use super::{Kind, Map, containers, of_process};
use crate::clock;
use crate::evaluator::processes::{MAX_PROCESSES, scan};
use crate::probe;
use crate::root::shared::Shared;
use crate::runtime::engine::Place;

/// How long what was seen is held that nobody asks for.
const HELD: Duration = Duration::from_secs(600);
/// How long an answer waits for what has happened before it was asked for to be told.
const TELLING: Duration = Duration::from_secs(1);
/// How often it is seen whether it was.
const PAUSE: Duration = Duration::from_millis(5);
/// `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`: the pid namespace in which records count.
const INITIAL: u64 = 0xEFFF_FFFC;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    pub(crate) told: Told,
    state: tokio::sync::Mutex<State>,
    /// When somebody asked last, as long as what was seen is held.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct State {
    held: Held,
    /// On what events told when the last look began; `None`: they did not.
    basis: Option<Basis>,
}

/// As long as it stays the same, nothing that happens goes untold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    /// Policies say what is asked for.
    epoch: u32,
    /// Records that were lost.
    lost: u64,
}

impl Namespaces {
    /// What there is now. One at a time: it is enough work, and the next one finds most of it done.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub(crate) async fn look(shared: &Arc<Shared>, mounts: bool) -> io::Result<Map> {
        let own = &shared.namespaces;
        if own.ask().is_none() {
            tokio::spawn(let_go(Arc::downgrade(shared)));
        }
        let mut state = own.state.lock().await;
        let mut held = std::mem::take(&mut state.held);
        let before = state.basis.take();
        // Losses are counted before what was told is taken: what is lost later is noticed the next time.
        let basis = heard(shared).await;
        let events = match (&basis, before) {
            (Err(reason), _) => Err(reason.clone()),
            (Ok(basis), Some(before)) if *basis == before => Ok(()),
            (Ok(_), Some(_)) => {
                Err("events were lost, or other policies came into force".to_owned())
            }
            (Ok(_), None) => Err("events tell from this look on".to_owned()),
        };
        let shared = shared.clone();
        let look = move || {
            let root = &shared.settings.host.root;
            let listed = scan::pids(&shared.proc, MAX_PROCESSES)?;
            shared.namespaces.told.follow(&listed);
            let events: Events = events.map(|()| shared.namespaces.told.last());
            let mut map = held.look_at(root, &listed, mounts, events)?;
            containers::add(&mut map, &told(&shared));
            Ok::<_, io::Error>((held, map))
        };
        let (held, map) = tokio::task::spawn_blocking(look).await??;
        *state = State {
            held,
            basis: basis.ok(),
        };
        Ok(map)
    }

    /// Notes that somebody asks; when that was before. `None`: nothing is held.
    fn ask(&self) -> Option<Instant> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.replace(Instant::now())
    }
}

/// What engines have told of containers that run, by id.
fn told(shared: &Shared) -> BTreeMap<String, containers::Told> {
    // Others are found by asking each socket who it is, which is not for now.
    let set = shared.settings.engines.iter();
    let set = set.filter(|place| matches!(place, Place::At(_)));
    let apis: BTreeMap<String, String> = set
        .flat_map(Place::present)
        .map(|socket| (socket.name, socket.path.display().to_string()))
        .collect();
    let running = shared.containers.all_running().into_iter();
    let told = running.map(|(engine, details)| {
        let id = details.container.id.clone();
        let api = apis.get(&engine).cloned();
        (
            id,
            containers::Told {
                details,
                engine,
                api,
            },
        )
    });
    told.collect()
}

/// Lets go of what is held once nobody has asked for long enough.
async fn let_go(shared: Weak<Shared>) {
    let mut rest = HELD;
    loop {
        sleep(rest).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let own = &shared.namespaces;
        let mut state = own.state.lock().await;
        let mut asked = own.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let since = asked.map_or(HELD, |asked| asked.elapsed());
        if since >= HELD {
            *asked = None;
            *state = State::default();
            own.told.follow(&[]);
            return;
        }
        rest = HELD - since;
    }
}

/// Waits until all that has happened by now was told; or says why not all is told.
async fn heard(shared: &Shared) -> Result<Basis, String> {
    for kind in KINDS {
        let action = kind.action();
        if !probe::is_wanted(shared, kind) {
            return Err(format!("{action}: nothing asks for it"));
        }
        let report = shared.kernel.report(kind);
        if report.tier.is_none() {
            return Err(format!("{action}: {}", report.reason));
        }
    }
    if !counts_as_kernel(&shared.proc) {
        return Err("/proc is not that of the initial pid namespace".to_owned());
    }
    let now = clock::boottime();
    let until = Instant::now() + TELLING;
    while shared.namespaces.told.heard() < now {
        if Instant::now() >= until {
            return Err("events come late".to_owned());
        }
        shared.intake(Domain::Process).ask_sweep(now);
        shared.sweep_others(Domain::Process, now);
        shared.arrival.notify_one();
        sleep(PAUSE).await;
    }
    let mut lost = 0;
    for kind in KINDS {
        let counted = probe::bring_counters(shared, kind).map_err(|error| error.to_string())?;
        let entry = shared.ledger.entry(kind);
        lost += entry.capped + entry.ring_full + entry.missed + counted.dropped;
    }
    Ok(Basis {
        epoch: shared.policies.current().epoch(),
        lost,
    })
}

/// Whether process ids in `proc` are those of records: of the initial pid namespace, which may be seen by the first process
/// there, or by the reader.
fn counts_as_kernel(proc: &Path) -> bool {
    let own = std::fs::read_link(proc.join("self"))
        .ok()
        .and_then(|own| own.to_str()?.parse().ok());
    let mut all = [Some(1), own].into_iter().flatten();
    all.any(|pid| of_process(proc, pid, Kind::Pid) == Some(INITIAL))
}
