//! Loading and attaching one program at one place.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkError};
use aya::programs::{FEntry, FExit, KProbe, Lsm, Program, ProgramError, RawTracePoint, TracePoint};
use holdfast_wire::layout::{ABSENT, Layout};

use super::plan::{Part, Place, Way};
use super::relocated::{self, Relocatable};
use super::types::Types;
use super::{reason, sys};

/// Why what is attached by BTF cannot be.
pub(super) const NO_BTF: &str = "needs the kernel's BTF, which is not there";

/// Loads a program of a type that is attached by a trampoline, and attaches it. Before 5.13 it can be
/// attached once: `bpf_tracing_prog_attach` gives ENOENT when it is attached again after it was
/// detached. It is then loaded anew.
macro_rules! attach_trampoline {
    ($type:ty, $program:expr, $target:expr, $btf:expr) => {{
        let program: &mut $type = typed($program)?;
        once(program.load($target, $btf))?;
        let id = match program.attach() {
            Err(error) if attached_before(&error) => {
                program.unload().map_err(said)?;
                program.load($target, $btf).map_err(said)?;
                program.attach()
            }
            result => result,
        };
        program.take_link(id.map_err(said)?).map_err(said)?
    }};
}

/// What keeps a program attached; dropping it detaches, unless it is pinned.
pub(crate) struct Link {
    program: &'static str,
    attached: Attached,
}

enum Attached {
    /// A kernel's link.
    Link(OwnedFd),
    /// What aya has of it, where the kernel has no link of it (a perf event before 5.15) or does not tell which.
    Other(#[allow(dead_code)] Box<dyn Any + Send>),
    /// There is nothing to attach to.
    Nothing,
}

impl Link {
    /// The kernel's link behind one of aya's; that itself where the kernel does not tell (before 5.8).
    fn of(program: &'static str, link: FdLink) -> Self {
        let id = link.info().map(|info| info.id());
        let attached = match id.ok().and_then(|id| sys::link(id).ok()) {
            Some(descriptor) => Attached::Link(descriptor),
            None => Attached::Other(Box::new(link)),
        };
        Self { program, attached }
    }

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
            Attached::Other(_) | Attached::Nothing => None,
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
    ebpf: Ebpf,
    relocatable: Relocatable,
    loaded_modify_return: BTreeMap<&'static str, relocated::Program>,
    /// Those that an earlier sensor has loaded, and that are attached since.
    adopted: BTreeMap<&'static str, OwnedFd>,
    types: Types,
    layout: Layout,
}

impl Programs {
    /// Programs whose maps are made.
    pub(crate) fn new(ebpf: Ebpf, relocatable: Relocatable, types: Types, layout: Layout) -> Self {
        Self {
            ebpf,
            relocatable,
            loaded_modify_return: BTreeMap::new(),
            adopted: BTreeMap::new(),
            types,
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
            Some(_) if !self.types.are_known() => Err(NO_BTF.to_owned()),
            Some(field) => Err(format!("the kernel's BTF has no {field}")),
            None => Ok(()),
        }
    }

    /// Attaches all parts of `way`, or none.
    pub(crate) fn attach(&mut self, way: &'static Way) -> Result<Vec<Link>, String> {
        let mut links = Vec::new();
        for part in way.parts {
            links.extend(self.attach_part(part)?);
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
        let loaded = match self.loaded_modify_return.get(program) {
            Some(program) => program.recursion_misses(),
            None => self
                .ebpf
                .program(program)
                .and_then(|program| sys::recursion_misses(program.fd().ok()?).ok())
                .unwrap_or(0),
        };
        let adopted = self.adopted.get(program);
        loaded
            + adopted
                .and_then(|it| sys::recursion_misses(it).ok())
                .unwrap_or(0)
    }

    /// See [`relocated::Relocated::verify`].
    pub(crate) fn verify(&mut self, part: &Part) -> Result<u64, String> {
        self.relocatable.get()?.verify(part, &mut self.types)
    }

    /// Nothing is to be attached for now.
    pub(super) fn release(&mut self) {
        self.types.release();
        self.relocatable.release();
    }

    /// Whether something was released just now that nothing has needed for a while.
    pub(super) fn tidy(&mut self) -> bool {
        // Both.
        self.types.tidy() | self.relocatable.tidy()
    }

    fn attach_part(&mut self, part: &'static Part) -> Result<Vec<Link>, String> {
        let Part { program, place } = *part;
        let one = |attached| vec![Link { program, attached }];
        Ok(match place {
            Place::FmodRet(_) | Place::FmodRetCall(_) => {
                one(Attached::Link(self.attach_modify_return(program, place)?))
            }
            Place::Kprobe(function) => vec![self.attach_kprobe(program, function)?],
            Place::Syscalls(names) => self.attach_calls(program, names)?,
            Place::Nowhere(calls) => {
                sys::lacks(calls)?;
                one(Attached::Nothing)
            }
            place => vec![self.attach_with_aya(program, place)?],
        })
    }

    fn attach_kprobe(&mut self, name: &'static str, function: &str) -> Result<Link, String> {
        let program: &mut KProbe = typed(program_of(&mut self.ebpf, name)?)?;
        once(program.load())?;
        let id = program.attach(function, 0).map_err(said)?;
        let link = program.take_link(id).map_err(said)?;
        perf(name, link)
    }

    /// Attaches a program to tracepoints of system calls.
    fn attach_calls(&mut self, name: &'static str, calls: &[&str]) -> Result<Vec<Link>, String> {
        let program: &mut TracePoint = typed(program_of(&mut self.ebpf, name)?)?;
        once(program.load())?;
        let mut links = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            match program.attach("syscalls", call) {
                Ok(id) => links.push(perf(name, program.take_link(id).map_err(said)?)?),
                Err(error) if index == 0 => return Err(said(error)),
                // An architecture without this call.
                Err(_) => {}
            }
        }
        Ok(links)
    }

    fn attach_modify_return(
        &mut self,
        name: &'static str,
        place: Place,
    ) -> Result<OwnedFd, String> {
        if let Some(program) = self.loaded_modify_return.get(name) {
            match program.attach() {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                result => return result.map_err(|error| error.to_string()),
            }
        }
        let object = self.relocatable.get()?;
        let program = object.load(name, place, &mut self.types)?;
        let link = program.attach().map_err(|error| error.to_string());
        self.loaded_modify_return.insert(name, program);
        link
    }

    fn attach_with_aya(&mut self, name: &'static str, place: Place) -> Result<Link, String> {
        let Self { ebpf, types, .. } = self;
        let program = program_of(ebpf, name)?;
        let link: FdLink = match place {
            Place::Lsm(hook) => attach_trampoline!(Lsm, program, hook, types.all()?).into(),
            Place::Fentry(function) => {
                attach_trampoline!(FEntry, program, function, types.all()?).into()
            }
            Place::Fexit(function) => {
                attach_trampoline!(FExit, program, function, types.all()?).into()
            }
            Place::RawTracepoint(tracepoint) => {
                let program: &mut RawTracePoint = typed(program)?;
                once(program.load())?;
                let id = program.attach(tracepoint).map_err(said)?;
                program.take_link(id).map_err(said)?.into()
            }
            Place::FmodRet(_)
            | Place::FmodRetCall(_)
            | Place::Kprobe(_)
            | Place::Syscalls(_)
            | Place::Nowhere(_) => return Err("this is attached in another way".to_owned()),
        };
        Ok(Link::of(name, link))
    }
}

/// One of aya's links to a perf event: the kernel's, where it makes one.
fn perf<L>(program: &'static str, link: L) -> Result<Link, String>
where
    L: Send + 'static,
    FdLink: TryFrom<L, Error = LinkError>,
{
    if !aya::features().bpf_perf_link() {
        let attached = Attached::Other(Box::new(link));
        return Ok(Link { program, attached });
    }
    let link = FdLink::try_from(link).map_err(|error| reason::chain(&error))?;
    Ok(Link::of(program, link))
}

fn program_of<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, String> {
    ebpf.program_mut(name)
        .ok_or_else(|| format!("the object has no program {name}"))
}

fn said(error: ProgramError) -> String {
    reason::of(&error)
}

/// A program as its type. Failing means that agent and object come from different trees.
fn typed<'a, T>(program: &'a mut Program) -> Result<&'a mut T, String>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    program.try_into().map_err(|error| reason::of(&error))
}

/// A program is loaded once; later attachments use what is loaded.
fn once(result: Result<(), ProgramError>) -> Result<(), String> {
    match result {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(reason::of(&error)),
    }
}

/// See [`attach_trampoline`].
fn attached_before(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::ENOENT))
}
