//! What many events have in common, rendered once: the host, sets of capabilities, and processes as
//! the parent or an ancestor of others.

use std::sync::Arc;

use foldhash::HashMap;
use holdfast_wire::event::{self, Rendered, capability_names};

use super::build::Place;
use super::processes::{Credentials, Image, Key, Process};

/// Sets of capabilities that are kept: most hosts have a handful.
const MAX_SETS: usize = 64;
/// Bytes of JSON of processes that are kept; all are forgotten when they are more. Some 10,000
/// ancestors, of which a busy host has hundreds.
const MAX_BYTES: usize = 2 << 20;

/// See the module. Rendered with the users' names and the clock of that time: whoever changes these
/// has it forgotten.
#[derive(Debug)]
pub(crate) struct Common {
    /// `host.*`
    pub(crate) host: Rendered<event::Host>,
    /// `cloud.*`
    pub(crate) cloud: Option<Rendered<event::Cloud>>,
    capabilities: HashMap<u64, Rendered<event::Capabilities>>,
    /// By pid and whether as a parent.
    ancestors: HashMap<(u32, bool), Ancestor>,
    bytes: usize,
}

/// A process as others show it, and what that was made of.
#[derive(Debug)]
struct Ancestor {
    key: Key,
    entity_id: Arc<str>,
    image: Arc<Image>,
    credentials: Option<Credentials>,
    terminal: Option<Arc<str>>,
    shown: Rendered<event::Process<'static>>,
}

impl Ancestor {
    fn is_of(&self, process: &Process) -> bool {
        let terminal = match (&self.terminal, &process.terminal) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        terminal
            && self.key == process.key
            && self.credentials == process.credentials
            && Arc::ptr_eq(&self.entity_id, &process.program.entity_id)
            && Arc::ptr_eq(&self.image, &process.program.image)
    }
}

impl Common {
    pub(crate) fn new(host: event::Host, cloud: Option<event::Cloud>) -> Self {
        Self {
            host: Rendered::new(host),
            cloud: cloud.map(Rendered::new),
            capabilities: HashMap::default(),
            ancestors: HashMap::default(),
            bytes: 0,
        }
    }

    /// Users' names or the clock have changed.
    pub(crate) fn forget(&mut self) {
        self.ancestors.clear();
        self.bytes = 0;
    }

    /// `process.thread.capabilities`
    pub(crate) fn capabilities(&mut self, set: u64) -> Rendered<event::Capabilities> {
        if self.capabilities.len() >= MAX_SETS && !self.capabilities.contains_key(&set) {
            self.capabilities.clear();
        }
        let render = || {
            Rendered::new(event::Capabilities {
                effective: capability_names(set),
            })
        };
        self.capabilities.entry(set).or_insert_with(render).clone()
    }

    /// `process.parent`
    pub(crate) fn parent(
        &mut self,
        process: &Process,
        place: &Place<'_>,
    ) -> Rendered<event::Process<'static>> {
        self.shown(process, true, || {
            place.process(process, &process.program).into_owned()
        })
    }

    /// One of `process.ancestors`: who it was, not what it was told.
    pub(crate) fn ancestor(
        &mut self,
        process: &Process,
        place: &Place<'_>,
    ) -> Rendered<event::Process<'static>> {
        self.shown(process, false, || {
            let brief = event::Process {
                args: event::Redactable::default(),
                env_vars: event::Redactable::default(),
                working_directory: None,
                tty: None,
                ..place.process(process, &process.program)
            };
            brief.into_owned()
        })
    }

    fn shown(
        &mut self,
        process: &Process,
        as_parent: bool,
        show: impl FnOnce() -> event::Process<'static>,
    ) -> Rendered<event::Process<'static>> {
        let place = (process.key.tgid, as_parent);
        if let Some(known) = self.ancestors.get(&place)
            && known.is_of(process)
        {
            return known.shown.clone();
        }
        let shown = Rendered::new(show());
        if self.bytes + shown.length() > MAX_BYTES {
            self.forget();
        }
        self.bytes += shown.length();
        let ancestor = Ancestor {
            key: process.key,
            entity_id: process.program.entity_id.clone(),
            image: process.program.image.clone(),
            credentials: process.credentials,
            terminal: process.terminal.clone(),
            shown: shown.clone(),
        };
        if let Some(before) = self.ancestors.insert(place, ancestor) {
            self.bytes -= before.shown.length();
        }
        shown
    }
}
