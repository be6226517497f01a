//! What is known of containers, by id: what their cgroups say, and what engines add to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use holdfast_wire::event::{self, Rendered};
use serde::Serialize;

use super::cgroup;
use crate::root::status;

/// Containers that are known at one time: those of a crowded node several times over. Those that ended are
/// forgotten first.
const MAX_CONTAINERS: usize = 8192;
/// How long an ended container is known: records of its last moments are still on their way.
const KEPT: Duration = Duration::from_secs(300);

/// The Kubernetes pod that a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// Its name; empty where no engine told.
    pub name: String,
    /// Its namespace; likewise.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// What whoever made it says of it, as `key:value`; empty where no engine told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// What an engine says of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// As events show it.
    pub container: event::Container,
    /// The pod that it is in.
    pub pod: Option<Pod>,
    /// What it has of the host.
    pub grants: event::Grants,
    /// Its first process, where it runs.
    pub pid: Option<u32>,
    /// It is told by CRI, where containers are called as in their pods.
    pub is_by_cri: bool,
}

impl Details {
    /// With what `other`, which another API of the same engine has told, says beside.
    fn or(self, other: Self) -> Self {
        let (container, grants) = (self.container, self.grants);
        let more = (other.container, other.grants);
        fn list<T>(own: Vec<T>, other: Vec<T>) -> Vec<T> {
            if own.is_empty() { other } else { own }
        }
        Self {
            container: event::Container {
                id: container.id,
                name: container.name.or(more.0.name),
                runtime: container.runtime.or(more.0.runtime),
                image: container.image.or(more.0.image),
                privileged: container.privileged.or(more.0.privileged),
                labels: if container.labels.is_empty() {
                    more.0.labels
                } else {
                    container.labels
                },
            },
            pod: self.pod.or(other.pod),
            grants: event::Grants {
                added_capabilities: list(grants.added_capabilities, more.1.added_capabilities),
                host_namespaces: list(grants.host_namespaces, more.1.host_namespaces),
                mounts: list(grants.mounts, more.1.mounts),
                is_sandbox: grants.is_sandbox || more.1.is_sandbox,
                guest_kernel: grants.guest_kernel.or(more.1.guest_kernel),
            },
            pid: self.pid,
            is_by_cri: self.is_by_cri || other.is_by_cri,
        }
    }
}

/// A container as events show it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) container: Rendered<event::Container>,
    pub(crate) pod: Option<Arc<Pod>>,
    pub(crate) grants: Arc<event::Grants>,
}

impl Shown {
    /// Whether it is what the cgroup says.
    fn is_of(&self, named: &cgroup::Container) -> bool {
        let pod = self.pod.as_ref().map(|pod| pod.uid.as_str());
        self.container.runtime == named.runtime && pod == named.pod.as_deref()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    known: RwLock<HashMap<String, Entry>>,
    /// Runtimes whose engines tell at present, as often as they do.
    watched: RwLock<Vec<&'static str>>,
    /// How often something was told, or ended to be.
    told: AtomicU64,
    waited: AtomicU64,
    gave_up: AtomicU64,
}

/// Somebody tells of the containers of a runtime, as long as this is there.
#[derive(Debug)]
pub(crate) struct Watched<'c> {
    containers: &'c Containers,
    runtime: &'static str,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let watched = &self.containers.watched;
        let mut watched = watched.write().unwrap_or_else(PoisonError::into_inner);
        let position = watched.iter().position(|runtime| *runtime == self.runtime);
        position.map(|position| watched.swap_remove(position));
        self.containers.told.fetch_add(1, Ordering::Release);
    }
}

#[derive(Debug)]
struct Entry {
    shown: Shown,
    run: Option<Run>,
    /// The engine that told of it last; it stays known when the container has ended, which may start again.
    teller: Option<String>,
    /// By CRI, too.
    is_by_cri: bool,
    /// It was waited for, and no engine told.
    gave_up: bool,
    ended: Option<Instant>,
}

impl Entry {
    const fn is_told(&self) -> bool {
        self.teller.is_some()
    }

    /// Whether somebody may still be waited for who tells of it.
    const fn is_open(&self) -> bool {
        !self.is_told() && !self.gave_up
    }

    /// What was told.
    fn details(&self) -> Details {
        Details {
            container: (*self.shown.container).clone(),
            pod: self.shown.pod.as_deref().cloned(),
            grants: (*self.shown.grants).clone(),
            pid: None,
            is_by_cri: self.is_by_cri,
        }
    }
}

/// A container that runs, as an engine has told.
#[derive(Debug)]
struct Run {
    engine: String,
    pid: Option<u32>,
    /// Whether it is known if it was started just now.
    is_settled: bool,
}

impl Containers {
    /// The container that a cgroup names, with what engines have told of it so far.
    pub(crate) fn shown(&self, named: &cgroup::Container) -> Shown {
        self.look(named).0
    }

    /// The same, and whether an engine is about to tell of it. Both at once: asked one after the other, it may be told of
    /// in between, and who shows what was not told yet would not wait either.
    pub(crate) fn look(&self, named: &cgroup::Container) -> (Shown, bool) {
        let is_watched = self.is_watched(named);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(&named.id)
            && (entry.is_told() || entry.shown.is_of(named))
        {
            return (entry.shown.clone(), is_watched && entry.is_open());
        }
        drop(known);
        let shown = Shown {
            container: Rendered::new(event::Container {
                id: named.id.clone(),
                runtime: named.runtime,
                ..Default::default()
            }),
            pod: named.pod.as_ref().map(|uid| {
                Arc::new(Pod {
                    uid: uid.clone(),
                    ..Default::default()
                })
            }),
            grants: Arc::default(),
        };
        let entry = Entry {
            shown: shown.clone(),
            run: None,
            teller: None,
            is_by_cri: false,
            gave_up: false,
            ended: None,
        };
        insert(&mut self.lock(), named.id.clone(), entry);
        (shown, is_watched)
    }

    /// `engine` tells of a container. What CRI says of one goes before what the same engine says by an API of its own,
    /// whoever comes first.
    pub(crate) fn tell(&self, engine: &str, details: Details) {
        let id = details.container.id.clone();
        let mut known = self.lock();
        let before = known.get(&id).filter(|before| before.is_told());
        let details = match before.map(|before| (before.is_by_cri, before.details())) {
            Some((true, before)) if !details.is_by_cri => before.or(details),
            Some((false, before)) if details.is_by_cri => details.or(before),
            _ => details,
        };
        let entry = Entry {
            shown: Shown {
                container: Rendered::new(details.container),
                pod: details.pod.map(Arc::new),
                grants: Arc::new(details.grants),
            },
            run: known.get_mut(&id).and_then(|before| before.run.take()),
            teller: Some(engine.to_owned()),
            is_by_cri: details.is_by_cri,
            gave_up: false,
            ended: None,
        };
        insert(&mut known, id, entry);
        drop(known);
        self.told.fetch_add(1, Ordering::Release);
    }

    /// A container of which `engine` has told runs, with this first process where that is known. `just_now`: whether it was
    /// started just now, or ran before anybody looked, where that is known. `true`: it was, and that was not said before.
    ///
    /// An engine that is asked about a container as it is made may answer when it runs, or has run, already.
    pub(crate) fn start(
        &self,
        id: &str,
        engine: &str,
        pid: Option<u32>,
        just_now: Option<bool>,
    ) -> bool {
        let mut known = self.lock();
        let Some(entry) = known.get_mut(id) else {
            return false;
        };
        let before = entry.run.take();
        let was_settled = before.as_ref().is_some_and(|run| run.is_settled);
        entry.run = Some(Run {
            engine: engine.to_owned(),
            pid: pid.or(before.and_then(|run| run.pid)),
            is_settled: was_settled || just_now.is_some(),
        });
        !was_settled && just_now == Some(true)
    }

    /// The container with this id, as its cgroup would name it.
    pub(crate) fn named(&self, id: &str) -> cgroup::Container {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let shown = known.get(id).map(|entry| &entry.shown);
        let pod = shown.and_then(|shown| shown.pod.as_ref());
        cgroup::Container {
            id: id.to_owned(),
            runtime: shown.and_then(|shown| shown.container.runtime),
            pod: pod.map(|pod| pod.uid.clone()),
        }
    }

    /// Whether an engine that is believed about its own containers alone may tell of one: no other has.
    pub(crate) fn is_free_for(&self, id: &str, engine: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let teller = known.get(id).and_then(|entry| entry.teller.as_ref());
        teller.is_none_or(|teller| teller == engine)
    }

    /// Those that run, as this engine has told.
    pub(crate) fn running(&self, engine: &str) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_its = |entry: &Entry| entry.run.as_ref().is_some_and(|run| run.engine == engine);
        let running = known.iter().filter(|(_, entry)| is_its(entry));
        running.map(|(id, _)| id.clone()).collect()
    }

    /// All that run, as engines have told, with the engine's name.
    pub(crate) fn all_running(&self) -> Vec<(String, Details)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let running = known.values().filter_map(|entry| {
            let run = entry.run.as_ref()?;
            let pid = run.pid;
            Some((
                run.engine.clone(),
                Details {
                    pid,
                    ..entry.details()
                },
            ))
        });
        running.collect()
    }

    /// From now on an engine of `runtime` tells of each container that it has.
    pub(crate) fn watched(&self, runtime: &'static str) -> Watched<'_> {
        let mut watched = self.watched.write().unwrap_or_else(PoisonError::into_inner);
        watched.push(runtime);
        Watched {
            containers: self,
            runtime,
        }
    }

    /// Whether an engine is about to tell of the container that a cgroup names.
    pub(crate) fn awaits(&self, named: &cgroup::Container) -> bool {
        let is_watched = self.is_watched(named);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        is_watched && known.get(&named.id).is_none_or(Entry::is_open)
    }

    /// Whether an engine tells of containers of this one's runtime at present.
    fn is_watched(&self, named: &cgroup::Container) -> bool {
        let watched = self.watched.read().unwrap_or_else(PoisonError::into_inner);
        match named.runtime {
            Some(runtime) => watched.contains(&runtime),
            None => !watched.is_empty(),
        }
    }

    /// A number that changes when engines tell something.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// It was waited for in vain: what happens in it next is not to wait again.
    pub(crate) fn give_up(&self, named: &cgroup::Container) {
        if let Some(entry) = self.lock().get_mut(&named.id) {
            entry.gave_up = true;
        }
    }

    /// A record has waited; `told`: not in vain.
    pub(crate) fn count(&self, told: bool) {
        let counter = if told { &self.waited } else { &self.gave_up };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an engine has told of it.
    pub(crate) fn is_told(&self, id: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(id).is_some_and(Entry::is_told)
    }

    /// A container has ended. `Some`, where it ran until now: its first process, if that is known.
    pub(crate) fn end(&self, id: &str) -> Option<Option<u32>> {
        let mut known = self.lock();
        let entry = known.get_mut(id)?;
        entry.ended = Some(Instant::now());
        entry.run.take().map(|run| run.pid)
    }

    /// How many there are, as `status` shows it.
    pub(crate) fn status(&self) -> status::Containers {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let told = known.values().filter(|entry| entry.is_told()).count();
        status::Containers {
            known: known.len(),
            told,
            waited: self.waited.load(Ordering::Relaxed),
            unnamed: self.gave_up.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> RwLockWriteGuard<'_, HashMap<String, Entry>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(known: &mut HashMap<String, Entry>, id: String, entry: Entry) {
    if known.len() >= MAX_CONTAINERS && !known.contains_key(&id) {
        let kept = |entry: &Entry| entry.ended.is_none_or(|at| at.elapsed() < KEPT);
        known.retain(|_, entry| kept(entry));
        if known.len() >= MAX_CONTAINERS {
            // Cgroups name them again, and whoever may make cgroups makes any number of names.
            known.retain(|_, entry| entry.is_told());
        }
        if known.len() >= MAX_CONTAINERS {
            // Engines tell of them when they begin anew.
            known.clear();
        }
    }
    // What a cgroup named in the meantime is no news to who was told by an engine.
    if entry.is_told() || known.get(&id).is_none_or(|before| !before.is_told()) {
        known.insert(id, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> cgroup::Container {
        cgroup::Container {
            id: id.to_owned(),
            runtime: Some("docker"),
            pod: Some("uid".to_owned()),
        }
    }

    fn details(id: &str, name: &str) -> Details {
        Details {
            container: event::Container {
                id: id.to_owned(),
                name: Some(name.to_owned()),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    #[test]
    fn names_of_cgroups_take_no_place_of_what_engines_told() {
        let containers = Containers::default();
        containers.tell("engine", details("a", "web"));
        for number in 0..2 * MAX_CONTAINERS {
            containers.shown(&named(&format!("{number:064x}")));
        }
        assert!(containers.is_told("a"));
        assert!(containers.status().known <= MAX_CONTAINERS);
    }

    #[test]
    fn each_start_and_each_end_is_one() {
        let containers = Containers::default();
        let start = |just_now| containers.start("a", "engine", Some(7), just_now);
        assert!(!start(Some(true)), "it is not known");
        containers.tell("engine", details("a", "web"));
        assert_eq!(containers.end("a"), None);
        assert!(start(Some(true)));
        assert!(!start(Some(true)));
        containers.tell("engine", details("a", "shop"));
        assert_eq!(containers.running("engine"), ["a"]);
        assert_eq!(containers.running("other"), [""; 0]);
        assert_eq!(containers.end("a"), Some(Some(7)));
        assert_eq!(containers.end("a"), None);
    }

    #[test]
    fn a_start_is_one_also_when_the_container_was_seen_to_run_before() {
        let containers = Containers::default();
        containers.tell("engine", details("a", "web"));
        let start = |pid, just_now| containers.start("a", "engine", pid, just_now);
        // Asked about as it was made, and its first process was gone when it was looked for.
        assert!(!start(Some(7), None));
        assert!(start(None, Some(true)));
        assert!(!start(Some(7), Some(true)));
        assert_eq!(containers.end("a"), Some(Some(7)));
        // One that ran before is not started by old news.
        assert!(!start(Some(8), Some(false)));
        assert!(!start(Some(8), Some(true)));
    }

    #[test]
    fn who_told_of_a_container_may_tell_of_its_next_start() {
        let containers = Containers::default();
        assert!(containers.is_free_for("a", "engine"));
        containers.tell("engine", details("a", "web"));
        containers.start("a", "engine", Some(7), Some(true));
        containers.end("a");
        assert!(containers.is_free_for("a", "engine"));
        assert!(!containers.is_free_for("a", "other"));
    }

    #[test]
    fn an_engine_adds_to_what_the_cgroup_says() {
        let containers = Containers::default();
        let before = containers.shown(&named("a"));
        assert_eq!(
            (&*before.container.id, before.container.runtime),
            ("a", Some("docker"))
        );
        assert_eq!(before.pod.unwrap().uid, "uid");
        assert_eq!(containers.status().told, 0);
        containers.tell("engine", details("a", "web"));
        assert_eq!(
            containers.shown(&named("a")).container.name.as_deref(),
            Some("web")
        );
        // Without an engine, an id may be that of another one tomorrow.
        let other = cgroup::Container {
            runtime: Some("podman"),
            ..named("b")
        };
        containers.shown(&named("b"));
        assert_eq!(containers.shown(&other).container.runtime, Some("podman"));
        containers.end("a");
        // Its last records still say whose they are.
        assert_eq!(
            containers.shown(&named("a")).container.name.as_deref(),
            Some("web")
        );
        assert_eq!(containers.status().told, 1);
    }

    #[test]
    fn what_is_shown_without_its_name_is_awaited_whenever_it_is_told() {
        const MANY: usize = 2000;
        let containers = Containers::default();
        let _watched = containers.watched("docker");
        let looked = std::sync::atomic::AtomicUsize::new(0);
        let mut wrong = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..MANY {
                    while looked.load(Ordering::Acquire) < number {
                        std::thread::yield_now();
                    }
                    containers.tell("engine", details(&number.to_string(), "web"));
                }
            });
            for number in 0..MANY {
                let named = named(&number.to_string());
                looked.store(number, Ordering::Release);
                loop {
                    let (shown, is_awaited) = containers.look(&named);
                    let is_named = shown.container.name.is_some();
                    wrong += u32::from(is_named == is_awaited);
                    if is_named {
                        break;
                    }
                }
            }
        });
        assert_eq!(wrong, 0);
    }

    #[test]
    fn what_two_apis_tell_is_put_together_whoever_comes_first() {
        let by_cri = Details {
            is_by_cri: true,
            pod: Some(Pod::default()),
            ..details("a", "web")
        };
        let mut by_engine = details("a", "k8s_web");
        by_engine.container.privileged = Some(true);
        for told in [[by_cri.clone(), by_engine.clone()], [by_engine, by_cri]] {
            let containers = Containers::default();
            for details in told {
                containers.tell("engine", details);
            }
            let shown = containers.shown(&named("a"));
            assert_eq!(
                (shown.container.name.as_deref(), shown.container.privileged),
                (Some("web"), Some(true))
            );
            assert!(shown.pod.is_some());
        }
    }

    #[test]
    fn their_number_is_bounded() {
        let containers = Containers::default();
        for number in 0..MAX_CONTAINERS + 10 {
            containers.shown(&named(&number.to_string()));
        }
        assert!(containers.status().known <= MAX_CONTAINERS);
    }
}
