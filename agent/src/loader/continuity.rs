//! How this sensor goes on where another stopped, and what it leaves to the next.
//!
//! Programs and maps that are the same as those that this sensor would load are adopted: they stay attached, and
//! it goes on reading their rings. Others stay attached until this sensor's own are, and go then.

use std::array;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_actors::clock;
use holdfast_actors::kernel::{Counted, Predecessor};
use holdfast_wire::Kind;
use holdfast_wire::control::{Counters, Tier};
use holdfast_wire::kind::KINDS;

use super::LoadError;
use super::account::{Account, Before};
use super::attach::Link;
use super::lineage::own_key;
use super::maps::Maps;
use super::pins::{Generation, Pins};
use super::plan::Way;
use super::relocated::Relocatable;
use super::rings::{self, Earlier, Takeover};

/// What becomes of programs and maps when the sensor ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnExit {
    /// They end with it.
    #[default]
    Go,
    /// They stay, as far as the kernel can keep them.
    Stay,
    /// They stay; what cannot is a degradation.
    MustStay,
}

/// What earlier sensors have left, before it is known whether this one can go on with it.
#[derive(Default)]
pub(crate) struct Remains {
    pins: Option<Pins>,
    on_exit: OnExit,
    /// Why nothing can stay.
    fault: Option<String>,
}

impl Remains {
    /// Looks below the directory of pins.
    pub(crate) fn open(directory: &Path, on_exit: OnExit) -> Self {
        let opened = Pins::open(directory, on_exit != OnExit::Go);
        let (pins, fault) = match opened {
            Ok(pins) => {
                let generations = pins.iter().flat_map(Pins::generations);
                for generation in generations {
                    generation.introduce(own_key(true));
                }
                (pins, None)
            }
            Err(reason) => {
                if on_exit != OnExit::Go {
                    tracing::warn!(reason, "the kernel programs end with the sensor");
                }
                (None, Some(reason))
            }
        };
        Self {
            pins,
            on_exit,
            fault,
        }
    }

    /// The epoch of the first policies of this sensor.
    pub(crate) fn first_epoch(&self) -> u32 {
        let predecessor = self.pins.as_ref().and_then(Pins::predecessor);
        predecessor.map_or(1, |predecessor| predecessor.epoch.saturating_add(1))
    }

    /// Whether an earlier sensor has left programs.
    pub(crate) fn are_there(&self) -> bool {
        let pins = self.pins.iter();
        pins.flat_map(Pins::generations).next().is_some()
    }

    /// Whether nothing is to outlive this sensor, nor what is there.
    pub(crate) fn may_go(&self) -> bool {
        self.on_exit == OnExit::Go
    }

    /// For a sensor that can neither go on with it nor leave anything itself, for this reason.
    pub(super) fn without(self, reason: &str) -> Self {
        Self {
            pins: self.pins.map(Pins::keeping_nothing),
            fault: Some(reason.to_owned()),
            ..self
        }
    }
}

/// See the module.
pub(super) struct Continuity {
    on_exit: OnExit,
    pins: Option<Pins>,
    /// Where this sensor's maps and links are pinned; `None`: they end with it.
    generation: Option<Generation>,
    account: Option<Arc<Account>>,
    before: [Before; KINDS],
    takeover: Arc<Takeover>,
    /// Counts that are told of in an event that may not be written yet, and since when; oldest first.
    telling: VecDeque<(u64, Vec<Counted>)>,
    /// Of how many records that were read and are lost it is told.
    told_dropped: [u64; KINDS],
    /// Whether other programs are attached.
    replaces: bool,
    predecessor: Option<Predecessor>,
    /// Why nothing outlives this sensor, though it should.
    fault: Option<String>,
}

/// How long an event may be on its way that is not a record's, nanoseconds: some steps of the evaluator. Records that were
/// made later than that and are done with came behind it.
const WAY: u64 = 100_000_000;

/// Counts on their way at once: those of some seconds. When a sink hangs, the latest stand for all.
const MAX_TELLING: usize = 16;

/// Maps that exist: their names, and where they are pinned.
pub(super) type Pinned = Vec<(String, PathBuf)>;

/// The object's maps, and its programs, which use them.
pub(super) struct Loaded {
    pub(super) maps: Maps,
    pub(super) programs: Relocatable,
}

impl Continuity {
    /// Loads the object with `load`, with what earlier sensors have left if that has this fingerprint.
    ///
    /// # Errors
    /// As `load`.
    pub(super) fn load(
        remains: Remains,
        fingerprint: u64,
        load: impl Fn(&Pinned) -> Result<Loaded, LoadError>,
    ) -> Result<(Loaded, Self), LoadError> {
        let Remains {
            pins,
            on_exit,
            fault,
        } = remains;
        let mut this = Self {
            on_exit,
            pins: None,
            generation: None,
            account: None,
            before: array::from_fn(|_| Before::default()),
            takeover: Arc::new(Takeover::new()),
            telling: VecDeque::new(),
            told_dropped: [0; KINDS],
            replaces: false,
            predecessor: None,
            fault,
        };
        let Some(mut pins) = pins else {
            return Ok((load(&Vec::new())?, this));
        };
        this.predecessor = pins.predecessor();
        let adopted = pins.take(fingerprint).and_then(|generation| {
            let adopted = adopt(&generation, &load);
            match adopted {
                Ok((loaded, account)) => Some((loaded, account, generation)),
                Err(reason) => {
                    tracing::warn!(
                        reason,
                        "cannot go on with the programs of the sensor before: they are replaced"
                    );
                    pins.put_back(generation);
                    None
                }
            }
        });
        let loaded = if let Some((loaded, account, generation)) = adopted {
            for kind in Kind::ALL {
                this.before[kind.index()] = account.before(*kind);
                // Others may have been about to take the place of those before.
                this.takeover.attached(*kind, account.attached(*kind));
            }
            if let Some(predecessor) = &mut this.predecessor {
                predecessor.adopted = true;
            }
            // They are in what is told of the predecessor.
            account.forget_unfinished();
            this.account = Some(Arc::new(account));
            this.generation = Some(generation);
            loaded
        } else {
            let loaded = load(&Vec::new())?;
            if pins.keeps() {
                let made = Account::new().and_then(|account| {
                    Ok((pins.make(fingerprint, &loaded.maps, &account)?, account))
                });
                match made {
                    Ok((generation, account)) => {
                        this.generation = Some(generation);
                        this.account = Some(Arc::new(account));
                    }
                    Err(reason) => this.fault = Some(reason),
                }
            }
            loaded
        };
        this.replaces = !pins.generations().is_empty();
        this.pins = Some(pins);
        Ok((loaded, this))
    }

    /// Whether the maps are those of an earlier sensor.
    pub(super) fn is_adopted(&self) -> bool {
        self.predecessor.is_some_and(|it| it.adopted)
    }

    /// When the first record was made that is in the rings.
    pub(super) fn found(&mut self, unread_since: Option<u64>) {
        if let Some(predecessor) = &mut self.predecessor {
            predecessor.unread_since = unread_since;
        }
    }

    /// Who left something.
    pub(super) const fn predecessor(&self) -> Option<Predecessor> {
        self.predecessor
    }

    /// Where what is read is entered.
    pub(super) const fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// The rings of programs that are going to be replaced.
    pub(super) fn earlier(&self) -> Earlier {
        let generations = self.pins.iter().flat_map(Pins::generations);
        // Records of another version of the programs are not read: they may mean something else.
        let readable = generations.filter_map(|generation| match generation.account() {
            Ok(account) => Some((generation.clone(), Arc::new(account))),
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "what the sensor before has left in its rings cannot be read"
                );
                None
            }
        });
        Earlier {
            generations: readable.collect(),
            takeover: self.takeover.clone(),
        }
    }

    /// The links of a hook that an earlier sensor has attached.
    pub(super) fn links(&self, kind: Kind) -> Option<(&'static Way, Vec<Link>)> {
        self.generation.as_ref()?.links(kind)
    }

    /// A hook was attached: its links outlive this sensor.
    ///
    /// # Errors
    /// In one line, why they do not.
    pub(super) fn attached(
        &self,
        kind: Kind,
        way: &'static Way,
        links: &[Link],
    ) -> Result<(), String> {
        // Where nothing is replaced, records count from the first.
        let now = if self.replaces { clock::boottime() } else { 1 };
        self.takeover.attached(kind, now);
        if let Some(account) = &self.account {
            account.attach(kind, now);
        }
        match &self.generation {
            Some(generation) => generation.keep(kind, way, links),
            None => Err(self.fault.clone().unwrap_or_default()),
        }
    }

    /// A hook is not wanted any more.
    pub(super) fn detached(&self, kind: Kind) {
        if let Some(generation) = &self.generation {
            generation.drop_hook(kind);
        }
    }

    /// The tiers that an earlier sensor has found to work.
    pub(super) fn tiers(&self) -> Vec<Tier> {
        let generation = self.generation.iter();
        generation.flat_map(Generation::tiers).collect()
    }

    /// A tier works.
    pub(super) fn note(&self, tier: Tier) {
        if let Some(generation) = &self.generation {
            generation.note(tier);
        }
    }

    /// What is this sensor's to account for of what programs and kernel have counted.
    pub(super) fn own(&self, kind: Kind, counted: &Counters, skipped: u64) -> (Counters, u64) {
        let (mut own, skipped) = self.before[kind.index()].since(counted, skipped);
        let inherited = self.takeover.inherited(kind);
        own.seen = own.seen.wrapping_add(inherited);
        own.submitted = own.submitted.wrapping_add(inherited);
        (own, skipped)
    }

    /// These counts are told of, in an event that is on its way.
    pub(super) fn told(&mut self, counted: &[Counted]) {
        let Some(account) = &self.account else { return };
        let is_written = |at: u64| account.finished_until() > at + WAY;
        while let Some((_, told)) = self.telling.pop_front_if(|(at, _)| is_written(*at)) {
            for Counted {
                kind,
                counters,
                skipped,
                dropped,
            } in told
            {
                let before = std::mem::replace(&mut self.told_dropped[kind.index()], dropped);
                account.finished(kind, dropped.saturating_sub(before));
                account.report(kind, self.before[kind.index()].and(&counters, skipped));
            }
        }
        if counted.is_empty() {
            return;
        }
        if self.telling.len() >= MAX_TELLING {
            // These counts are in the ones that follow.
            self.telling.pop_back();
        }
        self.telling
            .push_back((clock::boottime(), counted.to_vec()));
    }

    /// All hooks are attached that are wanted: the others, and the programs that were to be replaced, go. Returns how many
    /// records are lost with these, which [`Self::earlier`] left out.
    pub(super) fn settle(&mut self, is_attached: impl Fn(Kind) -> bool) -> u64 {
        for kind in Kind::hooked().filter(|kind| !is_attached(*kind)) {
            self.detached(kind);
        }
        let mut lost = 0;
        if let Some(pins) = &self.pins {
            for generation in pins.generations() {
                generation.detach();
                // No more are made now.
                if generation.account().is_err() {
                    lost += rings::left(generation);
                }
            }
            if !pins.generations().is_empty() {
                tracing::info!("the programs of a sensor before are replaced");
            }
        }
        self.takeover.end();
        self.tidy();
        lost
    }

    /// What was replaced goes once its records are done with.
    pub(super) fn tidy(&mut self) {
        if self.takeover.is_done() {
            self.retire();
        }
    }

    fn retire(&mut self) {
        if let Some(pins) = &mut self.pins
            && let Err(reason) = pins.retire()
        {
            tracing::error!(reason, "what a sensor before has left stays");
        }
    }

    /// Nothing outlives this sensor any more.
    pub(super) fn end(&mut self) {
        if let (Some(pins), Some(generation)) = (&mut self.pins, self.generation.take()) {
            pins.put_back(generation);
        }
        self.retire();
        self.takeover.end();
        if let Some(pins) = &self.pins {
            pins.close();
        }
    }

    /// What should outlive this sensor and does not, and why; `not_kept` are hooks and what
    /// [`Self::attached`] said of them.
    pub(super) fn fault(&self, not_kept: &[(Kind, &str)]) -> Option<String> {
        if self.on_exit != OnExit::MustStay {
            return None;
        }
        let of_hook = || {
            let (kind, reason) = not_kept.first()?;
            let others = not_kept.len() - 1;
            Some(format!(
                "{} and {others} other hooks end with the sensor: {reason}",
                kind.action()
            ))
        };
        match &self.fault {
            Some(reason) => Some(format!("all hooks end with the sensor: {reason}")),
            None => of_hook(),
        }
    }

    /// Whether something does.
    pub(super) const fn outlives(&self) -> bool {
        self.generation.is_some()
    }
}

/// Loads the object with the maps of `generation`.
fn adopt(
    generation: &Generation,
    load: impl Fn(&Pinned) -> Result<Loaded, LoadError>,
) -> Result<(Loaded, Account), String> {
    let account = generation.account()?;
    let discarded = generation.discard_partial();
    discarded.map_err(|error| error.to_string())?;
    let maps = generation.maps().map_err(|error| error.to_string())?;
    let loaded = load(&maps).map_err(|error| error.to_string())?;
    let is_pinned = |name: &str| name.starts_with('.') || maps.iter().any(|(it, _)| it == name);
    let missing = loaded.maps.all().find(|(name, _)| !is_pinned(name));
    if let Some((name, _)) = missing {
        return Err(format!("the map {name} is missing"));
    }
    Ok((loaded, account))
}
