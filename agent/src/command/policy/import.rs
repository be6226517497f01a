//! `holdfast policy import`: rules in other languages as a policy.

use std::path::Path;

use holdfast_policy::document::{MAX_BYTES, Policy};
use holdfast_policy::sigma;
use serde_json::{Value, json};

use crate::cli::Import;
use crate::failure::Failure;
use crate::output;
use crate::policies::{self, refused};

pub(super) fn import(arguments: &Import) -> Result<(), Failure> {
    let files = policies::find_all(&arguments.sigma, is_yaml).map_err(|error| refused(&[error]))?;
    let mut import = sigma::Import::default();
    for file in &files {
        let text = policies::read_bounded(file, sigma::MAX_BYTES);
        let text = text.map_err(|error| refused(&[error]))?;
        import.add(&file.display().to_string(), &text);
    }
    for rule in import.left_out() {
        eprintln!("holdfast: left out: {rule}");
    }
    let policy = import.policy(&arguments.name).ok_or_else(|| {
        let left_out = import.left_out().len();
        Failure::No(format!(
            "no rule could be imported; {left_out} were left out"
        ))
    })?;
    let printed = format!("{policy:#}\n");
    if printed.len() > MAX_BYTES {
        return Err(Failure::No(format!(
            "{} rules are more than fit into one policy of {MAX_BYTES} bytes: import them in parts",
            import.count()
        )));
    }
    // What is given on the command line stands in it as well.
    Policy::parse("the imported policy", printed.as_bytes())
        .map_err(|problems| refused(&policies::all(problems)))?;
    if arguments.json {
        return output::json(&report(&policy, &import));
    }
    output::text(&printed)?;
    eprintln!(
        "holdfast: {} rules were imported, {} left out",
        import.count(),
        import.left_out().len()
    );
    Ok(())
}

fn report(policy: &Value, import: &sigma::Import) -> Value {
    let left_out = import.left_out().iter();
    let left_out = left_out
        .map(|rule| json!({"file": rule.file, "title": rule.title, "reason": rule.reason}))
        .collect::<Vec<_>>();
    json!({"policy": policy, "rules": import.count(), "left_out": left_out})
}

fn is_yaml(path: &Path) -> bool {
    let end = path.extension().unwrap_or_default();
    end == "yml" || end == "yaml"
}
