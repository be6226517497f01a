//! What performance is to be, and the table of what was measured against it.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

pub mod page;

/// All that was measured: `guest` by scenario, `native`, `peers` by tool, and `binary`, its bytes.
pub type Measured = Value;

/// What a figure must not be beyond.
#[derive(Clone, Copy, Debug)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing was set: it is to be known.
    None,
}

/// One row of the table.
struct Goal {
    what: &'static str,
    limit: Limit,
    unit: &'static str,
    figure: fn(&Measured) -> Option<f64>,
}

const THOUSAND: f64 = 1e3;
const MILLION: f64 = 1e6;
const BILLION: f64 = 1e9;
/// KiB in a MiB.
const MIB: f64 = 1024.0;

const GOALS: &[Goal] = &[
    Goal {
        what: "open that no rule matches, 64 rules, beyond a program that does nothing",
        limit: Limit::AtMost(700.0),
        unit: "instructions",
        figure: |it| unmatched(it, "64"),
    },
    Goal {
        what: "the same once its answer is known (no answer is kept: it is worked out each time)",
        limit: Limit::AtMost(250.0),
        unit: "instructions",
        figure: |it| unmatched(it, "64"),
    },
    Goal {
        what: "the same with 1, 64 and 256 rules: how far apart",
        limit: Limit::AtMost(5.0),
        unit: "%",
        figure: |it| {
            let costs = ["1", "64", "256"].map(|rules| unmatched(it, rules));
            let [first, second, third] = costs;
            let all = [first?, second?, third?];
            let (least, most) = (
                all.iter().copied().fold(f64::MAX, f64::min),
                all.iter().copied().fold(0.0, f64::max),
            );
            Some((most - least) * 100.0 / most)
        },
    },
    Goal {
        what: "open refused by LSM and reported, beyond a program that refuses, in line",
        limit: Limit::AtMost(1_500.0),
        unit: "instructions",
        figure: |it| at(it, "/guest/cost-operations/default/refused/in_line"),
    },
    Goal {
        what: "exec and exit reported, in line",
        limit: Limit::AtMost(10_000.0),
        unit: "instructions",
        figure: |it| at(it, "/guest/cost-operations/default/exec/in_line"),
    },
    Goal {
        what: "exec and exit reported, in the agent to the JSON line",
        limit: Limit::AtMost(40_000.0),
        unit: "instructions",
        figure: |it| at(it, "/guest/cost-operations/default/exec/agent"),
    },
    Goal {
        what: "connect reported, in line",
        limit: Limit::AtMost(1_200.0),
        unit: "instructions",
        figure: |it| at(it, "/guest/cost-operations/default/connect/in_line"),
    },
    Goal {
        what: "connect, where nothing asks about the network: in line",
        limit: Limit::AtMost(0.0),
        unit: "instructions",
        figure: |it| at(it, "/guest/cost-at-rest/unasked/costs/connect/in_line"),
    },
    Goal {
        what: "hooks attached beside those that are asked for and the life of processes",
        limit: Limit::AtMost(0.0),
        unit: "hooks",
        figure: |it| count(it.pointer("/guest/cost-at-rest/unasked/hooks")?),
    },
    Goal {
        what: "start to ready, shipped policies",
        limit: Limit::AtMost(0.3),
        unit: "G instructions",
        figure: |it| Some(at(it, "/guest/cost-at-rest/start")? / BILLION),
    },
    Goal {
        what: "start to ready, shipped policies, natively",
        limit: Limit::AtMost(500.0),
        unit: "ms",
        figure: |it| at(it, "/native/start_milliseconds"),
    },
    Goal {
        what: "resident memory at rest, shipped policies, without mapped rings",
        limit: Limit::AtMost(30.0),
        unit: "MiB",
        figure: |it| Some(at(it, "/native/memory/own")? / MIB),
    },
    Goal {
        what: "the same in the guest, where every hook is in its best tier",
        limit: Limit::AtMost(30.0),
        unit: "MiB",
        figure: |it| Some(at(it, "/guest/cost-at-rest/memory/own")? / MIB),
    },
    Goal {
        what: "the same natively after a million events",
        limit: Limit::AtMost(64.0),
        unit: "MiB",
        figure: |it| Some(at(it, "/native/memory_after_a_million/own")? / MIB),
    },
    Goal {
        what: "kernel maps, rings included, on this machine's CPUs",
        limit: Limit::AtMost(24.0),
        unit: "MiB",
        figure: |it| Some(at(it, "/native/memory/maps")? / MIB),
    },
    Goal {
        what: "the binary, kernel programs inside",
        limit: Limit::AtMost(12.0),
        unit: "MB",
        figure: |it| Some(at(it, "/binary")? / MILLION),
    },
    Goal {
        what: "look at 10,000 processes in 1,000 namespaces, CPU time",
        limit: Limit::None,
        unit: "ms",
        figure: |it| at(it, "/native/crowd/holdfast/cpu_milliseconds"),
    },
    Goal {
        what: "the same, of lsns' CPU time on the same processes",
        limit: Limit::AtMost(1.0),
        unit: "",
        figure: |it| {
            let of = |who| at(it, &format!("/native/crowd/{who}/cpu_milliseconds"));
            Some(of("holdfast")? / of("lsns")?)
        },
    },
    Goal {
        what: "the same, most memory",
        limit: Limit::None,
        unit: "MiB",
        figure: |it| Some(at(it, "/native/crowd/holdfast/peak_kib")? / MIB),
    },
    Goal {
        what: "the same, lsns' most memory",
        limit: Limit::None,
        unit: "MiB",
        figure: |it| Some(at(it, "/native/crowd/lsns/peak_kib")? / MIB),
    },
    Goal {
        what: "a running sensor's next answer about them, until it is there",
        limit: Limit::None,
        unit: "ms",
        figure: |it| at(it, "/native/crowd/sensor/next_milliseconds"),
    },
    Goal {
        what: "what it holds of them",
        limit: Limit::None,
        unit: "MiB",
        figure: |it| Some(at(it, "/native/crowd/sensor/held_kib")? / MIB),
    },
    Goal {
        what: "opens a second, each an event in the file, none lost",
        limit: Limit::AtLeast(250.0),
        unit: "thousand",
        figure: |it| Some(sustained(it)? / THOUSAND),
    },
    Goal {
        what: "opens a second at which loss begins",
        limit: Limit::None,
        unit: "thousand",
        figure: |it| Some(losing(it)? / THOUSAND),
    },
    Goal {
        what: "at rest, of a core that does a G instructions a second",
        limit: Limit::AtMost(0.1),
        unit: "%",
        figure: |it| {
            Some(at(it, "/guest/cost-at-rest/rest/instructions_per_second")? * 100.0 / BILLION)
        },
    },
    Goal {
        what: "wake-ups a second at rest",
        limit: Limit::None,
        unit: "",
        figure: |it| at(it, "/guest/cost-at-rest/rest/wake_ups_per_second"),
    },
];

fn at(measured: &Measured, pointer: &str) -> Option<f64> {
    measured.pointer(pointer)?.as_f64()
}

fn count(list: &Value) -> Option<f64> {
    Some(list.as_array()?.len() as f64)
}

/// The dearest of the files about whose names there is no rule, which are all but the last.
fn unmatched(measured: &Measured, rules: &str) -> Option<f64> {
    let costs = measured.pointer(&format!("/guest/instructions/beyond_noop/{rules}"))?;
    let (_, unlike) = costs.as_array()?.split_last()?;
    unlike.iter().filter_map(Value::as_f64).reduce(f64::max)
}

fn steps(measured: &Measured) -> Option<&Vec<Value>> {
    measured.pointer("/native/rate")?.as_array()
}

fn lost(step: &Value) -> bool {
    ["missed", "ring_full", "dropped"]
        .iter()
        .any(|term| step[term].as_u64() != Some(0))
}

/// The highest rate that was reached without loss.
fn sustained(measured: &Measured) -> Option<f64> {
    let whole = steps(measured)?.iter().filter(|step| !lost(step));
    whole
        .filter_map(|step| step["reached"].as_f64())
        .reduce(f64::max)
}

/// The lowest rate at which something was lost; `None` where nothing was at any.
fn losing(measured: &Measured) -> Option<f64> {
    let losing = steps(measured)?.iter().filter(|step| lost(step));
    losing
        .filter_map(|step| step["asked"].as_f64())
        .reduce(f64::min)
}

/// A goal and its figure.
struct Row {
    goal: &'static Goal,
    figure: Option<f64>,
}

impl Row {
    /// `None`: there is no goal.
    fn is_met(&self) -> Option<bool> {
        let is_met = |holds: fn(f64, f64) -> bool, limit| {
            // What was not measured is not met.
            Some(self.figure.is_some_and(|figure| holds(figure, limit)))
        };
        match self.goal.limit {
            Limit::AtMost(limit) => is_met(|figure, limit| figure <= limit, limit),
            Limit::AtLeast(limit) => is_met(|figure, limit| figure >= limit, limit),
            Limit::None => None,
        }
    }

    fn cells(&self) -> [String; 4] {
        let goal = match self.goal.limit {
            Limit::AtMost(limit) => format!("≤ {}", shown(limit)),
            Limit::AtLeast(limit) => format!("≥ {}", shown(limit)),
            Limit::None => "stated".to_owned(),
        };
        let figure = self.figure.map_or("not measured".to_owned(), |figure| {
            format!("{} {}", shown(figure), self.goal.unit)
                .trim_end()
                .to_owned()
        });
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "not met",
            None => "",
        };
        [self.goal.what.to_owned(), goal, figure, verdict.to_owned()]
    }
}

/// To what matters, with separated thousands.
fn shown(figure: f64) -> String {
    if figure < 100.0 && figure.fract() != 0.0 {
        return format!("{figure:.2}");
    }
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The table of all goals.
pub struct Table(Vec<Row>);

impl Table {
    /// Made of what was measured.
    pub fn of(measured: &Measured) -> Self {
        let row = |goal: &'static Goal| Row {
            goal,
            figure: (goal.figure)(measured),
        };
        Self(GOALS.iter().map(row).collect())
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            let [what, goal, ..] = row.cells();
            json!({"what": what, "goal": goal, "figure": row.figure, "unit": row.goal.unit, "met": row.is_met()})
        };
        Value::Array(self.0.iter().map(row).collect())
    }

    /// For pages.
    pub fn markdown(&self) -> String {
        let mut text = "| what | goal | figure | |\n|---|--:|--:|---|\n".to_owned();
        for row in &self.0 {
            // Writing to a String does not fail.
            let _ = writeln!(text, "| {} |", row.cells().join(" | "));
        }
        text
    }
}

/// For people.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.0 {
            let [what, goal, figure, verdict] = row.cells();
            writeln!(f, "{what:<82} {goal:>8} {figure:>22}  {verdict}")?;
        }
        let missed = self.0.iter().filter(|row| row.is_met() == Some(false));
        writeln!(f, "{} of {} not met", missed.count(), self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_held_against_its_goal_and_what_is_missing_is_not_met() {
        let step = |asked: u32, lost: u32| json!({"asked": asked, "reached": asked, "missed": 0, "ring_full": lost, "dropped": 0});
        let measured = json!({
            "guest": {"instructions": {"beyond_noop": {"1": [100, 99, 900], "64": [101, 99, 900], "256": [100, 100, 900]}}},
            "native": {"rate": [step(200_000, 0), step(300_000, 0), step(400_000, 7)]},
            "binary": 14_545_632,
        });
        let table = Table::of(&measured);
        let cells: Vec<[String; 4]> = table.0.iter().map(Row::cells).collect();
        let row = |what: &str| cells.iter().find(|row| row[0].starts_with(what)).unwrap();
        assert_eq!(row("open that no rule")[2..], ["101 instructions", "met"]);
        assert_eq!(row("the same with 1, 64")[2..], ["0.99 %", "met"]);
        assert_eq!(row("the binary")[1..], ["≤ 12", "14.55 MB", "not met"]);
        assert_eq!(
            row("opens a second, each")[1..],
            ["≥ 250", "300 thousand", "met"]
        );
        assert_eq!(
            row("opens a second at which")[1..],
            ["stated", "400 thousand", ""]
        );
        assert_eq!(
            row("connect reported")[1..],
            ["≤ 1,200", "not measured", "not met"]
        );
        assert!(table.markdown().contains("| ≤ 12 | 14.55 MB | not met |\n"));
    }
}
