//! `holdfast-server simulate`

use std::time::Duration;

use anyhow::{Context as _, bail};
use holdfast_wire::uplink::Secret;
use serde_json::{Value, json};

use super::{password_of, print, text};
use crate::cli::Simulate;
use crate::descriptors;
use crate::simulate::counts::Latencies;
use crate::simulate::{Attempt, Fleet, Running};

pub(super) fn simulate(arguments: Simulate) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    descriptors::raise_limit();
    runtime.block_on(run(arguments))
}

async fn run(arguments: Simulate) -> anyhow::Result<()> {
    let key = match (&arguments.key, &arguments.key_file) {
        (_, Some(file)) => password_of(file)?,
        (Some(key), None) => key.clone(),
        (None, None) => bail!("there is no installation key"),
    };
    let sensors = usize::try_from(arguments.sensors)?;
    let began = std::time::Instant::now();
    let mut running = Running::start(Fleet {
        url: &arguments.url,
        ca: arguments.ca.as_deref(),
        key: Secret::new(key),
        name: &arguments.name,
        sensors,
        batch_events: arguments.batch_events,
        batch_interval: arguments.batch_interval,
        repeat: arguments.repeat,
    })
    .await?;
    let enrolled = began.elapsed();
    if !arguments.json {
        let seconds = enrolled.as_secs_f64();
        text(&format!("{sensors} sensors enrolled in {seconds:.1} s\n"))?;
    }
    let (attempt, looked) = match arguments.events_per_second {
        Some(rate) => {
            let rate = rate * sensors as f64;
            let attempt = running.attempt(rate, arguments.duration).await?;
            (Some(attempt), false)
        }
        None => {
            let found = running.search(arguments.duration, |attempt| {
                show_attempt(attempt, sensors, arguments.json)
            });
            (found.await?, true)
        }
    };
    running.stop().await?;
    let Some(attempt) = attempt else {
        bail!("no rate holds: does the server run alone, on a disk that is not full?");
    };
    if arguments.json {
        let mut shown = shown(&attempt, sensors);
        shown["enrol_seconds"] = enrolled.as_secs_f64().into();
        shown["highest"] = looked.into();
        print(&shown)?;
    } else {
        text(&report(&attempt, sensors, looked))?;
    }
    if !attempt.holds {
        bail!(
            "{:.0} events a second do not hold: {} waited at the end",
            attempt.rate,
            attempt.waiting
        );
    }
    Ok(())
}

fn shown(attempt: &Attempt, sensors: usize) -> Value {
    let mut shown = attempt.counts.json();
    shown["sensors"] = sensors.into();
    shown["events_per_second"] = attempt.rate.into();
    shown["seconds"] = attempt.duration.as_secs_f64().into();
    shown["waiting_at_end"] = attempt.waiting.into();
    shown["holds"] = attempt.holds.into();
    shown
}

/// A line for each attempt of a search.
fn show_attempt(attempt: &Attempt, sensors: usize, json: bool) -> anyhow::Result<()> {
    if json {
        return print(&json!({"attempt": shown(attempt, sensors)}));
    }
    let holds = if attempt.holds {
        "holds"
    } else {
        "does not hold"
    };
    text(&format!(
        "{:>9.0} events a second  {holds}, {} waiting at the end, {}\n",
        attempt.rate,
        attempt.waiting,
        percentiles(&attempt.counts.frames)
    ))
}

fn report(attempt: &Attempt, sensors: usize, looked: bool) -> String {
    let counts = &attempt.counts;
    let seconds = attempt.duration.as_secs_f64();
    let each = attempt.rate / sensors as f64;
    let title = if looked {
        "highest rate that holds"
    } else {
        "rate"
    };
    let kib = |bytes: u64| bytes as f64 / 1024.0 / seconds;
    format!(
        "\n{title:<24}{:.0} events a second, {each:.2} of each sensor, for {seconds:.0} s\n\
         offered                 {} events\n\
         acknowledged            {}, of these {} alerts\n\
         sent again              {}\n\
         refused                 {}\n\
         waiting at the end      {}, after the last attempt to send them {}\n\
         requests with events    {} accepted, {} held back, {} unanswered\n\
         sent                    {:.0} KiB a second, of {:.0} KiB of events\n\
         answers to events       {}\n\
         answers to heartbeats   {}\n",
        attempt.rate,
        counts.offered,
        counts.acknowledged,
        counts.alerts,
        counts.duplicates,
        counts.refused,
        attempt.waiting,
        counts.waiting(),
        counts.frames_accepted,
        counts.held_back,
        counts.unanswered,
        kib(counts.bytes),
        kib(counts.event_bytes),
        percentiles(&counts.frames),
        percentiles(&counts.heartbeats),
    )
}

fn percentiles(latencies: &Latencies) -> String {
    let at = |part| {
        latencies.percentile(part).map_or_else(
            || "-".to_owned(),
            |took: Duration| format!("{:.1}", took.as_secs_f64() * 1000.0),
        )
    };
    format!(
        "p50 {} ms, p90 {} ms, p99 {} ms, longest {} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    )
}
