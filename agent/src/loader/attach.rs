//! Loading and attaching one program at one place.

use std::any::Any;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use aya::programs::links::FdLink;
use aya::programs::{FEntry, FExit, KProbe, Lsm, Program, ProgramError, RawTracePoint, TracePoint};
use aya::{Btf, Ebpf};
use holdfast_wire::layout::{ABSENT, Layout};

use super::plan::{Part, Place, Way};
use super::relocated::{self, Relocated};
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

/// What keeps a program attached; dropping it detaches.
pub(crate) struct Link {
    program: &'static str,
    /// A kprobe's link, where the kernel gives it one (from 5.15): it knows what the kprobe missed.
    kprobe: Option<OwnedFd>,
    _attached: Box<dyn Any + Send>,
}

impl Link {
    /// The program that it attaches.
    pub(crate) const fn program(&self) -> &'static str {
        self.program
    }

    /// See [`sys::kprobe_misses`].
    pub(crate) fn kprobe_misses(&self) -> u64 {
        let link = self.kprobe.as_ref().map(AsFd::as_fd);
        link.and_then(|link| sys::kprobe_misses(link).ok())
            .unwrap_or(0)
    }
}

/// All programs of the object. One is loaded when it is first attached, and stays loaded.
pub(crate) struct Programs {
    ebpf: Ebpf,
    relocated: Result<Relocated, String>,
    loaded_modify_return: BTreeMap<&'static str, relocated::Program>,
    btf: Option<Btf>,
    layout: Layout,
}

impl Programs {
    /// Programs whose maps are made.
    pub(crate) fn new(
        ebpf: Ebpf,
        relocated: Result<Relocated, String>,
        btf: Option<Btf>,
        layout: Layout,
    ) -> Self {
        Self {
            ebpf,
            relocated,
            loaded_modify_return: BTreeMap::new(),
            btf,
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
            Some(_) if self.btf.is_none() => Err(NO_BTF.to_owned()),
            Some(field) => Err(format!("the kernel's BTF has no {field}")),
            None => Ok(()),
        }
    }

    /// Attaches all parts of `way`, or none.
    pub(crate) fn attach(&mut self, way: &'static Way) -> Result<Vec<Link>, String> {
        way.parts
            .iter()
            .map(|part| self.attach_part(part))
            .collect()
    }

    /// Runs of a program that the kernel skipped since it was loaded.
    pub(crate) fn recursion_misses(&self, program: &str) -> u64 {
        match self.loaded_modify_return.get(program) {
            Some(program) => program.recursion_misses(),
            None => self
                .ebpf
                .program(program)
                .and_then(|program| sys::recursion_misses(program.fd().ok()?).ok())
                .unwrap_or(0),
        }
    }

    /// See [`Relocated::verify`].
    pub(crate) fn verify(&self, part: &Part) -> Result<u64, String> {
        let object = self.relocated.as_ref().map_err(Clone::clone)?;
        object.verify(part, self.btf.as_ref())
    }

    fn attach_part(&mut self, part: &'static Part) -> Result<Link, String> {
        let mut kprobe = None;
        let attached: Box<dyn Any + Send> = match part.place {
            place @ (Place::FmodRet(_) | Place::FmodRetCall(_)) => {
                Box::new(self.attach_modify_return(part.program, place)?)
            }
            Place::Kprobe(function) => {
                let attached = self.attach_kprobe(part.program, function)?;
                kprobe = attached.1;
                attached.0
            }
            Place::Nowhere(calls) => Box::new(sys::lacks(calls)?),
            place => self.attach_with_aya(part.program, place)?,
        };
        Ok(Link {
            program: part.program,
            kprobe,
            _attached: attached,
        })
    }

    /// Attaches a kprobe; also gives its link, where the kernel made one.
    fn attach_kprobe(
        &mut self,
        name: &str,
        function: &str,
    ) -> Result<(Box<dyn Any + Send>, Option<OwnedFd>), String> {
        let program: &mut KProbe = typed(program_of(&mut self.ebpf, name)?)?;
        once(program.load())?;
        let id = program.attach(function, 0).map_err(said)?;
        let link = program.take_link(id).map_err(said)?;
        if !aya::features().bpf_perf_link() {
            return Ok((Box::new(link), None));
        }
        let link = FdLink::try_from(link).map_err(|error| reason::chain(&error))?;
        let id = link.info().map_err(|error| reason::chain(&error))?.id();
        let descriptor = sys::link(id).map_err(|error| error.to_string())?;
        Ok((Box::new(link), Some(descriptor)))
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
        let object = self.relocated.as_ref().map_err(Clone::clone)?;
        let program = object.load(name, place, self.btf.as_ref())?;
        let link = program.attach().map_err(|error| error.to_string());
        self.loaded_modify_return.insert(name, program);
        link
    }

    fn attach_with_aya(&mut self, name: &str, place: Place) -> Result<Box<dyn Any + Send>, String> {
        let Self { ebpf, btf, .. } = self;
        let btf = || btf.as_ref().ok_or_else(|| NO_BTF.to_owned());
        let program = program_of(ebpf, name)?;
        Ok(match place {
            Place::Lsm(hook) => Box::new(attach_trampoline!(Lsm, program, hook, btf()?)),
            Place::Fentry(function) => {
                Box::new(attach_trampoline!(FEntry, program, function, btf()?))
            }
            Place::Fexit(function) => {
                Box::new(attach_trampoline!(FExit, program, function, btf()?))
            }
            Place::RawTracepoint(tracepoint) => {
                let program: &mut RawTracePoint = typed(program)?;
                once(program.load())?;
                let id = program.attach(tracepoint).map_err(said)?;
                Box::new(program.take_link(id).map_err(said)?)
            }
            Place::Syscalls(names) => {
                let program: &mut TracePoint = typed(program)?;
                once(program.load())?;
                let mut links = Vec::new();
                for (index, name) in names.iter().enumerate() {
                    match program.attach("syscalls", name) {
                        Ok(id) => links.push(program.take_link(id).map_err(said)?),
                        Err(error) if index == 0 => return Err(said(error)),
                        // An architecture without this call.
                        Err(_) => {}
                    }
                }
                Box::new(links)
            }
            Place::FmodRet(_) | Place::FmodRetCall(_) | Place::Kprobe(_) | Place::Nowhere(_) => {
                return Err("this is attached in another way".to_owned());
            }
        })
    }
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
