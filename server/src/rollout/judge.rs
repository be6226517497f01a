//! How a sensor is that a roll-out has come to, as pure arithmetic: no store, no clock.

use holdfast_wire::uplink::Heartbeat;

use crate::fleet::{HEARTBEAT, LATE};
use crate::store::rollouts::Member;

/// A sensor that was heard and has not taken the bundle after so many heartbeats will not: it fetches it with the first and
/// tells at once.
const PATIENCE: i64 = 10;
const HEARTBEAT_MS: i64 = HEARTBEAT as i64 * 1000;
/// What a sensor says while its server was away: whether it is heard is judged here.
const UPLINK: &str = "uplink";

/// How a sensor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has the bundle in force, and nothing became worse.
    Taken,
    /// It has not said yet.
    Waiting,
    /// It was not there when the roll-out came to it, and is not yet.
    Away,
    /// Why it counts as failed.
    Failed(String),
}

/// How `member` is, of a roll-out of `version`. `started`: since when this server can have heard it.
pub(super) fn standing(member: &Member, version: i64, started: i64, now: i64) -> Standing {
    let read = |text: &Option<String>| -> Option<Heartbeat> {
        serde_json::from_str(text.as_deref()?).ok()
    };
    let silent = now - member.seen.max(member.joined).max(started);
    let is_silent = silent >= LATE as i64 * HEARTBEAT_MS;
    let is_heard = member.seen > member.joined;
    let now_says = if is_heard {
        read(&member.heartbeat)
    } else {
        None
    };
    let Some(says) = now_says else {
        return match (member.online, is_silent) {
            (true, true) => Standing::Failed("its heartbeats are missing".to_owned()),
            (true, false) => Standing::Waiting,
            (false, _) => Standing::Away,
        };
    };
    let said = read(&member.before);
    let has_it = says.policy.bundle == u64::try_from(version).ok();
    if let Some(error) = says.policy.error.as_ref().filter(|_| !has_it) {
        // What it says may be of an earlier bundle, until it has had time to fetch this one.
        let is_old = said
            .as_ref()
            .is_some_and(|said| said.policy.error.as_ref() == Some(error));
        if !is_old || member.seen - member.joined > 2 * HEARTBEAT_MS {
            return Standing::Failed(format!("it refused the bundle: {error}"));
        }
    }
    let was_degraded = |what: &str| {
        said.iter()
            .flat_map(|said| &said.degraded)
            .any(|before| before.what == what)
    };
    let worse = says
        .degraded
        .iter()
        .find(|now| now.what != UPLINK && !was_degraded(&now.what));
    if let Some(worse) = worse {
        let (what, reason) = (&worse.what, &worse.reason);
        return Standing::Failed(format!("it is degraded since: {what}: {reason}"));
    }
    if is_silent {
        return Standing::Failed("its heartbeats are missing".to_owned());
    }
    if has_it {
        return Standing::Taken;
    }
    if member.online && now - member.joined > PATIENCE * HEARTBEAT_MS {
        return Standing::Failed("it has not taken the bundle".to_owned());
    }
    Standing::Waiting
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECOND: i64 = 1000;
    /// When the roll-out came to the sensor.
    const JOINED: i64 = 1_000_000;

    fn heartbeat(bundle: i64, error: Option<&str>, degraded: &[&str]) -> Value {
        let degraded: Vec<_> = degraded
            .iter()
            .map(|what| json!({"what": what, "reason": "r", "since": "2026-11-22T19:00:00Z"}))
            .collect();
        json!({"version": "0.1.0", "tier": "lsm", "mode": "enforce", "degraded": degraded,
               "policy": {"revision": 1, "bundle": bundle, "error": error}})
    }

    fn member(before: Value, seen: i64, now: Value) -> Member {
        Member {
            row: 1,
            sensor_id: "s".into(),
            host_name: "h".into(),
            joined: JOINED,
            online: true,
            excused: false,
            seen: JOINED + seen * SECOND,
            before: Some(before.to_string()),
            heartbeat: Some(now.to_string()),
        }
    }

    fn of(member: &Member, after: i64) -> Standing {
        standing(member, 7, 0, JOINED + after * SECOND)
    }

    fn failed(standing: Standing) -> String {
        match standing {
            Standing::Failed(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_that_says_so_has_taken_it() {
        let before = heartbeat(3, None, &["sink.file"]);
        let fine = heartbeat(7, None, &["sink.file"]);
        assert_eq!(
            of(&member(before.clone(), 20, fine.clone()), 25),
            Standing::Taken
        );
        // What it said before it joined is not about this bundle.
        assert_eq!(of(&member(before.clone(), -5, fine), 25), Standing::Waiting);
        assert_eq!(
            of(&member(before.clone(), 20, before), 25),
            Standing::Waiting
        );
    }

    #[test]
    fn refusing_it_counts_and_refusing_another_does_not() {
        let fine = heartbeat(3, None, &[]);
        let refused = heartbeat(3, Some("name taken"), &[]);
        assert!(failed(of(&member(fine, 1, refused.clone()), 2)).contains("name taken"));
        let still = |seen| of(&member(refused.clone(), seen, refused.clone()), seen + 1);
        assert_eq!(still(20), Standing::Waiting);
        assert!(failed(still(70)).contains("refused"));
    }

    #[test]
    fn what_became_worse_counts_and_what_was_bad_does_not() {
        let before = heartbeat(3, None, &["sink.file"]);
        let worse = heartbeat(7, None, &["sink.file", "hook.file.open"]);
        assert!(failed(of(&member(before.clone(), 20, worse), 25)).contains("hook.file.open"));
        let away = heartbeat(7, None, &["sink.file", "uplink"]);
        assert_eq!(of(&member(before, 20, away), 25), Standing::Taken);
    }

    #[test]
    fn one_that_is_not_heard_counts_unless_it_was_away_or_the_server_was() {
        let fine = heartbeat(7, None, &[]);
        let mut member = member(fine.clone(), 20, fine);
        assert_eq!(of(&member, 109), Standing::Taken);
        assert!(failed(of(&member, 110)).contains("missing"));
        let restarted = standing(&member, 7, JOINED + 100 * SECOND, JOINED + 110 * SECOND);
        assert_eq!(restarted, Standing::Taken);
        member.seen = JOINED - SECOND;
        assert_eq!(of(&member, 89), Standing::Waiting);
        assert!(failed(of(&member, 90)).contains("missing"));
        member.online = false;
        assert_eq!(of(&member, 900), Standing::Away);
    }

    #[test]
    fn one_that_is_heard_and_does_not_take_it_counts_after_a_while() {
        let old = heartbeat(3, None, &[]);
        assert_eq!(
            of(&member(old.clone(), 290, old.clone()), 300),
            Standing::Waiting
        );
        assert!(failed(of(&member(old.clone(), 290, old), 301)).contains("not taken"));
    }
}
