//! Events that are ready, until the sinks have them: written into reused buffers, and handed over in
//! chunks of whole lines.

use bytes::Bytes;
use holdfast_wire::Kind;
use holdfast_wire::event::Event;
use holdfast_wire::kind::KINDS;

use crate::ledger::Fate;
use crate::root::Format;
use crate::root::shared::Shared;
use crate::sink::{Urgency, pretty};

/// A chunk is handed over before it grows beyond this by more than one event: large enough that the
/// handing over costs little, small enough that a lane's bound is exact.
const CHUNK_BYTES: usize = 64 * 1024;

/// The buffers. Only what is committed is ever handed over: a panic while an event is being written
/// leaves a torn line behind the mark.
#[derive(Debug)]
pub(crate) struct Outgoing {
    json: Marked,
    pretty: Marked,
    colour: Option<bool>,
    kinds: [u64; KINDS],
    lines: u32,
    /// The highest of the lines.
    urgency: Urgency,
}

#[derive(Debug, Default)]
struct Marked {
    bytes: Vec<u8>,
    committed: usize,
}

impl Marked {
    /// What is committed. A full buffer is handed over as it is, for another; of one that is mostly
    /// empty the content is copied, since what waits in a lane is bounded by what it holds.
    fn take(&mut self) -> Bytes {
        let committed = std::mem::take(&mut self.committed);
        if committed < CHUNK_BYTES {
            let bytes = Bytes::copy_from_slice(&self.bytes[..committed]);
            self.bytes.clear();
            return bytes;
        }
        let next = Vec::with_capacity(self.bytes.capacity());
        let mut bytes = std::mem::replace(&mut self.bytes, next);
        bytes.truncate(committed);
        bytes.into()
    }
}

impl Outgoing {
    /// `format`: what standard output wants.
    pub(crate) fn new(format: Option<Format>) -> Self {
        let colour = match format {
            Some(Format::Pretty { colour }) => Some(colour),
            Some(Format::Json) | None => None,
        };
        let (json, pretty) = Default::default();
        Self {
            json,
            pretty,
            colour,
            kinds: [0; KINDS],
            lines: 0,
            urgency: Urgency::default(),
        }
    }

    /// Adds an event. `kind`: that of its record; `None` for the sensor's own, which are in no
    /// ledger. `false`: it could not be written, and is lost.
    pub(crate) fn add(&mut self, kind: Option<Kind>, event: &Event<'_>, shared: &Shared) -> bool {
        let urgency = match kind {
            None => Urgency::Own,
            Some(_) if event.event.kind == "alert" => Urgency::Alert,
            Some(_) => Urgency::Event,
        };
        // What waits here may be lost, and what is more urgent not with it.
        if self.lines > 0 && self.urgency != urgency && shared.sinks.is_congested() {
            self.flush(shared);
        }
        self.json.bytes.truncate(self.json.committed);
        self.pretty.bytes.truncate(self.pretty.committed);
        if event.write_line(&mut self.json.bytes).is_err() {
            return false;
        }
        if let Some(colour) = self.colour {
            pretty::write_line(event, colour, &mut self.pretty.bytes);
        }
        self.json.committed = self.json.bytes.len();
        self.pretty.committed = self.pretty.bytes.len();
        self.lines += 1;
        self.urgency = self.urgency.max(urgency);
        if let Some(kind) = kind {
            self.kinds[kind.index()] += 1;
        }
        true
    }

    /// Whether it is time to hand over.
    pub(crate) fn is_full(&self) -> bool {
        self.json.committed >= CHUNK_BYTES
    }

    /// Hands everything to the sinks, and counts it as evaluated.
    pub(crate) fn flush(&mut self, shared: &Shared) {
        if self.lines == 0 {
            return;
        }
        let kinds = std::mem::replace(&mut self.kinds, [0; KINDS]);
        let lines = std::mem::take(&mut self.lines);
        let (json, pretty) = (self.json.take(), self.pretty.take());
        let urgency = std::mem::take(&mut self.urgency);
        let taken = shared.sinks.offer(&json, &pretty, lines, urgency);
        for kind in Kind::ALL {
            let count = kinds[kind.index()];
            if count > 0 {
                if taken {
                    shared.ledger.evaluated(*kind, Fate::Emitted, count);
                } else {
                    shared.drop_records(*kind, count);
                }
            }
        }
    }
}
