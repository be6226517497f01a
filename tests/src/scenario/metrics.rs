//! The sensor's state as metrics: over the control socket, and over HTTP where it is asked to listen.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::control::converse;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "metrics",
    about: "metrics say what status says, over HTTP only where metrics.listen asks for it, and nothing else is there",
    at: |place| *place == Place::Native,
    seconds: 60,
    run: metrics,
}];

/// Nobody else's on a machine for tests.
const ADDRESS: &str = "127.0.0.1:19187";
/// What Grafana is given to show them.
const DASHBOARD: &str = include_str!("../../../packaging/grafana/holdfast.json");
const ANSWER: Duration = Duration::from_secs(5);

fn metrics(bench: &Bench) -> Result<()> {
    let silent = bench.sensor().start()?;
    ensure!(
        TcpStream::connect(ADDRESS).is_err(),
        "it listens without being asked to"
    );
    let shown = silent
        .command(&["status", "--metrics"])?
        .with_code(0)?
        .stdout;
    check(&shown)?;
    all_are_there(&shown)?;
    silent.stop()?;

    let sensor = bench
        .sensor()
        .option("set", format!("metrics.listen={ADDRESS}"))
        .start()?;
    let answer = ask("GET", "/metrics")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    ensure!(
        head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text"),
        "{head}"
    );
    check(body)?;
    for (method, path) in [
        ("GET", "/v1/status"),
        ("POST", "/metrics"),
        ("POST", "/v1/stop"),
    ] {
        let answer = ask(method, path)?;
        ensure!(
            answer.starts_with("HTTP/1.1 404"),
            "{method} {path}: {answer}"
        );
    }
    // One that asks nothing keeps nobody from asking.
    let idle: Vec<TcpStream> = (0..4)
        .filter_map(|_| TcpStream::connect(ADDRESS).ok())
        .collect();
    check(
        ask("GET", "/metrics")?
            .split_once("\r\n\r\n")
            .context("no head")?
            .1,
    )?;
    drop(idle);

    let taken = bench
        .sensor()
        .option("set", format!("metrics.listen={ADDRESS}"))
        .option(
            "set",
            format!("control.socket={}", bench.path("other.sock").display()),
        )
        .run_command()
        .output_within(EVENT)?;
    ensure!(
        taken.code() == Some(5) && taken.stderr.contains("metrics.listen"),
        "a second one on the same port: {taken:?}"
    );
    sensor.stop().map(drop)
}

fn ask(method: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(ADDRESS).context("connect")?;
    stream
        .set_read_timeout(Some(ANSWER))
        .context("limit the wait")?;
    converse(&mut stream, method, path)
}

/// The dashboard asks for no metric that there is not. One without samples has its type all the same.
fn all_are_there(metrics: &str) -> Result<()> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).context("read the dashboard")?;
    let panels = dashboard["panels"].as_array().context("it has panels")?;
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array());
    let queries = targets
        .flatten()
        .filter_map(|target| target["expr"].as_str());
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut names = BTreeSet::new();
    for query in queries {
        let words = query.split(|letter| !is_of_name(letter));
        names.extend(words.filter(|word| word.starts_with("holdfast_")));
    }
    ensure!(names.len() > 9, "it asks for no more than {names:?}");
    for name in names {
        let metric = name.strip_suffix("_total").unwrap_or(name);
        ensure!(
            metrics.contains(&format!("# TYPE {metric} ")),
            "the dashboard asks for {name}, which there is not"
        );
    }
    Ok(())
}

/// What a scraper relies on: each sample after what its metric is, no sample twice, and an end.
fn check(text: &str) -> Result<()> {
    ensure!(text.ends_with("# EOF\n"), "it has no end: {text}");
    let mut metric = String::new();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            metric = rest.split(' ').next().unwrap_or_default().to_owned();
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').context("a sample without a value")?;
            ensure!(sample.starts_with(&metric), "{sample} is not of {metric}");
            ensure!(value.parse::<f64>().is_ok(), "{line}: no number");
            samples.push(sample);
        }
    }
    let count = samples.len();
    samples.sort_unstable();
    samples.dedup();
    ensure!(samples.len() == count, "samples stand there twice");
    for wanted in [
        "holdfast_ready",
        "holdfast_operations_total{action=\"process.exec\",fate=\"seen\"}",
        "holdfast_actor_running{actor=\"evaluator\"}",
        "holdfast_sink_events_total{sink=\"sink.file\",fate=\"written\"}",
    ] {
        ensure!(samples.contains(&wanted), "there is no {wanted}: {text}");
    }
    Ok(())
}
