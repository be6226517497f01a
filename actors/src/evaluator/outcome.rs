//! What was done about an operation, what is still to be done, and what the event says of it. Pure.

use std::borrow::Cow;

use holdfast_policy::matcher::Judgement;
use holdfast_policy::snapshot::Rule;
use holdfast_wire::Kind;
use holdfast_wire::control::Verdict;
use holdfast_wire::record::{Header, flags};

use crate::killer::Reply;

/// A rule and its index over all policies.
pub(crate) type Named<'s> = (u16, &'s Rule);

/// What to ask the killer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// That the process be stopped.
    Stopped,
    /// That the process be killed.
    Process,
    /// The process and all its descendants.
    Tree,
    /// The process and all of its container.
    Container,
}

/// The whole of it.
#[derive(Clone, Debug)]
pub(crate) struct Ruling<'s> {
    /// The rule that decided.
    pub(crate) rule: Option<Named<'s>>,
    /// What follows from it, the modes considered.
    pub(crate) verdict: Verdict,
    /// `holdfast.outcome`
    pub(crate) outcome: Option<&'static str>,
    /// The operation did not happen.
    pub(crate) refused: bool,
    /// Why the verdict was not carried out.
    pub(crate) reason: Option<Cow<'s, str>>,
    /// To be asked of the killer before this ruling stands.
    pub(crate) kill: Option<Scope>,
}

/// Rules on an event. `in_kernel`: the rule that the record names. `judged`: what user space says.
/// `killed`: the killer's answer, if it was asked already.
pub(crate) fn rule<'s>(
    kind: Kind,
    header: &Header,
    in_kernel: Option<Named<'s>>,
    judged: &Judgement<'s>,
    killed: Option<&'s Reply>,
) -> Ruling<'s> {
    let is = |flag: u32| header.flags & flag != 0;
    let acted = is(flags::REFUSED) || is(flags::SIGNALLED) || is(flags::SPARED);
    let kernel_verdict = Verdict::from_number(header.verdict).unwrap_or(Verdict::None);
    // What the kernel did is a fact; user space only goes further.
    let (rule, verdict) = if acted && kernel_verdict >= judged.verdict {
        (in_kernel.or(judged.rule), kernel_verdict)
    } else {
        (judged.rule, judged.verdict)
    };
    let refused = is(flags::REFUSED);
    let mut ruling = Ruling {
        rule,
        verdict,
        outcome: None,
        refused,
        reason: None,
        kill: None,
    };
    let spared = is(flags::SPARED);
    // One that exited cannot be killed, a refused operation needs no kill but where a rule asks for
    // it, and the kernel has asked the never-kill list already. What the kernel programs signalled is
    // signalled again: they cannot know that theirs arrived, and one too many does no harm.
    let due = match verdict {
        _ if kind == Kind::ProcessExit || spared => None,
        Verdict::Stop => Some(Scope::Stopped),
        Verdict::KillContainer => Some(Scope::Container),
        Verdict::KillTree => Some(Scope::Tree),
        Verdict::Kill => Some(Scope::Process),
        Verdict::Deny if !refused => Some(Scope::Process),
        _ => None,
    };
    if killed.is_none() {
        ruling.kill = due;
    }
    let signalled = is(flags::SIGNALLED) && kernel_verdict.prevents();
    ruling.outcome = if refused && !signalled {
        Some("blocked")
    } else if signalled {
        // Of what was refused as well, nothing took effect.
        Some(if kind.outlives_its_process() && !refused {
            "killed_after"
        } else {
            "killed"
        })
    } else if verdict == Verdict::Stop && is(flags::SIGNALLED) {
        Some("stopped")
    } else if verdict.acts() {
        ruling.reason = match killed {
            Some(Reply { refused: None, .. }) => None,
            Some(Reply {
                refused: Some(reason),
                ..
            }) => Some(reason.as_str().into()),
            None if spared => Some("it is on the never-kill list".into()),
            None => Some("it has exited already".into()),
        };
        Some(if ruling.reason.is_some() {
            "allowed"
        } else if verdict == Verdict::Stop {
            "stopped"
        } else {
            "killed_after"
        })
    } else if judged.would() {
        Some("would_block")
    } else {
        rule.is_some().then_some("allowed")
    };
    ruling
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::testing;
    use holdfast_policy::compile::{Options, compile};
    use holdfast_policy::document::{Mode, Policy};
    use holdfast_policy::field::Kinds;

    /// A rule with this action, in a policy that observes where the verdict is a weaker one.
    fn named(action: Verdict, verdict: Verdict) -> Rule {
        let mode = if action == verdict {
            "enforce"
        } else {
            "observe"
        };
        let text = format!(
            r#"{{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","mode":"{mode}","rules":[
                {{"id":"r","on":["file.open"],"when":"true","action":"{}"}}]}}"#,
            action.name()
        );
        let policy = Policy::parse("p.json", text.as_bytes()).unwrap();
        let options = Options {
            epoch: 1,
            mode: Mode::Enforce,
            reported: Kinds::NONE,
        };
        let rule = compile(&[policy], &options).unwrap().rules()[0].clone();
        assert_eq!(rule.verdict, verdict);
        rule
    }

    fn outcome(
        kind: Kind,
        in_kernel: (Verdict, u32),
        user: (Verdict, Verdict),
        killed: Option<Reply>,
    ) -> (Option<&'static str>, Option<Scope>) {
        let mut header = testing::header(kind, 1);
        header.verdict = in_kernel.0 as u8;
        header.flags = in_kernel.1;
        let rule = named(user.0.max(Verdict::Allow), user.1.max(Verdict::Allow));
        let judged = Judgement {
            verdict: user.1,
            rule: (user.0 != Verdict::None).then_some((0, &rule)),
        };
        let ruling = super::rule(kind, &header, Some((0, &rule)), &judged, killed.as_ref());
        (ruling.outcome, ruling.kill)
    }

    const NOTHING: (Verdict, u32) = (Verdict::None, 0);

    #[test]
    fn what_the_kernel_did_is_said() {
        use Verdict::{Deny, Kill, KillContainer, KillTree, Stop};
        let both = (Deny, Deny);
        let of = |kind, kernel, user| outcome(kind, kernel, user, None);
        let open = Kind::FileOpen;
        let again = Some(Scope::Process);
        assert_eq!(
            of(open, (Deny, flags::REFUSED), both),
            (Some("blocked"), None)
        );
        assert_eq!(
            of(open, (Deny, flags::SIGNALLED), both),
            (Some("killed"), again)
        );
        let delete = of(Kind::FileDelete, (Deny, flags::SIGNALLED), both);
        assert_eq!(delete, (Some("killed_after"), again));
        assert_eq!(
            of(open, (Kill, flags::SPARED), (Kill, Kill)),
            (Some("allowed"), None)
        );
        let refused_only = of(open, (Kill, flags::REFUSED), (Kill, Kill));
        assert_eq!(refused_only, (Some("blocked"), Some(Scope::Process)));
        let tree = of(open, (KillTree, flags::SIGNALLED), (KillTree, KillTree));
        assert_eq!(tree, (Some("killed"), Some(Scope::Tree)));
        let container = (KillContainer, KillContainer);
        let container = of(open, (KillContainer, flags::SIGNALLED), container);
        assert_eq!(container, (Some("killed"), Some(Scope::Container)));
        let stopped = of(open, (Stop, flags::SIGNALLED), (Stop, Stop));
        assert_eq!(stopped, (Some("stopped"), Some(Scope::Stopped)));
        // It was stopped only, and is to be killed.
        let further = of(open, (Stop, flags::SIGNALLED), (Kill, Kill));
        assert_eq!(further, (Some("allowed"), Some(Scope::Process)));
        // Another policy, which only user space could judge, goes further.
        let further = of(open, (Deny, flags::REFUSED), (Kill, Kill));
        assert_eq!(further, (Some("blocked"), Some(Scope::Process)));
    }

    #[test]
    fn what_user_space_decides_is_killed() {
        use Verdict::{Alert, Deny};
        let open = Kind::FileOpen;
        assert_eq!(
            outcome(open, NOTHING, (Deny, Deny), None).1,
            Some(Scope::Process)
        );
        let reply = |refused: Option<&str>| Reply {
            refused: refused.map(str::to_owned),
            others: 0,
        };
        let killed = outcome(open, NOTHING, (Deny, Deny), Some(reply(None)));
        assert_eq!(killed, (Some("killed_after"), None));
        let stop = (Verdict::Stop, Verdict::Stop);
        assert_eq!(outcome(open, NOTHING, stop, None).1, Some(Scope::Stopped));
        let stopped = outcome(open, NOTHING, stop, Some(reply(None)));
        assert_eq!(stopped, (Some("stopped"), None));
        let gone = outcome(open, NOTHING, (Deny, Deny), Some(reply(Some("gone"))));
        assert_eq!(gone, (Some("allowed"), None));
        let exit = outcome(Kind::ProcessExit, NOTHING, (Deny, Deny), None);
        assert_eq!(exit, (Some("allowed"), None));
        assert_eq!(
            outcome(open, NOTHING, (Deny, Alert), None),
            (Some("would_block"), None)
        );
        assert_eq!(
            outcome(open, NOTHING, (Alert, Alert), None),
            (Some("allowed"), None)
        );
        assert_eq!(
            outcome(open, NOTHING, (Verdict::None, Verdict::None), None),
            (None, None)
        );
    }
}
