//! Sinks: where events go. None ever blocks the evaluator: what a sink's lane does not take is
//! counted at that sink.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ractor::ActorProcessingErr;
use tokio::task::JoinHandle;

use crate::lane::Lane;
use crate::root::shared::Shared;
use crate::root::status::{self, Waiting};
use crate::root::{Format, Settings};
use crate::supervisor::worker::Job;
use crate::supervisor::{REST, SLICE};
use crate::uplink::Uplink;
use crate::uplink::intake::Intake;

pub(crate) mod derive;
pub(crate) mod file;
pub(crate) mod pretty;
pub(crate) mod stdout;
pub mod tail;

use tail::Tails;

/// The event file's sink.
const FILE: &str = "sink.file";
/// The sink before the uplink's spool.
const UPLINK: &str = "sink.uplink";
/// Bytes that wait for a sink: ten seconds of a busy host, two of an extremely busy one.
const LANE_BYTES: usize = 16 << 20;
/// Of them, those that events may take which are no alerts: what is lost first.
const EVENT_BYTES: usize = LANE_BYTES / 4 * 3;
/// Chunks that wait for a sink. The bytes are the bound that counts; on a quiet host a chunk is one
/// event, and this is hours of them.
const LANE_CHUNKS: usize = 32 * 1024;
/// How long a sink rests after a failed write.
const RETRY: Duration = Duration::from_millis(500);
/// A turn of writing that lasts as long hangs: it was to last a twentieth of a second.
const HANGS: Duration = Duration::from_secs(5);
/// How long a sink writes without looking for control messages.
const TURN: Duration = Duration::from_millis(50);

/// What is lost last where there is not room for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// An event that is no alert.
    #[default]
    Event,
    /// An alert.
    Alert,
    /// What the sensor says of itself, which tells of what is lost: little, and taken however much waits.
    Own,
}

impl Urgency {
    /// How much may wait with it.
    const fn max_bytes(self) -> usize {
        match self {
            Self::Event => EVENT_BYTES,
            Self::Alert => LANE_BYTES,
            Self::Own => usize::MAX,
        }
    }
}

/// Whole lines.
#[derive(Clone, Debug)]
struct Chunk {
    bytes: Bytes,
    lines: u32,
}

/// Where a sink writes.
pub(crate) trait Write: Send {
    /// Writes the beginning of `bytes` and says how much; 0: nothing could be taken for now. Blocks
    /// for a tenth of a second at most, a disk that hangs aside. `whole`: `bytes` begins with the
    /// beginning of a line and are whole lines.
    fn write(&mut self, bytes: &[u8], whole: bool) -> io::Result<usize>;

    /// Everything was written: make it last.
    fn finish(&mut self) -> io::Result<()>;

    /// Whether after this error no write can ever succeed.
    fn is_final(&self, error: &io::Error) -> bool;
}

/// Everything about a sink that outlives its actor.
pub(crate) struct Outlet {
    name: &'static str,
    pretty: bool,
    lane: Lane<Chunk>,
    offered: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    closed: AtomicBool,
    /// Lines of the chunk in hand that are neither written nor given up.
    in_hand: AtomicU64,
    hand: Mutex<Hand>,
}

struct Hand {
    writer: Box<dyn Write>,
    chunk: Option<Chunk>,
    /// Bytes of the chunk that are written.
    written: usize,
}

/// How a turn of writing ended.
#[derive(Debug)]
enum Turn {
    /// Nothing waits.
    Idle,
    /// There may be more.
    More,
    /// It failed; what is in hand is kept.
    Failed(io::Error),
    /// It failed for good.
    Closed(io::Error),
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Outlet {
    fn new(name: &'static str, pretty: bool, writer: Box<dyn Write>) -> Self {
        Self {
            name,
            pretty,
            lane: Lane::new(
                LANE_CHUNKS,
                LANE_BYTES,
                |chunk| chunk.bytes.len(),
                Arc::default(),
            ),
            offered: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            in_hand: AtomicU64::new(0),
            hand: Mutex::new(Hand {
                writer,
                chunk: None,
                written: 0,
            }),
        }
    }

    /// `sink.stdout`, …
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    fn offer(&self, chunk: Chunk, urgency: Urgency) -> bool {
        let lines = chunk.lines.into();
        self.offered.fetch_add(lines, Ordering::Relaxed);
        let put = || self.lane.offer_up_to(urgency.max_bytes(), chunk);
        let taken = !self.closed.load(Ordering::Relaxed) && put().is_ok();
        if !taken {
            self.dropped.fetch_add(lines, Ordering::Relaxed);
        }
        taken
    }

    /// Writes for one turn. Blocks.
    fn write(&self) -> Turn {
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        let hand = &mut *hand;
        let began = Instant::now();
        while began.elapsed() < TURN {
            if hand.chunk.is_none() {
                hand.chunk = self.lane.take();
                hand.written = 0;
                let lines = hand.chunk.as_ref().map_or(0, |chunk| chunk.lines.into());
                self.in_hand.store(lines, Ordering::Relaxed);
            }
            let Some(chunk) = &hand.chunk else {
                return Turn::Idle;
            };
            match hand
                .writer
                .write(&chunk.bytes[hand.written..], hand.written == 0)
            {
                Ok(count) => hand.written += count,
                Err(error) if hand.writer.is_final(&error) => {
                    self.closed.store(true, Ordering::Relaxed);
                    self.give_up_hand(hand);
                    return Turn::Closed(error);
                }
                Err(error) => return Turn::Failed(error),
            }
            if hand.written >= chunk.bytes.len() {
                self.written
                    .fetch_add(self.in_hand.swap(0, Ordering::Relaxed), Ordering::Relaxed);
                hand.chunk = None;
            }
        }
        Turn::More
    }

    fn finish(&self) -> io::Result<()> {
        self.hand
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .writer
            .finish()
    }

    /// Gives up what waits, and counts it: what a writer that hangs has in hand, too.
    pub(crate) fn give_up(&self) {
        // Such a writer holds the lock.
        match self.hand.try_lock() {
            Ok(mut hand) => self.give_up_hand(&mut hand),
            Err(_) => self.give_up_lines(),
        }
    }

    fn give_up_hand(&self, hand: &mut Hand) {
        hand.chunk = None;
        self.give_up_lines();
    }

    fn give_up_lines(&self) {
        let waiting = std::iter::from_fn(|| self.lane.take());
        let waiting: u64 = waiting.map(|it| u64::from(it.lines)).sum();
        let lines = waiting + self.in_hand.swap(0, Ordering::Relaxed);
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// What waits in its lane.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            depth: self.lane.weight(),
            capacity: LANE_BYTES,
            unit: "bytes",
        }
    }

    fn status(&self) -> status::Sink {
        let waiting = self.waiting();
        status::Sink {
            name: self.name,
            offered: self.offered.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            depth_bytes: waiting.depth,
            capacity_bytes: waiting.capacity,
        }
    }
}

/// All sinks, and the followers.
#[derive(Debug)]
pub(crate) struct Sinks {
    outlets: Vec<Arc<Outlet>>,
    tails: Arc<Tails>,
}

impl Sinks {
    /// Those that the settings ask for.
    pub(crate) fn new(settings: &Settings, uplink: Option<&Arc<Uplink>>) -> Self {
        let mut outlets = Vec::new();
        if let Some(stdout) = &settings.stdout {
            let pretty = matches!(stdout.format, Format::Pretty { .. });
            let writer = Box::new(stdout::Stdout::new(stdout.to.clone()));
            outlets.push(Arc::new(Outlet::new("sink.stdout", pretty, writer)));
        }
        if let Some(log) = &settings.log {
            let writer = Box::new(file::Rotated::new(log.clone()));
            outlets.push(Arc::new(Outlet::new(FILE, false, writer)));
        }
        if let Some(directory) = &settings.derive {
            let writer = Box::new(derive::Deriver::new(directory.clone()));
            outlets.push(Arc::new(Outlet::new("sink.derive", false, writer)));
        }
        if let Some(uplink) = uplink {
            let writer = Box::new(Intake(uplink.clone()));
            outlets.push(Arc::new(Outlet::new(UPLINK, false, writer)));
        }
        Self {
            outlets,
            tails: Arc::default(),
        }
    }

    /// Each sink.
    pub(crate) fn outlets(&self) -> &[Arc<Outlet>] {
        &self.outlets
    }

    /// Of the sink that is to last, the event file: events that it was offered, and those of them that are written
    /// or given up.
    pub(crate) fn lasting(&self) -> (u64, u64) {
        let file = self.outlets.iter().find(|outlet| outlet.name == FILE);
        file.map_or((0, 0), |file| {
            let count = |of: &AtomicU64| of.load(Ordering::Acquire);
            (
                count(&file.offered),
                count(&file.written) + count(&file.dropped),
            )
        })
    }

    /// Events that did not come as far as the uplink's spool.
    pub(crate) fn refused_by_uplink(&self) -> u64 {
        let uplink = self.outlets.iter().find(|outlet| outlet.name == UPLINK);
        uplink.map_or(0, |uplink| uplink.dropped.load(Ordering::Relaxed))
    }

    /// The followers.
    pub(crate) fn tails(&self) -> &Arc<Tails> {
        &self.tails
    }

    /// Whether a sink has so much to write that events of different urgency are to be handed over apart.
    pub(crate) fn is_congested(&self) -> bool {
        let is_congested = |outlet: &Arc<Outlet>| outlet.lane.weight() >= EVENT_BYTES / 2;
        self.outlets.iter().any(is_congested)
    }

    /// Hands `lines` events to every sink and follower; `false`: a sink did not take them. `urgency`: the highest among
    /// them.
    pub(crate) fn offer(&self, json: &Bytes, pretty: &Bytes, lines: u32, urgency: Urgency) -> bool {
        self.tails.offer(json);
        let mut taken = true;
        for outlet in &self.outlets {
            let bytes = if outlet.pretty { pretty } else { json }.clone();
            taken &= outlet.offer(Chunk { bytes, lines }, urgency);
        }
        taken
    }

    /// Each, as `status` shows it.
    pub(crate) fn status(&self) -> Vec<status::Sink> {
        self.outlets.iter().map(|outlet| outlet.status()).collect()
    }
}

/// The actor of one sink.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) shared: Arc<Shared>,
    pub(crate) outlet: Arc<Outlet>,
}

/// What an incarnation is about.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The turn of writing that is going on, and since when.
    writing: Option<(JoinHandle<Turn>, Instant)>,
    /// When to try again after a failed write.
    retry_at: Option<Instant>,
}

impl Job for Sink {
    type State = State;

    fn begin(&self) -> Result<State, ActorProcessingErr> {
        Ok(State::default())
    }

    async fn slice(
        &self,
        state: &mut State,
        draining: bool,
    ) -> Result<ControlFlow<()>, ActorProcessingErr> {
        if let Some(at) = state.retry_at {
            let left = at.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(SLICE)).await;
            if left > SLICE {
                return Ok(ControlFlow::Continue(()));
            }
        }
        let outlet = self.outlet.clone();
        let begin = || {
            (
                tokio::task::spawn_blocking(move || outlet.write()),
                Instant::now(),
            )
        };
        let (turn, began) = state.writing.get_or_insert_with(begin);
        let Ok(turn) = tokio::time::timeout(SLICE, turn).await else {
            if began.elapsed() >= HANGS {
                self.degrade("a write does not end: what it goes to hangs");
            }
            return Ok(ControlFlow::Continue(()));
        };
        state.writing = None;
        state.retry_at = None;
        let turn = turn?;
        // An incarnation before this one may have said that it does not work.
        if matches!(turn, Turn::More | Turn::Idle) && !self.outlet.closed.load(Ordering::Relaxed) {
            self.shared.degraded.clear(&self.what());
        }
        match turn {
            Turn::More => {}
            Turn::Idle if draining => {
                let outlet = self.outlet.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || outlet.finish()).await? {
                    self.degrade(&error.to_string());
                }
                return Ok(ControlFlow::Break(()));
            }
            Turn::Idle => self.shared.rest(REST, self.outlet.lane.arrived(REST)).await,
            Turn::Failed(error) => {
                self.degrade(&error.to_string());
                state.retry_at = Some(Instant::now() + RETRY);
            }
            Turn::Closed(error) => self.degrade(&error.to_string()),
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Sink {
    /// Not the actor's name: an actor may be well whose disk is full.
    fn what(&self) -> String {
        format!("{}.write", self.outlet.name)
    }

    fn degrade(&self, reason: &str) {
        self.shared.degraded.set(&self.what(), reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Hangs in a write until it is let go.
    struct Hanging {
        began: mpsc::Sender<()>,
        go_on: mpsc::Receiver<()>,
    }

    impl Write for Hanging {
        fn write(&mut self, bytes: &[u8], _whole: bool) -> io::Result<usize> {
            self.began.send(()).unwrap();
            self.go_on.recv().unwrap();
            Ok(bytes.len())
        }

        fn finish(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn is_final(&self, _: &io::Error) -> bool {
            false
        }
    }

    #[test]
    fn what_a_writer_that_hangs_has_in_hand_is_counted_once() {
        let ((began, has_begun), (let_go, go_on)) = (mpsc::channel(), mpsc::channel());
        let outlet = Outlet::new("test", false, Box::new(Hanging { began, go_on }));
        for lines in [3, 4] {
            let bytes = Bytes::from_static(b"x");
            assert!(outlet.offer(Chunk { bytes, lines }, Urgency::Event));
        }
        let counted = || {
            let status = outlet.status();
            (status.offered, status.written, status.dropped)
        };
        std::thread::scope(|scope| {
            scope.spawn(|| outlet.write());
            has_begun.recv().unwrap();
            outlet.give_up();
            assert_eq!(counted(), (7, 0, 7));
            let_go.send(()).unwrap();
        });
        assert_eq!(counted(), (7, 0, 7));
    }

    #[test]
    fn alerts_have_room_that_other_events_do_not_take() {
        let (began, _) = mpsc::channel();
        let (_, go_on) = mpsc::channel();
        let outlet = Outlet::new("test", false, Box::new(Hanging { began, go_on }));
        let chunk = |bytes| Chunk {
            bytes: vec![b'x'; bytes].into(),
            lines: 1,
        };
        let fill = |urgency| {
            let offers = std::iter::repeat_with(|| outlet.offer(chunk(1 << 20), urgency));
            offers.take_while(|taken| *taken).take(100).count()
        };
        assert_eq!(fill(Urgency::Event), EVENT_BYTES >> 20);
        assert_eq!(fill(Urgency::Alert), (LANE_BYTES - EVENT_BYTES) >> 20);
        assert!(outlet.offer(chunk(1), Urgency::Own));
        assert_eq!(outlet.status().dropped, 2);
    }
}
