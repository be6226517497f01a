//! Losses told as they happen: `sensor.loss` says what was lost, how much of it and when.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use holdfast_wire::Kind;
use holdfast_wire::kind::KINDS;
use holdfast_wire::ledger::Entry;

use crate::clock;
use crate::degraded::Degradations;
use crate::kernel::Predecessor;
use crate::ledger::Ledger;

/// What was told so far. Belongs to the root: who looks may be restarted, and tells nothing twice.
#[derive(Debug)]
pub(crate) struct Losses(Mutex<Told>);

#[derive(Debug)]
struct Told {
    kinds: [Lost; KINDS],
    /// When it was last looked.
    looked: String,
}

/// What was lost of a kind, and where: the terms of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lost {
    missed: u64,
    ring_full: u64,
    dropped: u64,
    /// Not lost for want of room, but withheld.
    capped: u64,
}

impl Lost {
    const fn of(entry: &Entry) -> Self {
        Self {
            missed: entry.missed,
            ring_full: entry.ring_full,
            dropped: entry.dropped,
            capped: entry.capped,
        }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            missed: self.missed.saturating_sub(before.missed),
            ring_full: self.ring_full.saturating_sub(before.ring_full),
            dropped: self.dropped.saturating_sub(before.dropped),
            capped: self.capped.saturating_sub(before.capped),
        }
    }

    /// As in `file.open 3 ring_full, 1 dropped`; nothing where nothing was lost.
    fn describe(self, kind: Kind, text: &mut String) {
        let terms = [
            ("missed", self.missed),
            ("ring_full", self.ring_full),
            ("dropped", self.dropped),
            ("capped", self.capped),
        ];
        let mut lead = if text.is_empty() { "" } else { "; " }.to_owned() + kind.action() + " ";
        for (term, count) in terms.into_iter().filter(|(_, count)| *count > 0) {
            // Writing to a String does not fail.
            let _ = write!(text, "{lead}{count} {term}");
            lead = ", ".to_owned();
        }
    }
}

/// What a sensor that was killed may have lost, if anything.
pub(crate) fn unfinished(predecessor: &Predecessor) -> Option<String> {
    let counts = Kind::ALL
        .iter()
        .map(|kind| (kind, predecessor.unfinished[kind.index()]));
    let counts: Vec<_> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{} {count}", kind.action()))
        .collect();
    (!counts.is_empty()).then(|| {
        format!(
            "lost at most, with the sensor before, which had read them when it was killed: {}",
            counts.join("; ")
        )
    })
}

/// What a sensor of another version has left and this one cannot read, if anything.
pub(crate) fn unreadable(records: u64) -> Option<String> {
    (records > 0).then(|| {
        format!(
            "lost with the sensor before, of another version, whose records this one cannot read: {records} records of any kind"
        )
    })
}

impl Losses {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Told {
            kinds: [Lost::default(); KINDS],
            looked: clock::wall_text(),
        }))
    }

    /// Has what was lost since the last look reported, if anything was; `capped` names the cgroups of
    /// which something was withheld.
    pub(crate) fn tell(&self, ledger: &Ledger, capped: &str, degraded: &Degradations) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::wall_text();
        let mut text = String::new();
        for kind in Kind::ALL {
            let lost = Lost::of(&ledger.entry(*kind));
            let before = std::mem::replace(&mut told.kinds[kind.index()], lost);
            lost.since(before).describe(*kind, &mut text);
        }
        let looked = std::mem::replace(&mut told.looked, now.clone());
        if !capped.is_empty() {
            let lead = if text.is_empty() { "" } else { "; " };
            // Writing to a String does not fail.
            let _ = write!(text, "{lead}capped: {capped}");
        }
        if !text.is_empty() {
            degraded.tell(
                "sensor.loss",
                format!("lost between {looked} and {now}: {text}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Fate;
    use holdfast_wire::control::Counters;

    #[test]
    fn each_loss_is_told_once_with_its_terms() {
        let (losses, ledger, degraded) = (Losses::new(), Ledger::new(), Degradations::default());
        let tell = || {
            losses.tell(&ledger, "", &degraded);
            degraded.next_notice().map(|notice| notice.reason)
        };
        assert_eq!(tell(), None);
        let counters = Counters {
            seen: 9,
            ring_full: 3,
            ..Counters::default()
        };
        ledger.set_kernel(Kind::FileOpen, &counters, 2);
        ledger.evaluated(Kind::ProcessExec, Fate::Dropped, 1);
        ledger.evaluated(Kind::ProcessExec, Fate::Emitted, 5);
        let told = tell().unwrap();
        let end = ": process.exec 1 dropped; file.open 2 missed, 3 ring_full";
        assert!(told.ends_with(end), "{told}");
        assert_eq!(tell(), None);
        ledger.evaluated(Kind::ProcessExec, Fate::Dropped, 4);
        assert!(tell().unwrap().ends_with(": process.exec 4 dropped"));
        let capped = Counters {
            seen: 19,
            ring_full: 3,
            filtered: 10,
            capped: 10,
            ..Counters::default()
        };
        ledger.set_kernel(Kind::FileOpen, &capped, 2);
        losses.tell(&ledger, "10 file events of cgroup 7 (/x)", &degraded);
        let told = degraded.next_notice().unwrap().reason;
        let end = ": file.open 10 capped; capped: 10 file events of cgroup 7 (/x)";
        assert!(told.ends_with(end), "{told}");
    }
}
