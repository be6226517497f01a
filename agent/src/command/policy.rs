//! `holdfast policy`

use std::path::PathBuf;

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
    // What is wrong between policies matters once each is good by itself.
    if errors.is_empty() {
        errors = policies::together(&good, &config, 0)
            .err()
            .unwrap_or_default();
    }
    if show.json {
        output::json(&json!({"ok": errors.is_empty(), "files": files, "errors": errors}))?;
    } else {
        let fine = |file: &&Value| file["policy"].is_string();
        for file in files.iter().filter(fine) {
            let name = file["file"].as_str().unwrap_or_default();
            output::text(&format!("{name}: {} rules\n", file["rules"]))?;
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
