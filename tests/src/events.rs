//! The events that a sensor under test writes, as they come.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

/// Events that are kept; what comes after is only counted. Far more than a scenario looks at, far
/// less than a guest's memory: each takes some 20 KB.
const KEPT: usize = 20_000;
/// The same where a tally counts those that matter, of a load that needs the memory itself.
const KEPT_BESIDE_TALLY: usize = 2_000;

/// The events so far, filled by a thread that reads the sensor's stdout.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<(Mutex<Inner>, Condvar)>);

/// What a scenario counts beyond the events that are kept.
pub type Tally = Box<dyn Fn(&Value) -> bool + Send>;

#[derive(Debug, Default)]
struct Inner {
    kept: Vec<Value>,
    counts: BTreeMap<String, u64>,
    tallied: u64,
    /// Lines that are no JSON object: stdout is for events alone.
    strays: Vec<String>,
    ended: bool,
}

impl Events {
    /// Starts to read.
    pub fn read(stdout: impl Read + Send + 'static, tally: Option<Tally>) -> Self {
        let events = Self::default();
        let filled = events.clone();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                filled.add(&line, tally.as_deref());
            }
            filled.lock().ended = true;
            filled.0.1.notify_all();
        });
        events
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &str, tally: Option<&(dyn Fn(&Value) -> bool + Send)>) {
        let parsed = serde_json::from_str::<Value>(line);
        let mut inner = self.lock();
        match parsed {
            Ok(event) if event.is_object() => {
                let is_tallied = tally.is_some_and(|tally| tally(&event));
                inner.tallied += u64::from(is_tallied);
                *inner.counts.entry(action(&event).to_owned()).or_default() += 1;
                let most = if tally.is_some() {
                    KEPT_BESIDE_TALLY
                } else {
                    KEPT
                };
                if !is_tallied && inner.kept.len() < most {
                    inner.kept.push(event);
                }
            }
            _ => inner.strays.push(line.to_owned()),
        }
        drop(inner);
        self.0.1.notify_all();
    }

    /// The first event, past or to come, that `wanted` accepts; `what` names it in the error.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        let mut inner = self.lock();
        loop {
            if let Some(event) = inner.kept[seen..].iter().find(|event| wanted(event)) {
                return Ok(event.clone());
            }
            seen = inner.kept.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || inner.ended {
                let why = if inner.ended {
                    "the sensor ended"
                } else {
                    "no such event came"
                };
                bail!("{what}: {why} ({limit:?}, {:?})", inner.counts);
            }
            inner = self
                .0
                .1
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// All kept events that `wanted` accepts, in the order they came.
    pub fn matching(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.lock()
            .kept
            .iter()
            .filter(|event| wanted(event))
            .cloned()
            .collect()
    }

    /// How many events of an action came, kept or not.
    pub fn count(&self, action: &str) -> u64 {
        self.lock().counts.get(action).copied().unwrap_or(0)
    }

    /// How many events the scenario's tally accepted.
    pub fn tallied(&self) -> u64 {
        self.lock().tallied
    }

    /// Lines that were no events.
    pub fn strays(&self) -> Vec<String> {
        self.lock().strays.clone()
    }

    /// Whether the sensor closed its stdout.
    pub fn ended(&self) -> bool {
        self.lock().ended
    }
}

/// `event.action` of an event, empty if it has none.
pub fn action(event: &Value) -> &str {
    text(event, "/event/action")
}

/// A text of an event by its JSON pointer, empty if there is none.
pub fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// A number of an event by its JSON pointer.
pub fn number(event: &Value, pointer: &str) -> Option<i64> {
    event.pointer(pointer).and_then(Value::as_i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b"{\"event\":{\"action\":\"a\"},\"n\":1}\nnoise\n{\"event\":{\"action\":\"a\"},\"n\":2}\n";

    #[test]
    fn events_are_found_counted_and_told_from_noise() {
        let events = Events::read(STREAM, None);
        let limit = Duration::from_secs(5);
        let second = events
            .wait_for("n = 2", limit, |event| number(event, "/n") == Some(2))
            .unwrap();
        assert_eq!(action(&second), "a");
        assert!(
            events
                .wait_for("n = 3", limit, |event| number(event, "/n") == Some(3))
                .is_err()
        );
        assert_eq!(events.count("a"), 2);
        assert_eq!(events.strays(), ["noise"]);
    }
}
