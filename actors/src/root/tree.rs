//! The tree, declared as data: who there is, how each is made, and in which order they stop.

use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::{Domain, Kind};
use ractor::ActorRef;
use tokio::sync::watch;

use super::Message;
use super::shared::{Address, Shared};
use crate::evaluator::Evaluator;
use crate::health::Health;
use crate::killer::Killer;
use crate::probe::{self, Probe};
use crate::reader::Reader;
use crate::runtime::engine::Watcher;
use crate::sink::Sink;
use crate::supervisor::{Spec, Stage};
use crate::uplink::sender::{self, Sender};

/// How long a probe may take: a slow machine's kernel verifies all programs within a minute.
const LOADING: Duration = Duration::from_mins(5);

/// Where the probes are reached.
#[derive(Debug)]
pub(super) struct Probes(Vec<Arc<Address<probe::Message>>>);

impl Probes {
    /// Has each see whether its hook is wanted. One that is being restarted does so by itself.
    pub(super) fn reconcile(&self) {
        for probe in self.0.iter().filter_map(|address| address.get()) {
            let _ = probe.cast(probe::Message::Reconcile);
        }
    }
}

/// Every child. They are started in this order: what takes in events is there before there are any.
pub(super) fn declare(
    shared: &Arc<Shared>,
    root: &ActorRef<Message>,
    ready: &watch::Sender<bool>,
) -> (Vec<Spec>, Probes) {
    let mut specs = Vec::new();
    for outlet in shared.sinks.outlets() {
        let sink = Sink {
            shared: shared.clone(),
            outlet: outlet.clone(),
        };
        let outlet = outlet.clone();
        let worker = Spec::worker(outlet.name(), Stage::Sinks, sink);
        specs.push(worker.with_lane(move || outlet.waiting()));
    }
    if let Some(uplink) = &shared.uplink {
        let sender = Sender {
            shared: shared.clone(),
            uplink: uplink.clone(),
        };
        specs.push(Spec::worker(sender::NAME, Stage::Sinks, sender));
    }
    let killer = Killer {
        shared: shared.clone(),
    };
    let lent = shared.clone();
    let killer = Spec::worker("killer", Stage::Killer, killer);
    specs.push(killer.with_lane(move || lent.killing.waiting()));

    for place in &shared.settings.engines {
        let watcher = Watcher {
            shared: shared.clone(),
            place: place.clone(),
        };
        specs.push(Spec::worker(
            place.name().to_owned(),
            Stage::Engines,
            watcher,
        ));
    }

    let (lent, above) = (shared.clone(), root.clone());
    let make = move || {
        (
            Evaluator {
                shared: lent.clone(),
                root: above.clone(),
            },
            (),
        )
    };
    let lent = shared.clone();
    let announce = move |evaluator| lent.evaluator.announce(evaluator);
    let lent = shared.clone();
    let evaluator = Spec::new("evaluator", Stage::Evaluator, make, announce);
    specs.push(evaluator.with_lane(move || lent.waiting()));

    for domain in Domain::ALL {
        let reader = Reader {
            shared: shared.clone(),
            domain,
        };
        let name = format!("reader.{}", domain.name());
        specs.push(Spec::worker(name, Stage::Readers, reader));
    }
    let mut probes = Vec::new();
    for kind in Kind::hooked() {
        let address = Arc::new(Address::default());
        probes.push(address.clone());
        let (lent, above) = (shared.clone(), root.clone());
        let make = move || {
            (
                Probe {
                    shared: lent.clone(),
                    kind,
                    root: above.clone(),
                },
                (),
            )
        };
        let announce = move |probe| address.announce(probe);
        let name = format!("probe.{}", kind.action());
        let probe = Spec::new(name, Stage::Probes, make, announce);
        // It waits until the kernel programs are loaded, for which the kernel's verifier takes its time.
        specs.push(probe.with_patience(LOADING));
    }
    let (lent, ready) = (shared.clone(), ready.subscribe());
    let make = move || {
        (
            Health {
                shared: lent.clone(),
                ready: ready.clone(),
            },
            (),
        )
    };
    specs.push(Spec::new("health", Stage::Health, make, |_| {}));
    (specs, Probes(probes))
}
