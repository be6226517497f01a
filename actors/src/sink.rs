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

use crate::lane::Lane;
use crate::root::shared::Shared;
use crate::root::{Format, Settings, status};
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
/// Chunks that wait for a sink. The bytes are the bound that counts; on a quiet host a chunk is one
/// event, and this is hours of them.
const LANE_CHUNKS: usize = 32 * 1024;
/// How long a sink rests after a failed write.
const RETRY: Duration = Duration::from_millis(500);
/// How long a sink writes without looking for control messages.
const TURN: Duration = Duration::from_millis(50);

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

    fn offer(&self, chunk: Chunk, insists: bool) -> bool {
        let lines = chunk.lines.into();
        self.offered.fetch_add(lines, Ordering::Relaxed);
        let put = if insists { Lane::insist } else { Lane::offer };
        let taken = !self.closed.load(Ordering::Relaxed) && put(&self.lane, chunk).is_ok();
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

    fn status(&self) -> status::Sink {
        status::Sink {
            name: self.name,
            offered: self.offered.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            depth_bytes: self.lane.weight(),
            capacity_bytes: self.lane.max_weight(),
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

    /// Hands `lines` events to every sink and follower; `false`: a sink did not take them. `insists`: they are the sensor's
    /// own, which tell of what is lost, and are taken however much waits.
    pub(crate) fn offer(&self, json: &Bytes, pretty: &Bytes, lines: u32, insists: bool) -> bool {
        self.tails.offer(json);
        let mut taken = true;
        for outlet in &self.outlets {
            let bytes = if outlet.pretty { pretty } else { json }.clone();
            taken &= outlet.offer(Chunk { bytes, lines }, insists);
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

/// When to try again after a failed write.
type RetryAt = Option<Instant>;

impl Job for Sink {
    type State = RetryAt;

    fn begin(&self) -> Result<RetryAt, ActorProcessingErr> {
        Ok(None)
    }

    async fn slice(
        &self,
        retry_at: &mut RetryAt,
        draining: bool,
    ) -> Result<ControlFlow<()>, ActorProcessingErr> {
        if let Some(at) = *retry_at {
            let left = at.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(SLICE)).await;
            if left > SLICE {
                return Ok(ControlFlow::Continue(()));
            }
        }
        let outlet = self.outlet.clone();
        let turn = tokio::task::spawn_blocking(move || outlet.write()).await?;
        // Not the actor's name: an actor may be well whose disk is full.
        let what = format!("{}.write", self.outlet.name);
        let failed = matches!(turn, Turn::Failed(_));
        if !failed && retry_at.take().is_some() {
            self.shared.degraded.clear(&what);
        }
        match turn {
            Turn::More => {}
            Turn::Idle if draining => {
                let outlet = self.outlet.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || outlet.finish()).await? {
                    self.shared.degraded.set(&what, &error.to_string());
                }
                return Ok(ControlFlow::Break(()));
            }
            Turn::Idle => self.shared.rest(REST, self.outlet.lane.arrived(REST)).await,
            Turn::Failed(error) => {
                self.shared.degraded.set(&what, &error.to_string());
                *retry_at = Some(Instant::now() + RETRY);
            }
            Turn::Closed(error) => self.shared.degraded.set(&what, &error.to_string()),
        }
        Ok(ControlFlow::Continue(()))
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
            assert!(outlet.offer(Chunk { bytes, lines }, false));
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
}
