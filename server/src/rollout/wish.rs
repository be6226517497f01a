//! What people do with a roll-out that has begun: halt it, have it go on, roll it back.

use super::{State, Unfit, health};
use crate::bundle::{self, Signer};
use crate::store::bundles;
use crate::store::rollouts::{self, Stored};
use crate::store::{self, Connection};

/// What somebody wants of a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Stop where it is.
    Halt,
    /// Go on; those who have failed so far are not counted.
    Resume,
    /// Give the sensors what they had.
    RollBack,
}

/// Does what somebody wants of the roll-out `id`; the version that its sensors have then. `started`: since when this server can
/// have heard them.
///
/// # Errors
/// What the database says; [`Unfit`] within, in which case nothing is changed.
pub(crate) fn wish(
    connection: &Connection,
    signer: &Signer,
    id: i64,
    wish: Wish,
    author: &str,
    started: i64,
    now: i64,
) -> store::Result<Result<i64, Unfit>> {
    let Some(mut rollout) = rollouts::one(connection, id)? else {
        return Ok(Err(Unfit::Unknown("roll-out")));
    };
    let state = rollout.state.clone();
    let conflict = || Ok(Err(Unfit::Conflict(format!("the roll-out is {state}"))));
    match wish {
        Wish::Halt if state == State::Running.name() => {
            rollout.state = State::Halted.name().to_owned();
            rollout.reason = format!("by {author}");
        }
        Wish::Resume if state == State::Halted.name() => {
            for (member, _) in health(connection, &rollout, started, now)?.failed {
                rollouts::excuse(connection, id, member.row)?;
            }
            rollout.state = State::Running.name().to_owned();
            rollout.reason = String::new();
        }
        Wish::RollBack if state != State::RolledBack.name() => {
            let has_ended = rollout.ended.is_some();
            if has_ended && bundles::assigned(connection, &rollout.tag)? != Some(rollout.version) {
                let reason = "another bundle was assigned since: assign the one that is wanted";
                return Ok(Err(Unfit::Conflict(reason.to_owned())));
            }
            if has_ended && rollouts::of_tag(connection, &rollout.tag)?.is_some() {
                let reason = "another roll-out to this target is going on";
                return Ok(Err(Unfit::Conflict(reason.to_owned())));
            }
            rollout.state = State::RolledBack.name().to_owned();
            rollout.reason = format!("by {author}");
            rollout.ended = Some(now);
            rollouts::update(connection, &rollout)?;
            return give_back(connection, signer, &rollout, author, now).map(Ok);
        }
        _ => return conflict(),
    }
    rollouts::update(connection, &rollout)?;
    Ok(Ok(rollout.version))
}

/// Gives the sensors of a roll-out, which has ended, what they had before, in a version above its own; that version.
fn give_back(
    connection: &Connection,
    signer: &Signer,
    rollout: &Stored,
    author: &str,
    now: i64,
) -> store::Result<i64> {
    let former = match rollout.former {
        Some(former) => bundle::reissue(connection, signer, former, author, now)?,
        None => None,
    };
    if let Some(former) = former {
        bundles::assign(connection, &rollout.tag, former, author, now)?;
        return Ok(former);
    }
    // Nothing was assigned to the tag: then its sensors had what is for all, …
    bundles::unassign(connection, &rollout.tag)?;
    if let Some(others) = bundles::assigned(connection, "")? {
        bundle::lift(connection, signer, rollout.version, author, now)?;
        return Ok(bundles::assigned(connection, "")?.unwrap_or(others));
    }
    // … or their own policies alone, or those of other tags, which come above.
    let empty = bundle::create_empty(connection, signer, author, now)?;
    bundles::assign(connection, &rollout.tag, empty, author, now)?;
    bundle::lift(connection, signer, empty, author, now)?;
    Ok(empty)
}
