//! Loading and attaching one program at one place.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use holdfast_wire::layout::{ABSENT, Layout};

use super::perf_event;
use super::plan::{Part, Place, Way};
use super::relocated::Relocatable;
use super::sys;
use super::targets::{NO_BTF, Targets};

/// What keeps a program attached; dropping it detaches, unless it is pinned.
pub(crate) struct Link {
    program: &'static str,
    attached: Attached,
}

/// See [`Link`].
pub(super) enum Attached {
    /// A kernel's link.
    Link(OwnedFd),
    /// A perf event, where the kernel has no links to one (before 5.15).
    Event(#[allow(dead_code)] OwnedFd),
    /// There is nothing to attach to.
    Nothing,
}

impl Link {
    /// The link that is pinned there.
    pub(super) fn pinned(program: &'static str, path: &Path) -> io::Result<Self> {
        let attached = Attached::Link(sys::open_pin(path)?);
        Ok(Self { program, attached })
    }

    /// The program that it attaches.
    pub(crate) const fn program(&self) -> &'static str {
        self.program
    }

    /// As the kernel's link, where it made one.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.attached {
            Attached::Link(link) => Some(link.as_fd()),
            Attached::Event(_) | Attached::Nothing => None,
        }
    }

    /// Whether there is nothing to attach to, so that nothing needs to be kept.
    pub(super) const fn is_of_nothing(&self) -> bool {
        matches!(self.attached, Attached::Nothing)
    }

    /// See [`sys::kprobe_misses`].
    pub(crate) fn kprobe_misses(&self) -> u64 {
        self.descriptor()
            .and_then(|link| sys::kprobe_misses(link).ok())
            .unwrap_or(0)
    }
}

/// All programs of the object. One is loaded when it is first attached, and stays loaded.
pub(crate) struct Programs {
    relocatable: Relocatable,
    loaded: BTreeMap<&'static str, OwnedFd>,
    /// Those that an earlier sensor has loaded, and that are attached since.
    adopted: BTreeMap<&'static str, OwnedFd>,
    targets: Targets,
    layout: Layout,
}

impl Programs {
    /// Programs whose maps are made.
    pub(super) fn new(relocatable: Relocatable, targets: Targets, layout: Layout) -> Self {
        Self {
            relocatable,
            loaded: BTreeMap::new(),
            adopted: BTreeMap::new(),
            targets,
            layout,
        }
    }

    /// Whether the kernel's struct offsets that `way` needs are known.
    pub(crate) fn check(&self, way: &Way) -> Result<(), String> {
        let words = self.layout.words();
        let known = |field: &str| {
            let mut fields = Layout::ENTRIES.iter().zip(&words);
            fields.any(|((name, ..), offset)| *name == field && *offset != ABSENT)
        };
        match way.needs.iter().find(|field| !known(field)) {
            Some(_) if !self.targets.are_known() => Err(NO_BTF.to_owned()),
            Some(field) => Err(format!("the kernel's BTF has no {field}")),
            None => Ok(()),
        }
    }

    /// Attaches all parts of `way`, or none.
    pub(crate) fn attach(&mut self, way: &'static Way) -> Result<Vec<Link>, String> {
        let mut links = Vec::new();
        for part in way.parts {
            let attached = self.attach_part(part)?.into_iter();
            links.extend(attached.map(|attached| Link {
                program: part.program,
                attached,
            }));
        }
        Ok(links)
    }

    /// Takes over what links attach that an earlier sensor has made.
    pub(super) fn adopt(&mut self, links: &[Link]) {
        for link in links {
            let program = link.descriptor().and_then(|it| sys::program_of(it).ok());
            if let Some(program) = program {
                self.adopted.insert(link.program, program);
            }
        }
    }

    /// Runs of a program that the kernel skipped since it was loaded.
    pub(crate) fn recursion_misses(&self, program: &str) -> u64 {
        [&self.loaded, &self.adopted]
            .iter()
            .filter_map(|programs| sys::recursion_misses(programs.get(program)?).ok())
            .sum()
    }

    /// See [`super::relocated::Relocated::verify`].
    pub(crate) fn verify(&mut self, part: &Part) -> Result<u64, String> {
        self.relocatable.get()?.verify(part, &self.targets)
    }

    /// Nothing is to be attached for now.
    pub(super) fn release(&mut self) {
        self.relocatable.release();
    }

    /// Whether something was released just now that nothing has needed for a while.
    pub(super) fn tidy(&mut self) -> bool {
        self.relocatable.tidy()
    }

    fn attach_part(&mut self, part: &'static Part) -> Result<Vec<Attached>, String> {
        let one = |attached| Ok(vec![attached]);
        match part.place {
            Place::Nowhere(calls) => {
                sys::lacks(calls)?;
                one(Attached::Nothing)
            }
            Place::Lsm(_)
            | Place::FmodRet(_)
            | Place::FmodRetCall(_)
            | Place::Fentry(_)
            | Place::Fexit(_) => one(Attached::Link(self.attach_trampoline(part)?)),
            Place::Kprobe(function) => {
                one(perf_event::attach_kprobe(self.loaded(part)?, function)?)
            }
            Place::RawTracepoint(tracepoint) => {
                let link = sys::attach(self.loaded(part)?, Some(tracepoint));
                let said = |error| format!("no raw tracepoint {tracepoint}: {error}");
                one(Attached::Link(link.map_err(said)?))
            }
            Place::Syscalls(names) => {
                let program = self.loaded(part)?;
                let mut attached = Vec::new();
                for (index, name) in names.iter().enumerate() {
                    match perf_event::attach_syscall(program, name) {
                        Ok(it) => attached.push(it),
                        Err(error) if index == 0 => return Err(error),
                        // An architecture without this call.
                        Err(_) => {}
                    }
                }
                Ok(attached)
            }
        }
    }

    /// Before 5.13 a program can be attached once: `bpf_tracing_prog_attach` gives ENOENT when it is attached again
    /// after it was detached. It is then loaded anew.
    fn attach_trampoline(&mut self, part: &'static Part) -> Result<OwnedFd, String> {
        let was_loaded = self.loaded.contains_key(part.program);
        match sys::attach(self.loaded(part)?, None) {
            Err(error) if was_loaded && error.raw_os_error() == Some(libc::ENOENT) => {
                self.loaded.remove(part.program);
                sys::attach(self.loaded(part)?, None)
            }
            result => result,
        }
        .map_err(|error| format!("cannot attach {}: {error}", part.program))
    }

    /// The program, loaded.
    fn loaded(&mut self, part: &'static Part) -> Result<BorrowedFd<'_>, String> {
        if !self.loaded.contains_key(part.program) {
            let program = self.relocatable.get()?.load(part, &self.targets)?;
            self.loaded.insert(part.program, program);
        }
        Ok(self.loaded[part.program].as_fd())
    }
}
