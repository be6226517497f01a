//! What a run of scenarios says: one JSON line each, which crosses the guest's serial port, and the
//! closing line that every runner of tests understands.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::Place;

/// How a scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All it asserts holds.
    Passed,
    /// Something it asserts does not hold, or it did not end.
    Failed,
    /// It failed, and passed when it was run again: told apart from both, since it hides a race.
    Flaky,
    /// It can't run here; the reason says why.
    Skipped,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::Flaky, Self::Skipped];

    /// One word, for tables and for the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Flaky => "FLAKY",
            Self::Skipped => "skipped",
        }
    }
}

/// The end of one scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
    /// Why it failed or was skipped, or what it measured.
    pub reason: String,
    /// The last lines that it and the sensor wrote, when it failed.
    pub log: Vec<String>,
}

impl Outcome {
    /// A scenario that ended without saying anything itself.
    pub fn failed(scenario: &str, reason: impl Into<String>, log: Vec<String>) -> Self {
        Self {
            scenario: scenario.to_owned(),
            verdict: Verdict::Failed,
            took: Duration::ZERO,
            reason: reason.into(),
            log,
        }
    }

    /// This outcome as that of a scenario that failed before.
    pub fn again(mut self) -> Self {
        if self.verdict == Verdict::Passed {
            self.verdict = Verdict::Flaky;
        }
        self
    }
}

/// Failures that are run again: more of them are no chance, and would only take long.
const AGAIN: usize = 6;

/// Of a reason that is told once more; whole events may stand in it.
const REASON_BYTES: usize = 600;

/// The scenarios that failed at first, to be run again, and told of once more at the end, where
/// whoever reads only the last lines finds them.
#[derive(Debug, Default)]
pub struct Failures(Vec<(Place, Outcome)>);

impl Failures {
    /// Notes this outcome if it is a failure.
    pub fn note(&mut self, place: &Place, outcome: &Outcome) {
        if outcome.verdict == Verdict::Failed {
            self.0.push((place.clone(), outcome.clone()));
        }
    }

    /// The names of what failed at this place and is to be run again.
    pub fn again(&self, place: &Place) -> Vec<&str> {
        let few = self.0.len() <= AGAIN;
        let here = self.0.iter().filter(|(at, _)| few && at == place);
        here.map(|(_, outcome)| outcome.scenario.as_str()).collect()
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, outcome) in &self.0 {
            let end = outcome.reason.floor_char_boundary(REASON_BYTES);
            let reason = outcome.reason[..end].replace('\n', "\n    ");
            writeln!(f, "{} failed on {place}: {reason}", outcome.scenario)?;
        }
        Ok(())
    }
}

/// What a guest says to its host.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A scenario begins and will end within the limit.
    Started {
        /// Its name.
        scenario: String,
        /// Its limit.
        limit: Duration,
    },
    /// A scenario ended.
    Ended(Outcome),
    /// The plan is done; the guest powers off.
    Done,
}

impl Line {
    /// The line's text, without a line end.
    pub fn encode(&self) -> String {
        match self {
            Self::Started { scenario, limit } => {
                json!({"started": scenario, "limit": limit.as_secs()})
            }
            Self::Ended(outcome) => json!({
                "ended": outcome.scenario,
                "verdict": outcome.verdict.word(),
                "milliseconds": u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
                "reason": outcome.reason,
                "log": outcome.log,
            }),
            Self::Done => json!({"done": true}),
        }
        .to_string()
    }

    /// The line of this text; `None` for anything else that came over the wire.
    pub fn decode(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text.trim()).ok()?;
        let string = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        if let Some(scenario) = string("started") {
            let limit = Duration::from_secs(value.get("limit")?.as_u64()?);
            return Some(Self::Started { scenario, limit });
        }
        if let Some(scenario) = string("ended") {
            let word = string("verdict")?;
            let log = value.get("log")?.as_array()?;
            return Some(Self::Ended(Outcome {
                scenario,
                verdict: Verdict::ALL
                    .into_iter()
                    .find(|verdict| verdict.word() == word)?,
                took: Duration::from_millis(value.get("milliseconds")?.as_u64()?),
                reason: string("reason")?,
                log: log
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            }));
        }
        value.get("done").map(|_| Self::Done)
    }
}

/// How many ended how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    passed: usize,
    failed: usize,
    flaky: usize,
    skipped: usize,
}

impl Totals {
    /// Counts one outcome.
    pub fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Flaky => {
                self.passed += 1;
                self.flaky += 1;
            }
            Verdict::Skipped => self.skipped += 1,
        }
    }

    /// Whether nothing failed and something ran: a run of nothing proves nothing.
    pub fn good(&self) -> bool {
        self.failed == 0 && self.passed + self.skipped > 0
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.flaky > 0 {
            writeln!(f, "{} of them only when run again", self.flaky)?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The last `count` lines of a text that may not be UTF-8 throughout.
pub fn tail(bytes: &[u8], count: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_the_serial_port() {
        let lines = [
            Line::Started {
                scenario: "a".to_owned(),
                limit: Duration::from_secs(30),
            },
            Line::Ended(Outcome {
                scenario: "a".to_owned(),
                verdict: Verdict::Failed,
                took: Duration::from_millis(1_500),
                reason: "two\nlines \"quoted\"".to_owned(),
                log: vec!["last".to_owned()],
            }),
            Line::Done,
        ];
        for line in lines {
            assert_eq!(Line::decode(&format!("{}\r\n", line.encode())), Some(line));
        }
        assert_eq!(Line::decode("[    1.0] kernel noise"), None);
        assert_eq!(Line::decode("{\"ended\":\"half"), None);
    }

    #[test]
    fn a_few_failures_are_run_again_and_many_are_not() {
        let mut failures = Failures::default();
        for number in 0..AGAIN {
            let outcome = Outcome::failed(&format!("s{number}"), "a\nb", Vec::new());
            failures.note(&Place::Native, &outcome);
        }
        assert_eq!(failures.again(&Place::Native).len(), AGAIN);
        assert!(failures.again(&"6.1".parse().unwrap()).is_empty());
        assert!(
            failures
                .to_string()
                .starts_with("s0 failed on native: a\n    b\ns1 ")
        );
        failures.note(&Place::Native, &Outcome::failed("s", "", Vec::new()));
        assert!(failures.again(&Place::Native).is_empty());
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        assert_eq!(tail(b"a\nb\nc\n", 2), ["b", "c"]);
        assert_eq!(tail(b"a", 2), ["a"]);
        assert!(tail(b"", 2).is_empty());
    }

    #[test]
    fn a_run_of_nothing_is_not_good() {
        let mut totals = Totals::default();
        assert!(!totals.good());
        totals.add(Verdict::Passed);
        assert!(totals.good());
        assert_eq!(totals.to_string(), "1 passed, 0 failed");
    }
}
