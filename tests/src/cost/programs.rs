//! Which kernel programs run for an operation, and for how long.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use serde_json::{Value, json};

use crate::usage::number_in;

/// Runs of a program and the time they took, nanoseconds, by the program's number and name.
type Runs = BTreeMap<(u32, String), (u64, u64)>;

/// What programs do for each of `count` operations, by name: runs, and instructions where the clock counts them. The
/// clock is read before and after each run, which is in neither, and no other figure may be taken meanwhile.
pub fn profile(count: u64, act: impl FnOnce() -> Result<()>) -> Result<Value> {
    let counted = enable_stats(Stats::RunTime).context("have runs of programs counted")?;
    let before = runs()?;
    act()?;
    let after = runs()?;
    drop(counted);
    let mut profile = BTreeMap::<String, (u64, u64)>::new();
    for (program, (runs, time)) in after {
        let (had_run, took) = before.get(&program).copied().unwrap_or_default();
        // Several programs may have one name.
        let (of, total) = profile.entry(program.1).or_default();
        *of += runs.saturating_sub(had_run);
        *total += time.saturating_sub(took);
    }
    // What ran less often than once in ten operations is no part of them.
    profile.retain(|_, (runs, _)| *runs * 10 >= count);
    let each = |(name, (runs, time)): (String, (u64, u64))| {
        let runs = runs as f64 / count as f64;
        (
            name,
            json!({"runs": (runs * 10.0).round() / 10.0, "instructions": time / count}),
        )
    };
    Ok(Value::Object(profile.into_iter().map(each).collect()))
}

fn runs() -> Result<Runs> {
    let mut all = Runs::new();
    for program in loaded_programs() {
        let program = program.context("list the kernel's programs")?;
        let name = program.name_as_str().unwrap_or_default().to_owned();
        // One that is gone meanwhile did not run for long.
        let Ok(descriptor) = program.fd() else {
            continue;
        };
        let path = format!("/proc/self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let number = |word: &str| number_in(&text, word).unwrap_or(0);
        let counts = (number("run_cnt:"), number("run_time_ns:"));
        all.insert((program.id(), name), counts);
    }
    Ok(all)
}
