//! Roll-outs: a bundle comes to the sensors of a tag in stages, and stops by itself where they report errors.
//!
//! Which sensors are first is decided by their ids alone: sensors stand in the order of the SHA-256 of their id, and a
//! stage takes from the front of it those that are online. So the same hosts are first each time, and whoever knows an id
//! knows whether it is one of them. A sensor that a stage has come to stays one of it, whatever the fleet becomes.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::bundle::{self, Signer};
use crate::clock::now;
use crate::fleet::{self, State as Seen};
use crate::secret;
use crate::store::rollouts::{self, Member, Stored};
use crate::store::{self, Connection, DatabaseError, accounts, bundles};

mod judge;
mod wish;

use judge::Standing;
pub(crate) use wish::{Wish, wish};

/// Stages of a roll-out: nobody plans more.
const MAX_STAGES: usize = 10;
/// The longest waiting time of a stage, in seconds: a month.
const MAX_WAIT: i64 = 30 * 24 * 3600;
/// Between two looks at the roll-outs that are going on.
const LOOK: Duration = Duration::from_secs(2);
/// Who the audit log names for what a roll-out does by itself.
const ACTOR: &str = "roll-out";
/// Failed sensors that a reason names.
const NAMED: usize = 3;

/// How many sensors a stage comes to, those of the stages before it included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Size {
    /// Of the sensors of the target, rounded up.
    Percent(f64),
    /// So many.
    Sensors(u64),
}

/// A stage of a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct Stage {
    pub(crate) size: Size,
    /// How long it takes at least, in seconds.
    pub(crate) wait: i64,
}

/// A stage as it is written: it has one of the sizes.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sensors: Option<u64>,
    wait_seconds: i64,
}

impl TryFrom<Written> for Stage {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let size = match (written.percent, written.sensors) {
            (Some(percent), None) => Size::Percent(percent),
            (None, Some(sensors)) => Size::Sensors(sensors),
            _ => return Err("a stage has either `percent` or `sensors`"),
        };
        Ok(Self {
            size,
            wait: written.wait_seconds,
        })
    }
}

impl From<Stage> for Written {
    fn from(stage: Stage) -> Self {
        let (percent, sensors) = match stage.size {
            Size::Percent(percent) => (Some(percent), None),
            Size::Sensors(sensors) => (None, Some(sensors)),
        };
        Self {
            percent,
            sensors,
            wait_seconds: stage.wait,
        }
    }
}

/// Where a roll-out stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It goes on by itself.
    Running,
    /// It waits for somebody: the sensors that it has come to keep the bundle.
    Halted,
    /// The bundle is assigned to all sensors of the target.
    Finished,
    /// They have what they had before.
    RolledBack,
}

impl State {
    /// As it is stored and shown.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Halted => "halted",
            Self::Finished => "finished",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// What somebody wants to roll out.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Empty: all sensors.
    pub(crate) tag: String,
    pub(crate) version: i64,
    pub(crate) stages: Vec<Stage>,
    /// It halts when more of the sensors that it has come to have failed.
    pub(crate) limit_percent: i64,
}

/// Why a roll-out is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Its stages make no sense.
    #[error("{0}")]
    Stages(String),
    /// There is none of this number, or no such bundle.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// It does not go together with what there is.
    #[error("{0}")]
    Conflict(String),
}

/// Whether stages may be those of a roll-out.
///
/// # Errors
/// [`Unfit::Stages`].
pub(crate) fn check(stages: &[Stage], limit_percent: i64) -> Result<(), Unfit> {
    let wrong = |reason: String| Err(Unfit::Stages(reason));
    if stages.is_empty() || stages.len() > MAX_STAGES {
        return wrong(format!("a roll-out has 1 to {MAX_STAGES} stages"));
    }
    if !(0..=100).contains(&limit_percent) {
        return wrong("limit_percent is 0 to 100".to_owned());
    }
    let mut before: [f64; 2] = [0.0; 2];
    for stage in stages {
        if !(0..=MAX_WAIT).contains(&stage.wait) {
            return wrong(format!("wait_seconds are 0 to {MAX_WAIT}"));
        }
        let (last, size) = match stage.size {
            Size::Percent(percent) if percent > 0.0 && percent <= 100.0 => {
                (&mut before[0], percent)
            }
            Size::Percent(_) => return wrong("percent is above 0 and at most 100".to_owned()),
            Size::Sensors(count) => (&mut before[1], count as f64),
        };
        if size <= *last {
            return wrong("each stage comes to more sensors than the one before".to_owned());
        }
        *last = size;
    }
    match stages.last().map(|stage| stage.size) {
        Some(Size::Percent(100.0)) => Ok(()),
        _ => wrong("the last stage is 100 percent".to_owned()),
    }
}

/// Begins a roll-out, with its first stage; its number and the version that sensors get.
///
/// # Errors
/// What the database says; [`Unfit`] within, in which case nothing is changed.
pub(crate) fn start(
    connection: &Connection,
    signer: &Signer,
    plan: &Plan,
    author: &str,
    now: i64,
) -> store::Result<Result<(i64, i64), Unfit>> {
    if let Err(unfit) = check(&plan.stages, plan.limit_percent) {
        return Ok(Err(unfit));
    }
    let conflict = |reason: &str| Ok(Err(Unfit::Conflict(reason.to_owned())));
    if let Some(id) = rollouts::of_tag(connection, &plan.tag)? {
        return conflict(&format!("roll-out {id} to this target has not ended"));
    }
    let former = bundles::assigned(connection, &plan.tag)?;
    if former == Some(plan.version) {
        return conflict("this bundle is assigned to this target already");
    }
    let stages = serde_json::to_string(&plan.stages)
        .map_err(|error| DatabaseError::Value(error.to_string()))?;
    let mut rollout = Stored {
        id: 0,
        tag: plan.tag.clone(),
        version: plan.version,
        former,
        stages,
        limit_percent: plan.limit_percent,
        state: State::Running.name().to_owned(),
        stage: 0,
        stage_since: now,
        reason: String::new(),
        author: author.to_owned(),
        created: now,
        ended: None,
    };
    if rollouts::candidates(connection, &rollout)?.is_empty() {
        return conflict("no sensor goes by what is assigned to this target");
    }
    let Some(version) = bundle::newest(connection, signer, plan.version, author, now)? else {
        return Ok(Err(Unfit::Unknown("bundle")));
    };
    rollout.version = version;
    rollout.id = rollouts::add(connection, &rollout)?;
    come(connection, &rollout, now)?;
    Ok(Ok((rollout.id, version)))
}

/// The stages of a roll-out, which were checked before they were stored.
pub(crate) fn stages(rollout: &Stored) -> Vec<Stage> {
    serde_json::from_str(&rollout.stages).unwrap_or_default()
}

/// Has the stage that a roll-out is in come to its sensors.
fn come(connection: &Connection, rollout: &Stored, now: i64) -> store::Result<()> {
    let all = stages(rollout);
    let is_last = rollout.stage + 1 >= all.len() as i64;
    let mut candidates = rollouts::candidates(connection, rollout)?;
    candidates.sort_by_key(|candidate| secret::hash(&candidate.sensor_id));
    let wanted = match all.get(rollout.stage as usize).map(|stage| stage.size) {
        _ if is_last => candidates.len(),
        Some(Size::Percent(percent)) => (candidates.len() as f64 * percent / 100.0).ceil() as usize,
        Some(Size::Sensors(count)) => usize::try_from(count).unwrap_or(usize::MAX),
        None => 0,
    };
    let mut there = candidates.iter().filter(|it| it.joined).count();
    for candidate in candidates.iter().filter(|it| !it.joined) {
        if there >= wanted {
            break;
        }
        let online = fleet::state(candidate.seen, now) == Seen::Online;
        // Of one that is not there nothing would be learned.
        if !online && !is_last {
            continue;
        }
        rollouts::join(connection, rollout.id, candidate.row, online, now)?;
        if bundles::of_sensor(connection, candidate.row)? == Some(rollout.version) {
            there += 1;
        } else {
            // Another of its tags has something newer for it.
            rollouts::leave(connection, rollout.id, candidate.row)?;
        }
    }
    Ok(())
}

/// How the sensors are that a roll-out has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    pub(crate) members: usize,
    pub(crate) taken: usize,
    pub(crate) waiting: usize,
    pub(crate) away: usize,
    /// Those whose failing was looked at.
    pub(crate) excused: usize,
    /// The others, with the reason.
    pub(crate) failed: Vec<(Member, String)>,
}

impl Health {
    /// Whether more have failed than may, of those of whom something is known.
    fn is_above(&self, limit_percent: i64) -> bool {
        let known = self.members - self.away - self.excused;
        self.failed.len() as i64 * 100 > limit_percent * known as i64
    }

    fn reason(&self) -> String {
        let named = self.failed.iter().take(NAMED);
        let named: Vec<_> = named
            .map(|(member, why)| format!("{}: {why}", member.host_name))
            .collect();
        let known = self.members - self.away - self.excused;
        let more = match self.failed.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; {more} more"),
        };
        format!(
            "{} of {known} sensors failed: {}{more}",
            self.failed.len(),
            named.join("; ")
        )
    }
}

/// How its sensors are. `started`: since when sensors can have been heard, milliseconds since 1970.
pub(crate) fn health(
    connection: &Connection,
    rollout: &Stored,
    started: i64,
    now: i64,
) -> store::Result<Health> {
    let mut health = Health::default();
    for member in rollouts::members(connection, rollout)? {
        let standing = judge::standing(&member, rollout.version, started, now);
        // Another of its tags may have something newer for it by now: then it is not of this roll-out.
        if standing != Standing::Taken
            && bundles::of_sensor(connection, member.row)? != Some(rollout.version)
        {
            continue;
        }
        health.members += 1;
        match standing {
            Standing::Taken => health.taken += 1,
            Standing::Waiting => health.waiting += 1,
            Standing::Away => health.away += 1,
            Standing::Failed(_) if member.excused => health.excused += 1,
            Standing::Failed(why) => health.failed.push((member, why)),
        }
    }
    Ok(health)
}

/// What a roll-out does next.
enum Next {
    Nothing,
    /// The stage has no sensor yet.
    Come,
    Halt(String),
    Advance,
    Finish,
}

fn next(rollout: &Stored, health: &Health, now: i64) -> Next {
    if rollout.state != State::Running.name() {
        return Next::Nothing;
    }
    if health.is_above(rollout.limit_percent) {
        return Next::Halt(health.reason());
    }
    let all = stages(rollout);
    let Some(stage) = all.get(rollout.stage as usize) else {
        return Next::Nothing;
    };
    if health.members == 0 {
        return Next::Come;
    }
    if now < rollout.stage_since + stage.wait * 1000 || health.waiting > 0 {
        return Next::Nothing;
    }
    if rollout.stage + 1 < all.len() as i64 {
        Next::Advance
    } else {
        Next::Finish
    }
}

/// Looks at all roll-outs that are going on, and does what is due; whether anything was.
///
/// # Errors
/// What the database says.
pub(crate) fn step(connection: &Connection, started: i64, now: i64) -> store::Result<bool> {
    let mut done = false;
    for mut rollout in rollouts::going_on(connection)? {
        let health = health(connection, &rollout, started, now)?;
        let (action, detail) = match next(&rollout, &health, now) {
            Next::Nothing => continue,
            Next::Come => {
                come(connection, &rollout, now)?;
                continue;
            }
            Next::Halt(reason) => {
                rollout.state = State::Halted.name().to_owned();
                rollout.reason = reason;
                ("rollout.halt", rollout.reason.clone())
            }
            Next::Advance => {
                rollout.stage += 1;
                rollout.stage_since = now;
                come(connection, &rollout, now)?;
                ("rollout.stage", format!("stage {}", rollout.stage + 1))
            }
            Next::Finish => {
                bundles::assign(
                    connection,
                    &rollout.tag,
                    rollout.version,
                    &rollout.author,
                    now,
                )?;
                rollout.state = State::Finished.name().to_owned();
                rollout.ended = Some(now);
                ("rollout.finish", format!("version {}", rollout.version))
            }
        };
        done = true;
        rollouts::update(connection, &rollout)?;
        let detail = format!("{}: {detail}", rollout.id);
        accounts::audit(connection, ACTOR, "", action, &detail, now)?;
    }
    Ok(done)
}

/// Whether something would be due, so that nothing is written where nothing is.
fn is_due(connection: &Connection, started: i64, now: i64) -> store::Result<bool> {
    for rollout in rollouts::going_on(connection)? {
        let health = health(connection, &rollout, started, now)?;
        if !matches!(next(&rollout, &health, now), Next::Nothing) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Goes on with roll-outs until the server ends.
pub(crate) async fn watch(app: Arc<App>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let started = app.store.since();
        let due = app
            .store
            .read(move |connection| is_due(connection, started, now()));
        let stepped = match due.await {
            Ok(false) => continue,
            Ok(true) => {
                let step = move |connection: &Connection| step(connection, started, now());
                app.store.write(step).await.map(drop)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = stepped {
            tracing::warn!("roll-outs could not be looked at: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
