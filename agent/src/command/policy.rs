//! `holdfast policy`

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_policy::explain::Explanation;
use serde_json::{Value, json};

use crate::cli::{Policy, Show};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::policies::{self, given_or_configured, refused};

mod derive;
mod explain;
mod import;
mod test;

pub(super) fn policy(arguments: &Policy) -> Result<(), Failure> {
    match arguments {
        Policy::Check { paths, show } => check(paths, show),
        Policy::Explain {
            paths,
            event: Some(event),
            show,
        } => explain::event(paths, event, show),
        Policy::Explain { paths, show, .. } => explain::explain(paths, show),
        Policy::Derive(arguments) => derive::derive(arguments),
        Policy::Import(arguments) => import::import(arguments),
        Policy::Test { paths, show } => test::test(paths, show),
        Policy::List(show) => list(show),
        Policy::Reload(show) => reload(show),
    }
}

fn check(paths: &[PathBuf], show: &Show) -> Result<(), Failure> {
    let config = show.settings.inputs().load()?;
    let paths = given_or_configured(paths, &config);
    let checked = policies::read(&paths).map_err(|error| refused(&[error]))?;
    let mut files = Vec::new();
    let mut good = Vec::new();
    let mut errors = Vec::new();
    for file in checked {
        match file.policy {
            Ok(policy) => {
                files.push(json!({"file": file.file, "policy": policy.name,
                                  "rules": policy.rules.len(), "errors": []}));
                good.push(policy);
            }
            Err(wrong) => {
                files.push(json!({"file": file.file, "errors": wrong}));
                errors.extend(wrong);
            }
        }
    }
    let mut without_room = BTreeMap::new();
    // What is wrong between policies matters once each is good by itself.
    if errors.is_empty() {
        match policies::together(&good, &config, 0) {
            Ok(set) => without_room = rules_without_room(&set.snapshot.explain()),
            Err(wrong) => errors = wrong,
        }
    }
    if show.json {
        output::json(
            &json!({"ok": errors.is_empty(), "files": files, "errors": errors,
                             "without_room": without_room}),
        )?;
    } else {
        let fine = |file: &&Value| file["policy"].is_string();
        for file in files.iter().filter(fine) {
            let name = file["file"].as_str().unwrap_or_default();
            output::text(&format!("{name}: {} rules\n", file["rules"]))?;
        }
        for (action, rules) in &without_room {
            let shown: Vec<&str> = rules.iter().take(MAX_SHOWN).map(String::as_str).collect();
            let more = match rules.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            output::text(&format!(
                "{action}: the kernel has no room for {} rules, on which user space decides: {}{more}\n",
                rules.len(),
                shown.join(", ")
            ))?;
        }
        for error in &errors {
            output::text(&format!("{error}\n"))?;
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(refused(&errors))
    }
}

/// Most rules that are named where there is no room for them; `--json` has all.
const MAX_SHOWN: usize = 10;

/// By action, the rules as POLICY/RULE.
fn rules_without_room(explanation: &Explanation<'_>) -> BTreeMap<&'static str, Vec<String>> {
    let mut without_room: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for rule in &explanation.rules {
        for hook in rule.hooks.iter().filter(|hook| hook.lacks_room) {
            let named = format!("{}/{}", rule.policy, rule.id);
            without_room.entry(hook.action).or_default().push(named);
        }
    }
    without_room
}

fn list(show: &Show) -> Result<(), Failure> {
    let policies = super::client(&show.settings)?.get("/v1/policies")?;
    if show.json {
        return output::json(&policies);
    }
    let mut table = Table::new(["POLICY", "MODE", "RULES", "FILE"]);
    for policy in policies.as_array().into_iter().flatten() {
        let text = |key: &str| policy[key].as_str().unwrap_or_default().to_owned();
        table.row([
            text("name"),
            text("mode"),
            policy["rules"].to_string(),
            text("file"),
        ]);
    }
    output::text(&table.render(0))
}

fn reload(show: &Show) -> Result<(), Failure> {
    let report = super::client(&show.settings)?.post("/v1/reload")?;
    if show.json {
        return output::json(&report);
    }
    output::text(&format!(
        "revision {}: {} policies, {} rules\n",
        report["revision"], report["policies"], report["rules"]
    ))
}
