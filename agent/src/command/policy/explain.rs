//! `holdfast policy explain`: who decides on each rule, and what deny therefore means; or why an event is
//! judged as it is.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use holdfast_policy::explain::TriedRule;
use holdfast_policy::replay::Retelling;

use crate::cli::Show;
use crate::command::recorded;
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::policies;

pub(super) fn explain(paths: &[PathBuf], show: &Show) -> Result<(), Failure> {
    let set = policies::of_command(paths, &show.settings)?;
    let explanation = set.snapshot.explain();
    if show.json {
        return output::json(&explanation);
    }
    let mut table = Table::new([
        "POLICY",
        "RULE",
        "ACTION",
        "HOOK",
        "DECIDED BY",
        "DENY MEANS",
        "WAITS FOR",
    ]);
    // From here on its JSON is what is shown: the interface that scripts know.
    let explanation = serde_json::to_value(&explanation).map_err(anyhow::Error::from)?;
    for rule in explanation["rules"].as_array().into_iter().flatten() {
        for hook in rule["hooks"].as_array().into_iter().flatten() {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let means = hook["deny_means"].as_object().into_iter().flatten();
            let means: Vec<_> = means
                .map(|(tier, what)| format!("{tier}: {}", text(what)))
                .collect();
            let waits = hook["waits_for"].as_array().into_iter().flatten();
            table.row([
                text(&rule["policy"]),
                text(&rule["id"]),
                text(&rule["action"]),
                text(&hook["action"]),
                text(&hook["decided"]),
                means.join(", "),
                waits.map(text).collect::<Vec<_>>().join(", "),
            ]);
        }
    }
    output::text(&table.render(0))
}

/// Most characters of a condition in a table; `--json` has all of it.
const MAX_CONDITION: usize = 100;

pub(super) fn event(paths: &[PathBuf], file: &Path, show: &Show) -> Result<(), Failure> {
    let set = policies::of_command(paths, &show.settings)?;
    let mut explained = 0;
    let mut retelling = Retelling::default();
    recorded::for_each(file, |event| {
        // The sensor's events about itself are judged by nobody.
        let Ok(explanation) = set.snapshot.explain_event(event, &mut retelling) else {
            return Ok(());
        };
        explained += 1;
        if show.json {
            return output::json(&explanation);
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{}", crate::command::events::line(event))?;
        let mut table = Table::new(["POLICY", "RULE", "ACTION", "MATCHES", "WHY"]);
        for rule in &explanation.rules {
            table.row([
                rule.policy.to_owned(),
                rule.id.to_owned(),
                rule.action.to_owned(),
                if rule.matches { "yes" } else { "no" }.to_owned(),
                why(rule),
            ]);
        }
        writeln!(out, "{}verdict: {}\n", table.render(2), explanation.verdict)?;
        Ok(())
    })?;
    if explained == 0 {
        let file = file.display();
        return Err(Failure::No(format!(
            "{file} has no events that policies are about"
        )));
    }
    Ok(())
}

/// Why a rule does not match, or what comes of it that it does.
fn why(rule: &TriedRule<'_>) -> String {
    let failing = rule.conditions.iter().find(|part| !part.holds);
    match (failing, rule.behind) {
        (Some(part), _) => {
            let text: String = part.text.chars().take(MAX_CONDITION).collect();
            let more = if text.len() < part.text.len() {
                "…"
            } else {
                ""
            };
            format!("does not hold: {text}{more}")
        }
        (None, Some(first)) => format!("behind {first}"),
        (None, None) if rule.decides => "decides".to_owned(),
        (None, None) => "another policy's verdict is stronger, or was first".to_owned(),
    }
}
