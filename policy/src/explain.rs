//! Says of every rule, hook by hook, who decides on it and what `deny` therefore means.

use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use serde::Serialize;

use crate::plan::{self, Plan, Reach};
use crate::snapshot::Snapshot;
use crate::table::Dimension;

mod event;

pub use event::{ExplainedEvent, Part, TriedRule};

/// What the compiler made of a set of policies. Its JSON is that of `policy explain --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation<'s> {
    /// Every rule, in order.
    pub rules: Vec<ExplainedRule<'s>>,
}

/// A rule and its hooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedRule<'s> {
    /// Its id.
    pub id: &'s str,
    /// Name of its policy.
    pub policy: &'s str,
    /// What it asks for.
    pub action: &'static str,
    /// What follows in the mode in force.
    pub verdict: &'static str,
    /// The kinds of events on which it can match.
    pub hooks: Vec<ExplainedHook<'s>>,
}

/// A rule at one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedHook<'s> {
    /// The kind of event.
    pub action: &'static str,
    /// Who decides.
    pub decided: Decided,
    /// Rules before it in its policy that only user space can evaluate: where the kernel can't rule
    /// them out, it can't decide on this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<&'s str>,
    /// The kernel would do more of it if there were room: for its terms
    /// ([`crate::table::TERMS`] at a hook), or for what it is looked up by.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lacks_room: bool,
    /// What becomes of the operation if this rule denies it, by tier.
    pub deny_means: DenyMeans,
}

/// Who decides on a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decided {
    /// The kernel, wherever it knows the values that the rule asks for.
    Kernel,
    /// The kernel rules events out, and user space decides on the rest.
    KernelFilter,
    /// User space, on every event of the kind.
    User,
}

/// What becomes of a denied operation, by tier: `blocked`, `killed` or `killed_after`; `unseen` where
/// the tier has no source for operations of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DenyMeans {
    /// BPF LSM hook.
    pub lsm: &'static str,
    /// Modify-return.
    pub fmod_ret: &'static str,
    /// fentry.
    pub fentry: &'static str,
    /// kprobe.
    pub kprobe: &'static str,
    /// Tracepoint.
    pub tracepoint: &'static str,
    /// fanotify
    pub fanotify: &'static str,
}

impl DenyMeans {
    /// `decided`: who decides with kernel programs, and who without any.
    const fn new(kind: Kind, decided: Decided, without: Decided) -> Self {
        Self {
            lsm: deny_means(Tier::Lsm, kind, decided),
            fmod_ret: deny_means(Tier::FmodRet, kind, decided),
            fentry: deny_means(Tier::Fentry, kind, decided),
            kprobe: deny_means(Tier::Kprobe, kind, decided),
            tracepoint: deny_means(Tier::Tracepoint, kind, decided),
            fanotify: deny_means(Tier::Fanotify, kind, without),
        }
    }
}

const fn deny_means(tier: Tier, kind: Kind, decided: Decided) -> &'static str {
    match decided {
        _ if !tier.sees(kind) => "unseen",
        // What is not refused there is noticed once it has happened.
        _ if matches!(tier, Tier::Fanotify) && !tier.refuses(kind) => "killed_after",
        Decided::Kernel if tier.refuses(kind) && kind.can_be_refused() => "blocked",
        Decided::Kernel if kind.can_be_refused() && !kind.outlives_its_process() => "killed",
        // Either the operation is over when its hook runs, or user space decides, later still.
        _ => "killed_after",
    }
}

impl Snapshot {
    /// Explains every rule.
    #[must_use]
    pub fn explain(&self) -> Explanation<'_> {
        let rules = self
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| ExplainedRule {
                id: &rule.id,
                policy: &rule.ruleset,
                action: rule.action.name(),
                verdict: rule.verdict.name(),
                hooks: self
                    .plans
                    .iter()
                    .filter_map(|plan| self.explain_hook(plan, index))
                    .collect(),
            });
        Explanation {
            rules: rules.collect(),
        }
    }

    fn explain_hook(&self, plan: &Plan, rule: usize) -> Option<ExplainedHook<'_>> {
        let position = plan
            .rules
            .iter()
            .position(|planned| usize::from(planned.rule) == rule)?;
        let this = plan.rules[position];
        let before = plan.rules[..position].iter();
        let undecided = before.filter(|o| o.policy == this.policy && o.reach != Reach::Decides);
        let waits_for: Vec<_> = undecided
            .filter_map(|other| self.rule(other.rule))
            .map(|r| r.id.as_str())
            .collect();
        let decided = match this.reach {
            Reach::Decides if waits_for.is_empty() => Decided::Kernel,
            Reach::Decides | Reach::Filters => Decided::KernelFilter,
            Reach::Nothing => Decided::User,
        };
        // Only kernel programs keep up who descends from whom, and are told of containers.
        let kept_up = [
            Dimension::Parent,
            Dimension::Ancestors,
            Dimension::Container,
        ];
        let kept_up = kept_up.iter().fold(0, |all, it| all | 1 << *it as u32);
        let without = match decided {
            Decided::Kernel if this.dimensions & kept_up != 0 => Decided::KernelFilter,
            decided => decided,
        };
        let deny_means = DenyMeans::new(plan.kind, decided, without);
        Some(ExplainedHook {
            action: plan.kind.action(),
            decided,
            waits_for,
            lacks_room: self
                .rule(this.rule)
                .is_some_and(|rule| plan::lacks_room(plan.kind, rule, this.reach)),
            deny_means,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::compile::{Options, compile};
    use crate::document::{Mode, Policy};
    use crate::field::Kinds;

    const POLICY: &str = r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","mode":"enforce",
        "lists":{"auth":["/usr/sbin/sshd"]},
        "rules":[
          {"id":"path","on":["file.open"],"action":"deny",
           "when":"file.path == '/a' && !(process.executable in lists.auth)"},
          {"id":"ancestor","on":["file.open"],"action":"deny",
           "when":"process.ancestors.exists(a, a.executable == '/x') && file.path.endsWith('.y')"},
          {"id":"user","on":["file.open"],"when":"process.user.name == 'root'","action":"allow"},
          {"id":"mixed","on":["file.delete"],"action":"deny",
           "when":"file.path.startsWith('/a') && process.name == 'x'"},
          {"id":"behind","on":["file.open","file.delete"],"action":"deny",
           "when":"file.path == '/b'"},
          {"id":"image","on":["file.chmod","file.open"],"action":"deny",
           "when":"container.image.name == 'web' && file.path == '/c'"}]}"#;

    #[test]
    fn every_rule_says_who_decides() {
        let policy = Policy::parse("p.json", POLICY.as_bytes()).unwrap();
        let options = Options {
            epoch: 1,
            mode: Mode::Enforce,
            reported: Kinds::NONE,
        };
        let snapshot = compile(&[policy], &options).unwrap();
        let json = serde_json::to_value(snapshot.explain()).unwrap();
        let hook = |rule: usize, hook: usize| &json["rules"][rule]["hooks"][hook];
        assert_eq!(hook(0, 0)["decided"], "kernel");
        assert_eq!(hook(0, 0)["deny_means"]["lsm"], "blocked");
        assert_eq!(hook(0, 0)["deny_means"]["kprobe"], "killed");
        assert_eq!(hook(0, 0)["deny_means"]["fanotify"], "blocked");
        assert_eq!(hook(1, 0)["decided"], "kernel");
        assert_eq!(hook(1, 0)["deny_means"]["fmod_ret"], "blocked");
        assert_eq!(hook(1, 0)["deny_means"]["fanotify"], "killed_after");
        assert_eq!(hook(2, 0)["deny_means"]["fanotify"], "killed_after");
        assert_eq!(hook(3, 0)["deny_means"]["fanotify"], "unseen");
        assert_eq!(hook(2, 0)["decided"], "user");
        assert_eq!(hook(3, 0)["decided"], "kernel-filter");
        assert_eq!(hook(3, 0)["deny_means"]["lsm"], "killed_after");
        assert_eq!(hook(4, 0)["action"], "file.open");
        assert_eq!(hook(4, 0)["waits_for"], serde_json::json!(["user"]));
        assert_eq!(hook(5, 0)["decided"], "kernel-filter");
        assert_eq!(hook(5, 0)["waits_for"], serde_json::json!(["user"]));
        assert_eq!(hook(5, 1)["decided"], "kernel");
        assert_eq!(hook(5, 1)["deny_means"]["lsm"], "blocked");
        assert_eq!(hook(4, 1)["waits_for"], serde_json::json!(["mixed"]));
    }
}
