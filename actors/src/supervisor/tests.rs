use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::mpsc;

use super::fault::{Fault, PANIC};
use super::worker::Pulse;
use super::*;

/// Passes on how its children end.
struct Above;

impl Actor for Above {
    type Msg = ();
    type State = mpsc::UnboundedSender<(ActorId, Option<String>)>;
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        ends: Self::State,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(ends)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        ends: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let end = match event {
            SupervisionEvent::ActorTerminated(cell, _, reason) => (cell.get_id(), reason),
            SupervisionEvent::ActorFailed(cell, error) => (cell.get_id(), Some(error.to_string())),
            _ => return Ok(()),
        };
        ends.send(end)?;
        Ok(())
    }
}

/// Starts only when it may; stops when it is told to.
struct Below(Arc<AtomicBool>);

impl Actor for Below {
    type Msg = Pulse;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Pulse>, (): ()) -> Result<(), ActorProcessingErr> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("it may not start".into())
        }
    }

    async fn handle(
        &self,
        myself: ActorRef<Pulse>,
        message: Pulse,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Pulse::Order(Order::Drain) => myself.stop(None),
            Pulse::Order(Order::Fail(fault)) => fault.strike().await?,
            Pulse::Work => {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_child_is_restarted_parked_tried_again_and_stopped() {
    let may_start = Arc::new(AtomicBool::new(true));
    let spec = |name: &str, stage| {
        let may_start = may_start.clone();
        Spec::new(name, stage, move || (Below(may_start.clone()), ()), |_| {})
    };
    let specs = vec![spec("one", Stage::Readers), spec("two", Stage::Sinks)];
    let mut supervisor = Supervisor::new(
        specs,
        Policy {
            intensity: 2,
            ..Policy::DEFAULT
        },
    );
    let (sender, mut ends) = mpsc::unbounded_channel();
    let (above, _) = Actor::spawn(None, Above, sender).await.unwrap();
    for index in supervisor.indices() {
        assert_eq!(
            supervisor.start(index, above.get_cell()).await,
            Outcome::Runs
        );
    }
    assert!(supervisor.fail("one", Fault::Panic) && !supervisor.fail("three", Fault::Panic));
    let (id, error) = ends.recv().await.unwrap();
    let (index, outcome) = supervisor.ended(id, error).unwrap();
    assert_eq!((index, supervisor.last_error(0)), (0, PANIC));
    assert!(matches!(outcome, Outcome::Again(delay) if delay <= Duration::from_millis(50)));
    assert!(supervisor.ended(id, None).is_none(), "each end counts once");
    assert!(!supervisor.fail("one", Fault::Panic), "it does not run");
    may_start.store(false, Ordering::Relaxed);
    assert!(matches!(
        supervisor.start(0, above.get_cell()).await,
        Outcome::Again(_)
    ));
    assert!(matches!(
        supervisor.start(0, above.get_cell()).await,
        Outcome::Parked(_)
    ));
    let status = supervisor.status();
    assert_eq!(
        (status[0].state, status[1].state),
        (ActorState::Parked, ActorState::Running)
    );
    may_start.store(true, Ordering::Relaxed);
    assert_eq!(supervisor.start(0, above.get_cell()).await, Outcome::Runs);
    assert_eq!(supervisor.status()[0].restarts, 1);

    // Stopped stage by stage; one that hangs is ended.
    assert_eq!(supervisor.stop_next(), Some(Stage::Readers));
    let (id, error) = ends.recv().await.unwrap();
    assert_eq!(supervisor.ended(id, error), Some((0, Outcome::Stopped)));
    assert_eq!(supervisor.stop_next(), Some(Stage::Sinks));
    assert_eq!(supervisor.kill_stage(Stage::Sinks), ["two"]);
    assert_eq!(supervisor.stop_next(), None);
    assert_eq!(
        supervisor.start(0, above.get_cell()).await,
        Outcome::Stopped
    );
    above.stop_and_wait(None, None).await.unwrap();
}

/// Keeps a thread busy in its only step, which nothing can end.
struct Busy;

impl Actor for Busy {
    type Msg = Pulse;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Pulse>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(myself.cast(Pulse::Work)?)
    }

    async fn handle(
        &self,
        _: ActorRef<Pulse>,
        _: Pulse,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        std::thread::sleep(PATIENCE * 10);
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_that_does_not_get_on_is_ended_and_others_are_not() {
    let waiting = |name| {
        let may_start = Arc::new(AtomicBool::new(true));
        let make = move || (Below(may_start.clone()), ());
        Spec::new(name, Stage::Sinks, make, |_| {}).with_patience(PATIENCE)
    };
    let busy = Spec::new("busy", Stage::Sinks, || (Busy, ()), |_| {}).with_patience(PATIENCE);
    let specs = vec![waiting("one"), waiting("two"), busy];
    let mut supervisor = Supervisor::new(specs, Policy::DEFAULT);
    let (sender, mut ends) = mpsc::unbounded_channel();
    let (above, _) = Actor::spawn(None, Above, sender).await.unwrap();
    for index in supervisor.indices() {
        supervisor.start(index, above.get_cell()).await;
    }
    assert!(supervisor.fail("one", Fault::Stall));
    tokio::time::sleep(PATIENCE * 2).await;
    assert!(supervisor.status()[0].step_ms >= 50);
    assert_eq!(supervisor.end_stuck(), []);
    let states: Vec<_> = supervisor.status().iter().map(|it| it.state).collect();
    use ActorState::{Running, Stuck};
    assert_eq!(states, [Stuck, Running, Stuck]);

    let (id, error) = ends.recv().await.unwrap();
    let outcome = supervisor.ended(id, error);
    assert!(
        matches!(outcome, Some((0, Outcome::Again(_)))),
        "{outcome:?}"
    );
    assert_eq!(supervisor.last_error(0), "did not get on for 50ms");
    // A step that nothing can end is told of until it is over.
    assert_eq!(
        supervisor.end_stuck(),
        [("busy", "did not get on for 50ms")]
    );
    let (id, error) = ends.recv().await.unwrap();
    let outcome = supervisor.ended(id, error);
    assert!(
        matches!(outcome, Some((2, Outcome::Again(_)))),
        "{outcome:?}"
    );
    assert_eq!(supervisor.end_stuck(), []);
}
