//! What README says of a fleet: one command that serves, two more, and a sensor's alerts are live.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::server::Team;
use super::{ANSWERED, EVENT};
use crate::bench::Bench;
use crate::command::Bounded as _;

const README: &str = include_str!("../../../../README.md");
const MAKEFILE: &str = include_str!("../../../../Makefile");
/// Rule of a shipped policy, and the file that it is about.
const RULE: &str = "shadow-read";
const FILE: &str = "/etc/shadow";

/// The commands of README's section on a fleet, in words.
fn commands() -> Result<Vec<Vec<String>>> {
    let (_, section) = README.split_once("## A fleet\n").context("no section")?;
    let block = section.split("```").nth(1).context("no commands")?;
    let words = |line: &str| {
        let command = line.split('#').next().unwrap_or_default();
        command.split_whitespace().map(str::to_owned).collect()
    };
    Ok(block.trim().lines().map(words).collect())
}

/// What `make TARGET` runs last.
fn recipe(target: &str) -> Result<Vec<String>> {
    let rule = format!("\n{target}: ");
    let (_, recipe) = MAKEFILE.split_once(&rule).context("no such target")?;
    let recipe = recipe.split("\n\n").next().unwrap_or_default();
    let line = recipe.lines().last().context("no recipe")?;
    let line = line.trim().trim_start_matches("@tools/foreground ");
    let words = line.split_whitespace().filter(|word| *word != "$(ARGS)");
    Ok(words.map(str::to_owned).collect())
}

/// The arguments of a command that is this program.
fn arguments(words: &[String], program: &str) -> Result<Vec<String>> {
    let at = words.iter().position(|word| word == program);
    let at = at.with_context(|| format!("{words:?} is not {program}"))?;
    Ok(words[at + 1..].to_vec())
}

pub(super) fn readme(bench: &Bench) -> Result<()> {
    let [make, create, watch] = &commands()?[..] else {
        bail!("README has other commands: {:?}", commands()?);
    };
    ensure!(make.join(" ") == "make run-server", "{make:?}");
    let serve = arguments(&recipe("run-server")?, "dist/holdfast-server")?;
    let (create, watch) = (
        arguments(create, "dist/holdfast-server")?,
        arguments(watch, "dist/holdfast")?,
    );
    let team = Team::new(bench)?;
    // In the scenario's place, and at a port that is free.
    let here = |words: &[String], url: &str, key: &str| -> Vec<OsString> {
        let word = |word: &String| match word.as_str() {
            "target/server" => team.data().into(),
            "policies" => bench.setting.policies.clone().into(),
            word => word
                .replace("http://127.0.0.1:5150", url)
                .replace("KEY", key)
                .into(),
        };
        words.iter().map(word).collect()
    };
    let mut serve = here(&serve, "", "");
    serve.extend(["--listen", "127.0.0.1:0"].map(OsString::from));
    let (running, said) = team.start_as(&serve)?;
    let line = said
        .iter()
        .find_map(|it| it.strip_prefix("user admin, password "));
    let password = line.and_then(|it| it.split(' ').next());
    let password = password.with_context(|| format!("no password: {said:?}"))?;
    let key = team.run(&here(&create, "", ""))?;

    let url = format!("http://{}", running.address());
    let watch = here(&watch, &url, &key);
    ensure!(watch.first().is_some_and(|it| it == "run"), "{watch:?}");
    let mut sensor = bench.sensor().tier("tracepoint");
    for pair in watch[1..].chunks(2) {
        let [name, value] = pair else {
            bail!("{watch:?} has an option without a value");
        };
        let name = name.to_str().and_then(|it| it.strip_prefix("--"));
        sensor = sensor.option(name.context("no option")?, value);
    }
    let mut live = follow(running.address(), password)?;
    let sensor = sensor.start()?;
    let reader = bench.program("reader")?;
    let mut read = Command::new(&reader);
    read.args(["cat", FILE])
        .output_within(EVENT)?
        .with_code(0)?;
    seen(&mut live, &reader)?;
    sensor.stop()?;
    Ok(())
}

/// Logs in, as the page does, and follows the alerts.
fn follow(address: &str, password: &str) -> Result<BufReader<TcpStream>> {
    let body = serde_json::json!({"name": "admin", "password": password}).to_string();
    let mut stream = TcpStream::connect(address).context("connect to the server")?;
    stream.set_read_timeout(Some(EVENT))?;
    write!(
        stream,
        "POST /api/v1/login HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cookie = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|it| it.split(';').next());
    let cookie = cookie.with_context(|| format!("not logged in: {answer}"))?;
    let mut stream = TcpStream::connect(address).context("connect to the server")?;
    stream.set_read_timeout(Some(EVENT))?;
    write!(
        stream,
        "GET /api/v1/alerts/stream HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200"), "{line}");
    Ok(reader)
}

/// Waits until what `reader` did is among the alerts.
fn seen(live: &mut BufReader<TcpStream>, reader: &Path) -> Result<()> {
    let deadline = Instant::now() + ANSWERED;
    let mut line = String::new();
    while Instant::now() < deadline {
        line.clear();
        ensure!(live.read_line(&mut line)? > 0, "the stream ended");
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let alert: Value = serde_json::from_str(data)?;
        let event = &alert["event"];
        let executable = event["process"]["executable"].as_str();
        if event["rule"]["id"] == RULE && executable.is_some_and(|it| Path::new(it) == reader) {
            return Ok(());
        }
    }
    bail!("no alert of {} within {ANSWERED:?}", reader.display())
}
