//! `holdfast policy derive`: an allow-list of what recorded events did.

use holdfast_policy::derive::{KINDS, Options, Workload};
use holdfast_policy::document::Policy;
use holdfast_policy::field::Kinds;

use crate::cli::Derive;
use crate::command::recorded;
use crate::failure::Failure;
use crate::output;
use crate::policies;

pub(super) fn derive(arguments: &Derive) -> Result<(), Failure> {
    let kinds = kinds(&arguments.events)?;
    let mut workload = Workload::default();
    recorded::for_each(&arguments.file, |event| {
        workload.add(event, kinds);
        Ok(())
    })?;
    let options = Options {
        name: &arguments.name,
        scope: arguments.scope.as_deref(),
        action: &arguments.action,
    };
    let file = arguments.file.display();
    let policy = workload.policy(&options).ok_or_else(|| {
        Failure::No(format!(
            "{file} has no events that a policy can be derived from: record with `holdfast run \
             --events 'process.exec,file.*,network.*'`"
        ))
    })?;
    // What is given on the command line stands in it as well.
    let read = Policy::parse("the derived policy", policy.to_string().as_bytes());
    let read = read.map_err(|problems| Failure::No(problems.to_string()))?;
    // For people to read and to change.
    output::text(&format!("{policy:#}\n"))?;
    let left_out = match workload.left_out() {
        0 => String::new(),
        count => format!("; {count} events are not covered, since their program is not known"),
    };
    eprintln!(
        "holdfast: {} events are covered by {} rules{left_out}",
        workload.covered(),
        read.rules.len()
    );
    Ok(())
}

/// The kinds that the globs name, if a workload is described by one of them.
fn kinds(globs: &[String]) -> Result<Kinds, Failure> {
    if globs.is_empty() {
        return Ok(KINDS);
    }
    let kinds = policies::kinds(globs);
    if !KINDS.iter().any(|kind| kinds.contains(kind)) {
        let all: Vec<&str> = KINDS.iter().map(|kind| kind.action()).collect();
        return Err(Failure::Usage(format!(
            "--events: a policy is derived from {}",
            all.join(", ")
        )));
    }
    Ok(kinds)
}
