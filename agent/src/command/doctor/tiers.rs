//! What the hooks' attempts say of each tier, and what would change it.

use std::collections::BTreeSet;

use holdfast_wire::control::Tier;
use serde_json::Value;

/// How a tier stands on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Some hook is attached in it.
    Used,
    /// No hook came to need it, or each had a reason of its own.
    NotNeeded,
    /// It failed for every hook that tried it, for this one reason.
    Refused(String),
}

/// How `tier` stands, by the hooks of a report.
pub(super) fn standing(hooks: &[Value], tier: Tier) -> Standing {
    if hooks.iter().any(|hook| hook["tier"] == tier.name()) {
        return Standing::Used;
    }
    let errors: BTreeSet<&str> = hooks
        .iter()
        .filter_map(|hook| error(hook, tier.name()))
        .collect();
    match errors.first() {
        Some(only) if errors.len() == 1 => Standing::Refused((*only).to_owned()),
        _ => Standing::NotNeeded,
    }
}

/// Why a hook is in no better tier, where that is not so for all hooks.
pub(super) fn own_reason<'r>(
    hook: &'r Value,
    refused: &[(Tier, String)],
) -> Option<(&'r str, &'r str)> {
    let attempts = hook["tried"].as_array()?;
    let last = attempts.last()?;
    let (tier, error) = (last["tier"].as_str()?, last["error"].as_str()?);
    let known = refused
        .iter()
        .any(|(of, reason)| of.name() == tier && reason == error);
    (!known).then_some((tier, error))
}

fn error<'r>(hook: &'r Value, tier: &str) -> Option<&'r str> {
    let attempts = hook["tried"].as_array()?;
    let attempt = attempts.iter().rfind(|attempt| attempt["tier"] == tier)?;
    attempt["error"].as_str()
}

/// What brings a tier to a machine that lacks it.
pub(super) const fn remedy(tier: Tier) -> &'static str {
    match tier {
        Tier::Lsm => {
            "boot with bpf in lsm=, on a kernel from 5.7 with CONFIG_BPF_LSM and CONFIG_DEBUG_INFO_BTF"
        }
        Tier::FmodRet | Tier::Fentry => {
            "a kernel with BPF trampolines (from 5.5; arm64: from 6.4) and CONFIG_DEBUG_INFO_BTF"
        }
        Tier::Kprobe => "a kernel with CONFIG_KPROBE_EVENTS",
        Tier::Tracepoint => "a kernel with CONFIG_FTRACE_SYSCALLS, and tracefs mounted",
        Tier::Fanotify => {
            "a kernel from 5.0 with CONFIG_FANOTIFY_ACCESS_PERMISSIONS and CONFIG_PROC_EVENTS, in the \
             initial pid, user and network namespaces"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hooks() -> Vec<Value> {
        let refused = json!({"tier": "lsm", "error": "no"});
        vec![
            json!({"action": "a", "tier": "kprobe",
                   "tried": [refused, {"tier": "fentry", "error": "inlined"}]}),
            json!({"action": "b", "tier": "fentry", "tried": [refused]}),
            json!({"action": "c", "tier": "fentry", "tried": []}),
        ]
    }

    #[test]
    fn a_reason_that_all_hooks_share_is_the_tiers() {
        let hooks = hooks();
        assert_eq!(
            standing(&hooks, Tier::Lsm),
            Standing::Refused("no".to_owned())
        );
        assert_eq!(standing(&hooks, Tier::Fentry), Standing::Used);
        assert_eq!(standing(&hooks, Tier::Tracepoint), Standing::NotNeeded);
    }

    #[test]
    fn a_hooks_own_reason_is_shown_with_it() {
        let (hooks, refused) = (hooks(), [(Tier::Lsm, "no".to_owned())]);
        assert_eq!(own_reason(&hooks[0], &refused), Some(("fentry", "inlined")));
        assert_eq!(own_reason(&hooks[1], &refused), None);
        assert_eq!(own_reason(&hooks[2], &refused), None);
    }
}
