//! The kernel declares what the programs are attached to as the programs' source says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use holdfast_wire::btf::{Btf, Prototype};

use super::Scenario;
use crate::bench::{Bench, Skip};
use crate::prototype::{self, Hook, shown};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: HOOKS,
    about: "each hooked function has the prototype that stands above its programs",
    // A variant has the same functions.
    at: |place| !place.is_guest() || place.is_as_shipped(),
    seconds: 60,
    run: hooks,
}];

/// The scenario whose note is a [`Found`] in JSON.
pub const HOOKS: &str = "hooks";

/// By function or tracepoint: [`FUNCTION`] and [`LSM`], as far as the kernel's BTF has them.
pub type Found = BTreeMap<String, String>;

/// The function or tracepoint itself is there.
pub const FUNCTION: char = 'F';
/// The LSM hook is there.
pub const LSM: char = 'L';

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

fn hooks(bench: &Bench) -> Result<()> {
    if !Path::new(KERNEL_BTF).exists() {
        return Err(Skip(format!("there is no {KERNEL_BTF}")).into());
    }
    let bytes = fs::read(KERNEL_BTF).with_context(|| format!("read {KERNEL_BTF}"))?;
    let btf = Btf::parse(bytes).with_context(|| format!("parse {KERNEL_BTF}"))?;
    let (mut found, mut wrong) = (Found::new(), Vec::new());
    for (name, hook) in prototype::hooks(&bench.setting.hooks)? {
        let there = compare(&hook, &btf).unwrap_or_else(|error| {
            wrong.push(error.to_string());
            String::new()
        });
        found.insert(name, there);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    bench.note(serde_json::to_string(&found).context("write what was found")?);
    Ok(())
}

/// What of a hook is there; an error where it is declared otherwise.
fn compare(hook: &Hook, btf: &Btf) -> Result<String> {
    let Hook { name, declared, .. } = hook;
    let mut there = String::new();
    let function = if hook.is_tracepoint {
        btf.tracepoint(name)
    } else {
        btf.function(name)
    };
    if let Some(kernels) = function {
        ensure_one_of(name, &kernels, declared.contains(&kernels), declared)?;
        there.push(FUNCTION);
    }
    let lsm = hook.lsm.as_ref().map(|lsm| format!("bpf_lsm_{lsm}"));
    if let Some(stub) = lsm
        && let Some(kernels) = btf.function(&stub)
    {
        // The hook may be told less than the function, never something else.
        let is_head = |it: &Prototype| it.parameters.starts_with(&kernels.parameters);
        let known = if hook.declared_lsm.is_empty() {
            declared.iter().any(is_head)
        } else {
            hook.declared_lsm.contains(&kernels)
        };
        ensure_one_of(&stub, &kernels, known, declared)?;
        there.push(LSM);
    }
    Ok(there)
}

fn ensure_one_of(name: &str, kernels: &Prototype, known: bool, ours: &[Prototype]) -> Result<()> {
    let ours: Vec<String> = ours.iter().map(|it| shown(name, it)).collect();
    ensure!(
        known,
        "the kernel has `{}`, the programs expect `{}`",
        shown(name, kernels),
        ours.join("` or `")
    );
    Ok(())
}
