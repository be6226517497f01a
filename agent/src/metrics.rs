//! The sensor's state as metrics, in the text format of OpenMetrics 1.0, which Prometheus scrapes.

use std::fmt::Error;

use holdfast_actors::root::status::{Actor, ActorState, ByPriority, Status, Uplink};
use holdfast_actors::uplink::Lost;
use holdfast_wire::ledger::Entry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType::{self, Counter, Gauge};
use prometheus_client::registry::Registry;

/// The type of what [`rendered`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a sensor that stands like this.
pub(crate) fn rendered(status: Status) -> String {
    let mut registry = Registry::with_prefix("holdfast");
    registry.register_collector(Box::new(Snapshot(status)));
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Snapshot(Status);

/// Names of labels and their values.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// A count of a ledger entry and its name.
type Count = (&'static str, fn(&Entry) -> u64);

/// What becomes of an operation, in the words of the ledger; see `wire::ledger`.
const COUNTS: [Count; 12] = [
    ("seen", |entry| entry.seen),
    ("filtered", |entry| entry.filtered),
    ("capped", |entry| entry.capped),
    ("submitted", |entry| entry.submitted),
    ("ring_full", |entry| entry.ring_full),
    ("missed", |entry| entry.missed),
    ("truncated", |entry| entry.truncated),
    ("received", |entry| entry.received),
    ("evaluated", |entry| entry.evaluated),
    ("emitted", |entry| entry.emitted),
    ("suppressed", |entry| entry.suppressed),
    ("dropped", |entry| entry.dropped),
];

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let status = &self.0;
        let to = &mut encoder;
        let version = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("mode", status.mode),
        ];
        family(
            to,
            Gauge,
            "build",
            "What runs: its version and mode; always 1",
            [(version, 1)],
        )?;
        let ready = u64::from(status.ready);
        family(
            to,
            Gauge,
            "ready",
            "1 once every hook was tried",
            [([], ready)],
        )?;
        let degraded = status
            .degraded
            .iter()
            .map(|it| ([("what", it.what.as_str())], 1));
        family(
            to,
            Gauge,
            "degraded",
            "What does not work as it should; 1 each",
            degraded,
        )?;
        let revision = u64::from(status.policy.revision);
        family(
            to,
            Gauge,
            "policy_revision",
            "Number of the policies in force",
            [([], revision)],
        )?;
        family(
            to,
            Gauge,
            "policy_rules",
            "Rules in force",
            [([], status.policy.rules as u64)],
        )?;

        let hooks = status.hooks.iter().map(|hook| {
            let tier = hook.tier.unwrap_or("none");
            let outlives = if hook.outlives_sensor {
                "true"
            } else {
                "false"
            };
            let labels = [
                ("action", hook.action),
                ("tier", tier),
                ("outlives_sensor", outlives),
            ];
            (labels, u64::from(hook.tier.is_some()))
        });
        family(
            to,
            Gauge,
            "hook_attached",
            "1 for a hook that is attached",
            hooks,
        )?;

        let kinds = status.ledger.kinds.iter();
        let operations = kinds.flat_map(|(action, entry)| {
            COUNTS.map(|(fate, count)| ([("action", *action), ("fate", fate)], count(entry)))
        });
        family(
            to,
            Counter,
            "operations",
            "What became of operations, by the counts of the ledger",
            operations,
        )?;
        let corrupt = [([], status.ledger.unattributed)];
        family(
            to,
            Counter,
            "corrupt_records",
            "Records of which not even the kind is known",
            corrupt,
        )?;

        let mut actors = Vec::new();
        flatten(&status.actors, &mut actors);
        let running = actors.iter().map(|actor| {
            let runs = u64::from(actor.state == ActorState::Running);
            ([("actor", actor.name.as_str())], runs)
        });
        family(
            to,
            Gauge,
            "actor_running",
            "1 for an actor that runs",
            running,
        )?;
        let restarts = actors
            .iter()
            .map(|actor| ([("actor", actor.name.as_str())], actor.restarts));
        family(
            to,
            Counter,
            "actor_restarts",
            "Times that an actor was restarted",
            restarts,
        )?;

        let lanes = status
            .lanes
            .iter()
            .map(|lane| ([("domain", lane.domain)], lane.depth as u64));
        family(
            to,
            Gauge,
            "lane_batches",
            "Batches that wait for the evaluator",
            lanes,
        )?;
        let sinks = status.sinks.iter().flat_map(|sink| {
            let fates = [
                ("offered", sink.offered),
                ("written", sink.written),
                ("dropped", sink.dropped),
            ];
            fates.map(|(fate, count)| ([("sink", sink.name), ("fate", fate)], count))
        });
        family(
            to,
            Counter,
            "sink_events",
            "What became of events that a sink was offered",
            sinks,
        )?;
        let waiting = status
            .sinks
            .iter()
            .map(|sink| ([("sink", sink.name)], sink.depth_bytes as u64));
        family(
            to,
            Gauge,
            "sink_waiting_bytes",
            "Bytes that wait for a sink",
            waiting,
        )?;

        if let Some(uplink) = &status.uplink {
            self::uplink(to, uplink)?;
        }

        family(
            to,
            Gauge,
            "processes",
            "Processes in the table",
            [([], status.processes.known as u64)],
        )?;
        family(
            to,
            Gauge,
            "containers",
            "Containers that are known",
            [([], status.containers.known as u64)],
        )?;
        let unnamed = [([], status.containers.unnamed)];
        family(
            to,
            Counter,
            "unnamed_records",
            "Records that no engine named the container of in time",
            unnamed,
        )?;
        let resources = &status.resources;
        family(
            to,
            Gauge,
            "resident_bytes",
            "Resident memory",
            [([], resources.rss_bytes)],
        )?;
        family(
            to,
            Gauge,
            "open_files",
            "Open file descriptors",
            [([], resources.open_files)],
        )?;
        let cpu = [([], resources.cpu_ms)];
        family(
            to,
            Counter,
            "cpu_milliseconds",
            "CPU time since the start",
            cpu,
        )
    }
}

/// What becomes of what goes to the Team Server.
fn uplink(to: &mut DescriptorEncoder<'_>, uplink: &Uplink) -> Result<(), Error> {
    let of = |[alert, event]: [u64; 2]| {
        [
            ([("priority", "alert")], alert),
            ([("priority", "event")], event),
        ]
    };
    let both = |of: &ByPriority<u64>| [of.alert, of.event];
    family(
        to,
        Gauge,
        "uplink_waiting",
        "Events in the spool for the Team Server",
        of(both(&uplink.spooled)),
    )?;
    family(
        to,
        Counter,
        "uplink_sent",
        "Events that the Team Server has",
        of(both(&uplink.sent)),
    )?;
    let sum = |lost: &Lost| lost.values().sum();
    family(
        to,
        Counter,
        "uplink_lost",
        "Events that were lost on the way to the Team Server",
        of([sum(&uplink.lost.alert), sum(&uplink.lost.event)]),
    )?;
    let enrolled = u64::from(uplink.sensor_id.is_some());
    family(
        to,
        Gauge,
        "uplink_enrolled",
        "1 for a sensor that the Team Server knows",
        [([], enrolled)],
    )
}

fn flatten<'a>(actor: &'a Actor, into: &mut Vec<&'a Actor>) {
    into.push(actor);
    for child in &actor.children {
        flatten(child, into);
    }
}

/// One metric with a sample for each set of labels.
fn family<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    kind: MetricType,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels<'a, N>, u64)>,
) -> Result<(), Error> {
    let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
    let encode = |encoder: &mut MetricEncoder<'_>, value: u64| match kind {
        Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        // Far below what a gauge can hold.
        _ => encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
    };
    for (labels, value) in samples {
        if N == 0 {
            encode(&mut encoder, value)?;
        } else {
            encode(&mut encoder.encode_family(&labels)?, value)?;
        }
    }
    Ok(())
}
